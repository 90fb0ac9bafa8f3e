// The NPU overlay (docs/npu.md): kernel registers, sequencer, chains, engines, pipe, one AXI master.
// Ports as docs/overlays.md has them.
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
  parameter PROGRAM = 128,
  parameter QUEUE   = 4,
  parameter RESULTS = 2,
  parameter BUS     = 64
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
  output logic [BUS-1:0]   m_axi_gmem_wdata,
  output logic [BUS/8-1:0] m_axi_gmem_wstrb,
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
  input  logic [BUS-1:0] m_axi_gmem_rdata,
  input  logic [1:0]  m_axi_gmem_rresp,
  input  logic        m_axi_gmem_rlast
);

  localparam LOADS   = 2;
  localparam VECTORS = 8;  // of device memory that wait on their way in, and out
  localparam QW = $clog2(QUEUE);
  localparam TW = $clog2(TILES);
  localparam IW = $clog2(IVRF);
  localparam AW = $clog2(AVRF);
  localparam MW = $clog2(MVRF);
  localparam WW = $clog2(TILES * N / LANES);
  localparam MB = MANT + 1;

  // ---- kernel registers and sequencer
  logic        start, take, idle, done, aligned;
  logic [63:0] program_addr, weights_addr, input_addr, output_addr, stats_addr;
  logic [31:0] n_instr, n_weights, n_input, n_output, status;
  logic [16*32-1:0] stats;
  logic        clear, running, decoding, retire, quiet, bus_error_q, stats_start, stats_done;
  logic        fetch, chain_push, chain_full, load_push, load_full, mv_quiet;
  logic [19:0] load_vector;
  logic [15:0] line, lines;
  logic [2:0]  engine;
  logic [7:0]  rows, cols, run, win_x, win_y;
  logic [13:0] pitch_x, pitch_y;
  npu_chain_pkg::chain_t chain;

  // ---- chains
  npu_chain_pkg::chain_t [QUEUE-1:0] chains;
  logic [QW:0]      pushed, retired, issued;
  logic [QUEUE-1:0] live;
  logic [7:0]       retired_rows;
  logic             row_retired, chain_retired;

  // ---- the bus
  logic [1:0]  req_valid, req_ready, read_valid;
  logic [63:0] load_addr, input_req_addr, read_data;
  logic [31:0] load_beats, input_req_beats;
  logic [BUS-1:0] read_vector;
  logic        load_req, read_done, read_error, read_idle, write_beat, write_error, output_idle;

  // ---- loads
  logic [LOADS-1:0]      load_busy;
  logic [LOADS*16-1:0]   load_line, load_lines;
  logic                  tile_done, load_done;
  logic [ENGINES-1:0]    exp_we, row_we;
  logic [TW-1:0]         exp_addr;
  logic [N*8-1:0]        exp_data;
  logic [$clog2(N)-1:0]  row_index;
  logic [WW-1:0]         row_addr;
  logic [LANES*MB-1:0]   row_data;

  // ---- engines
  logic [ENGINES-1:0]       job_valid, job_full, reading, beats, result_valid, result_take;
  logic [QW-1:0]            job_chain;
  logic [TW-1:0]            job_line;
  logic [ENGINES*QW-1:0]    reading_chain;
  logic [ENGINES*N*41-1:0]  results;
  logic                     stall_tiles;

  // ---- pipe
  logic             enter, input_valid, input_take, output_push, output_gone;
  logic [QW-1:0]    enter_place;
  logic [7:0]       enter_row;
  logic [2:0]       enter_engine, vrf_write, saturations, operations;
  logic [IW-1:0]    ivrf_addr, block_addr;
  logic [AW-1:0]    avrf_addr;
  logic [MW-1:0]    mvrf_addr;
  logic [15:0]      output_index;
  logic [N*16-1:0]  input_vec, output_vec;
  logic             block_we, stall_mem, stall_mv, stall_dep, stall_issue;
  logic [N*MB+4:0]  block;

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
  localparam BB = $clog2(BUS / 8);
  assign aligned = (program_addr[BB-1:0] | weights_addr[BB-1:0] | input_addr[BB-1:0]
                    | output_addr[BB-1:0] | stats_addr[BB-1:0]) == '0;

  npu_seq #(
    .N(N), .LANES(LANES), .ENGINES(ENGINES), .TILES(TILES), .IVRF(IVRF), .AVRF(AVRF), .MVRF(MVRF),
    .PROGRAM(PROGRAM), .RESULTS(RESULTS)
  ) u_seq (
    .clk_i(ap_clk), .rst_ni(ap_rst_n),
    .start_i(start), .take_o(take), .idle_o(idle), .done_o(done), .aligned_i(aligned),
    .n_instr_i(n_instr), .n_weights_i(n_weights), .n_input_i(n_input), .n_output_i(n_output),
    .fetch_o(fetch), .fetch_ready_i(req_ready[0]), .fetch_valid_i(read_valid[0]),
    .fetch_data_i(read_data), .fetch_done_i(read_done),
    .chain_push_o(chain_push), .chain_o(chain), .chain_full_i(chain_full),
    .load_push_o(load_push), .load_full_i(load_full), .load_vector_o(load_vector),
    .engine_o(engine), .line_o(line), .lines_o(lines), .rows_o(rows), .cols_o(cols),
    .run_o(run), .win_x_o(win_x), .win_y_o(win_y), .pitch_x_o(pitch_x), .pitch_y_o(pitch_y),
    .mv_quiet_i(mv_quiet), .quiet_i(quiet), .bus_error_i(bus_error_q),
    .stats_start_o(stats_start), .stats_done_i(stats_done),
    .clear_o(clear), .running_o(running), .decoding_o(decoding), .retire_o(retire),
    .status_o(status)
  );
  assign mv_quiet = issued == pushed && reading == '0;
  assign quiet    = pushed == retired && load_busy == '0 && read_idle && output_idle;

  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n || take) bus_error_q <= 1'b0;
    else                   bus_error_q <= bus_error_q | read_error | write_error;
  end

  npu_chains #(.QUEUE(QUEUE)) u_chains (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .push_i(chain_push), .chain_i(chain), .full_o(chain_full),
    .chains_o(chains), .pushed_o(pushed), .retired_o(retired), .live_o(live),
    .retired_rows_o(retired_rows), .row_retired_i(row_retired), .chain_retired_o(chain_retired)
  );

  npu_stats #(.N(N), .LANES(LANES), .ENGINES(ENGINES)) u_stats (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .clear_i(clear), .running_i(running), .decoding_i(decoding),
    .retire_i(retire), .chains_i({load_done, chain_retired}), .beats_i(beats),
    .stall_mem_i(stall_mem), .stall_mv_i(stall_mv), .stall_dep_i(stall_dep),
    .stall_issue_i(stall_issue), .stall_tiles_i(stall_tiles), .saturations_i(saturations),
    .read_beat_i(|read_valid), .write_beat_i(write_beat), .tile_i(tile_done),
    .vector_ops_i(enter ? operations : 3'd0), .status_i(status), .words_o(stats)
  );

  // ---- the bus: the program or tiles, and vectors
  assign req_valid[0] = fetch | load_req;
  npu_read #(.BUS(BUS)) u_read (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .req_valid_i(req_valid), .req_ready_o(req_ready),
    .req_addr_i({input_req_addr, fetch ? program_addr : load_addr}),
    .req_beats_i({input_req_beats, fetch ? n_instr : load_beats}),
    .valid_o(read_valid), .long_o(read_data), .vector_o(read_vector), .long_done_o(read_done),
    .error_o(read_error), .idle_o(read_idle),
    .arvalid_o(m_axi_gmem_arvalid), .arready_i(m_axi_gmem_arready), .araddr_o(m_axi_gmem_araddr),
    .arlen_o(m_axi_gmem_arlen), .arsize_o(m_axi_gmem_arsize), .rvalid_i(m_axi_gmem_rvalid), .rready_o(m_axi_gmem_rready),
    .rdata_i(m_axi_gmem_rdata), .rresp_i(m_axi_gmem_rresp), .rlast_i(m_axi_gmem_rlast)
  );
  npu_input #(.N(N), .BUS(BUS), .QUEUE(QUEUE), .DEPTH(VECTORS)) u_input (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .chains_i(chains), .pushed_i(pushed), .input_i(input_addr),
    .weights_i(weights_addr), .req_valid_o(req_valid[1]), .req_ready_i(req_ready[1]),
    .req_addr_o(input_req_addr), .req_beats_o(input_req_beats), .valid_i(read_valid[1]),
    .data_i(read_vector),
    .valid_o(input_valid), .vec_o(input_vec), .take_i(input_take)
  );
  npu_output #(.N(N), .BUS(BUS), .DEPTH(VECTORS)) u_output (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .output_i(output_addr), .push_i(output_push),
    .index_i(output_index), .vec_i(output_vec), .gone_o(output_gone), .idle_o(output_idle),
    .stats_start_i(stats_start), .stats_addr_i(stats_addr), .stats_i(stats),
    .stats_done_o(stats_done), .beat_o(write_beat), .error_o(write_error),
    .awvalid_o(m_axi_gmem_awvalid), .awready_i(m_axi_gmem_awready), .awaddr_o(m_axi_gmem_awaddr),
    .awlen_o(m_axi_gmem_awlen), .awsize_o(m_axi_gmem_awsize), .wvalid_o(m_axi_gmem_wvalid), .wready_i(m_axi_gmem_wready),
    .wdata_o(m_axi_gmem_wdata), .wstrb_o(m_axi_gmem_wstrb),
    .wlast_o(m_axi_gmem_wlast), .bvalid_i(m_axi_gmem_bvalid),
    .bready_o(m_axi_gmem_bready), .bresp_i(m_axi_gmem_bresp)
  );
  assign m_axi_gmem_awburst = 2'b01;
  assign m_axi_gmem_arburst = 2'b01;

  npu_loader #(
    .N(N), .LANES(LANES), .ENGINES(ENGINES), .MANT(MANT), .TILES(TILES), .QUEUE(QUEUE), .LOADS(LOADS)
  ) u_loader (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .chains_i(chains), .live_i(live), .push_i(load_push),
    .full_o(load_full), .vector_i(load_vector), .engine_i(engine), .line_i(line), .lines_i(lines),
    .rows_i(rows), .cols_i(cols), .weights_i(weights_addr), .busy_o(load_busy),
    .line_o(load_line), .lines_o(load_lines), .req_valid_o(load_req), .req_ready_i(req_ready[0]),
    .req_addr_o(load_addr), .req_beats_o(load_beats), .valid_i(read_valid[0]), .data_i(read_data),
    .done_i(read_done), .tile_done_o(tile_done), .load_done_o(load_done), .exp_we_o(exp_we),
    .exp_addr_o(exp_addr), .exp_data_o(exp_data), .row_we_o(row_we), .row_o(row_index),
    .row_addr_o(row_addr), .row_data_o(row_data)
  );

  // ---- the matrix unit
  npu_issue #(.ENGINES(ENGINES), .TILES(TILES), .QUEUE(QUEUE), .LOADS(LOADS)) u_issue (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .chains_i(chains), .push_i(chain_push), .pushed_i(pushed),
    .issued_o(issued), .load_busy_i(load_busy), .load_line_i(load_line), .load_lines_i(load_lines),
    .job_valid_o(job_valid), .job_chain_o(job_chain), .job_line_o(job_line),
    .job_full_i(job_full), .stall_tiles_o(stall_tiles)
  );

  genvar e;
  for (e = 0; e < ENGINES; e = e + 1) begin : gen_engine
    npu_engine #(
      .N(N), .LANES(LANES), .MANT(MANT), .GUARD(GUARD), .TILES(TILES), .IVRF(IVRF), .QUEUE(QUEUE),
      .RESULTS(RESULTS)
    ) u_engine (
      .clk_i(ap_clk), .rst_ni(ap_rst_n), .chains_i(chains), .retired_i(retired),
      .retired_rows_i(retired_rows), .run_i(run), .win_x_i(win_x), .win_y_i(win_y),
      .pitch_x_i(pitch_x), .pitch_y_i(pitch_y), .job_valid_i(job_valid[e]),
      .job_chain_i(job_chain), .job_line_i(job_line), .job_full_o(job_full[e]),
      .reading_o(reading[e]), .reading_chain_o(reading_chain[e*QW +: QW]), .beat_o(beats[e]),
      .vrf_we_i(block_we), .vrf_addr_i(block_addr), .vrf_data_i(block),
      .exp_we_i(exp_we[e]), .exp_addr_i(exp_addr), .exp_data_i(exp_data),
      .row_we_i(row_we[e]), .row_i(row_index), .row_addr_i(row_addr), .row_data_i(row_data),
      .valid_o(result_valid[e]), .result_o(results[e*N*41 +: N*41]), .take_i(result_take[e])
    );
  end

  // ---- the pipe
  npu_entry #(
    .ENGINES(ENGINES), .IVRF(IVRF), .AVRF(AVRF), .MVRF(MVRF), .QUEUE(QUEUE), .OUTPUTS(VECTORS)
  ) u_entry (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .chains_i(chains), .pushed_i(pushed),
    .result_valid_i(result_valid), .result_take_o(result_take), .issued_i(issued),
    .reading_i(reading), .reading_chain_i(reading_chain), .input_valid_i(input_valid),
    .input_take_o(input_take), .enter_o(enter), .place_o(enter_place), .row_o(enter_row),
    .engine_o(enter_engine), .write_i(vrf_write), .ivrf_addr_i(ivrf_addr),
    .avrf_addr_i(avrf_addr), .mvrf_addr_i(mvrf_addr), .output_gone_i(output_gone),
    .stall_mem_o(stall_mem), .stall_mv_o(stall_mv), .stall_dep_o(stall_dep),
    .stall_issue_o(stall_issue)
  );
  npu_pipe #(
    .N(N), .MANT(MANT), .GUARD(GUARD), .IVRF(IVRF), .AVRF(AVRF), .MVRF(MVRF), .QUEUE(QUEUE)
  ) u_pipe (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .chains_i(chains), .enter_i(enter), .place_i(enter_place),
    .row_i(enter_row), .result_i(results[32'(enter_engine)*N*41 +: N*41]), .input_i(input_vec),
    .write_o(vrf_write), .ivrf_addr_o(ivrf_addr), .avrf_addr_o(avrf_addr), .mvrf_addr_o(mvrf_addr),
    .output_o(output_push), .output_addr_o(output_index), .output_vec_o(output_vec),
    .block_we_o(block_we), .block_addr_o(block_addr), .block_o(block), .retired_o(row_retired),
    .saturations_o(saturations), .operations_o(operations)
  );

`ifndef SYNTHESIS
  initial assert (N % 8 == 0 && N % LANES == 0 && ENGINES >= 1 && ENGINES <= 8);
  assert property (@(posedge ap_clk) disable iff (!ap_rst_n) done |-> pushed == retired);
`endif
endmodule
