// Writes the vectors that chains send to the output buffer, behind the pipe, and the statistics.
module npu_output #(
  parameter N     = 16,
  parameter DEPTH = 4
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic [63:0]       output_i,
  // vectors
  input  logic              push_i,
  input  logic [15:0]       index_i,
  input  logic [N*16-1:0]   vec_i,
  output logic              gone_o,   // one is written
  output logic              idle_o,
  // the statistics, when all else is over
  input  logic              stats_start_i,
  input  logic [63:0]       stats_addr_i,
  input  logic [16*32-1:0]  stats_i,
  output logic              stats_done_o,
  output logic              beat_o,   // of a vector
  output logic              error_o,  // with one of either

  output logic        awvalid_o,
  input  logic        awready_i,
  output logic [63:0] awaddr_o,
  output logic [7:0]  awlen_o,
  output logic        wvalid_o,
  input  logic        wready_i,
  output logic [63:0] wdata_o,
  output logic        wlast_o,
  input  logic        bvalid_i,
  output logic        bready_o,
  input  logic [1:0]  bresp_i
);
  logic             full, valid, idle, ready, done, failed, start, stats_q;
  logic [15:0]      index;
  logic [N*16-1:0]  vec;
  logic [8:0]       beat_q;
  logic [63:0]      data;

  npu_fifo #(.WIDTH(16 + N*16), .DEPTH(DEPTH)) u_vectors (
    .clk_i, .rst_ni, .push_i, .data_i({index_i, vec_i}), .full_o(full),
    .valid_o(valid), .data_o({index, vec}), .pop_i(gone_o)
  );
  assign start = idle && !stats_q && (valid || stats_start_i);
  assign data  = stats_q ? stats_i[32'(beat_q[2:0])*64 +: 64] : vec[32'(beat_q)*64 +: 64];
  npu_write u_write (
    .clk_i, .rst_ni, .start_i(start),
    .addr_i(valid ? output_i + {48'b0, index} * 64'(2 * N) : stats_addr_i),
    .beats_i(valid ? 9'(N / 4) : 9'd8), .ready_o(ready), .data_i(data), .idle_o(idle),
    .done_o(done), .error_o(failed),
    .awvalid_o, .awready_i, .awaddr_o, .awlen_o, .wvalid_o, .wready_i, .wdata_o, .wlast_o,
    .bvalid_i, .bready_o, .bresp_i
  );
  assign gone_o       = done & ~stats_q;
  assign stats_done_o = done & stats_q;
  assign idle_o       = idle & ~valid;
  assign beat_o       = ready & ~stats_q;
  assign error_o      = done & failed;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      beat_q  <= '0;
      stats_q <= 1'b0;
    end else begin
      if (start)      stats_q <= ~valid;
      else if (done)  stats_q <= 1'b0;
      if (done)       beat_q <= '0;
      else if (ready) beat_q <= beat_q + 9'd1;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) push_i |-> !full);
  assert property (@(posedge clk_i) disable iff (!rst_ni) stats_start_i |-> idle_o);
`endif
endmodule
