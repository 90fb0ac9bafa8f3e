// The chains between decoding and their end, in order: a ring of QUEUE places. Who works on them
// (input, matrix unit, pipe) keeps a count of his own of how far he is; a count modulo QUEUE is a
// place.
module npu_chains #(
  parameter QUEUE = 4
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic                        push_i,
  input  npu_chain_pkg::chain_t       chain_i,
  output logic                        full_o,
  output npu_chain_pkg::chain_t [QUEUE-1:0] chains_o,
  output logic [$clog2(QUEUE):0]      pushed_o,
  output logic [$clog2(QUEUE):0]      retired_o,
  output logic [QUEUE-1:0]            live_o,
  output logic [7:0]                  retired_rows_o,  // of the oldest chain
  input  logic                        row_retired_i,
  output logic                        chain_retired_o
);
  localparam QW = $clog2(QUEUE);

  npu_chain_pkg::chain_t [QUEUE-1:0] chains_q;
  logic [QW:0] pushed_q, retired_q;
  logic [7:0]  rows_q;
  npu_chain_pkg::chain_t oldest;

  assign oldest    = chains_q[retired_q[QW-1:0]];
  assign full_o    = pushed_q == {~retired_q[QW], retired_q[QW-1:0]};
  assign chains_o  = chains_q;
  assign pushed_o  = pushed_q;
  assign retired_o = retired_q;
  assign retired_rows_o  = rows_q;
  assign chain_retired_o = row_retired_i && rows_q + 8'd1 == oldest.rows;

  genvar g;
  for (g = 0; g < QUEUE; g = g + 1) begin : gen_live
    logic [QW-1:0] age;
    assign age       = QW'(g) - retired_q[QW-1:0];
    assign live_o[g] = {1'b0, age} < pushed_q - retired_q;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      pushed_q  <= '0;
      retired_q <= '0;
      rows_q    <= '0;
    end else begin
      if (push_i) pushed_q <= pushed_q + 1'b1;
      if (chain_retired_o) begin
        retired_q <= retired_q + 1'b1;
        rows_q    <= '0;
      end else if (row_retired_i) begin
        rows_q    <= rows_q + 8'd1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (push_i) chains_q[pushed_q[QW-1:0]] <= chain_i;
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) push_i |-> !full_o);
  assert property (@(posedge clk_i) disable iff (!rst_ni) row_retired_i |-> pushed_q != retired_q);
`endif
endmodule
