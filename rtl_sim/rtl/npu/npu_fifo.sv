// A first-in first-out queue; the head is visible without delay.
module npu_fifo #(
  parameter WIDTH = 16,
  parameter DEPTH = 2
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             push_i,
  input  logic [WIDTH-1:0] data_i,
  output logic             full_o,
  output logic             valid_o,
  output logic [WIDTH-1:0] data_o,
  input  logic             pop_i
);
  localparam AW = $clog2(DEPTH);
  logic [WIDTH-1:0] mem [0:DEPTH-1];
  logic [AW:0]      pushed_q, popped_q;

  assign valid_o = pushed_q != popped_q;
  assign full_o  = pushed_q == {~popped_q[AW], popped_q[AW-1:0]};
  assign data_o  = mem[popped_q[AW-1:0]];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      pushed_q <= '0;
      popped_q <= '0;
    end else begin
      if (push_i) pushed_q <= pushed_q + 1'b1;
      if (pop_i)  popped_q <= popped_q + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (push_i) mem[pushed_q[AW-1:0]] <= data_i;
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) push_i |-> !full_o);
  assert property (@(posedge clk_i) disable iff (!rst_ni) pop_i |-> valid_o);
`endif
endmodule
