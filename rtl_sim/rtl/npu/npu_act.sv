// Stateless: tanh, or the sigmoid by way of tanh, of an h16, before rounding.
module npu_act (
  input  logic        sigm_i,
  input  logic [15:0] a_i,
  output logic        sign_o,
  output logic [17:0] mag_o,    // in units of 2**-17 for the sigmoid, 2**-16 for tanh
  output logic        pass_o    // the argument itself is the result
);
  logic [4:0]  exponent;
  logic [16:0] argument;  // |x|, or |x| / 2 for the sigmoid, in units of 2**-14
  logic [16:0] base, fixed;
  logic [11:0] slope;
  logic [21:0] rise;

  always_comb begin
    exponent = a_i[14:10];
    if (exponent == 0)                              argument = 17'd0;
    else if (exponent > 5'd17 + {4'b0, sigm_i})     argument = 17'h1ffff;
    else argument = {1'b1, a_i[9:0], 6'b0} >> (5'd17 + {4'b0, sigm_i} - exponent);
  end

  npu_tanh_rom u_rom (.idx_i(argument[16:10]), .base_o(base), .slope_o(slope));

  always_comb begin
    rise  = {10'b0, slope} * {12'b0, argument[9:0]} + 22'd512;
    fixed = base + {5'b0, rise[21:10]};
    if (!sigm_i)      mag_o = {1'b0, fixed};
    else if (a_i[15]) mag_o = 18'd65536 - {1'b0, fixed};
    else              mag_o = 18'd65536 + {1'b0, fixed};
  end

  assign sign_o = a_i[15] & ~sigm_i;
  // below 1/16, x is nearer to tanh(x) than the fixed-point argument can be
  assign pass_o = !sigm_i && exponent < 5'd11;
endmodule
