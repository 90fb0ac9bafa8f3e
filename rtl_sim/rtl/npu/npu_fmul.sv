// Stateless: h16 * h16, exact.
module npu_fmul (
  input  logic              en_i,   // npu_pkg::looked_at
  input  logic [15:0]       a_i,
  input  logic [15:0]       b_i,
  output logic              sign_o,
  output logic [21:0]       mag_o,
  output logic signed [7:0] exp_o  // biased exponent of a leading one at bit 0
);
  always_comb begin
    {sign_o, mag_o, exp_o} = '0;
    if (npu_pkg::looked_at(en_i)) begin
      mag_o = {11'b0, 1'b1, a_i[9:0]} * {11'b0, 1'b1, b_i[9:0]};
      if (a_i[14:10] == 0 || b_i[14:10] == 0) mag_o = 22'd0;
      exp_o  = $signed({3'b000, a_i[14:10]}) + $signed({3'b000, b_i[14:10]}) - 8'sd35;
      sign_o = a_i[15] ^ b_i[15];
    end
  end
endmodule
