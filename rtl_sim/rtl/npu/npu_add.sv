// An adder slot of the pipe: add, subtract or the greater of two, in two cycles.
module npu_add #(
  parameter N = 16
) (
  input  logic            clk_i,
  input  logic            valid_i,    // a vector stands at the input
  input  logic [2:0]      op_i,
  input  logic [N*16-1:0] a_i,
  input  logic [N*16-1:0] b_i,
  input  logic            valid_half_i,  // one is half way
  output logic [N*16-1:0] vec_o,
  output logic            sat_o       // half way
);
  import npu_chain_pkg::*;
  logic         alternative_q;
  logic [N-1:0] sats;

  assign sat_o = valid_half_i & ~alternative_q & (|sats);

  always_ff @(posedge clk_i) begin
    if (valid_i) alternative_q <= op_i == ADD_PASS || op_i == ADD_MAX;
  end

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_lane
    logic [15:0]       a, b, alternative_q1, rounded, vec_q;
    logic              sign, sign_q, a_wins;
    logic [14:0]       mag, mag_q;
    logic signed [6:0] exponent, exponent_q;
    assign a = a_i[g*16 +: 16];
    assign b = b_i[g*16 +: 16];
    npu_fadd u_add (
      .en_i(valid_i),
      .a_i({a[15] ^ (op_i == ADD_B_SUB_A), a[14:0]}), .b_i({b[15] ^ (op_i == ADD_A_SUB_B), b[14:0]}),
      .sign_o(sign), .mag_o(mag), .exp_o(exponent)
    );
    always_comb begin
      if (a[15] != b[15]) a_wins = b[15];
      else                a_wins = (a[14:0] > b[14:0]) ^ a[15];
    end
    always_ff @(posedge clk_i) begin
      if (valid_i) begin
        sign_q         <= sign;
        mag_q          <= mag;
        exponent_q     <= exponent;
        alternative_q1 <= (op_i == ADD_MAX && !a_wins) ? b : a;
      end
    end
    npu_round #(.W(15), .STEPS(4), .EW(7)) u_round (
      .en_i(valid_half_i & ~alternative_q), .sign_i(sign_q), .mag_i(mag_q), .exp_i(exponent_q), .h_o(rounded), .sat_o(sats[g])
    );
    always_ff @(posedge clk_i) begin
      if (valid_half_i) vec_q <= alternative_q ? alternative_q1 : rounded;
    end
    assign vec_o[g*16 +: 16] = vec_q;
  end
endmodule
