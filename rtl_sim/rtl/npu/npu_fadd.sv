// Stateless: h16 + h16, before rounding (to three bits that round alike). An operand with exponent 0 is zero, whatever its sign.
module npu_fadd (
  input  logic              en_i,   // npu_pkg::looked_at
  input  logic [15:0]       a_i,
  input  logic [15:0]       b_i,
  output logic              sign_o,
  output logic [14:0]       mag_o,
  output logic signed [6:0] exp_o  // biased exponent of a leading one at bit 0
);
  logic [15:0]       larger, smaller;
  logic [13:0]       larger_m, smaller_m, shifted;
  logic [4:0]        distance;

  always_comb begin
    {larger, smaller, larger_m, smaller_m, shifted, distance} = '0;
    {sign_o, mag_o, exp_o} = '0;
    if (npu_pkg::looked_at(en_i)) begin
      if (a_i[14:0] >= b_i[14:0]) begin
        larger   = a_i;
        smaller = b_i;
      end else begin
        larger   = b_i;
        smaller = a_i;
      end
      // three bits below the last one: guard, round, sticky
      larger_m    = (larger[14:10] == 0) ? 14'd0 : {1'b1, larger[9:0], 3'b000};
      smaller_m  = (smaller[14:10] == 0) ? 14'd0 : {1'b1, smaller[9:0], 3'b000};
      distance = larger[14:10] - smaller[14:10];
      shifted  = smaller_m >> distance;
      if ((shifted << distance) != smaller_m) shifted[0] = 1'b1;
      if (larger[15] == smaller[15]) mag_o = {1'b0, larger_m} + {1'b0, shifted};
      else                      mag_o = {1'b0, larger_m} - {1'b0, shifted};
      exp_o  = $signed({2'b00, larger[14:10]}) - 7'sd13;
      sign_o = larger[15];
    end
  end
endmodule
