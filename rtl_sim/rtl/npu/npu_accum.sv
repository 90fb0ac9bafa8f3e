// Stateless: one further product into an exponent-aligned accumulator.
module npu_accum #(
  parameter PW    = 20,
  parameter GUARD = 5
) (
  input  logic                 first_i,
  input  logic signed [31:0]   acc_i,
  input  logic signed [8:0]    exp_i,
  input  logic signed [PW-1:0] product_i,
  input  logic signed [8:0]    product_exp_i,
  output logic signed [31:0]   acc_o,
  output logic signed [8:0]    exp_o
);
  logic signed [31:0] fresh, old_shifted, new_shifted;
  logic signed [9:0]  ahead;  // how far the product's exponent is above the accumulator's
  logic signed [9:0]  behind;
  logic [4:0]         old_shift, new_shift;

  always_comb begin
    fresh     = 32'(product_i) <<< GUARD;
    ahead     = product_exp_i - exp_i;
    behind    = -ahead;
    old_shift = (ahead <= 0) ? 5'd0 : (ahead > 31) ? 5'd31 : ahead[4:0];
    new_shift = (ahead >= 0) ? 5'd0 : (behind > 31) ? 5'd31 : behind[4:0];
    old_shifted = acc_i >>> old_shift;
    new_shifted = fresh >>> new_shift;
    if (first_i) begin
      acc_o = fresh;
      exp_o = product_exp_i;
    end else begin
      acc_o = old_shifted + new_shifted;
      exp_o = (ahead > 0) ? product_exp_i : exp_i;
    end
  end
endmodule
