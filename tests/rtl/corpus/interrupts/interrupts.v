// Interrupt controller: requests set flags asynchronously, acknowledgements clear them
// asynchronously, a timer preloads asynchronously from a constant, and a watchdog counts.

module interrupts #(
  parameter LINES = 8
) (
  input  wire             clk,
  input  wire             rst,
  input  wire [LINES-1:0] request,
  input  wire [LINES-1:0] mask,
  input  wire             acknowledge,
  output wire             irq,
  output reg  [2:0]       vector,
  output reg              in_service,
  input  wire             kick,
  output reg              bite
);
  wire [LINES-1:0] pending;
  reg  [LINES-1:0] served;

  genvar i;
  generate
    for (i = 0; i < LINES; i = i + 1) begin : g_line
      // A request is seen at once, without a clock; service wins over it.
      reg seen, pending_q;
      wire clear = rst | served[i];
      wire set = request[i] & ~clear;
      always @(posedge clk or posedge clear or posedge set)
        if (clear) seen <= 1'b0;
        else if (set) seen <= 1'b1;
        else seen <= seen & ~kick;
      always @(posedge clk or posedge rst)
        if (rst) pending_q <= 1'b0;
        else pending_q <= seen && mask[i];
      assign pending[i] = pending_q;
    end
  endgenerate

  assign irq = |pending && !in_service;

  function [2:0] lowest(input [LINES-1:0] lines);
    integer n;
    begin
      lowest = 3'd0;
      for (n = LINES - 1; n >= 0; n = n - 1)
        if (lines[n]) lowest = n[2:0];
    end
  endfunction

  always @(posedge clk or posedge rst)
    if (rst) begin
      vector <= 3'd0;
      in_service <= 1'b0;
      served <= {LINES{1'b0}};
    end else begin
      served <= {LINES{1'b0}};
      if (irq) begin
        in_service <= 1'b1;
        vector <= lowest(pending);
      end else if (acknowledge && in_service) begin
        in_service <= 1'b0;
        served[vector] <= 1'b1;
      end
    end

  // The watchdog: a kick presets it at once, whatever the clock does.
  reg [5:0] left;
  always @(posedge clk or posedge kick)
    if (kick) begin
      left <= 6'd40;
      bite <= 1'b0;
    end else if (left == 0)
      bite <= 1'b1;
    else
      left <= left - 6'd1;
endmodule
