// Stateless: sum of LANES products of signed mantissas.
module npu_dot #(
  parameter LANES = 16,
  parameter MB    = 8,
  parameter PW    = 20
) (
  input  logic                 en_i,   // npu_pkg::looked_at
  input  logic [LANES*MB-1:0]  w_i,
  input  logic [LANES*MB-1:0]  x_i,
  output logic signed [PW-1:0] sum_o
);
  integer i;
  always_comb begin
    sum_o = '0;
    if (npu_pkg::looked_at(en_i)) begin
      for (i = 0; i < LANES; i = i + 1) begin
        sum_o = sum_o + $signed(w_i[i*MB +: MB]) * $signed(x_i[i*MB +: MB]);
      end
    end
  end
endmodule
