// A queue of DEPTH words, with a bug: it takes one word more than it has room for.
module fifo #(
  parameter int WIDTH = 8,
  parameter int DEPTH = 8
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic             in_valid,
  input  logic [WIDTH-1:0] in_data,
  output logic             in_ready,
  output logic             out_valid,
  output logic [WIDTH-1:0] out_data,
  input  logic             out_ready
);
  localparam int BITS = $clog2(DEPTH);

  logic [WIDTH-1:0] words [DEPTH];
  logic [BITS:0] write_at, read_at;  // one bit more than an address: full and empty differ in it

  assign in_ready  = write_at - read_at <= (BITS + 1)'(DEPTH);
  assign out_valid = write_at != read_at;
  assign out_data  = words[read_at[BITS-1:0]];

  always_ff @(posedge clk) begin
    if (in_valid && in_ready) words[write_at[BITS-1:0]] <= in_data;
  end

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      write_at <= '0;
      read_at  <= '0;
    end else begin
      if (in_valid && in_ready) write_at <= write_at + 1'b1;
      if (out_valid && out_ready) read_at <= read_at + 1'b1;
    end
  end
endmodule
