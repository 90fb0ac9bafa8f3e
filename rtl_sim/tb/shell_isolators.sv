// Bench top: each isolator between a fabric's side on `fab_clk` and the outside on `clk`.
//
// A frozen fabric gets no clock edges (`run` 0, `fab_clk` still), and what it drives is noise, as
// it is while a chain shifts. `iso_clk` is the isolators' and the outside's.
module shell_isolators #(
  parameter int unsigned BeatsLog2 = 6
) (
  input  logic        clk, fab_clk, rst_n, run, park,
  input  logic        noise,
  output logic        quiet, stream_quiet, control_idle,
  output logic [6:0]  broken,
  output logic [31:0] bursts,

  input  logic        fab_awvalid, output logic fab_awready, input logic [3:0] fab_awid,
  input  logic [31:0] fab_awaddr, input logic [7:0] fab_awlen, input logic [2:0] fab_awsize,
  input  logic [1:0]  fab_awburst,
  input  logic        fab_wvalid, output logic fab_wready, input logic [63:0] fab_wdata,
  input  logic [7:0]  fab_wstrb, input logic fab_wlast,
  output logic        fab_bvalid, input logic fab_bready, output logic [3:0] fab_bid,
  output logic [1:0]  fab_bresp,
  input  logic        fab_arvalid, output logic fab_arready, input logic [3:0] fab_arid,
  input  logic [31:0] fab_araddr, input logic [7:0] fab_arlen, input logic [2:0] fab_arsize,
  input  logic [1:0]  fab_arburst,
  output logic        fab_rvalid, input logic fab_rready, output logic [3:0] fab_rid,
  output logic [63:0] fab_rdata, output logic [1:0] fab_rresp, output logic fab_rlast,

  output logic        out_awvalid, input logic out_awready, output logic [3:0] out_awid,
  output logic [31:0] out_awaddr, output logic [7:0] out_awlen, output logic [2:0] out_awsize,
  output logic [1:0]  out_awburst,
  output logic        out_wvalid, input logic out_wready, output logic [63:0] out_wdata,
  output logic [7:0]  out_wstrb, output logic out_wlast,
  input  logic        out_bvalid, output logic out_bready, input logic [3:0] out_bid,
  input  logic [1:0]  out_bresp,
  output logic        out_arvalid, input logic out_arready, output logic [3:0] out_arid,
  output logic [31:0] out_araddr, output logic [7:0] out_arlen, output logic [2:0] out_arsize,
  output logic [1:0]  out_arburst,
  input  logic        out_rvalid, output logic out_rready, input logic [3:0] out_rid,
  input  logic [63:0] out_rdata, input logic [1:0] out_rresp, input logic out_rlast,

  input  logic        fabout_tvalid, output logic fabout_tready,
  input  logic [31:0] fabout_tdata, input logic fabout_tlast,
  output logic        sink_tvalid, input logic sink_tready,
  output logic [31:0] sink_tdata, output logic sink_tlast,
  input  logic        source_tvalid, output logic source_tready,
  input  logic [31:0] source_tdata, input logic source_tlast,
  output logic        fabin_tvalid, input logic fabin_tready,
  output logic [31:0] fabin_tdata, output logic fabin_tlast,

  input  logic        host_awvalid, output logic host_awready, input logic [11:0] host_awaddr,
  input  logic        host_wvalid, output logic host_wready, input logic [31:0] host_wdata,
  input  logic [3:0]  host_wstrb,
  output logic        host_bvalid, input logic host_bready, output logic [1:0] host_bresp,
  input  logic        host_arvalid, output logic host_arready, input logic [11:0] host_araddr,
  output logic        host_rvalid, input logic host_rready, output logic [31:0] host_rdata,
  output logic [1:0]  host_rresp,
  output logic        reg_awvalid, input logic reg_awready, output logic [11:0] reg_awaddr,
  output logic        reg_wvalid, input logic reg_wready, output logic [31:0] reg_wdata,
  output logic [3:0]  reg_wstrb,
  input  logic        reg_bvalid, output logic reg_bready, input logic [1:0] reg_bresp,
  output logic        reg_arvalid, input logic reg_arready, output logic [11:0] reg_araddr,
  input  logic        reg_rvalid, output logic reg_rready, input logic [31:0] reg_rdata,
  input  logic [1:0]  reg_rresp
);
  shell_axi_isolator #(
    .AddrWidth(32), .DataWidth(64), .IdWidth(4), .BurstsLog2(3), .BeatsLog2(BeatsLog2)
  ) u_axi (
    .clk_i(clk), .rst_ni(rst_n), .run_i(run), .park_i(park), .quiet_o(quiet),
    .fab_awvalid(fab_awvalid ^ noise), .fab_awaddr(fab_awaddr ^ {32{noise}}),
    .fab_wvalid(fab_wvalid ^ noise), .fab_wdata(fab_wdata ^ {64{noise}}),
    .fab_bready(fab_bready ^ noise), .fab_arvalid(fab_arvalid ^ noise),
    .fab_rready(fab_rready ^ noise), .*
  );

  shell_axi_watch u_watch (
    .clk_i(clk), .rst_ni(rst_n), .quiet_i(quiet), .park_i(park),
    .broken_o(broken), .bursts_o(bursts),
    .awvalid(out_awvalid), .awready(out_awready), .awaddr(out_awaddr), .awlen(out_awlen),
    .awsize(out_awsize), .wvalid(out_wvalid), .wready(out_wready), .wlast(out_wlast),
    .wdata(out_wdata), .wstrb(out_wstrb), .bvalid(out_bvalid), .bready(out_bready),
    .arvalid(out_arvalid), .arready(out_arready), .araddr(out_araddr), .arlen(out_arlen),
    .arsize(out_arsize), .rvalid(out_rvalid), .rready(out_rready), .rlast(out_rlast)
  );

  logic out_quiet, in_quiet;
  assign stream_quiet = out_quiet && in_quiet;
  shell_stream_isolator #(.FabricIsSource(1'b1), .Width(33), .DepthLog2(3)) u_out (
    .clk_i(clk), .rst_ni(rst_n), .run_i(run), .park_i(park), .quiet_o(out_quiet),
    .s_tvalid(fabout_tvalid ^ noise), .s_tready(fabout_tready),
    .s_tpayload({fabout_tlast, fabout_tdata} ^ {33{noise}}),
    .m_tvalid(sink_tvalid), .m_tready(sink_tready), .m_tpayload({sink_tlast, sink_tdata})
  );
  shell_stream_isolator #(.FabricIsSource(1'b0), .Width(33), .DepthLog2(3)) u_in (
    .clk_i(clk), .rst_ni(rst_n), .run_i(run), .park_i(park), .quiet_o(in_quiet),
    .s_tvalid(source_tvalid), .s_tready(source_tready),
    .s_tpayload({source_tlast, source_tdata}),
    .m_tvalid(fabin_tvalid), .m_tready(fabin_tready ^ noise),
    .m_tpayload({fabin_tlast, fabin_tdata})
  );

  logic        ask, taken, is_write, abandon, done;
  logic [11:0] addr;
  logic [31:0] wdata, rdata;
  logic [3:0]  wstrb;
  logic [1:0]  resp;
  shell_lite_front #(.AddrWidth(12), .Patience(40)) u_front (
    .clk_i(clk), .rst_ni(rst_n), .refuse_i(park), .idle_o(control_idle),
    .s_awvalid(host_awvalid), .s_awready(host_awready), .s_awaddr(host_awaddr),
    .s_wvalid(host_wvalid), .s_wready(host_wready), .s_wdata(host_wdata), .s_wstrb(host_wstrb),
    .s_bvalid(host_bvalid), .s_bready(host_bready), .s_bresp(host_bresp),
    .s_arvalid(host_arvalid), .s_arready(host_arready), .s_araddr(host_araddr),
    .s_rvalid(host_rvalid), .s_rready(host_rready), .s_rdata(host_rdata), .s_rresp(host_rresp),
    .ask_o(ask), .taken_i(taken), .is_write_o(is_write), .addr_o(addr), .wdata_o(wdata),
    .wstrb_o(wstrb), .abandon_o(abandon), .done_i(done), .resp_i(resp), .rdata_i(rdata)
  );
  shell_lite_back #(.AddrWidth(12)) u_back (
    .clk_i(clk), .rst_ni(rst_n), .run_i(run),
    .ask_i(ask), .taken_o(taken), .is_write_i(is_write), .addr_i(addr), .wdata_i(wdata),
    .wstrb_i(wstrb), .abandon_i(abandon), .done_o(done), .resp_o(resp), .rdata_o(rdata),
    .fab_awvalid(reg_awvalid), .fab_awready(reg_awready ^ noise), .fab_awaddr(reg_awaddr),
    .fab_wvalid(reg_wvalid), .fab_wready(reg_wready ^ noise), .fab_wdata(reg_wdata),
    .fab_wstrb(reg_wstrb), .fab_bvalid(reg_bvalid ^ noise), .fab_bready(reg_bready),
    .fab_bresp(reg_bresp), .fab_arvalid(reg_arvalid), .fab_arready(reg_arready ^ noise),
    .fab_araddr(reg_araddr), .fab_rvalid(reg_rvalid ^ noise), .fab_rready(reg_rready),
    .fab_rdata(reg_rdata), .fab_rresp(reg_rresp)
  );

  logic unused;
  assign unused = fab_wlast;
endmodule
