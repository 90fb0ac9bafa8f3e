// Fabric side of the control isolator (AXI4-Lite): carries one access to the fabric and back.
//
// Its registers are part of the fabric's state: after an access that was abandoned it goes on
// offering it and waiting for the answer, in whichever shell the fabric runs then, and swallows it.
module shell_lite_back #(
  parameter int unsigned AddrWidth = 12
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 run_i,

  input  logic                 ask_i,
  output logic                 taken_o,
  input  logic                 is_write_i,
  input  logic [AddrWidth-1:0] addr_i,
  input  logic [31:0]          wdata_i,
  input  logic [3:0]           wstrb_i,
  input  logic                 abandon_i,
  output logic                 done_o,
  output logic [1:0]           resp_o,
  output logic [31:0]          rdata_o,

  output logic                 fab_awvalid,
  input  logic                 fab_awready,
  output logic [AddrWidth-1:0] fab_awaddr,
  output logic                 fab_wvalid,
  input  logic                 fab_wready,
  output logic [31:0]          fab_wdata,
  output logic [3:0]           fab_wstrb,
  input  logic                 fab_bvalid,
  output logic                 fab_bready,
  input  logic [1:0]           fab_bresp,
  output logic                 fab_arvalid,
  input  logic                 fab_arready,
  output logic [AddrWidth-1:0] fab_araddr,
  input  logic                 fab_rvalid,
  output logic                 fab_rready,
  input  logic [31:0]          fab_rdata,
  input  logic [1:0]           fab_rresp
);
  typedef enum logic [1:0] {Idle, Write, Read} state_e;

  state_e                state_q;
  logic                  abandoned_q;
  logic [AddrWidth-1:0]  addr_q;
  logic                  answered;

  assign fab_awaddr = addr_q;
  assign fab_araddr = addr_q;
  assign fab_bready = state_q == Write;
  assign fab_rready = state_q == Read;
  assign answered   = run_i && (fab_bready ? fab_bvalid : fab_rready && fab_rvalid);

  assign taken_o = run_i && ask_i && state_q == Idle;
  assign done_o  = answered && !abandoned_q;
  assign resp_o  = fab_bready ? fab_bresp : fab_rresp;
  assign rdata_o = fab_rdata;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q     <= Idle;
      abandoned_q <= 1'b0;
      fab_awvalid <= 1'b0;
      fab_wvalid  <= 1'b0;
      fab_arvalid <= 1'b0;
      addr_q      <= '0;
      fab_wdata   <= '0;
      fab_wstrb   <= '0;
    end else begin
      if (abandon_i) abandoned_q <= 1'b1;
      if (run_i) begin
        if (fab_awready) fab_awvalid <= 1'b0;
        if (fab_wready) fab_wvalid <= 1'b0;
        if (fab_arready) fab_arvalid <= 1'b0;
      end
      if (taken_o) begin
        state_q     <= is_write_i ? Write : Read;
        abandoned_q <= 1'b0;
        fab_awvalid <= is_write_i;
        fab_wvalid  <= is_write_i;
        fab_arvalid <= !is_write_i;
        addr_q      <= addr_i;
        fab_wdata   <= wdata_i;
        fab_wstrb   <= wstrb_i;
      end else if (answered) begin
        state_q <= Idle;
      end
    end
  end
endmodule
