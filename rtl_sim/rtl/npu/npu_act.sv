// An activation slot of the pipe: relu, tanh, or the sigmoid by way of tanh, in two cycles.
module npu_act #(
  parameter N = 16
) (
  input  logic            clk_i,
  input  logic            valid_i,
  input  logic [1:0]      op_i,
  input  logic [N*16-1:0] a_i,
  input  logic            valid_half_i,
  output logic [N*16-1:0] vec_o
);
  import npu_chain_pkg::*;
  logic [1:0] op_q;

  always_ff @(posedge clk_i) begin
    if (valid_i) op_q <= op_i;
  end

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_lane
    logic [15:0] a, a_q, rounded, vec_q;
    logic [4:0]  exponent;
    logic [16:0] argument;  // |x|, or |x| / 2 for the sigmoid, in units of 2**-14
    logic [16:0] base, base_q, fixed;
    logic [11:0] slope, slope_q;
    logic [9:0]  fraction_q;
    logic [21:0] rise;
    logic [17:0] mag;       // in units of 2**-17 for the sigmoid, 2**-16 for tanh
    logic        sigm, unused_sat, pass;

    assign a        = a_i[g*16 +: 16];
    assign exponent = a[14:10];
    assign sigm     = op_i == ACT_SIGM;
    always_comb begin
      if (exponent == 0 || !op_i[1])               argument = 17'd0;
      else if (exponent > 5'd17 + {4'b0, sigm})    argument = 17'h1ffff;
      else argument = {1'b1, a[9:0], 6'b0} >> (5'd17 + {4'b0, sigm} - exponent);
    end
    npu_tanh_rom u_rom (.idx_i(argument[16:10]), .base_o(base), .slope_o(slope));

    always_ff @(posedge clk_i) begin
      if (valid_i) begin
        a_q        <= (op_i == ACT_RELU && a[15]) ? 16'h0000 : a;
        base_q     <= base;
        slope_q    <= slope;
        fraction_q <= argument[9:0];
      end
    end

    always_comb begin
      // below 1/16, x is nearer to tanh(x) than the fixed-point argument can be
      pass = op_q == ACT_PASS || op_q == ACT_RELU || (op_q == ACT_TANH && a_q[14:10] < 5'd11);
      rise = '0;
      if (npu_pkg::looked_at(valid_half_i & ~pass)) rise = {10'b0, slope_q} * {12'b0, fraction_q} + 22'd512;
      fixed = base_q + {5'b0, rise[21:10]};
      if (op_q != ACT_SIGM) mag = {1'b0, fixed};
      else if (a_q[15])     mag = 18'd65536 - {1'b0, fixed};
      else                  mag = 18'd65536 + {1'b0, fixed};
    end
    npu_round #(.W(18), .STEPS(5), .EW(7)) u_round (
      .en_i(valid_half_i & ~pass), .sign_i(a_q[15] & (op_q != ACT_SIGM)), .mag_i(mag),
      .exp_i((op_q == ACT_SIGM) ? -7'sd2 : -7'sd1), .h_o(rounded), .sat_o(unused_sat)
    );
    always_ff @(posedge clk_i) begin
      if (valid_half_i) vec_q <= pass ? a_q : rounded;
    end
    assign vec_o[g*16 +: 16] = vec_q;
  end
endmodule
