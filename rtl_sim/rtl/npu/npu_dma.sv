// AXI master: one transfer at a time, cut into bursts that keep within 4 KiB pages.
// Reading, every beat is handed on at once; writing, `ready_o` says that `data_i` was consumed.
module npu_dma (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic        write_i,
  input  logic [63:0] addr_i,
  input  logic [22:0] beats_i,  // at least 1
  output logic        valid_o,
  output logic [63:0] data_o,
  output logic        ready_o,
  input  logic [63:0] data_i,
  output logic        done_o,   // one cycle; `error_o` is valid with it
  output logic        error_o,

  output logic        awvalid_o,
  input  logic        awready_i,
  output logic        wvalid_o,
  input  logic        wready_i,
  output logic [63:0] wdata_o,
  output logic        wlast_o,
  input  logic        bvalid_i,
  output logic        bready_o,
  input  logic [1:0]  bresp_i,
  output logic        arvalid_o,
  input  logic        arready_i,
  input  logic        rvalid_i,
  output logic        rready_o,
  input  logic [63:0] rdata_i,
  input  logic [1:0]  rresp_i,
  output logic [63:0] addr_o,
  output logic [7:0]  len_o
);
  localparam [2:0] S_IDLE = 0, S_AR = 1, S_R = 2, S_AW = 3, S_W = 4, S_B = 5;

  logic [2:0]  state_q, state_d;
  logic [63:0] addr_q, addr_d;
  logic [22:0] left_q, left_d;    // beats of the transfer that no burst covers yet
  logic [8:0]  burst_q, burst_d;  // beats of the current burst still to come
  logic        error_q, error_d;
  logic [9:0]  to_page;
  logic [8:0]  burst;
  logic        accepted, finished;

  // a burst takes what is left, up to the page's end and AXI's 256 beats
  assign to_page = 10'd512 - {1'b0, addr_q[11:3]};
  always_comb begin
    burst = 9'd256;
    if (to_page < 10'd256) burst = to_page[8:0];
    if (left_q < {14'b0, burst}) burst = left_q[8:0];
  end

  assign arvalid_o = state_q == S_AR;
  assign awvalid_o = state_q == S_AW;
  assign rready_o  = state_q == S_R;
  assign wvalid_o  = state_q == S_W;
  assign bready_o  = state_q == S_B;
  assign addr_o    = addr_q;
  assign len_o     = 8'(burst - 9'd1);
  assign wdata_o   = data_i;
  assign wlast_o   = burst_q == 9'd1;
  assign valid_o   = rvalid_i & rready_o;
  assign data_o    = rdata_i;
  assign ready_o   = wvalid_o & wready_i;
  assign accepted  = (arvalid_o & arready_i) | (awvalid_o & awready_i);
  assign finished  = (valid_o && burst_q == 9'd1) || (bvalid_i && bready_o);
  assign done_o    = finished && left_q == 0;
  assign error_o   = error_d;

  always_comb begin
    state_d = state_q;
    addr_d  = addr_q;
    left_d  = left_q;
    burst_d = burst_q;
    error_d = error_q;
    if (valid_o) error_d = error_q | (|rresp_i);
    if (bvalid_i && bready_o) error_d = error_q | (|bresp_i);
    if (valid_o || ready_o) burst_d = burst_q - 9'd1;
    if (accepted) begin
      addr_d  = addr_q + {52'b0, burst, 3'b000};
      left_d  = left_q - {14'b0, burst};
      burst_d = burst;
    end
    case (state_q)
      S_IDLE: begin
        if (start_i) begin
          state_d = write_i ? S_AW : S_AR;
          addr_d  = {addr_i[63:3], 3'b000};
          left_d  = beats_i;
          error_d = 1'b0;
        end
      end
      S_AR: if (arready_i) state_d = S_R;
      S_R: if (finished) state_d = (left_q == 0) ? S_IDLE : S_AR;
      S_AW: if (awready_i) state_d = S_W;
      S_W: if (wready_i && wlast_o) state_d = S_B;
      S_B: if (bvalid_i) state_d = (left_q == 0) ? S_IDLE : S_AW;
      default: state_d = S_IDLE;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= S_IDLE;
      addr_q  <= '0;
      left_q  <= '0;
      burst_q <= '0;
      error_q <= 1'b0;
    end else begin
      state_q <= state_d;
      addr_q  <= addr_d;
      left_q  <= left_d;
      burst_q <= burst_d;
      error_q <= error_d;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) start_i |-> state_q == S_IDLE);
  assert property (@(posedge clk_i) disable iff (!rst_ni) start_i |-> beats_i != 0);
  assert property (@(posedge clk_i) disable iff (!rst_ni)
    (arvalid_o || awvalid_o) |-> {1'b0, addr_o[11:3]} + 10'(len_o) < 10'd512);
`endif
endmodule
