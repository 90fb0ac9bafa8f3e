// One dot unit: its row of every tile, its product, its accumulator.
module npu_row #(
  parameter LANES = 16,
  parameter MANT  = 7,
  parameter GUARD = 5,
  parameter WORDS = 16,  // tiles * beats a tile
  parameter PW    = 20
) (
  input  logic                        clk_i,
  // writing tiles
  input  logic                        we_i,
  input  logic [$clog2(WORDS)-1:0]    waddr_i,
  input  logic [LANES*(MANT+1)-1:0]   wdata_i,
  // the pipeline; every stage holds unless its enable is set
  input  logic                        read_i,
  input  logic [$clog2(WORDS)-1:0]    raddr_i,
  input  logic                        dot_i,
  input  logic [LANES*(MANT+1)-1:0]   x_i,
  input  logic signed [8:0]           product_exp_i,
  input  logic                        settle_i,  // the adder tree's second half, for the tool to place
  input  logic                        accumulate_i,
  input  logic                        first_i,
  output logic signed [31:0]          acc_o,
  output logic signed [8:0]           exp_o
);
  localparam MB = MANT + 1;

  logic [LANES*MB-1:0]  mem [0:WORDS-1];
  logic [LANES*MB-1:0]  word_q;
  logic signed [PW-1:0] product, product_q, settled_q;
  logic signed [8:0]    product_exp_q, settled_exp_q, exp_q, exp_d;
  logic signed [31:0]   acc_q, acc_d;

  npu_dot #(.LANES(LANES), .MB(MB), .PW(PW)) u_dot (.en_i(dot_i), .w_i(word_q), .x_i, .sum_o(product));
  npu_accum #(.PW(PW), .GUARD(GUARD)) u_accum (
    .first_i, .acc_i(acc_q), .exp_i(exp_q), .product_i(settled_q),
    .product_exp_i(settled_exp_q), .acc_o(acc_d), .exp_o(exp_d)
  );
  assign acc_o = acc_q;
  assign exp_o = exp_q;

  always_ff @(posedge clk_i) begin
    if (we_i) mem[waddr_i] <= wdata_i;
  end

  // Data registers need no reset: what they hold is read only behind a valid bit.
  always_ff @(posedge clk_i) begin
    if (read_i) word_q <= mem[raddr_i];
    if (dot_i) begin
      product_q     <= product;
      product_exp_q <= product_exp_i;
    end
    if (settle_i) begin
      settled_q     <= product_q;
      settled_exp_q <= product_exp_q;
    end
    if (accumulate_i) begin
      acc_q <= acc_d;
      exp_q <= exp_d;
    end
  end
endmodule
