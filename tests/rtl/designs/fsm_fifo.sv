// A queue, a state machine that takes packets from it, and a counter: a small streaming design.
module fsm_fifo_queue #(parameter int Width = 8, parameter int Log2 = 3) (
  input  logic clk, rst, push, pop,
  input  logic [Width-1:0] din,
  output logic [Width-1:0] dout,
  output logic empty, full
);
  logic [Width-1:0] mem [1 << Log2];
  logic [Log2:0] wp, rp;
  assign empty = wp == rp;
  assign full  = (wp ^ rp) == {1'b1, {Log2{1'b0}}};
  assign dout  = mem[rp[Log2-1:0]];
  always_ff @(posedge clk) begin
    if (push && !full) mem[wp[Log2-1:0]] <= din;
    if (rst) begin
      wp <= '0;
      rp <= '0;
    end else begin
      if (push && !full) wp <= wp + 1'b1;
      if (pop && !empty) rp <= rp + 1'b1;
    end
  end
endmodule

module fsm_fifo (input logic clk, rst, input logic [31:0] x, output logic [31:0] y);
  typedef enum logic [1:0] {Header, Body, Check} state_e;
  state_e state;
  logic [7:0] head, sum, left;
  logic [15:0] good;
  logic empty, full, pop;

  fsm_fifo_queue #(.Width(8), .Log2(3)) u_queue (
    .clk, .rst, .push(x[8]), .pop, .din(x[7:0]), .dout(head), .empty, .full
  );
  assign pop = !empty && x[9];

  always_ff @(posedge clk) begin
    if (rst) begin
      state <= Header;
      left  <= '0;
      sum   <= '0;
      good  <= '0;
    end else if (pop) begin
      unique case (state)
        Header: begin
          state <= head[2:0] == 0 ? Check : Body;
          left  <= {5'd0, head[2:0]};
          sum   <= head;
        end
        Body: begin
          sum  <= sum + head;
          left <= left - 8'd1;
          if (left == 8'd1) state <= Check;
        end
        default: begin
          state <= Header;
          if (sum[1:0] == head[1:0]) good <= good + 16'd1;
        end
      endcase
    end
  end
  assign y = {good, sum, 2'(state), left[3:0], full, empty};
endmodule
