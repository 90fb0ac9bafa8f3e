// Overlay "checksum": streams a buffer from memory and writes its checksums to another.
//
// The result is four 64-bit words, little-endian:
//   0  CRC-32 (as zlib computes it) in bits 31:0, nbytes in bits 63:32
//   1  sums over the 32-bit words, modulo 2^32: a += word in bits 31:0, b += a in bits 63:32
//   2  cycles from the start being taken to the last byte digested
//   3  bit 0: memory answered a read with an error
// Both buffers are 8-byte aligned; a last word that is not full is read whole.
module checksum #(
  parameter int unsigned MaxBeats  = 16,  // of a read burst
  parameter int unsigned QueueLog2 = 6    // 64 words: four bursts on their way
) (
  input  logic        ap_clk,
  input  logic        ap_rst_n,

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
  input  logic        m_axi_gmem_rlast,

  output logic        interrupt
);
  typedef enum logic [1:0] {Idle, Digest, Report} state_e;

  state_e      state_q;
  logic [63:0] cycles_q;

  logic        start, taken, begin_report, finished;
  logic [63:0] source, result;
  logic [31:0] nbytes, crc, sum_a, sum_b;
  logic        digested, push, pop, word_valid, read_error;
  logic [63:0] pushed, word;

  assign taken        = state_q == Idle && start;
  assign begin_report = state_q == Digest && digested;

  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) begin
      state_q  <= Idle;
      cycles_q <= '0;
    end else begin
      case (state_q)
        Idle: begin
          if (taken) begin
            state_q  <= Digest;
            cycles_q <= '0;
          end
        end
        Digest: begin
          if (digested) state_q <= Report;
          else cycles_q <= cycles_q + 64'd1;
        end
        default: if (finished) state_q <= Idle;
      endcase
    end
  end

  checksum_control u_control (
    .clk_i(ap_clk), .rst_ni(ap_rst_n),
    .awvalid_i(s_axi_control_awvalid), .awready_o(s_axi_control_awready),
    .awaddr_i(s_axi_control_awaddr),
    .wvalid_i(s_axi_control_wvalid), .wready_o(s_axi_control_wready),
    .wdata_i(s_axi_control_wdata), .wstrb_i(s_axi_control_wstrb),
    .bvalid_o(s_axi_control_bvalid), .bready_i(s_axi_control_bready),
    .arvalid_i(s_axi_control_arvalid), .arready_o(s_axi_control_arready),
    .araddr_i(s_axi_control_araddr),
    .rvalid_o(s_axi_control_rvalid), .rready_i(s_axi_control_rready),
    .rdata_o(s_axi_control_rdata),
    .interrupt_o(interrupt),
    .start_o(start), .taken_i(taken), .done_i(finished), .idle_i(state_q == Idle),
    .cycles_i(cycles_q[31:0]),
    .source_o(source), .result_o(result), .nbytes_o(nbytes)
  );
  assign s_axi_control_bresp = 2'b00;
  assign s_axi_control_rresp = 2'b00;

  checksum_reader #(.MaxBeats(MaxBeats), .QueueLog2(QueueLog2)) u_reader (
    .clk_i(ap_clk), .rst_ni(ap_rst_n),
    .start_i(taken), .address_i(source),
    .beats_i({3'd0, nbytes[31:3]} + 32'(nbytes[2:0] != 0)),
    .push_o(push), .data_o(pushed), .pop_i(pop), .error_o(read_error),
    .arvalid_o(m_axi_gmem_arvalid), .arready_i(m_axi_gmem_arready),
    .araddr_o(m_axi_gmem_araddr), .arlen_o(m_axi_gmem_arlen),
    .rvalid_i(m_axi_gmem_rvalid), .rready_o(m_axi_gmem_rready),
    .rdata_i(m_axi_gmem_rdata), .rresp_i(m_axi_gmem_rresp), .rlast_i(m_axi_gmem_rlast)
  );
  assign m_axi_gmem_arsize  = 3'd3;
  assign m_axi_gmem_arburst = 2'b01;

  checksum_fifo #(.Width(64), .DepthLog2(QueueLog2)) u_fifo (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .clear_i(taken),
    .push_i(push), .data_i(pushed), .pop_i(pop), .valid_o(word_valid), .data_o(word)
  );

  checksum_digest u_digest (
    .clk_i(ap_clk), .rst_ni(ap_rst_n),
    .start_i(taken), .nbytes_i(nbytes),
    .valid_i(word_valid), .data_i(word), .pop_o(pop),
    .done_o(digested), .crc_o(crc), .sum_a_o(sum_a), .sum_b_o(sum_b)
  );

  checksum_writer u_writer (
    .clk_i(ap_clk), .rst_ni(ap_rst_n),
    .start_i(begin_report), .address_i(result),
    .words_i({63'd0, read_error, cycles_q, sum_b, sum_a, nbytes, crc}),
    .done_o(finished),
    .awvalid_o(m_axi_gmem_awvalid), .awready_i(m_axi_gmem_awready),
    .awaddr_o(m_axi_gmem_awaddr), .awlen_o(m_axi_gmem_awlen),
    .wvalid_o(m_axi_gmem_wvalid), .wready_i(m_axi_gmem_wready),
    .wdata_o(m_axi_gmem_wdata), .wlast_o(m_axi_gmem_wlast),
    .bvalid_i(m_axi_gmem_bvalid), .bready_o(m_axi_gmem_bready)
  );
  assign m_axi_gmem_awsize  = 3'd3;
  assign m_axi_gmem_awburst = 2'b01;
  assign m_axi_gmem_wstrb   = 8'hFF;

  // An error on the write side has nowhere to be reported but where it happened.
  logic unused;
  assign unused = ^m_axi_gmem_bresp;
endmodule
