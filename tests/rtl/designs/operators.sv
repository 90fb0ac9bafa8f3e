// Every operator, signed and not, of unequal widths; parts chosen by a variable; nested choices.
// The arithmetic lives in modules without state, which stay modules.
module operators_alu (
  input  logic signed [11:0] a, input logic signed [7:0] b, input logic [3:0] op,
  output logic signed [19:0] y
);
  always_comb begin
    case (op)
      4'd0: y = a + b;
      4'd1: y = a - b;
      4'd2: y = a * b;
      4'd3: y = b == 0 ? 20'sd0 : a / b;
      4'd4: y = b == 0 ? 20'sd0 : a % b;
      4'd5: y = a >>> b[2:0];
      4'd6: y = a <<< b[2:0];
      4'd7: y = $unsigned(a) >> b[2:0];
      4'd8: y = {19'd0, a < b};
      4'd9: y = {19'd0, a >= b};
      4'd10: y = -a;
      4'd11: y = ~{a, b};
      4'd12: y = {17'd0, &a, |b, ^a};
      4'd13: y = {18'd0, !a, a != b};
      4'd14: y = {18'd0, a && b, a || b};
      default: y = (a ~^ b) | (a & 12'sh3F);
    endcase
  end
endmodule

module operators (input logic clk, rst, input logic [31:0] x, output logic [31:0] y);
  logic signed [19:0] alu;
  logic [63:0] window;
  logic [15:0] picked;
  logic [31:0] acc;
  logic [7:0] slot;

  operators_alu u_alu (.a(x[11:0]), .b(acc[7:0]), .op(x[15:12]), .y(alu));
  assign picked = window[x[21:16]+:16];

  always_ff @(posedge clk) begin
    if (rst) begin
      window <= 64'h0123_4567_89AB_CDEF;
      acc    <= '0;
      slot   <= 8'd1;
    end else begin
      window[8*x[24:22]+:8] <= acc[15:8] ^ x[7:0];
      slot[x[27:25]] <= x[28];
      if (x[31:29] == 0) acc <= 32'(alu);
      else if (x[31:29] < 3) acc <= acc + 32'(alu) + {24'd0, slot};
      else acc <= {acc[30:0], acc[31]} ^ {picked, 16'(alu >>> 3)};
    end
  end
  assign y = acc ^ window[63:32];
endmodule
