// A small overlay for tests, instrumented by hand so that the shell can be tested without the
// capture tool: reads n 8-byte words at src in bursts of up to 16, keeps them in a memory, writes
// each plus `key` at dst. key = 0xdead never finishes. All registers are one packed struct, so that
// the chain is a shift of it.
module blend #(
    parameter integer STATE_PORT = 1
) (
    input  logic        ap_clk, ap_rst_n,
    input  logic        s_axi_control_awvalid, s_axi_control_wvalid, s_axi_control_bready,
    input  logic        s_axi_control_arvalid, s_axi_control_rready,
    output logic        s_axi_control_awready, s_axi_control_wready, s_axi_control_bvalid,
    output logic        s_axi_control_arready, s_axi_control_rvalid,
    input  logic [11:0] s_axi_control_awaddr, s_axi_control_araddr,
    input  logic [31:0] s_axi_control_wdata,
    input  logic [3:0]  s_axi_control_wstrb,
    output logic [31:0] s_axi_control_rdata,
    output logic [1:0]  s_axi_control_rresp, s_axi_control_bresp,
    output logic        m_axi_gmem_awvalid, m_axi_gmem_wvalid, m_axi_gmem_bready,
    output logic        m_axi_gmem_arvalid, m_axi_gmem_rready,
    input  logic        m_axi_gmem_awready, m_axi_gmem_wready, m_axi_gmem_bvalid,
    input  logic        m_axi_gmem_arready, m_axi_gmem_rvalid,
    output logic [63:0] m_axi_gmem_awaddr, m_axi_gmem_araddr,
    output logic [7:0]  m_axi_gmem_awlen, m_axi_gmem_arlen,
    output logic [2:0]  m_axi_gmem_awsize, m_axi_gmem_arsize,
    output logic [1:0]  m_axi_gmem_awburst, m_axi_gmem_arburst,
    output logic [63:0] m_axi_gmem_wdata,
    output logic [7:0]  m_axi_gmem_wstrb,
    output logic        m_axi_gmem_wlast,
    input  logic [63:0] m_axi_gmem_rdata,
    input  logic [1:0]  m_axi_gmem_rresp, m_axi_gmem_bresp,
    input  logic        m_axi_gmem_rlast,
    output logic        interrupt,
    input  logic        sp_run, sp_scan,
    input  logic [31:0] sp_si,
    output logic [31:0] sp_so,
    input  logic [15:0] sp_msel,
    input  logic [31:0] sp_maddr,
    input  logic        sp_mre, sp_mwe,
    input  logic [69:0] sp_mwd,
    output logic [69:0] sp_mrd
);
    typedef enum logic [2:0] {IDLE, ADDR, FILL, WADDR, DRAIN, REPLY, DONE} phase_t;
    typedef struct packed {
        logic [43:0] spare;  // fills the last row
        phase_t      phase;
        logic        start, done, gie, ier, isr;
        logic [63:0] src, dst;
        logic [31:0] n, left, key, cycles;
        logic [4:0]  burst, index;
        logic        rvalid, bvalid;
        logic [31:0] rdata;
    } state_t;
    localparam integer ROWS = ($bits(state_t) + 31) / 32;
    state_t q, d;
    logic [69:0] store[16];  // 6 bits of tag beside the data: wider than 64, to test wide ports
    logic run;
    assign run = (STATE_PORT == 0) || sp_run;

    wire aw = s_axi_control_awvalid && s_axi_control_wvalid && !q.bvalid;
    wire ar = s_axi_control_arvalid && !q.rvalid;
    assign s_axi_control_awready = aw;
    assign s_axi_control_wready = aw;
    assign s_axi_control_bvalid = q.bvalid;
    assign s_axi_control_arready = ar;
    assign s_axi_control_rvalid = q.rvalid;
    assign s_axi_control_rdata = q.rdata;
    assign s_axi_control_rresp = 0;
    assign s_axi_control_bresp = 0;
    assign interrupt = q.gie && q.ier && q.isr;

    assign m_axi_gmem_arvalid = q.phase == ADDR;
    assign m_axi_gmem_araddr = q.src;
    assign m_axi_gmem_arlen = {3'd0, q.burst} - 8'd1;
    assign m_axi_gmem_arsize = 3;
    assign m_axi_gmem_arburst = 1;
    assign m_axi_gmem_rready = q.phase == FILL;
    assign m_axi_gmem_awvalid = q.phase == WADDR;
    assign m_axi_gmem_awaddr = q.dst;
    assign m_axi_gmem_awlen = {3'd0, q.burst} - 8'd1;
    assign m_axi_gmem_awsize = 3;
    assign m_axi_gmem_awburst = 1;
    assign m_axi_gmem_wvalid = q.phase == DRAIN;
    assign m_axi_gmem_wdata = store[q.index[3:0]][63:0] + {32'd0, q.key};
    assign m_axi_gmem_wstrb = 8'hff;
    assign m_axi_gmem_wlast = q.index + 5'd1 == q.burst;
    assign m_axi_gmem_bready = q.phase == REPLY;

    always_comb begin
        d = q;
        if (q.phase != IDLE) d.cycles = q.cycles + 1;
        if (q.bvalid && s_axi_control_bready) d.bvalid = 0;
        if (q.rvalid && s_axi_control_rready) d.rvalid = 0;
        case (q.phase)
            IDLE: if (q.start) begin
                d.start = 0;
                d.left = q.n;
                d.cycles = 0;
                d.burst = q.n > 16 ? 16 : q.n[4:0];
                d.phase = q.n == 0 ? DONE : ADDR;
            end
            ADDR: if (m_axi_gmem_arready) begin
                d.phase = FILL;
                d.index = 0;
            end
            FILL: if (m_axi_gmem_rvalid) begin
                d.index = q.index + 1;
                if (m_axi_gmem_rlast) begin
                    d.index = 0;
                    d.phase = WADDR;
                end
            end
            WADDR: if (m_axi_gmem_awready) d.phase = DRAIN;
            DRAIN: if (m_axi_gmem_wready) begin
                d.index = q.index + 1;
                if (m_axi_gmem_wlast) d.phase = REPLY;
            end
            REPLY: if (m_axi_gmem_bvalid) begin
                d.src = q.src + {56'd0, q.burst, 3'd0};
                d.dst = q.dst + {56'd0, q.burst, 3'd0};
                d.left = q.left - {27'd0, q.burst};
                d.burst = d.left > 16 ? 16 : d.left[4:0];
                d.phase = d.left == 0 ? DONE : ADDR;
            end
            default: if (q.key != 32'hdead) begin
                d.phase = IDLE;
                d.done = 1;
                if (q.ier) d.isr = 1;
            end
        endcase
        if (ar) begin
            d.rvalid = 1;
            case (s_axi_control_araddr)
                12'h00: begin
                    d.rdata = {28'd0, q.phase == IDLE, q.phase == IDLE, q.done, q.start};
                    d.done = 0;
                end
                12'h0c: d.rdata = {31'd0, q.isr};
                12'h40: d.rdata = q.cycles;
                default: d.rdata = 0;
            endcase
        end
        if (aw) begin
            d.bvalid = 1;
            case (s_axi_control_awaddr)
                12'h00: d.start = s_axi_control_wdata[0];
                12'h04: d.gie = s_axi_control_wdata[0];
                12'h08: d.ier = s_axi_control_wdata[0];
                12'h0c: d.isr = q.isr ^ s_axi_control_wdata[0];
                12'h10: d.src[31:0] = s_axi_control_wdata;
                12'h14: d.src[63:32] = s_axi_control_wdata;
                12'h1c: d.dst[31:0] = s_axi_control_wdata;
                12'h20: d.dst[63:32] = s_axi_control_wdata;
                12'h28: d.n = s_axi_control_wdata;
                12'h30: d.key = s_axi_control_wdata;
                default: ;
            endcase
        end
        if (!ap_rst_n) d = '0;
    end

    // the chain: row 0 leaves first
    localparam integer BITS = ROWS * 32;
    logic [BITS-1:0] chain;
    assign q = chain[$bits(state_t)-1:0];
    assign sp_so = chain[31:0];
    always_ff @(posedge ap_clk) begin
        if (run) chain <= {{(BITS - $bits(state_t)) {1'b0}}, d};
        else if (sp_scan) chain <= {sp_si, chain[BITS-1:32]};
    end

    always_ff @(posedge ap_clk) begin
        if (run) begin
            if (q.phase == FILL && m_axi_gmem_rvalid)
                store[q.index[3:0]] <= {q.index, 1'b1, m_axi_gmem_rdata};
        end else if (sp_mwe && sp_msel == 0) store[sp_maddr[3:0]] <= sp_mwd;
    end
    assign sp_mrd = store[sp_maddr[3:0]];

    assert property (@(posedge ap_clk) disable iff (!ap_rst_n) q.key != 32'hbad);
endmodule
