// The NPU overlay (docs/npu.md): kernel registers, sequencer, matrix unit, multifunction unit,
// register files, one AXI master. Ports as docs/overlays.md has them.
module npu #(
  parameter N       = 16,
  parameter LANES   = 16,
  parameter ENGINES = 1,
  parameter MANT    = 7,
  parameter GUARD   = 5,
  parameter TILES   = 16,
  parameter IVRF    = 16,
  parameter AVRF    = 16,
  parameter MVRF    = 16,
  parameter PROGRAM = 128
) (
  input  logic        ap_clk,
  input  logic        ap_rst_n,
  output logic        interrupt,

  input  logic        s_axi_control_awvalid,
  output logic        s_axi_control_awready,
  input  logic [11:0] s_axi_control_awaddr,
  input  logic        s_axi_control_wvalid,
  output logic        s_axi_control_wready,
  input  logic [31:0] s_axi_control_wdata,
  input  logic [3:0]  s_axi_control_wstrb,
  output logic        s_axi_control_bvalid,
  input  logic        s_axi_control_bready,
  output logic [1:0]  s_axi_control_bresp,
  input  logic        s_axi_control_arvalid,
  output logic        s_axi_control_arready,
  input  logic [11:0] s_axi_control_araddr,
  output logic        s_axi_control_rvalid,
  input  logic        s_axi_control_rready,
  output logic [31:0] s_axi_control_rdata,
  output logic [1:0]  s_axi_control_rresp,

  output logic        m_axi_gmem_awvalid,
  input  logic        m_axi_gmem_awready,
  output logic [63:0] m_axi_gmem_awaddr,
  output logic [7:0]  m_axi_gmem_awlen,
  output logic [2:0]  m_axi_gmem_awsize,
  output logic [1:0]  m_axi_gmem_awburst,
  output logic        m_axi_gmem_wvalid,
  input  logic        m_axi_gmem_wready,
  output logic [63:0] m_axi_gmem_wdata,
  output logic [7:0]  m_axi_gmem_wstrb,
  output logic        m_axi_gmem_wlast,
  input  logic        m_axi_gmem_bvalid,
  output logic        m_axi_gmem_bready,
  input  logic [1:0]  m_axi_gmem_bresp,
  output logic        m_axi_gmem_arvalid,
  input  logic        m_axi_gmem_arready,
  output logic [63:0] m_axi_gmem_araddr,
  output logic [7:0]  m_axi_gmem_arlen,
  output logic [2:0]  m_axi_gmem_arsize,
  output logic [1:0]  m_axi_gmem_arburst,
  input  logic        m_axi_gmem_rvalid,
  output logic        m_axi_gmem_rready,
  input  logic [63:0] m_axi_gmem_rdata,
  input  logic [1:0]  m_axi_gmem_rresp,
  input  logic        m_axi_gmem_rlast
);

  localparam TW = $clog2(TILES);
  localparam VW = $clog2(IVRF);
  localparam RW = $clog2(N);
  localparam WW = $clog2(TILES * N / LANES);
  localparam MB = MANT + 1;

  logic        start, take, idle, done;
  logic [63:0] program_addr, weights_addr, input_addr, output_addr, stats_addr;
  logic [31:0] n_instr, n_weights, n_input, n_output, status;
  logic [16*32-1:0] stats;

  logic                       fetch_we;
  logic [$clog2(PROGRAM)-1:0] fetch_addr, pc;
  logic [63:0]                instr;

  logic        dma_start, dma_write, dma_valid, dma_ready, dma_done, dma_error;
  logic [63:0] dma_addr, dma_rdata, dma_wdata, axi_addr;
  logic [22:0] dma_beats;
  logic [7:0]  axi_len;
  logic        send_stats;
  logic [2:0]  stats_beat;

  logic [15:0] entry, tile, source;
  logic [3:0]  mem;
  logic [7:0]  op, rows, cols;
  logic        load, op_en, vector_op, shift, rotate, write, mfu_sat;
  logic [N*16-1:0] vec, load_data, operand, ivrf_data, avrf_data, mvrf_data;
  logic [N*32-1:0] acc;
  logic [N*9-1:0]  acc_exp;

  logic        mv_start, mv_flush, mv_busy, mv_valid, mv_take;
  logic [VW-1:0] mv_vrf_addr;
  logic        tiles_start, tiles_valid, tile_done, exp_we, row_we;
  logic [TW-1:0] exp_addr;
  logic [N*8-1:0] exp_data;
  logic [RW-1:0] row_index;
  logic [WW-1:0] row_addr;
  logic [LANES*MB-1:0] row_data;

  logic clear, running, retire, chain, stall_mem, stall_mv, read_beat, write_beat;

  npu_ctrl u_ctrl (
    .clk_i(ap_clk), .rst_ni(ap_rst_n),
    .awvalid_i(s_axi_control_awvalid), .awready_o(s_axi_control_awready),
    .awaddr_i(s_axi_control_awaddr), .wvalid_i(s_axi_control_wvalid),
    .wready_o(s_axi_control_wready), .wdata_i(s_axi_control_wdata),
    .wstrb_i(s_axi_control_wstrb), .bvalid_o(s_axi_control_bvalid),
    .bready_i(s_axi_control_bready), .arvalid_i(s_axi_control_arvalid),
    .arready_o(s_axi_control_arready), .araddr_i(s_axi_control_araddr),
    .rvalid_o(s_axi_control_rvalid), .rready_i(s_axi_control_rready),
    .rdata_o(s_axi_control_rdata), .interrupt_o(interrupt),
    .start_o(start), .take_i(take), .idle_i(idle), .done_i(done), .stats_i(stats),
    .program_o(program_addr), .weights_o(weights_addr), .input_o(input_addr),
    .output_o(output_addr), .stats_addr_o(stats_addr), .n_instr_o(n_instr),
    .n_weights_o(n_weights), .n_input_o(n_input), .n_output_o(n_output)
  );
  assign s_axi_control_bresp = 2'b00;
  assign s_axi_control_rresp = 2'b00;

  npu_seq #(
    .N(N), .TILES(TILES), .IVRF(IVRF), .AVRF(AVRF), .MVRF(MVRF), .PROGRAM(PROGRAM)
  ) u_seq (
    .clk_i(ap_clk), .rst_ni(ap_rst_n),
    .start_i(start), .take_o(take), .idle_o(idle), .done_o(done),
    .program_i(program_addr), .weights_i(weights_addr), .input_i(input_addr),
    .output_i(output_addr), .stats_addr_i(stats_addr), .n_instr_i(n_instr),
    .n_weights_i(n_weights), .n_input_i(n_input), .n_output_i(n_output),
    .fetch_we_o(fetch_we), .fetch_addr_o(fetch_addr), .pc_o(pc), .instr_i(instr),
    .dma_start_o(dma_start), .dma_write_o(dma_write), .dma_addr_o(dma_addr),
    .dma_beats_o(dma_beats), .dma_valid_i(dma_valid), .dma_ready_i(dma_ready),
    .dma_done_i(dma_done), .dma_error_i(dma_error),
    .send_stats_o(send_stats), .stats_beat_o(stats_beat),
    .entry_o(entry), .mem_o(mem), .op_o(op), .load_o(load), .op_en_o(op_en), .vector_op_o(vector_op),
    .shift_o(shift), .rotate_o(rotate), .write_o(write),
    .mv_start_o(mv_start), .mv_flush_o(mv_flush), .tile_o(tile), .source_o(source),
    .rows_o(rows), .cols_o(cols), .mv_valid_i(mv_valid), .mv_take_o(mv_take),
    .tiles_start_o(tiles_start), .tiles_valid_o(tiles_valid),
    .clear_o(clear), .running_o(running), .retire_o(retire), .chain_o(chain),
    .stall_mem_o(stall_mem), .stall_mv_o(stall_mv), .read_beat_o(read_beat),
    .write_beat_o(write_beat), .status_o(status)
  );

  npu_ram #(.WIDTH(64), .DEPTH(PROGRAM)) u_program (
    .clk_i(ap_clk), .we_i(fetch_we), .waddr_i(fetch_addr), .wdata_i(dma_rdata),
    .raddr_i(pc), .rdata_o(instr)
  );

  npu_stats #(.N(N), .LANES(LANES)) u_stats (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .clear_i(clear), .running_i(running),
    .retire_i(retire), .chain_i(chain), .mv_take_i(mv_take), .cols_i(cols),
    .stall_mem_i(stall_mem), .stall_mv_i(stall_mv),
    .saturation_i(mfu_sat), .read_beat_i(read_beat),
    .write_beat_i(write_beat), .tile_i(tile_done), .vector_op_i(vector_op),
    .status_i(status), .words_o(stats)
  );

  assign dma_wdata = send_stats ? stats[stats_beat*64 +: 64] : vec[63:0];
  npu_dma u_dma (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .start_i(dma_start), .write_i(dma_write),
    .addr_i(dma_addr), .beats_i(dma_beats), .valid_o(dma_valid), .data_o(dma_rdata),
    .ready_o(dma_ready), .data_i(dma_wdata), .done_o(dma_done), .error_o(dma_error),
    .awvalid_o(m_axi_gmem_awvalid), .awready_i(m_axi_gmem_awready),
    .wvalid_o(m_axi_gmem_wvalid), .wready_i(m_axi_gmem_wready),
    .wdata_o(m_axi_gmem_wdata), .wlast_o(m_axi_gmem_wlast),
    .bvalid_i(m_axi_gmem_bvalid), .bready_o(m_axi_gmem_bready), .bresp_i(m_axi_gmem_bresp),
    .arvalid_o(m_axi_gmem_arvalid), .arready_i(m_axi_gmem_arready),
    .rvalid_i(m_axi_gmem_rvalid), .rready_o(m_axi_gmem_rready),
    .rdata_i(m_axi_gmem_rdata), .rresp_i(m_axi_gmem_rresp),
    .addr_o(axi_addr), .len_o(axi_len)
  );
  assign m_axi_gmem_awaddr  = axi_addr;
  assign m_axi_gmem_araddr  = axi_addr;
  assign m_axi_gmem_awlen   = axi_len;
  assign m_axi_gmem_arlen   = axi_len;
  assign m_axi_gmem_awsize  = 3'd3;
  assign m_axi_gmem_arsize  = 3'd3;
  assign m_axi_gmem_awburst = 2'b01;
  assign m_axi_gmem_arburst = 2'b01;
  assign m_axi_gmem_wstrb   = 8'hff;

  npu_ram #(.WIDTH(N*16), .DEPTH(IVRF)) u_ivrf (
    .clk_i(ap_clk), .we_i(write && mem == npu_pkg::MEM_IVRF), .waddr_i(entry[VW-1:0]), .wdata_i(vec),
    .raddr_i(mv_busy ? mv_vrf_addr : entry[VW-1:0]), .rdata_o(ivrf_data)
  );
  npu_ram #(.WIDTH(N*16), .DEPTH(AVRF)) u_avrf (
    .clk_i(ap_clk), .we_i(write && mem == npu_pkg::MEM_AVRF), .waddr_i(entry[$clog2(AVRF)-1:0]),
    .wdata_i(vec), .raddr_i(entry[$clog2(AVRF)-1:0]), .rdata_o(avrf_data)
  );
  npu_ram #(.WIDTH(N*16), .DEPTH(MVRF)) u_mvrf (
    .clk_i(ap_clk), .we_i(write && mem == npu_pkg::MEM_MVRF), .waddr_i(entry[$clog2(MVRF)-1:0]),
    .wdata_i(vec), .raddr_i(entry[$clog2(MVRF)-1:0]), .rdata_o(mvrf_data)
  );
  assign operand   = (mem == npu_pkg::MEM_AVRF) ? avrf_data : mvrf_data;
  assign load_data = (mem == npu_pkg::MEM_IVRF) ? ivrf_data : operand;

  npu_mfu #(.N(N), .MANT(MANT), .GUARD(GUARD)) u_mfu (
    .clk_i(ap_clk), .load_i(load), .load_data_i(load_data), .op_en_i(op_en), .op_i(op),
    .operand_i(operand), .acc_i(acc), .acc_exp_i(acc_exp), .shift_i(shift), .shift_data_i(dma_rdata), .rotate_i(rotate),
    .vec_o(vec), .sat_o(mfu_sat)
  );

  npu_loader #(.N(N), .LANES(LANES), .MANT(MANT), .TILES(TILES)) u_loader (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .start_i(tiles_start), .tile_i(tile[TW-1:0]),
    .valid_i(tiles_valid), .data_i(dma_rdata), .tile_done_o(tile_done),
    .exp_we_o(exp_we), .exp_addr_o(exp_addr), .exp_data_o(exp_data),
    .row_we_o(row_we), .row_o(row_index), .row_addr_o(row_addr), .row_data_o(row_data)
  );

  npu_mv #(
    .N(N), .LANES(LANES), .MANT(MANT), .GUARD(GUARD), .TILES(TILES), .IVRF(IVRF)
  ) u_mv (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .start_i(mv_start), .flush_i(mv_flush),
    .tile_i(tile[TW-1:0]), .source_i(source[VW-1:0]), .rows_i(rows), .cols_i(cols),
    .busy_o(mv_busy), .vrf_addr_o(mv_vrf_addr), .vrf_data_i(ivrf_data),
    .valid_o(mv_valid), .take_i(mv_take), .acc_o(acc), .acc_exp_o(acc_exp),
    .exp_we_i(exp_we), .exp_addr_i(exp_addr), .exp_data_i(exp_data),
    .row_we_i(row_we), .row_i(row_index), .row_addr_i(row_addr), .row_data_i(row_data)
  );

`ifndef SYNTHESIS
  initial assert (ENGINES == 1);
  assert property (@(posedge ap_clk) disable iff (!ap_rst_n)
    m_axi_gmem_rvalid && m_axi_gmem_rready |-> !$isunknown(m_axi_gmem_rlast));
`endif
endmodule
