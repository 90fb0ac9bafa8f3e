// Counts how often each byte value came by: a memory, a pipeline, an asynchronous reset.
package tally_pkg;
  typedef struct packed {logic valid; logic [7:0] value;} item_t;
endpackage

module tally import tally_pkg::*; (
    input  logic        clk,
    input  logic        rst_n,
    input  logic        valid,
    input  logic [7:0]  value,
    output logic [15:0] most
);
  logic [15:0] counts[256];
  item_t seen;

  wire [15:0] now = counts[seen.value] + 16'd1;

  always_ff @(posedge clk or negedge rst_n)
    if (!rst_n) begin
      seen <= '0;
      most <= '0;
    end else begin
      seen <= '{valid, value};
      if (seen.valid && now > most) most <= now;
    end

  initial for (int i = 0; i < 256; i++) counts[i] = '0;
  always_ff @(posedge clk) if (seen.valid) counts[seen.value] <= now;
endmodule
