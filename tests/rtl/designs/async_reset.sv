// Asynchronous resets of both values, one made by logic, beside registers without any.
module async_reset (input logic clk, rst, input logic [31:0] x, output logic [31:0] y);
  logic [11:0] counter;
  logic [4:0] enabled;
  logic [7:0] plain;
  logic [6:0] local_q;
  logic local_rst_n;

  always_ff @(posedge clk or posedge rst)
    if (rst) counter <= 12'hA5C;
    else counter <= counter + x[3:0];

  always_ff @(posedge clk or posedge rst)
    if (rst) enabled <= 5'h15;
    else if (x[4]) enabled <= enabled ^ x[9:5];

  always_ff @(posedge clk) plain <= {plain[6:0], ^counter};

  // Released a cycle later than rst, by a register: an asynchronous reset that state decides.
  always_ff @(posedge clk or posedge rst)
    if (rst) local_rst_n <= 1'b0;
    else local_rst_n <= counter[1:0] != 2'b11;

  always_ff @(posedge clk or negedge local_rst_n)
    if (!local_rst_n) local_q <= 7'd9;
    else local_q <= local_q + 7'd3;

  assign y = {local_q, plain, counter, enabled};
endmodule
