// True dual-port RAM as vendors' templates have it: two clocks, byte enables on one side, write-first
// on the other, read registers with enable and synchronous reset.

module dual_port #(
  parameter int A = 6
) (
  input  logic         clk_a,
  input  logic         en_a,
  input  logic [3:0]   we_a,
  input  logic [A-1:0] addr_a,
  input  logic [31:0]  din_a,
  output logic [31:0]  dout_a,
  input  logic         clk_b,
  input  logic         rst_b,
  input  logic         en_b,
  input  logic         we_b,
  input  logic [A-1:0] addr_b,
  input  logic [31:0]  din_b,
  output logic [31:0]  dout_b
);
  logic [31:0] mem [2**A];
  // Ports never write one word at once: the upper half is b's to write, the lower a's.
  wire [3:0] write_a = we_a & {4{!addr_a[A-1]}};
  wire write_b = we_b && addr_b[A-1];

  always @(posedge clk_a)
    if (en_a) begin
      for (int i = 0; i < 4; i++)
        if (write_a[i]) mem[addr_a][8*i+:8] <= din_a[8*i+:8];
      dout_a <= mem[addr_a];
    end

  always @(posedge clk_b)
    if (en_b) begin
      if (write_b) mem[addr_b] <= din_b;
      if (rst_b) dout_b <= 32'h5a5a_0ff0;
      else dout_b <= write_b ? din_b : mem[addr_b];
    end
endmodule
