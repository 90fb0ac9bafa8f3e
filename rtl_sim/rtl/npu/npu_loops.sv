// The loops that are open, up to three: where their bodies begin, their turns, and what a turn adds
// to addresses in the input and the output buffer.
module npu_loops #(
  parameter PW = 8
) (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          clear_i,
  input  logic          open_i,
  input  logic          close_i,     // the end of the inner loop's body
  input  logic [PW-1:0] body_i,
  input  logic [15:0]   turns_i,
  input  logic [15:0]   input_step_i,
  input  logic [15:0]   output_step_i,
  output logic [1:0]    depth_o,
  output logic          again_o,     // another turn follows
  output logic [PW-1:0] body_o,
  output logic [15:0]   outer_turn_o,  // of the two loops that have strides
  output logic [15:0]   inner_turn_o,
  output logic [15:0]   input_base_o,
  output logic [15:0]   output_base_o
);
  logic [1:0]           depth_q, top;
  logic [2:0][PW-1:0]   body_q;
  logic [2:0][15:0]     turns_q, turn_q, input_step_q, output_step_q, input_q, output_q;

  assign depth_o       = depth_q;
  assign top           = depth_q - 2'd1;
  assign again_o       = turn_q[top] + 16'd1 != turns_q[top];
  assign body_o        = body_q[top];
  assign outer_turn_o  = (depth_q == 2'd3) ? turn_q[1] : turn_q[0];
  assign inner_turn_o  = (depth_q == 2'd3) ? turn_q[2] : turn_q[1];
  assign input_base_o  = input_q[0] + input_q[1] + input_q[2];
  assign output_base_o = output_q[0] + output_q[1] + output_q[2];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      depth_q <= '0;
      {body_q, turns_q, turn_q, input_step_q, output_step_q, input_q, output_q} <= '0;
    end else if (clear_i) begin
      depth_q <= '0;
      {turn_q, input_q, output_q} <= '0;
    end else if (open_i) begin
      depth_q                <= depth_q + 2'd1;
      body_q[depth_q]        <= body_i;
      turns_q[depth_q]       <= turns_i;
      input_step_q[depth_q]  <= input_step_i;
      output_step_q[depth_q] <= output_step_i;
    end else if (close_i && again_o) begin
      turn_q[top]   <= turn_q[top] + 16'd1;
      input_q[top]  <= input_q[top] + input_step_q[top];
      output_q[top] <= output_q[top] + output_step_q[top];
    end else if (close_i) begin
      depth_q       <= top;
      turn_q[top]   <= '0;
      input_q[top]  <= '0;
      output_q[top] <= '0;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) open_i |-> depth_q != 2'd3);
  assert property (@(posedge clk_i) disable iff (!rst_ni) close_i |-> depth_q != 2'd0);
`endif
endmodule
