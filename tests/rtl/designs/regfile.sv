// A register file: byte-enabled write, two asynchronous reads, one registered read, known content.
module regfile (input logic clk, rst, input logic [31:0] x, output logic [31:0] y);
  logic [31:0] regs [16];
  logic [31:0] a, b, registered, data;
  logic [3:0] be;

  initial for (int i = 0; i < 16; i++) regs[i] = 32'h01010101 * i;

  assign a    = regs[x[3:0]];
  assign b    = regs[x[7:4]];
  assign data = x * 32'h9E3779B1;
  assign be   = x[15:12];

  always_ff @(posedge clk) begin
    if (!rst) begin
      for (int i = 0; i < 4; i++) if (be[i]) regs[x[11:8]][8*i+:8] <= data[8*i+:8];
    end
    if (x[16]) registered <= regs[x[11:8]];
  end
  assign y = rst ? '0 : a + (b ^ registered);
endmodule
