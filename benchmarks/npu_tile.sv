// The bare tile that simulation rates are weighed against: the NPU's dot units, a beat every cycle,
// and nothing around them.
module npu_tile #(
  parameter N     = 32,
  parameter LANES = 32,
  parameter MANT  = 7,
  parameter GUARD = 5,
  parameter WORDS = 64
) (
  input  logic               ap_clk,
  input  logic               ap_rst_n,
  input  logic [31:0]        seed_i,
  output logic signed [31:0] sum_o
);
  localparam MB = MANT + 1;
  localparam PW = 2 * MANT + $clog2(LANES) + 1;

  logic [$clog2(WORDS)-1:0] word_q;
  logic [31:0]              noise_q;
  logic [LANES*MB-1:0]      x_q;
  logic [N*32-1:0]          acc;
  logic [N*9-1:0]           exps;

  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) begin
      word_q  <= '0;
      noise_q <= seed_i;
      x_q     <= '0;
    end else begin
      word_q  <= word_q + 1'b1;
      noise_q <= {noise_q[30:0], noise_q[31] ^ noise_q[21] ^ noise_q[1] ^ noise_q[0]};
      x_q     <= {x_q[LANES*MB-33:0], noise_q};
    end
  end

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_row
    npu_row #(.LANES(LANES), .MANT(MANT), .GUARD(GUARD), .WORDS(WORDS), .PW(PW)) u_row (
      .clk_i(ap_clk), .we_i(word_q == $clog2(WORDS)'(g)), .waddr_i(word_q), .wdata_i(x_q),
      .read_i(1'b1), .raddr_i(word_q), .dot_i(1'b1), .x_i(x_q), .product_exp_i(9'(noise_q[2:0])),
      .settle_i(1'b1), .accumulate_i(1'b1), .first_i(word_q[2:0] == 0),
      .acc_o(acc[g*32 +: 32]), .exp_o(exps[g*9 +: 9])
    );
  end

  // every row counts, lest the compiler leave one out
  integer i;
  always_comb begin
    sum_o = '0;
    for (i = 0; i < N; i = i + 1) sum_o = sum_o ^ acc[i*32 +: 32];
  end
endmodule
