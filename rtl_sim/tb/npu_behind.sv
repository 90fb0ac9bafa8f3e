// For tests: an NPU behind a bus of 64 bits that fails on demand. Beats wider than 64 bits are cut
// into words, one burst at a time; bits 41..40 of an address are the response that its burst gets.
module npu_behind #(
  parameter N = 16, LANES = 16, ENGINES = 1, MANT = 7, GUARD = 5, TILES = 16, IVRF = 16, AVRF = 16,
  parameter MVRF = 16, PROGRAM = 128, QUEUE = 4, RESULTS = 2, BUS = 64
) (
  input  logic        ap_clk, ap_rst_n,
  output logic        interrupt,
  input  logic        s_axi_control_awvalid, s_axi_control_wvalid, s_axi_control_bready,
  input  logic        s_axi_control_arvalid, s_axi_control_rready,
  output logic        s_axi_control_awready, s_axi_control_wready, s_axi_control_bvalid,
  output logic        s_axi_control_arready, s_axi_control_rvalid,
  input  logic [11:0] s_axi_control_awaddr, s_axi_control_araddr,
  input  logic [31:0] s_axi_control_wdata,
  input  logic [3:0]  s_axi_control_wstrb,
  output logic [31:0] s_axi_control_rdata,
  output logic [1:0]  s_axi_control_bresp, s_axi_control_rresp,

  output logic        m_axi_gmem_awvalid, m_axi_gmem_wvalid, m_axi_gmem_bready,
  output logic        m_axi_gmem_arvalid, m_axi_gmem_rready, m_axi_gmem_wlast,
  input  logic        m_axi_gmem_awready, m_axi_gmem_wready, m_axi_gmem_bvalid,
  input  logic        m_axi_gmem_arready, m_axi_gmem_rvalid, m_axi_gmem_rlast,
  output logic [63:0] m_axi_gmem_awaddr, m_axi_gmem_araddr, m_axi_gmem_wdata,
  output logic [7:0]  m_axi_gmem_awlen, m_axi_gmem_arlen, m_axi_gmem_wstrb,
  output logic [2:0]  m_axi_gmem_awsize, m_axi_gmem_arsize,
  output logic [1:0]  m_axi_gmem_awburst, m_axi_gmem_arburst,
  input  logic [63:0] m_axi_gmem_rdata,
  input  logic [1:0]  m_axi_gmem_rresp, m_axi_gmem_bresp
);
  localparam WORDS = BUS / 64;
  localparam [1:0] S_IDLE = 0, S_ADDRESS = 1, S_DATA = 2, S_END = 3;

  logic             awvalid, awready, wvalid, wready, wlast, bvalid, bready;
  logic             arvalid, arready, rvalid, rready, rlast;
  logic [63:0]      awaddr, araddr;
  logic [7:0]       awlen, arlen;
  logic [2:0]       awsize, arsize;
  logic [BUS-1:0]   wdata, rdata;
  logic [BUS/8-1:0] wstrb;

  npu #(
    .N(N), .LANES(LANES), .ENGINES(ENGINES), .MANT(MANT), .GUARD(GUARD), .TILES(TILES), .IVRF(IVRF),
    .AVRF(AVRF), .MVRF(MVRF), .PROGRAM(PROGRAM), .QUEUE(QUEUE), .RESULTS(RESULTS), .BUS(BUS)
  ) u_npu (
    .*, .m_axi_gmem_awvalid(awvalid), .m_axi_gmem_awready(awready), .m_axi_gmem_awaddr(awaddr),
    .m_axi_gmem_awlen(awlen), .m_axi_gmem_awsize(awsize), .m_axi_gmem_wvalid(wvalid),
    .m_axi_gmem_wready(wready), .m_axi_gmem_wdata(wdata), .m_axi_gmem_wstrb(wstrb),
    .m_axi_gmem_wlast(wlast), .m_axi_gmem_bvalid(bvalid), .m_axi_gmem_bready(bready),
    .m_axi_gmem_bresp(b_resp_q), .m_axi_gmem_arvalid(arvalid), .m_axi_gmem_arready(arready),
    .m_axi_gmem_araddr(araddr), .m_axi_gmem_arlen(arlen), .m_axi_gmem_arsize(arsize),
    .m_axi_gmem_rvalid(rvalid), .m_axi_gmem_rready(rready), .m_axi_gmem_rdata(rdata),
    .m_axi_gmem_rresp(r_resp_q), .m_axi_gmem_rlast(rlast)
  );

  function automatic [63:0] without(input logic [63:0] address);
    without = {address[63:42], 2'b00, address[39:0]};
  endfunction

  // ---- reads: a burst is accepted, fetched in parts of up to 256 words, handed on beat by beat
  logic [1:0]      r_state_q, r_resp_q;
  logic [63:0]     r_addr_q;
  logic [9:0]      r_ask_q;            // words to ask for
  logic [8:0]      r_left_q, r_part;   // words of the part under way; of one to be asked for
  logic [7:0]      r_beats_q;          // of the NPU, less one
  logic            r_wide_q, r_full_q;
  logic [BUS-1:0]  r_data_q;
  logic [$clog2(WORDS):0] r_word_q;
  assign r_part  = (r_ask_q > 10'd256) ? 9'd256 : r_ask_q[8:0];
  assign arready = r_state_q == S_IDLE;
  assign rvalid  = r_full_q;
  assign rdata   = r_data_q;
  assign rlast   = r_beats_q == 0;
  assign m_axi_gmem_arvalid = r_state_q == S_ADDRESS;
  assign m_axi_gmem_araddr  = r_addr_q;
  assign m_axi_gmem_arlen   = 8'(r_part - 9'd1);
  assign m_axi_gmem_rready  = r_state_q == S_DATA && !r_full_q;
  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) begin
      {r_state_q, r_full_q, r_word_q} <= '0;
    end else begin
      if (r_state_q == S_IDLE && arvalid) begin
        r_addr_q  <= without(araddr);
        r_resp_q  <= araddr[41:40];
        r_beats_q <= arlen;
        r_wide_q  <= arsize != 3'd3;
        r_ask_q   <= (10'(arlen) + 10'd1) << (arsize - 3'd3);
        r_state_q <= S_ADDRESS;
      end
      if (m_axi_gmem_arvalid && m_axi_gmem_arready) begin
        r_addr_q  <= r_addr_q + {52'b0, r_part, 3'b000};
        r_ask_q   <= r_ask_q - 10'(r_part);
        r_left_q  <= r_part;
        r_state_q <= S_DATA;
      end
      if (m_axi_gmem_rvalid && m_axi_gmem_rready) begin
        if (r_wide_q) r_data_q[32'(r_word_q)*64 +: 64] <= m_axi_gmem_rdata;
        else          r_data_q <= {WORDS{m_axi_gmem_rdata}};
        r_word_q <= (!r_wide_q || 32'(r_word_q) == WORDS - 1) ? '0 : r_word_q + 1'b1;
        r_full_q <= !r_wide_q || 32'(r_word_q) == WORDS - 1;
        r_left_q <= r_left_q - 9'd1;
        if (r_left_q == 9'd1) r_state_q <= (r_ask_q != 0) ? S_ADDRESS : S_END;
      end
      if (rvalid && rready) begin
        r_full_q  <= 1'b0;
        r_beats_q <= r_beats_q - 8'd1;
        if (rlast) r_state_q <= S_IDLE;
      end
    end
  end

  // ---- writes: every word of a beat is a burst of its own
  logic [1:0]      w_state_q, b_resp_q;
  logic [63:0]     w_addr_q;
  logic            w_wide_q, w_last_q, b_q;
  logic [BUS-1:0]  w_data_q;
  logic [BUS/8-1:0] w_strb_q;
  logic [$clog2(WORDS):0] w_word_q;
  assign awready = w_state_q == S_IDLE && !b_q;
  assign wready  = w_state_q == S_ADDRESS;
  assign bvalid  = b_q;
  assign m_axi_gmem_awvalid = w_state_q == S_DATA;
  assign m_axi_gmem_awaddr  = w_addr_q;
  assign m_axi_gmem_awlen   = 8'd0;
  assign m_axi_gmem_wvalid  = w_state_q == S_END;
  assign m_axi_gmem_wdata   = w_data_q[32'(w_word_q)*64 +: 64];
  assign m_axi_gmem_wstrb   = w_strb_q[32'(w_word_q)*8 +: 8];
  assign m_axi_gmem_wlast   = 1'b1;
  assign m_axi_gmem_bready  = 1'b1;
  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) begin
      {w_state_q, b_q} <= '0;
    end else begin
      if (awready && awvalid) begin
        w_addr_q  <= without(awaddr);
        b_resp_q  <= awaddr[41:40];
        w_wide_q  <= awsize != 3'd3;
        w_state_q <= S_ADDRESS;
      end
      if (wready && wvalid) begin
        w_data_q  <= wdata;
        w_strb_q  <= wstrb;
        w_last_q  <= wlast;
        w_word_q  <= w_wide_q ? '0 : ($clog2(WORDS) + 1)'(32'(w_addr_q[8:3]) % WORDS);
        w_state_q <= S_DATA;
      end
      if (m_axi_gmem_awvalid && m_axi_gmem_awready) w_state_q <= S_END;
      if (m_axi_gmem_wvalid && m_axi_gmem_wready) begin
        w_addr_q  <= w_addr_q + 64'd8;
        w_word_q  <= w_word_q + 1'b1;
        w_state_q <= S_DATA;
        if (!w_wide_q || 32'(w_word_q) == WORDS - 1) begin
          w_state_q <= w_last_q ? S_IDLE : S_ADDRESS;
          if (w_last_q) b_q <= 1'b1;
        end
      end
      if (bvalid && bready) b_q <= 1'b0;
    end
  end

  assign m_axi_gmem_awsize  = 3'd3;
  assign m_axi_gmem_arsize  = 3'd3;
  assign m_axi_gmem_awburst = 2'b01;
  assign m_axi_gmem_arburst = 2'b01;
endmodule
