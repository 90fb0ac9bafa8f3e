// Host side of the control isolator (AXI4-Lite): always alive, holds nothing of the fabric's.
//
// One access at a time goes to the back (shell_lite_back.sv), which speaks to the fabric. An access
// that the fabric does not answer within Patience cycles gets SLVERR, so that no fabric can hang the
// host's bus. While `refuse_i` (frozen, or about to) new accesses get SLVERR at once and
// never reach the fabric; one already with the back is let end: `idle_o`.
module shell_lite_front #(
  parameter int unsigned AddrWidth = 12,
  parameter int unsigned Patience  = 256
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 refuse_i,
  output logic                 idle_o,

  input  logic                 s_awvalid,
  output logic                 s_awready,
  input  logic [AddrWidth-1:0] s_awaddr,
  input  logic                 s_wvalid,
  output logic                 s_wready,
  input  logic [31:0]          s_wdata,
  input  logic [3:0]           s_wstrb,
  output logic                 s_bvalid,
  input  logic                 s_bready,
  output logic [1:0]           s_bresp,
  input  logic                 s_arvalid,
  output logic                 s_arready,
  input  logic [AddrWidth-1:0] s_araddr,
  output logic                 s_rvalid,
  input  logic                 s_rready,
  output logic [31:0]          s_rdata,
  output logic [1:0]           s_rresp,

  // to the back
  output logic                 ask_o,
  input  logic                 taken_i,
  output logic                 is_write_o,
  output logic [AddrWidth-1:0] addr_o,
  output logic [31:0]          wdata_o,
  output logic [3:0]           wstrb_o,
  output logic                 abandon_o,  // the answer will be too late: swallow it
  input  logic                 done_i,
  input  logic [1:0]           resp_i,
  input  logic [31:0]          rdata_i
);
  localparam int unsigned TimerWidth = $clog2(Patience + 1);
  typedef enum logic [1:0] {Idle, Ask, Wait, Answer} state_e;

  state_e                state_q;
  logic [TimerWidth-1:0] timer_q;
  logic                  late, take_write, take_read, answered;

  assign late       = timer_q == 0;
  // A write is preferred, unless the last access was one and a read waits.
  assign take_write = state_q == Idle && s_awvalid && s_wvalid && !(is_write_o && s_arvalid);
  assign take_read  = state_q == Idle && s_arvalid && !take_write;
  assign answered   = is_write_o ? s_bready : s_rready;

  assign s_awready = take_write;
  assign s_wready  = take_write;
  assign s_arready = take_read;
  assign s_bvalid  = state_q == Answer && is_write_o;
  assign s_rvalid  = state_q == Answer && !is_write_o;
  assign s_rresp   = s_bresp;

  assign ask_o     = state_q == Ask;
  assign abandon_o = state_q == Wait && late && !done_i;
  assign idle_o    = state_q == Idle || state_q == Answer;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q    <= Idle;
      timer_q    <= '0;
      is_write_o <= 1'b0;
      addr_o     <= '0;
      wdata_o    <= '0;
      wstrb_o    <= '0;
      s_bresp    <= 2'b00;
      s_rdata    <= '0;
    end else begin
      if (!late) timer_q <= timer_q - 1'b1;
      case (state_q)
        Idle: begin
          if (take_write || take_read) begin
            is_write_o <= take_write;
            addr_o     <= take_write ? s_awaddr : s_araddr;
            wdata_o    <= s_wdata;
            wstrb_o    <= s_wstrb;
            timer_q    <= TimerWidth'(Patience);
            s_bresp    <= 2'b10;
            s_rdata    <= '0;
            state_q    <= refuse_i ? Answer : Ask;
          end
        end
        Ask: begin
          if (taken_i) state_q <= Wait;
          else if (late) state_q <= Answer;
        end
        Wait: begin
          if (done_i) begin
            s_bresp <= resp_i;
            s_rdata <= rdata_i;
          end
          if (done_i || late) state_q <= Answer;
        end
        default: if (answered) state_q <= Idle;
      endcase
    end
  end
endmodule
