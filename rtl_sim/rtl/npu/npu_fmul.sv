// Stateless: h16 * h16.
module npu_fmul (
  input  logic [15:0] a_i,
  input  logic [15:0] b_i,
  output logic [15:0] h_o,
  output logic        sat_o
);
  logic [21:0]       product;
  logic signed [7:0] exponent;

  always_comb begin
    product = {11'b0, 1'b1, a_i[9:0]} * {11'b0, 1'b1, b_i[9:0]};
    if (a_i[14:10] == 0 || b_i[14:10] == 0) product = 22'd0;
    exponent = $signed({3'b000, a_i[14:10]}) + $signed({3'b000, b_i[14:10]}) - 8'sd35;
  end

  npu_round #(.W(22), .STEPS(1), .EW(8)) u_round (
    .sign_i(a_i[15] ^ b_i[15]), .mag_i(product), .exp_i(exponent), .h_o, .sat_o
  );
endmodule
