// Writes the vectors that chains send to the output buffer, behind the pipe, and the statistics.
module npu_output #(
  parameter N     = 16,
  parameter BUS   = 64,
  parameter DEPTH = 8
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic [63:0]       output_i,
  // vectors
  input  logic              push_i,
  input  logic [15:0]       index_i,
  input  logic [N*16-1:0]   vec_i,
  output logic              gone_o,   // one has left
  output logic              idle_o,
  // the statistics, when all else is over
  input  logic              stats_start_i,
  input  logic [63:0]       stats_addr_i,
  input  logic [16*32-1:0]  stats_i,
  output logic              stats_done_o,
  output logic              beat_o,   // of a vector
  output logic              error_o,

  output logic           awvalid_o,
  input  logic           awready_i,
  output logic [63:0]    awaddr_o,
  output logic [7:0]     awlen_o,
  output logic [2:0]     awsize_o,
  output logic           wvalid_o,
  input  logic           wready_i,
  output logic [BUS-1:0] wdata_o,
  output logic [BUS/8-1:0] wstrb_o,
  output logic           wlast_o,
  input  logic           bvalid_i,
  output logic           bready_o,
  input  logic [1:0]     bresp_i
);
  localparam BEATS = 16 * N / BUS;
  localparam WORDS = BUS / 64;

  logic             full, valid, unused_full, idle, ready, req_ready, stats_q, asked, last;
  logic             address_valid;
  logic [15:0]      index;
  logic [N*16-1:0]  vec;
  logic [8:0]       beat_q;
  logic [8:0]       word;
  logic [63:0]      stats_word;

  npu_fifo #(.WIDTH(16), .DEPTH(DEPTH)) u_addresses (
    .clk_i, .rst_ni, .push_i, .data_i(index_i), .full_o(unused_full),
    .valid_o(address_valid), .data_o(index), .pop_i(asked)
  );
  npu_fifo #(.WIDTH(N*16), .DEPTH(DEPTH)) u_vectors (
    .clk_i, .rst_ni, .push_i, .data_i(vec_i), .full_o(full),
    .valid_o(valid), .data_o(vec), .pop_i(gone_o)
  );

  // the statistics go word by word, each in the lanes that its address says
  assign word       = beat_q + {3'b0, stats_addr_i[8:3]};
  assign stats_word = stats_i[32'(beat_q[2:0])*64 +: 64];
  npu_write #(.BUS(BUS)) u_write (
    .clk_i, .rst_ni, .req_valid_i(address_valid | (stats_start_i & ~stats_q)),
    .req_ready_o(req_ready),
    .req_addr_i(address_valid ? output_i + {48'b0, index} * 64'(2 * N) : stats_addr_i),
    .req_beats_i(address_valid ? 9'(BEATS) : 9'd8), .req_narrow_i(~address_valid),
    .ready_o(ready), .data_i(stats_q ? {WORDS{stats_word}} : vec[32'(beat_q)*BUS +: BUS]),
    .strobes_i(stats_q ? (BUS/8)'(8'hff) << ((32'(word) % WORDS) * 8) : '1), .idle_o(idle), .error_o,
    .awvalid_o, .awready_i, .awaddr_o, .awlen_o, .awsize_o, .wvalid_o, .wready_i, .wdata_o,
    .wstrb_o, .wlast_o, .bvalid_i, .bready_o, .bresp_i
  );
  assign asked        = address_valid & req_ready;
  assign last         = beat_q == (stats_q ? 9'd7 : 9'(BEATS - 1));
  assign gone_o       = ready & last & ~stats_q;
  assign idle_o       = idle & ~address_valid & ~valid;
  assign stats_done_o = stats_q & idle;
  assign beat_o       = ready & ~stats_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      beat_q  <= '0;
      stats_q <= 1'b0;
    end else begin
      if (stats_start_i)     stats_q <= 1'b1;
      else if (stats_done_o) stats_q <= 1'b0;
      if (ready) beat_q <= last ? 9'd0 : beat_q + 9'd1;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) push_i |-> !full);
  assert property (@(posedge clk_i) disable iff (!rst_ni) stats_start_i |-> idle_o);
`endif
endmodule
