// Stateless: an exact magnitude to the nearest h16 (docs/npu.md, Arithmetic).
// The biased exponent of the value is `exp_i` + the position of the leading one, which must stand
// in the upper 2**STEPS bits of `mag_i`, or `mag_i` is 0. Width at least 14. `en_i`: npu_pkg::looked_at.
module npu_round #(
  parameter W     = 32,
  parameter STEPS = 5,
  parameter EW    = 11
) (
  input  logic                 en_i,
  input  logic                 sign_i,
  input  logic [W-1:0]         mag_i,
  input  logic signed [EW-1:0] exp_i,
  output logic [15:0]          h_o,
  output logic                 sat_o
);
  logic [W-1:0]         norm;
  logic signed [EW-1:0] e, e_round;
  logic [11:0]          mant;
  integer               k;

  always_comb begin
    norm = '0;
    mant = '0;
    {e, e_round, h_o, sat_o} = '0;
    if (npu_pkg::looked_at(en_i)) begin
      norm = mag_i;
      e    = exp_i + $signed(EW'(W - 1));
      for (k = STEPS - 1; k >= 0; k = k - 1) begin
        if ((norm >> (W - (1 << k))) == 0) begin
          norm = norm << (1 << k);
          e    = e - $signed(EW'(1 << k));
        end
      end
      mant    = {1'b0, norm[W-1 -: 11]};
      mant    = mant + {11'b0, norm[W-12] & ((|norm[W-13:0]) | norm[W-11])};
      e_round = e + $signed({{(EW - 1){1'b0}}, mant[11]});
      sat_o   = 1'b0;
      if (!norm[W-1] || e < 1) begin
        h_o = 16'h0000;
      end else if (e_round >= 31) begin
        h_o   = {sign_i, 15'h7bff};
        sat_o = 1'b1;
      end else begin
        h_o = {sign_i, e_round[4:0], mant[9:0]};
      end
    end
  end
endmodule
