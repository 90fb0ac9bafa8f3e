// The isolators of an overlay's ports (docs/overlays.md), as one module that is captured itself.
//
// Everything in here that is not the outside's business is state of the fabric: half bursts, answers
// that nobody took yet, an access that was abandoned. Capturing it (rtl_sim/shell) puts it into the
// snapshot by name. It is frozen once it is quiet; its valids are 0 then.
module shell_boundary #(
  parameter int unsigned BeatsLog2 = 8  // the overlay's bursts have at most 2^BeatsLog2 beats
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        run_i,   // the fabric takes this clock edge
  input  logic        park_i,
  output logic        quiet_o,

  // from shell_lite_front
  input  logic        ask_i,
  output logic        taken_o,
  input  logic        is_write_i,
  input  logic [11:0] addr_i,
  input  logic [31:0] wdata_i,
  input  logic [3:0]  wstrb_i,
  input  logic        abandon_i,
  output logic        done_o,
  output logic [1:0]  resp_o,
  output logic [31:0] rdata_o,

  // the overlay's registers
  output logic        reg_awvalid,
  input  logic        reg_awready,
  output logic [11:0] reg_awaddr,
  output logic        reg_wvalid,
  input  logic        reg_wready,
  output logic [31:0] reg_wdata,
  output logic [3:0]  reg_wstrb,
  input  logic        reg_bvalid,
  output logic        reg_bready,
  input  logic [1:0]  reg_bresp,
  output logic        reg_arvalid,
  input  logic        reg_arready,
  output logic [11:0] reg_araddr,
  input  logic        reg_rvalid,
  output logic        reg_rready,
  input  logic [31:0] reg_rdata,
  input  logic [1:0]  reg_rresp,

  // the overlay's memory master
  input  logic        fab_awvalid,
  output logic        fab_awready,
  input  logic [63:0] fab_awaddr,
  input  logic [7:0]  fab_awlen,
  input  logic [2:0]  fab_awsize,
  input  logic [1:0]  fab_awburst,
  input  logic        fab_wvalid,
  output logic        fab_wready,
  input  logic [63:0] fab_wdata,
  input  logic [7:0]  fab_wstrb,
  output logic        fab_bvalid,
  input  logic        fab_bready,
  output logic [1:0]  fab_bresp,
  input  logic        fab_arvalid,
  output logic        fab_arready,
  input  logic [63:0] fab_araddr,
  input  logic [7:0]  fab_arlen,
  input  logic [2:0]  fab_arsize,
  input  logic [1:0]  fab_arburst,
  output logic        fab_rvalid,
  input  logic        fab_rready,
  output logic [63:0] fab_rdata,
  output logic [1:0]  fab_rresp,
  output logic        fab_rlast,

  // memory
  output logic        out_awvalid,
  input  logic        out_awready,
  output logic [63:0] out_awaddr,
  output logic [7:0]  out_awlen,
  output logic [2:0]  out_awsize,
  output logic [1:0]  out_awburst,
  output logic        out_wvalid,
  input  logic        out_wready,
  output logic [63:0] out_wdata,
  output logic [7:0]  out_wstrb,
  output logic        out_wlast,
  input  logic        out_bvalid,
  output logic        out_bready,
  input  logic [1:0]  out_bresp,
  output logic        out_arvalid,
  input  logic        out_arready,
  output logic [63:0] out_araddr,
  output logic [7:0]  out_arlen,
  output logic [2:0]  out_arsize,
  output logic [1:0]  out_arburst,
  input  logic        out_rvalid,
  output logic        out_rready,
  input  logic [63:0] out_rdata,
  input  logic [1:0]  out_rresp,
  input  logic        out_rlast
);
  logic out_awid, out_arid, fab_bid, fab_rid;  // overlays use no IDs

  shell_lite_back #(.AddrWidth(12)) u_back (
    .clk_i(clk_i), .rst_ni(rst_ni), .run_i(run_i),
    .ask_i(ask_i), .taken_o(taken_o), .is_write_i(is_write_i), .addr_i(addr_i),
    .wdata_i(wdata_i), .wstrb_i(wstrb_i), .abandon_i(abandon_i), .done_o(done_o),
    .resp_o(resp_o), .rdata_o(rdata_o),
    .fab_awvalid(reg_awvalid), .fab_awready(reg_awready), .fab_awaddr(reg_awaddr),
    .fab_wvalid(reg_wvalid), .fab_wready(reg_wready), .fab_wdata(reg_wdata),
    .fab_wstrb(reg_wstrb), .fab_bvalid(reg_bvalid), .fab_bready(reg_bready),
    .fab_bresp(reg_bresp), .fab_arvalid(reg_arvalid), .fab_arready(reg_arready),
    .fab_araddr(reg_araddr), .fab_rvalid(reg_rvalid), .fab_rready(reg_rready),
    .fab_rdata(reg_rdata), .fab_rresp(reg_rresp)
  );

  shell_axi_isolator #(
    .AddrWidth(64), .DataWidth(64), .IdWidth(1), .BurstsLog2(3), .BeatsLog2(BeatsLog2)
  ) u_memory (
    .clk_i(clk_i), .rst_ni(rst_ni), .run_i(run_i), .park_i(park_i), .quiet_o(quiet_o),
    .fab_awvalid(fab_awvalid), .fab_awready(fab_awready), .fab_awid(1'b0),
    .fab_awaddr(fab_awaddr), .fab_awlen(fab_awlen), .fab_awsize(fab_awsize),
    .fab_awburst(fab_awburst),
    .fab_wvalid(fab_wvalid), .fab_wready(fab_wready), .fab_wdata(fab_wdata),
    .fab_wstrb(fab_wstrb),
    .fab_bvalid(fab_bvalid), .fab_bready(fab_bready), .fab_bid(fab_bid), .fab_bresp(fab_bresp),
    .fab_arvalid(fab_arvalid), .fab_arready(fab_arready), .fab_arid(1'b0),
    .fab_araddr(fab_araddr), .fab_arlen(fab_arlen), .fab_arsize(fab_arsize),
    .fab_arburst(fab_arburst),
    .fab_rvalid(fab_rvalid), .fab_rready(fab_rready), .fab_rid(fab_rid),
    .fab_rdata(fab_rdata), .fab_rresp(fab_rresp), .fab_rlast(fab_rlast),
    .out_awvalid(out_awvalid), .out_awready(out_awready), .out_awid(out_awid),
    .out_awaddr(out_awaddr), .out_awlen(out_awlen), .out_awsize(out_awsize),
    .out_awburst(out_awburst),
    .out_wvalid(out_wvalid), .out_wready(out_wready), .out_wdata(out_wdata),
    .out_wstrb(out_wstrb), .out_wlast(out_wlast),
    .out_bvalid(out_bvalid), .out_bready(out_bready), .out_bid(1'b0), .out_bresp(out_bresp),
    .out_arvalid(out_arvalid), .out_arready(out_arready), .out_arid(out_arid),
    .out_araddr(out_araddr), .out_arlen(out_arlen), .out_arsize(out_arsize),
    .out_arburst(out_arburst),
    .out_rvalid(out_rvalid), .out_rready(out_rready), .out_rid(1'b0),
    .out_rdata(out_rdata), .out_rresp(out_rresp), .out_rlast(out_rlast)
  );

  logic unused;
  assign unused = ^{out_awid, out_arid, fab_bid, fab_rid};
endmodule
