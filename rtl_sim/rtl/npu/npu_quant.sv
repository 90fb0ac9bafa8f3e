// A native vector of h16 to block floating point, in two cycles: the block's exponent, then the
// mantissas, each with its sign.
module npu_quant #(
  parameter N    = 16,
  parameter MANT = 7
) (
  input  logic                  clk_i,
  input  logic                  valid_i,
  input  logic [N*16-1:0]       vec_i,
  input  logic                  valid_half_i,
  output logic [N*(MANT+1)+4:0] block_o    // exponent on top
);
  localparam MB = MANT + 1;

  logic [4:0]      exponent, exponent_q, exponent_out_q;
  logic [N*16-1:0] vec_q;
  logic [N*MB-1:0] mant, mant_q;
  integer          i;

  assign block_o = {exponent_out_q, mant_q};

  always_comb begin
    exponent = 5'd0;
    if (npu_pkg::looked_at(valid_i)) begin
      for (i = 0; i < N; i = i + 1) begin
        if (vec_i[i*16+10 +: 5] > exponent) exponent = vec_i[i*16+10 +: 5];
      end
    end
  end

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_element
    logic [5:0]    shift;
    logic [11:0]   sum;
    logic [MB-1:0] mag;
    always_comb begin
      {shift, sum, mag} = '0;
      if (npu_pkg::looked_at(valid_half_i)) begin
        shift = 6'd11 - 6'(MANT) + {1'b0, exponent_q} - {1'b0, vec_q[g*16+10 +: 5]};
        sum   = {2'b01, vec_q[g*16 +: 10]} + (12'd1 << (shift - 6'd1));
        mag   = MB'(sum >> shift);
        if (mag[MANT]) mag = {1'b0, {MANT{1'b1}}};
        if (shift >= 6'd12 || vec_q[g*16+10 +: 5] == 0) mag = '0;
      end
      mant[g*MB +: MB] = vec_q[g*16+15] ? -mag : mag;
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      vec_q      <= vec_i;
      exponent_q <= exponent;
    end
    if (valid_half_i) begin
      mant_q         <= mant;
      exponent_out_q <= exponent_q;
    end
  end
endmodule
