// A memory with one write port and PORTS read ports, whose data come in the next cycle.
module npu_ram #(
  parameter WIDTH = 256,
  parameter DEPTH = 16,
  parameter PORTS = 1
) (
  input  logic                           clk_i,
  input  logic                           we_i,
  input  logic [$clog2(DEPTH)-1:0]       waddr_i,
  input  logic [WIDTH-1:0]               wdata_i,
  input  logic [PORTS-1:0]               re_i,
  input  logic [PORTS*$clog2(DEPTH)-1:0] raddr_i,
  output logic [PORTS*WIDTH-1:0]         rdata_o
);
  localparam AW = $clog2(DEPTH);
  logic [WIDTH-1:0] mem [0:DEPTH-1];

  always_ff @(posedge clk_i) begin
    if (we_i) mem[waddr_i] <= wdata_i;
  end

  genvar g;
  for (g = 0; g < PORTS; g = g + 1) begin : gen_port
    logic [WIDTH-1:0] data_q;
    always_ff @(posedge clk_i) begin
      if (re_i[g]) data_q <= mem[raddr_i[g*AW +: AW]];
    end
    assign rdata_o[g*WIDTH +: WIDTH] = data_q;
  end
endmodule
