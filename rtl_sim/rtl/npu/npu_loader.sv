// Cuts the stream of tiles from device memory into writes of MatrixRf: exponents, a record that is
// skipped, then N rows, in records of N bytes. A row is written by groups of LANES bytes.
module npu_loader #(
  parameter N     = 16,
  parameter LANES = 16,
  parameter MANT  = 7,
  parameter TILES = 16
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          start_i,
  input  logic [$clog2(TILES)-1:0]      tile_i,
  input  logic                          valid_i,
  input  logic [63:0]                   data_i,
  output logic                          tile_done_o,
  output logic                          exp_we_o,
  output logic [$clog2(TILES)-1:0]      exp_addr_o,
  output logic [N*8-1:0]                exp_data_o,
  output logic                          row_we_o,
  output logic [$clog2(N)-1:0]          row_o,
  output logic [$clog2(TILES*N/LANES)-1:0] row_addr_o,
  output logic [LANES*(MANT+1)-1:0]     row_data_o
);
  localparam MB    = MANT + 1;
  localparam BEATS = N / LANES;
  localparam AW    = $clog2(TILES * BEATS);
  localparam [3:0] GROUP_LAST  = 4'(LANES / 8 - 1);
  localparam [3:0] RECORD_LAST = 4'(N / 8 - 1);
  localparam [7:0] TILE_LAST   = 8'(N + 1);

  logic [N*8-65:0] held_q;  // the record so far, youngest on top
  logic [N*8-1:0]  record;
  logic [3:0]      piece_q, group_piece_q;
  logic [7:0]      record_q, row_index;
  logic [$clog2(TILES)-1:0] tile_q;
  logic [AW-1:0]   word_q;  // within the tile: lane group
  logic            group_end, record_end;

  assign record      = {data_i, held_q};
  assign group_end   = valid_i && group_piece_q == GROUP_LAST;
  assign record_end  = valid_i && piece_q == RECORD_LAST;
  assign tile_done_o = record_end && record_q == TILE_LAST;
  assign exp_we_o    = record_end && record_q == 8'd0;
  assign exp_addr_o  = tile_q;
  assign exp_data_o  = record;
  assign row_index   = record_q - 8'd2;
  assign row_we_o    = group_end && record_q >= 8'd2;
  assign row_o       = row_index[$clog2(N)-1:0];
  assign row_addr_o  = AW'(tile_q) * AW'(BEATS) + word_q;

  genvar g;
  for (g = 0; g < LANES; g = g + 1) begin : gen_lane
    assign row_data_o[g*MB +: MB] = record[(N-LANES+g)*8 +: MB];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {piece_q, group_piece_q, record_q, word_q} <= '0;
      tile_q <= '0;
    end else if (start_i) begin
      {piece_q, group_piece_q, record_q, word_q} <= '0;
      tile_q <= tile_i;
    end else if (valid_i) begin
      piece_q       <= record_end ? 4'd0 : piece_q + 4'd1;
      group_piece_q <= group_end ? 4'd0 : group_piece_q + 4'd1;
      if (record_end)     word_q <= '0;
      else if (group_end) word_q <= word_q + 1'b1;
      if (record_end) record_q <= tile_done_o ? 8'd0 : record_q + 8'd1;
      if (tile_done_o) tile_q <= tile_q + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) held_q <= record[N*8-1:64];
  end
endmodule
