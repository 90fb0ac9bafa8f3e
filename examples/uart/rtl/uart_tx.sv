// A serial transmitter, 8N1, one bit every DIVISOR cycles, with a queue before it.
module uart_tx #(
  parameter int DIVISOR = 8,
  parameter int DEPTH   = 8
) (
  input  logic       clk,
  input  logic       rst_n,
  input  logic       in_valid,
  input  logic [7:0] in_data,
  output logic       in_ready,
  output logic       tx,
  output logic       idle
);
  localparam int TICKS = $clog2(DIVISOR);

  logic       next_valid, next_ready;
  logic [7:0] next;
  fifo #(.WIDTH(8), .DEPTH(DEPTH)) queue (
    .clk, .rst_n, .in_valid, .in_data, .in_ready,
    .out_valid(next_valid), .out_data(next), .out_ready(next_ready)
  );

  logic [TICKS-1:0] divider;
  logic [9:0] frame;      // what is left to send, the next bit lowest
  logic [3:0] bits_left;  // 0: nothing is being sent
  wire last_tick = divider == TICKS'(DIVISOR - 1);

  assign next_ready = bits_left == 0;
  assign tx   = bits_left == 0 || frame[0];
  assign idle = bits_left == 0 && !next_valid;

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      divider   <= '0;
      frame     <= '1;
      bits_left <= '0;
    end else if (bits_left == 0) begin
      divider <= '0;
      if (next_valid) begin
        frame     <= {1'b1, next, 1'b0};
        bits_left <= 4'd10;
      end
    end else begin
      divider <= last_tick ? '0 : divider + 1'b1;
      if (last_tick) begin
        frame     <= {1'b1, frame[9:1]};
        bits_left <= bits_left - 1'b1;
      end
    end
  end
endmodule
