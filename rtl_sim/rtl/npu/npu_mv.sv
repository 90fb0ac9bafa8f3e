// The matrix unit: MatrixRf and N dot units. Works through a tiled product on its own, one beat a
// cycle, and holds each row of the result until it is taken; the next row goes on meanwhile.
module npu_mv #(
  parameter N     = 16,
  parameter LANES = 16,
  parameter MANT  = 7,
  parameter GUARD = 5,
  parameter TILES = 16,
  parameter IVRF  = 16
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  // one product; tile, source, rows and cols are held by the sequencer while busy
  input  logic                          start_i,
  input  logic                          flush_i,
  input  logic [$clog2(TILES)-1:0]      tile_i,
  input  logic [$clog2(IVRF)-1:0]       source_i,
  input  logic [7:0]                    rows_i,
  input  logic [7:0]                    cols_i,
  // source vectors
  output logic                          busy_o,
  output logic [$clog2(IVRF)-1:0]       vrf_addr_o,
  input  logic [N*16-1:0]               vrf_data_i,
  // result rows
  output logic                          valid_o,
  input  logic                          take_i,
  output logic [N*32-1:0]               acc_o,
  output logic [N*9-1:0]                acc_exp_o,
  // writing tiles
  input  logic                          exp_we_i,
  input  logic [$clog2(TILES)-1:0]      exp_addr_i,
  input  logic [N*8-1:0]                exp_data_i,
  input  logic                          row_we_i,
  input  logic [$clog2(N)-1:0]          row_i,
  input  logic [$clog2(TILES*N/LANES)-1:0] row_addr_i,
  input  logic [LANES*(MANT+1)-1:0]     row_data_i
);
  localparam MB    = MANT + 1;
  localparam BEATS = N / LANES;
  localparam WORDS = TILES * BEATS;
  localparam AW    = $clog2(WORDS);
  localparam TW    = $clog2(TILES);
  localparam VW    = $clog2(IVRF);
  localparam PW    = 2 * MANT + $clog2(LANES) + 1;

  // issue
  logic          busy_q;
  logic [7:0]    row_q, col_q, beat_q;
  logic [AW-1:0] word_q;
  logic          last_beat, last_col;
  // stage 1: operands read; stage 2: products; then the accumulators
  logic          valid1_q, first1_q, last1_q, valid2_q, first2_q, last2_q, valid_q;
  logic [7:0]    beat1_q;
  logic [N*MB-1:0] x_q, x_d;
  logic [4:0]    block_q, block_d;
  logic [N*8-1:0]  exps_q;
  logic          advance;
  logic [LANES*MB-1:0] x_lanes;

  logic [N*8-1:0] exp_mem [0:TILES-1];

  assign advance    = ~(valid2_q & valid_q & ~take_i);
  assign last_beat  = beat_q == 8'(BEATS - 1);
  assign last_col   = col_q == cols_i - 8'd1;
  assign busy_o     = busy_q;
  assign vrf_addr_o = source_i + VW'(col_q);
  assign valid_o    = valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      busy_q   <= 1'b0;
      valid1_q <= 1'b0;
      valid2_q <= 1'b0;
      valid_q  <= 1'b0;
      {row_q, col_q, beat_q, word_q, beat1_q} <= '0;
      {first1_q, last1_q, first2_q, last2_q}  <= '0;
    end else begin
      if (start_i) begin
        busy_q <= 1'b1;
        word_q <= AW'(tile_i) * AW'(BEATS);
        {row_q, col_q, beat_q} <= '0;
      end else if (busy_q && advance) begin
        word_q <= word_q + 1'b1;
        beat_q <= last_beat ? 8'd0 : beat_q + 8'd1;
        if (last_beat) begin
          col_q <= last_col ? 8'd0 : col_q + 8'd1;
          if (last_col) begin
            row_q <= row_q + 8'd1;
            if (row_q == rows_i - 8'd1) busy_q <= 1'b0;
          end
        end
      end
      if (advance) begin
        valid1_q <= busy_q;
        first1_q <= col_q == 8'd0 && beat_q == 8'd0;
        last1_q  <= last_col && last_beat;
        beat1_q  <= beat_q;
        valid2_q <= valid1_q;
        first2_q <= first1_q;
        last2_q  <= last1_q;
      end
      valid_q <= (valid2_q & advance & last2_q) | (valid_q & ~take_i);
    end
  end

  npu_quant #(.N(N), .MANT(MANT)) u_quant (
    .vec_i(vrf_data_i), .mant_o(x_d), .exp_o(block_d)
  );

  always_ff @(posedge clk_i) begin
    if (exp_we_i) exp_mem[exp_addr_i] <= exp_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (busy_q && advance) begin
      x_q     <= x_d;
      block_q <= block_d;
      exps_q  <= exp_mem[TW'(word_q >> $clog2(BEATS))];
    end
  end

  if (BEATS == 1) begin : gen_all_lanes
    assign x_lanes = x_q;
  end else begin : gen_some_lanes
    assign x_lanes = x_q[beat1_q[$clog2(BEATS)-1:0]*LANES*MB +: LANES*MB];
  end

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_row
    npu_row #(.LANES(LANES), .MANT(MANT), .GUARD(GUARD), .WORDS(WORDS), .PW(PW)) u_row (
      .clk_i,
      .we_i(row_we_i && row_i == g), .waddr_i(row_addr_i), .wdata_i(row_data_i),
      .read_i(busy_q & advance), .raddr_i(word_q),
      .dot_i(valid1_q & advance), .x_i(x_lanes),
      .product_exp_i($signed(exps_q[g*8 +: 8]) + $signed({4'b0000, block_q})),
      .accumulate_i(valid2_q & advance), .first_i(first2_q),
      .acc_o(acc_o[g*32 +: 32]), .exp_o(acc_exp_o[g*9 +: 9])
    );
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) start_i |-> !busy_q && !valid_q);
  assert property (@(posedge clk_i) disable iff (!rst_ni) take_i |-> valid_q);
  assert property (@(posedge clk_i) disable iff (!rst_ni) row_we_i |-> !busy_q);
`endif
endmodule
