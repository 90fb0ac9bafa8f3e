// A nosy overlay for tests: first it writes all that it finds at dst (a memory and a register that
// reset leaves alone, and the clock cycles since reset), then it leaves secrets everywhere, mixes
// them for `spin` cycles and writes the result and the cycles again. Words at dst:
//   0..15  the memory    16  the register    17  cycles    18  the mix    19  cycles
// spin = 0xffffffff never ends. key = 0xbad writes far outside of every buffer.
module spy #(
    parameter logic [63:0] FLAVOUR = 64'd1  // another one: another overlay
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
    output logic        interrupt
);
    typedef enum logic [2:0] {IDLE, LOOK, SEND, REPLY, HIDE, MIX, FINISH} phase_t;
    phase_t phase;
    logic start, done, gie, ier, isr;
    logic [63:0] dst, cycles, mix, word;
    logic [31:0] spin, key, left;
    logic [4:0] index;
    logic sent_address, sent_data;
    logic [63:0] found;         // no reset
    logic [63:0] secrets[16];   // no reset either

    wire aw = s_axi_control_awvalid && s_axi_control_wvalid && !s_axi_control_bvalid;
    wire ar = s_axi_control_arvalid && !s_axi_control_rvalid;
    assign s_axi_control_awready = aw;
    assign s_axi_control_wready = aw;
    assign s_axi_control_arready = ar;
    assign s_axi_control_rresp = 0;
    assign s_axi_control_bresp = 0;
    assign interrupt = gie && ier && isr;

    assign m_axi_gmem_arvalid = 0;
    assign m_axi_gmem_araddr = 0;
    assign m_axi_gmem_arlen = 0;
    assign m_axi_gmem_arsize = 3;
    assign m_axi_gmem_arburst = 1;
    assign m_axi_gmem_rready = 0;
    assign m_axi_gmem_awvalid = phase == SEND && !sent_address;
    assign m_axi_gmem_awaddr = key == 32'hbad ? 64'h10 : dst + {56'd0, index, 3'd0};
    assign m_axi_gmem_awlen = 0;
    assign m_axi_gmem_awsize = 3;
    assign m_axi_gmem_awburst = 1;
    assign m_axi_gmem_wvalid = phase == SEND && !sent_data;
    assign m_axi_gmem_wdata = word;
    assign m_axi_gmem_wstrb = 8'hff;
    assign m_axi_gmem_wlast = 1;
    assign m_axi_gmem_bready = phase == REPLY;

    wire [63:0] stirred = {mix[62:0], mix[63] ^ mix[61] ^ mix[12]} + secrets[mix[3:0]] + FLAVOUR;

    always_ff @(posedge ap_clk) begin
        if (phase == HIDE) secrets[index[3:0]] <= {key, 27'd0, index} * 64'h9e3779b97f4a7c15;
        if (phase == MIX) secrets[left[3:0]] <= stirred;
        if (phase == FINISH) found <= stirred;
    end

    always_ff @(posedge ap_clk) begin
        if (!ap_rst_n) begin
            phase <= IDLE;
            {start, done, gie, ier, isr} <= 0;
            {dst, cycles, mix, word, spin, key, left} <= 0;
            {index, sent_address, sent_data} <= 0;
            {s_axi_control_bvalid, s_axi_control_rvalid} <= 0;
            s_axi_control_rdata <= 0;
        end else begin
            cycles <= cycles + 1;
            case (phase)
                IDLE: if (start) begin
                    start <= 0;
                    index <= 0;
                    phase <= LOOK;
                end
                LOOK: begin
                    case (index)
                        5'd16: word <= found;
                        5'd17, 5'd19: word <= cycles;
                        5'd18: word <= mix;
                        default: word <= secrets[index[3:0]];
                    endcase
                    {sent_address, sent_data} <= 0;
                    phase <= SEND;
                end
                SEND: begin
                    if (m_axi_gmem_awready) sent_address <= 1;
                    if (m_axi_gmem_wready) sent_data <= 1;
                    if ((sent_address || m_axi_gmem_awready) && (sent_data || m_axi_gmem_wready))
                        phase <= REPLY;
                end
                REPLY: if (m_axi_gmem_bvalid) begin
                    index <= index + 1;
                    if (index == 5'd17) index <= 0;
                    phase <= index == 5'd17 ? HIDE : index == 5'd19 ? FINISH : LOOK;
                end
                HIDE: begin
                    index <= index + 1;
                    mix <= {key, spin} + FLAVOUR;
                    left <= spin;
                    if (index == 5'd15) phase <= MIX;
                end
                MIX: begin
                    mix <= stirred;
                    if (left != 32'hffffffff) left <= left - 1;
                    if (left == 0) begin
                        index <= 5'd18;
                        phase <= LOOK;
                    end
                end
                default: begin
                    phase <= IDLE;
                    done <= 1;
                    if (ier) isr <= 1;
                end
            endcase
            if (s_axi_control_bvalid && s_axi_control_bready) s_axi_control_bvalid <= 0;
            if (s_axi_control_rvalid && s_axi_control_rready) s_axi_control_rvalid <= 0;
            if (ar) begin
                s_axi_control_rvalid <= 1;
                case (s_axi_control_araddr)
                    12'h00: begin
                        s_axi_control_rdata <= {28'd0, phase == IDLE, phase == IDLE, done, start};
                        done <= 0;
                    end
                    12'h0c: s_axi_control_rdata <= {31'd0, isr};
                    default: s_axi_control_rdata <= 0;
                endcase
            end
            if (aw) begin
                s_axi_control_bvalid <= 1;
                case (s_axi_control_awaddr)
                    12'h00: start <= s_axi_control_wdata[0];
                    12'h04: gie <= s_axi_control_wdata[0];
                    12'h08: ier <= s_axi_control_wdata[0];
                    12'h0c: isr <= isr ^ s_axi_control_wdata[0];
                    12'h10: dst[31:0] <= s_axi_control_wdata;
                    12'h14: dst[63:32] <= s_axi_control_wdata;
                    12'h1c: spin <= s_axi_control_wdata;
                    12'h24: key <= s_axi_control_wdata;
                    default: ;
                endcase
            end
        end
    end
endmodule
