// Pipelined radix-2 FFT, single-path delay feedback (decimation in frequency): a sample goes in and
// one comes out every enabled cycle, in bit-reversed order. Long delays are block RAMs, short ones
// shift registers; twiddle factors come from ROMs. After each stage values are halved.

module fft_delay #(
  parameter int DEPTH = 4,
  parameter int WIDTH = 32
) (
  input  logic             clk,
  input  logic             en,
  input  logic [WIDTH-1:0] d,
  output logic [WIDTH-1:0] q
);
  if (DEPTH < 16) begin : g_shift
    logic [WIDTH-1:0] line [DEPTH];
    always_ff @(posedge clk)
      if (en) begin
        line[0] <= d;
        for (int i = 1; i < DEPTH; i++) line[i] <= line[i-1];
      end
    assign q = line[DEPTH-1];
  end else begin : g_ram
    localparam int A = $clog2(DEPTH);
    logic [WIDTH-1:0] mem [DEPTH];
    logic [WIDTH-1:0] read_q;
    logic [A-1:0] place = '0;
    wire [A-1:0] next = place + 1'b1;
    // The word read now is written over in the cycle after the next: depth of the delay is DEPTH.
    always_ff @(posedge clk)
      if (en) begin
        mem[place] <= d;
        read_q <= mem[next];
        place <= next;
      end
    assign q = read_q;
  end
endmodule

module fft_stage #(
  parameter int DEPTH = 4,
  parameter int WIDTH = 16,
  parameter string TWIDDLES = ""
) (
  input  logic               clk,
  input  logic               rst,
  input  logic               en,
  input  logic               first,
  input  logic [2*WIDTH-1:0] d,
  output logic [2*WIDTH-1:0] q,
  output logic               q_first
);
  localparam int A = DEPTH > 1 ? $clog2(DEPTH) : 1;
  logic [A:0] count;
  logic [2*WIDTH-1:0] delayed, sum, back;
  logic second;

  wire [A:0] now = first ? '0 : count;
  assign second = DEPTH > 1 ? now[A] : now[0];

  function automatic logic signed [WIDTH-1:0] half(input logic signed [WIDTH:0] value);
    return WIDTH'(value >>> 1);
  endfunction

  wire signed [WIDTH-1:0] a_re = delayed[2*WIDTH-1:WIDTH], a_im = delayed[WIDTH-1:0];
  wire signed [WIDTH-1:0] b_re = d[2*WIDTH-1:WIDTH], b_im = d[WIDTH-1:0];
  wire signed [WIDTH:0] plus_re = a_re + b_re, plus_im = a_im + b_im;
  wire signed [WIDTH:0] minus_re = a_re - b_re, minus_im = a_im - b_im;

  assign sum = {half(plus_re), half(plus_im)};
  assign back = second ? {half(minus_re), half(minus_im)} : d;
  fft_delay #(.DEPTH(DEPTH), .WIDTH(2 * WIDTH)) delay (.clk, .en, .d(back), .q(delayed));

  // What leaves: sums in the second half, rotated differences in the first half of the next block.
  logic [2*WIDTH-1:0] twiddles [DEPTH];
  logic [2*WIDTH-1:0] twiddle;
  initial $readmemh(TWIDDLES, twiddles);

  logic [2*WIDTH-1:0] plain;
  logic rotate;
  always_ff @(posedge clk)
    if (en) begin
      twiddle <= twiddles[now[(DEPTH > 1 ? A - 1 : 0):0] & A'(DEPTH - 1)];
      plain <= second ? sum : delayed;
      rotate <= !second;
    end

  wire signed [WIDTH-1:0] p_re = plain[2*WIDTH-1:WIDTH], p_im = plain[WIDTH-1:0];
  wire signed [WIDTH-1:0] w_re = twiddle[2*WIDTH-1:WIDTH], w_im = twiddle[WIDTH-1:0];
  logic signed [2*WIDTH-1:0] rr, ii, ri, ir;
  logic [2*WIDTH-1:0] plain_q;
  logic rotate_q;
  always_ff @(posedge clk)
    if (en) begin
      rr <= p_re * w_re;
      ii <= p_im * w_im;
      ri <= p_re * w_im;
      ir <= p_im * w_re;
      plain_q <= plain;
      rotate_q <= rotate;
    end

  wire signed [2*WIDTH:0] c_re = rr - ii, c_im = ri + ir;
  always_ff @(posedge clk)
    if (en) q <= rotate_q ? {c_re[2*WIDTH-2-:WIDTH], c_im[2*WIDTH-2-:WIDTH]} : plain_q;

  // The first sample of a block leaves after DEPTH in the delay and three in the pipeline.
  logic [2:0] lead_q;
  logic pending;
  wire leads = pending && now == (A + 1)'(DEPTH);
  always_ff @(posedge clk) begin
    if (rst) begin
      count <= '0;
      pending <= 1'b0;
      lead_q <= '0;
    end else if (en) begin
      count <= now + 1'b1;
      pending <= first || (pending && !leads);
      lead_q <= {lead_q[1:0], leads};
    end
  end
  assign q_first = lead_q[2];
endmodule

module fft #(
  parameter int WIDTH = 16
) (
  input  logic               clk,
  input  logic               rst,
  input  logic               en,
  input  logic               first,
  input  logic [2*WIDTH-1:0] d,
  output logic [2*WIDTH-1:0] q,
  output logic               q_first
);
  logic [2*WIDTH-1:0] w [7];
  logic [6:0] f;
  assign w[0] = d;
  assign f[0] = first;

  fft_stage #(.DEPTH(32), .WIDTH(WIDTH), .TWIDDLES("twiddle32.hex")) s5
    (.clk, .rst, .en, .first(f[0]), .d(w[0]), .q(w[1]), .q_first(f[1]));
  fft_stage #(.DEPTH(16), .WIDTH(WIDTH), .TWIDDLES("twiddle16.hex")) s4
    (.clk, .rst, .en, .first(f[1]), .d(w[1]), .q(w[2]), .q_first(f[2]));
  fft_stage #(.DEPTH(8), .WIDTH(WIDTH), .TWIDDLES("twiddle8.hex")) s3
    (.clk, .rst, .en, .first(f[2]), .d(w[2]), .q(w[3]), .q_first(f[3]));
  fft_stage #(.DEPTH(4), .WIDTH(WIDTH), .TWIDDLES("twiddle4.hex")) s2
    (.clk, .rst, .en, .first(f[3]), .d(w[3]), .q(w[4]), .q_first(f[4]));
  fft_stage #(.DEPTH(2), .WIDTH(WIDTH), .TWIDDLES("twiddle2.hex")) s1
    (.clk, .rst, .en, .first(f[4]), .d(w[4]), .q(w[5]), .q_first(f[5]));
  fft_stage #(.DEPTH(1), .WIDTH(WIDTH), .TWIDDLES("twiddle1.hex")) s0
    (.clk, .rst, .en, .first(f[5]), .d(w[5]), .q(w[6]), .q_first(f[6]));

  assign q = w[6];
  assign q_first = f[6];
endmodule
