// Stateless: one element of the multifunction unit. a: the chain's vector, b: the operand.
module npu_lane (
  input  logic [7:0]  op_i,
  input  logic [15:0] a_i,
  input  logic [15:0] b_i,
  output logic [15:0] h_o,
  output logic        sat_o
);

  logic [15:0] sum, product, act;
  logic        sum_sat, product_sat, a_wins;

  npu_fadd u_add (
    .a_i({a_i[15] ^ (op_i == npu_pkg::OP_VV_B_SUB_A), a_i[14:0]}),
    .b_i({b_i[15] ^ (op_i == npu_pkg::OP_VV_A_SUB_B), b_i[14:0]}),
    .h_o(sum), .sat_o(sum_sat)
  );
  npu_fmul u_mul (.a_i, .b_i, .h_o(product), .sat_o(product_sat));
  npu_act  u_act (.sigm_i(op_i == npu_pkg::OP_V_SIGM), .a_i, .h_o(act));

  always_comb begin
    if (a_i[15] != b_i[15]) a_wins = b_i[15];
    else                    a_wins = (a_i[14:0] > b_i[14:0]) ^ a_i[15];
    h_o   = act;
    sat_o = 1'b0;
    case (op_i)
      npu_pkg::OP_VV_ADD, npu_pkg::OP_VV_A_SUB_B, npu_pkg::OP_VV_B_SUB_A: begin
        h_o   = sum;
        sat_o = sum_sat;
      end
      npu_pkg::OP_VV_MUL: begin
        h_o   = product;
        sat_o = product_sat;
      end
      npu_pkg::OP_VV_MAX: h_o = a_wins ? a_i : b_i;
      npu_pkg::OP_V_RELU: h_o = a_i[15] ? 16'h0000 : a_i;
      default: ;
    endcase
  end
endmodule
