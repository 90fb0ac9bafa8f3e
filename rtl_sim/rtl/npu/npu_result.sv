// Stateless: a finished accumulator to h16.
module npu_result #(
  parameter MANT  = 7,
  parameter GUARD = 5
) (
  input  logic signed [31:0] acc_i,
  input  logic signed [8:0]  exp_i,
  output logic [15:0]        h_o,
  output logic               sat_o
);
  localparam signed [10:0] OFFSET = 11'(GUARD + 2 * (MANT - 1));

  logic [31:0]        mag;
  logic signed [10:0] exponent;

  always_comb begin
    mag      = acc_i[31] ? -acc_i : acc_i;
    exponent = 11'(exp_i) - OFFSET;
  end

  npu_round #(.W(32), .STEPS(5), .EW(11)) u_round (
    .sign_i(acc_i[31]), .mag_i(mag), .exp_i(exponent), .h_o, .sat_o
  );
endmodule
