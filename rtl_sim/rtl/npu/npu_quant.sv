// Stateless: a native vector of h16 to block floating point: mantissas and the block's exponent.
module npu_quant #(
  parameter N    = 16,
  parameter MANT = 7
) (
  input  logic [N*16-1:0]       vec_i,
  output logic [N*(MANT+1)-1:0] mant_o,
  output logic [4:0]            exp_o
);
  localparam MB = MANT + 1;

  integer i;
  always_comb begin
    exp_o = 5'd0;
    for (i = 0; i < N; i = i + 1) begin
      if (vec_i[i*16+10 +: 5] > exp_o) exp_o = vec_i[i*16+10 +: 5];
    end
  end

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_element
    logic [5:0]    shift;
    logic [11:0]   sum;
    logic [MB-1:0] mag;
    always_comb begin
      shift = 6'd11 - 6'(MANT) + {1'b0, exp_o} - {1'b0, vec_i[g*16+10 +: 5]};
      sum   = {2'b01, vec_i[g*16 +: 10]} + (12'd1 << (shift - 6'd1));
      mag   = MB'(sum >> shift);
      if (mag[MANT]) mag = {1'b0, {MANT{1'b1}}};
      if (shift >= 6'd12 || vec_i[g*16+10 +: 5] == 0) mag = '0;
      mant_o[g*MB +: MB] = vec_i[g*16+15] ? -mag : mag;
    end
  end
endmodule
