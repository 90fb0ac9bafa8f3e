// Which entries of a register file are still to be written by rows that are in the pipe.
module npu_busy #(
  parameter DEPTH = 16,
  parameter PORTS = 2
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           set_i,
  input  logic [$clog2(DEPTH)-1:0]       set_addr_i,
  input  logic                           clear_i,
  input  logic [$clog2(DEPTH)-1:0]       clear_addr_i,
  input  logic [PORTS-1:0]               asked_i,
  input  logic [PORTS*$clog2(DEPTH)-1:0] addr_i,
  output logic                           busy_o   // an entry asked for is
);
  localparam AW = $clog2(DEPTH);
  logic [DEPTH-1:0] busy_q;
  integer p;

  always_comb begin
    busy_o = 1'b0;
    for (p = 0; p < PORTS; p = p + 1) begin
      if (asked_i[p] && busy_q[addr_i[p*AW +: AW]]) busy_o = 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= '0;
    end else begin
      if (clear_i) busy_q[clear_addr_i] <= 1'b0;
      if (set_i)   busy_q[set_addr_i]   <= 1'b1;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) set_i |-> !busy_q[set_addr_i]);
  assert property (@(posedge clk_i) disable iff (!rst_ni) clear_i |-> busy_q[clear_addr_i]);
`endif
endmodule
