// Reads device memory for two: long transfers (program, tiles) and vectors, which go first. A
// transfer is cut into bursts that keep within 4 KiB pages; who is next is decided burst by burst.
module npu_read (
  input  logic        clk_i,
  input  logic        rst_ni,
  // requests: long transfers (0) and vectors (1)
  input  logic [1:0]   req_valid_i,
  output logic [1:0]   req_ready_o,
  input  logic [127:0] req_addr_i,
  input  logic [63:0]  req_beats_i,  // at least 1
  // data for one or the other
  output logic [1:0]   valid_o,
  output logic [63:0]  data_o,
  output logic [1:0]   done_o,       // with the last beat
  output logic         error_o,      // with any
  output logic         idle_o,

  output logic        arvalid_o,
  input  logic        arready_i,
  output logic [63:0] araddr_o,
  output logic [7:0]  arlen_o,
  input  logic        rvalid_i,
  output logic        rready_o,
  input  logic [63:0] rdata_i,
  input  logic [1:0]  rresp_i
);
  localparam [1:0] S_IDLE = 0, S_AR = 1, S_R = 2;

  logic [1:0]        state_q, busy_q;
  logic [1:0][60:0]  addr_q;   // of 8-byte words
  logic [1:0][31:0]  left_q;   // that no burst covers yet
  logic              who_q;
  logic [8:0]        burst_q, burst;
  logic [9:0]        to_page;
  logic              last;

  // a burst takes what is left, up to the page's end and AXI's 256 beats
  assign to_page = 10'd512 - {1'b0, addr_q[who_q][8:0]};
  always_comb begin
    burst = 9'd256;
    if (to_page < 10'd256)               burst = to_page[8:0];
    if (left_q[who_q] < {23'b0, burst})  burst = left_q[who_q][8:0];
  end

  assign req_ready_o = ~busy_q;
  assign arvalid_o   = state_q == S_AR;
  assign araddr_o    = {addr_q[who_q], 3'b000};
  assign arlen_o     = 8'(burst - 9'd1);
  assign rready_o    = state_q == S_R;
  assign last        = rvalid_i && rready_o && burst_q == 9'd1;
  assign data_o      = rdata_i;
  assign error_o     = rvalid_i & rready_o & (|rresp_i);
  assign idle_o      = busy_q == 2'b00;
  always_comb begin
    valid_o        = 2'b00;
    done_o         = 2'b00;
    valid_o[who_q] = rvalid_i & rready_o;
    done_o[who_q]  = last && left_q[who_q] == 0;
  end

  integer p;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= S_IDLE;
      busy_q  <= 2'b00;
      addr_q  <= '0;
      left_q  <= '0;
      who_q   <= 1'b0;
      burst_q <= '0;
    end else begin
      for (p = 0; p < 2; p = p + 1) begin
        if (req_valid_i[p] && req_ready_o[p]) begin
          busy_q[p] <= 1'b1;
          addr_q[p] <= req_addr_i[p*64+3 +: 61];
          left_q[p] <= req_beats_i[p*32 +: 32];
        end
      end
      case (state_q)
        S_AR: if (arready_i) begin
          addr_q[who_q] <= addr_q[who_q] + {52'b0, burst};
          left_q[who_q] <= left_q[who_q] - {23'b0, burst};
          burst_q       <= burst;
          state_q       <= S_R;
        end
        S_R: begin
          if (rvalid_i) burst_q <= burst_q - 9'd1;
          if (last) begin
            state_q <= S_IDLE;
            if (left_q[who_q] == 0) busy_q[who_q] <= 1'b0;
            else if (!busy_q[~who_q] || who_q)  state_q <= S_AR;
          end
        end
        default: if (|busy_q) begin
          who_q   <= busy_q[1];
          state_q <= S_AR;
        end
      endcase
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni)
    arvalid_o |-> {1'b0, araddr_o[11:3]} + 10'(arlen_o) < 10'd512);
  assert property (@(posedge clk_i) disable iff (!rst_ni) arvalid_o |-> left_q[who_q] != 0);
`endif
endmodule
