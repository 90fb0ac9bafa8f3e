// Stateless: one element of the multifunction unit. a: the chain's vector, b: the operand,
// acc: the matrix unit's accumulator. All results that need rounding share one rounder.
module npu_lane #(
  parameter MANT  = 7,
  parameter GUARD = 5
) (
  input  logic [7:0]         op_i,
  input  logic [15:0]        a_i,
  input  logic [15:0]        b_i,
  input  logic signed [31:0] acc_i,
  input  logic signed [8:0]  acc_exp_i,
  output logic [15:0]        h_o,
  output logic               sat_o
);
  localparam signed [10:0] ACC_OFFSET = 11'(GUARD + 2 * (MANT - 1));

  logic               sum_sign, product_sign, act_sign, sign, act_pass, rounded_sat, a_wins;
  logic [14:0]        sum;
  logic signed [6:0]  sum_exp;
  logic [21:0]        product;
  logic signed [7:0]  product_exp;
  logic [17:0]        act;
  logic [31:0]        mag;
  logic signed [10:0] exponent;
  logic [15:0]        rounded;

  npu_fadd u_add (
    .a_i({a_i[15] ^ (op_i == npu_pkg::OP_VV_B_SUB_A), a_i[14:0]}),
    .b_i({b_i[15] ^ (op_i == npu_pkg::OP_VV_A_SUB_B), b_i[14:0]}),
    .sign_o(sum_sign), .mag_o(sum), .exp_o(sum_exp)
  );
  npu_fmul u_mul (
    .a_i, .b_i, .sign_o(product_sign), .mag_o(product), .exp_o(product_exp)
  );
  npu_act u_act (
    .sigm_i(op_i == npu_pkg::OP_V_SIGM), .a_i, .sign_o(act_sign), .mag_o(act), .pass_o(act_pass)
  );

  always_comb begin
    case (op_i)
      npu_pkg::OP_MV_MUL: begin
        sign     = acc_i[31];
        mag      = acc_i[31] ? -acc_i : acc_i;
        exponent = 11'(acc_exp_i) - ACC_OFFSET;
      end
      npu_pkg::OP_VV_MUL: begin
        sign     = product_sign;
        mag      = {product, 10'b0};
        exponent = 11'(product_exp) - 11'sd10;
      end
      npu_pkg::OP_V_SIGM, npu_pkg::OP_V_TANH: begin
        sign     = act_sign;
        mag      = {act, 14'b0};
        exponent = (op_i == npu_pkg::OP_V_SIGM) ? -11'sd16 : -11'sd15;
      end
      default: begin
        sign     = sum_sign;
        mag      = {sum, 17'b0};
        exponent = 11'(sum_exp) - 11'sd17;
      end
    endcase
  end

  npu_round #(.W(32), .STEPS(5), .EW(11)) u_round (
    .sign_i(sign), .mag_i(mag), .exp_i(exponent), .h_o(rounded), .sat_o(rounded_sat)
  );

  always_comb begin
    if (a_i[15] != b_i[15]) a_wins = b_i[15];
    else                    a_wins = (a_i[14:0] > b_i[14:0]) ^ a_i[15];
    h_o   = rounded;
    sat_o = rounded_sat;
    case (op_i)
      npu_pkg::OP_VV_MAX: begin
        h_o   = a_wins ? a_i : b_i;
        sat_o = 1'b0;
      end
      npu_pkg::OP_V_RELU: begin
        h_o   = a_i[15] ? 16'h0000 : a_i;
        sat_o = 1'b0;
      end
      npu_pkg::OP_V_TANH: if (act_pass) h_o = a_i;
      default: ;
    endcase
  end
endmodule
