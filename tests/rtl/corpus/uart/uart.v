// UART in the old style: a divider makes the bit clock, and transmitter and receiver run on it.

module uart_divider #(
  parameter HALF = 2
) (
  input  wire clk,
  input  wire rst,
  output reg  tick
);
  reg [7:0] count;
  always @(posedge clk)
    if (rst) begin
      count <= 0;
      tick <= 0;
    end else if (count == HALF - 1) begin
      count <= 0;
      tick <= ~tick;
    end else
      count <= count + 1;
endmodule

module uart #(
  parameter HALF = 2
) (
  input  wire       clk,
  input  wire       rst,
  input  wire       send,
  input  wire [7:0] data,
  output reg        busy,
  output reg        tx,
  input  wire       rx,
  output reg        received,
  output reg  [7:0] rx_data,
  output reg        parity_error
);
  wire bit_clk;
  uart_divider #(.HALF(HALF)) divider (.clk(clk), .rst(rst), .tick(bit_clk));

  // Requests cross from the fast clock by a toggle.
  reg request, request_m, request_s, taken;
  reg [7:0] holding;
  always @(posedge clk)
    if (rst) begin
      request <= 0;
      holding <= 0;
    end else if (send && request == taken) begin
      request <= ~request;
      holding <= data;
    end

  reg [9:0] shift;
  reg [3:0] left;
  always @(posedge bit_clk or posedge rst)
    if (rst) begin
      request_m <= 0;
      request_s <= 0;
      taken <= 0;
      busy <= 0;
      tx <= 1;
      shift <= 10'h3ff;
      left <= 0;
    end else begin
      request_m <= request;
      request_s <= request_m;
      if (left != 0) begin
        tx <= shift[0];
        shift <= {1'b1, shift[9:1]};
        left <= left - 1;
      end else if (request_s != taken) begin
        taken <= request_s;
        shift <= {^holding, holding, 1'b0};
        left <= 11;
        busy <= 1;
      end else begin
        busy <= 0;
        tx <= 1;
      end
    end

  // The receiver samples on the falling edge, in the middle of a bit.
  reg [3:0] rx_left;
  reg [8:0] rx_shift;
  always @(negedge bit_clk or posedge rst)
    if (rst) begin
      rx_left <= 0;
      rx_shift <= 0;
      received <= 0;
      rx_data <= 0;
      parity_error <= 0;
    end else begin
      received <= 0;
      if (rx_left != 0) begin
        rx_shift <= {rx, rx_shift[8:1]};
        rx_left <= rx_left - 1;
        if (rx_left == 1) begin
          received <= 1;
          rx_data <= rx_shift[8:1];
          parity_error <= rx ^ (^rx_shift[8:1]);
        end
      end else if (!rx)
        rx_left <= 9;
    end
endmodule
