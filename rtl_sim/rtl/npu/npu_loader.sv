// Loads matrices into the engines' MatrixRf, in the background: up to LOADS wait, one is under way.
// It begins when no chain before it has still to read the lines that it writes. A tile comes as
// records of N bytes: exponents, one that is skipped, then N rows, written by groups of LANES bytes.
module npu_loader #(
  parameter N       = 16,
  parameter LANES   = 16,
  parameter ENGINES = 1,
  parameter MANT    = 7,
  parameter TILES   = 16,
  parameter QUEUE   = 4,
  parameter LOADS   = 2
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  npu_chain_pkg::chain_t [QUEUE-1:0] chains_i,
  input  logic [QUEUE-1:0]              live_i,
  // a matrix chain
  input  logic                          push_i,
  output logic                          full_o,
  input  logic [19:0]                   vector_i,
  input  logic [2:0]                    engine_i,
  input  logic [15:0]                   line_i,
  input  logic [15:0]                   lines_i,
  input  logic [7:0]                    rows_i,
  input  logic [7:0]                    cols_i,
  input  logic [63:0]                   weights_i,
  // loads that are under way, and the lines they write
  output logic [LOADS-1:0]              busy_o,
  output logic [LOADS*16-1:0]           line_o,
  output logic [LOADS*16-1:0]           lines_o,
  // the bus
  output logic                          req_valid_o,
  input  logic                          req_ready_i,
  output logic [63:0]                   req_addr_o,
  output logic [31:0]                   req_beats_o,
  input  logic                          valid_i,
  input  logic [63:0]                   data_i,
  input  logic                          done_i,
  // tiles
  output logic                          tile_done_o,
  output logic                          load_done_o,
  output logic [ENGINES-1:0]            exp_we_o,
  output logic [$clog2(TILES)-1:0]      exp_addr_o,
  output logic [N*8-1:0]                exp_data_o,
  output logic [ENGINES-1:0]            row_we_o,
  output logic [$clog2(N)-1:0]          row_o,
  output logic [$clog2(TILES*N/LANES)-1:0] row_addr_o,
  output logic [LANES*(MANT+1)-1:0]     row_data_o
);
  localparam MB    = MANT + 1;
  localparam BEATS = N / LANES;
  localparam TW    = $clog2(TILES);
  localparam WW    = $clog2(TILES * BEATS);
  localparam EW    = (ENGINES > 1) ? $clog2(ENGINES) : 1;
  localparam LW    = $clog2(LOADS);
  localparam [31:0] TILE_BEATS = 32'((N + 2) * N / 8);
  localparam [7:0]  GROUP_LAST  = 8'(LANES / 8 - 1);
  localparam [7:0]  RECORD_LAST = 8'(N / 8 - 1);
  localparam [10:0] TILE_LAST   = 11'(N + 1);

  // the loads in order: a ring
  logic [LOADS-1:0][19:0] vector_q;
  logic [LOADS-1:0][15:0] line_q, lines_q;
  logic [LOADS-1:0][2:0]  engine_q;
  logic [LOADS-1:0][7:0]  rows_q, cols_q;
  logic [LOADS-1:0][QUEUE-1:0] behind_q;  // chains that were there before
  logic [LOADS-1:0] busy_q;
  logic [LW-1:0]    head_q, tail_q;
  logic             active_q, conflict;
  integer           k, j;

  assign full_o  = busy_q[tail_q];
  assign busy_o  = busy_q;
  assign line_o  = line_q;
  assign lines_o = lines_q;

  always_comb begin
    conflict = 1'b0;
    for (j = 0; j < QUEUE; j = j + 1) begin
      if (behind_q[head_q][j] && live_i[j] && chains_i[j].mv
          && line_q[head_q] < chains_i[j].line + chains_i[j].lines
          && chains_i[j].line < line_q[head_q] + lines_q[head_q]) conflict = 1'b1;
    end
  end
  assign req_valid_o = busy_q[head_q] && !active_q && !conflict;
  assign req_addr_o  = weights_i + {44'b0, vector_q[head_q]} * 64'(2 * N);
  assign req_beats_o = {24'b0, rows_q[head_q]} * {24'b0, cols_q[head_q]} * TILE_BEATS;
  assign load_done_o = done_i & active_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {busy_q, head_q, tail_q, active_q} <= '0;
      behind_q <= '0;
    end else begin
      for (k = 0; k < LOADS; k = k + 1) behind_q[k] <= behind_q[k] & live_i;
      if (push_i) begin
        busy_q[tail_q]   <= 1'b1;
        behind_q[tail_q] <= live_i;
        tail_q           <= tail_q + 1'b1;
      end
      if (req_valid_o && req_ready_i) active_q <= 1'b1;
      if (load_done_o) begin
        active_q       <= 1'b0;
        busy_q[head_q] <= 1'b0;
        head_q         <= head_q + 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (push_i) begin
      vector_q[tail_q] <= vector_i;
      line_q[tail_q]   <= line_i;
      lines_q[tail_q]  <= lines_i;
      engine_q[tail_q] <= engine_i;
      rows_q[tail_q]   <= rows_i;
      cols_q[tail_q]   <= cols_i;
    end
  end

  // the stream of one load
  logic [N*8-65:0] held_q;  // the record so far, youngest on top
  logic [N*8-1:0]  record;
  logic [7:0]      piece_q, group_piece_q, col_q;
  logic [10:0]     record_q, row_index;
  logic [2:0]      target_q;
  logic [TW-1:0]   first_q, tile;  // of the row of tiles
  logic [WW-1:0]   word_q;         // within the tile: lane group
  logic            group_end, record_end, last_col;

  assign record      = {data_i, held_q};
  assign group_end   = valid_i && group_piece_q == GROUP_LAST;
  assign record_end  = valid_i && piece_q == RECORD_LAST;
  assign tile_done_o = record_end && record_q == TILE_LAST;
  assign last_col    = col_q + 8'd1 == cols_q[head_q];
  assign tile        = first_q + TW'(col_q);
  assign exp_addr_o  = tile;
  assign exp_data_o  = record;
  assign row_index   = record_q - 11'd2;
  assign row_o       = row_index[$clog2(N)-1:0];
  assign row_addr_o  = WW'(tile) * WW'(BEATS) + word_q;
  always_comb begin
    exp_we_o = '0;
    row_we_o = '0;
    exp_we_o[EW'(target_q)] = record_end && record_q == 11'd0;
    row_we_o[EW'(target_q)] = group_end && record_q >= 11'd2;
  end

  genvar g;
  for (g = 0; g < LANES; g = g + 1) begin : gen_lane
    assign row_data_o[g*MB +: MB] = record[(N-LANES+g)*8 +: MB];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {piece_q, group_piece_q, record_q, word_q, col_q} <= '0;
      {target_q, first_q} <= '0;
    end else if (req_valid_o && req_ready_i) begin
      {piece_q, group_piece_q, record_q, word_q, col_q} <= '0;
      target_q <= engine_q[head_q];
      first_q  <= TW'(line_q[head_q]);
    end else if (valid_i && active_q) begin
      piece_q       <= record_end ? 8'd0 : piece_q + 8'd1;
      group_piece_q <= group_end ? 8'd0 : group_piece_q + 8'd1;
      if (record_end)     word_q <= '0;
      else if (group_end) word_q <= word_q + 1'b1;
      if (record_end) record_q <= tile_done_o ? 11'd0 : record_q + 11'd1;
      if (tile_done_o) begin
        col_q <= last_col ? 8'd0 : col_q + 8'd1;
        if (last_col) begin
          target_q <= (target_q == 3'(ENGINES - 1)) ? 3'd0 : target_q + 3'd1;
          if (target_q == 3'(ENGINES - 1)) first_q <= first_q + TW'(cols_q[head_q]);
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) held_q <= record[N*8-1:64];
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) push_i |-> !full_o);
  assert property (@(posedge clk_i) disable iff (!rst_ni) load_done_o |-> tile_done_o);
`endif
endmodule
