// A multiplier slot of the pipe, in two cycles.
module npu_mul #(
  parameter N = 16
) (
  input  logic            clk_i,
  input  logic            valid_i,
  input  logic            op_i,       // multiply, or let pass
  input  logic [N*16-1:0] a_i,
  input  logic [N*16-1:0] b_i,
  input  logic            valid_half_i,
  output logic [N*16-1:0] vec_o,
  output logic            sat_o
);
  logic         pass_q;
  logic [N-1:0] sats;

  assign sat_o = valid_half_i & ~pass_q & (|sats);

  always_ff @(posedge clk_i) begin
    if (valid_i) pass_q <= ~op_i;
  end

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_lane
    logic [15:0]       a_q, rounded, vec_q;
    logic              sign, sign_q;
    logic [21:0]       mag, mag_q;
    logic signed [7:0] exponent, exponent_q;
    npu_fmul u_mul (
      .en_i(valid_i), .a_i(a_i[g*16 +: 16]), .b_i(b_i[g*16 +: 16]), .sign_o(sign), .mag_o(mag), .exp_o(exponent)
    );
    always_ff @(posedge clk_i) begin
      if (valid_i) begin
        a_q        <= a_i[g*16 +: 16];
        sign_q     <= sign;
        mag_q      <= mag;
        exponent_q <= exponent;
      end
    end
    npu_round #(.W(22), .STEPS(1), .EW(8)) u_round (
      .en_i(valid_half_i & ~pass_q), .sign_i(sign_q), .mag_i(mag_q), .exp_i(exponent_q), .h_o(rounded), .sat_o(sats[g])
    );
    always_ff @(posedge clk_i) begin
      if (valid_half_i) vec_q <= pass_q ? a_q : rounded;
    end
    assign vec_o[g*16 +: 16] = vec_q;
  end
endmodule
