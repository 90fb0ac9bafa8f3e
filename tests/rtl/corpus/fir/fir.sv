// FIR filter with one multiplier: samples in a circular block RAM, coefficients in another that can
// be reloaded while it runs, a pipeline of multiply, accumulate and round.

module fir #(
  parameter int TAPS = 64,
  parameter int WIDTH = 16
) (
  input  logic                    clk,
  input  logic                    rst,
  input  logic                    in_valid,
  output logic                    in_ready,
  input  logic signed [WIDTH-1:0] in_data,
  input  logic                    coefficient_write,
  input  logic [$clog2(TAPS)-1:0] coefficient_address,
  input  logic signed [WIDTH-1:0] coefficient_data,
  output logic                    out_valid,
  input  logic                    out_ready,
  output logic signed [WIDTH-1:0] out_data
);
  localparam int A = $clog2(TAPS);
  localparam int ACC = 2 * WIDTH + A;

  typedef enum logic [1:0] {IDLE, RUN, DRAIN, DONE} state_e;
  state_e state;

  logic signed [WIDTH-1:0] samples [TAPS];
  logic signed [WIDTH-1:0] coefficients [TAPS];
  logic signed [WIDTH-1:0] sample_q, coefficient_q;
  logic signed [2*WIDTH-1:0] product;
  logic signed [ACC-1:0] accumulator;
  logic [A-1:0] head, tap;
  logic [2:0] pipe;  // read, multiply, accumulate

  assign in_ready = state == IDLE;
  wire take = in_valid && in_ready;

  initial for (int i = 0; i < TAPS; i++) begin
    coefficients[i] = WIDTH'((i + 1) * 37);
    samples[i] = '0;
  end

  always_ff @(posedge clk) begin
    if (take) samples[head] <= in_data;
    if (state == RUN) sample_q <= samples[A'(head - tap)];
  end

  always_ff @(posedge clk) begin
    if (coefficient_write) coefficients[coefficient_address] <= coefficient_data;
    if (state == RUN) coefficient_q <= coefficients[tap];
  end

  always_ff @(posedge clk) begin
    if (pipe[0]) product <= sample_q * coefficient_q;
    if (take) accumulator <= '0;
    else if (pipe[1]) accumulator <= accumulator + ACC'(product);
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      state <= IDLE;
      head <= '0;
      tap <= '0;
      pipe <= '0;
      out_valid <= 1'b0;
      out_data <= '0;
    end else begin
      pipe <= {pipe[1:0], state == RUN};
      case (state)
        IDLE: if (in_valid) begin
          state <= RUN;
          tap <= '0;
        end
        RUN: begin
          tap <= tap + 1'b1;
          if (tap == A'(TAPS - 1)) state <= DRAIN;
        end
        DRAIN: if (pipe == '0) begin
          state <= DONE;
          out_valid <= 1'b1;
          out_data <= WIDTH'(accumulator >>> (WIDTH - 1));
        end
        default: if (out_ready) begin
          out_valid <= 1'b0;
          head <= head + 1'b1;
          state <= IDLE;
        end
      endcase
    end
  end
endmodule
