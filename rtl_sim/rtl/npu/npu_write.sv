// Writes one transfer of up to 256 beats at a time to device memory, cut where a 4 KiB page ends.
// `ready_o` says that `data_i` was consumed.
module npu_write (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [63:0] addr_i,
  input  logic [8:0]  beats_i,  // at least 1
  output logic        ready_o,
  input  logic [63:0] data_i,
  output logic        idle_o,
  output logic        done_o,   // one cycle; `error_o` is valid with it
  output logic        error_o,

  output logic        awvalid_o,
  input  logic        awready_i,
  output logic [63:0] awaddr_o,
  output logic [7:0]  awlen_o,
  output logic        wvalid_o,
  input  logic        wready_i,
  output logic [63:0] wdata_o,
  output logic        wlast_o,
  input  logic        bvalid_i,
  output logic        bready_o,
  input  logic [1:0]  bresp_i
);
  localparam [1:0] S_IDLE = 0, S_AW = 1, S_W = 2, S_B = 3;

  logic [1:0]  state_q;
  logic [60:0] addr_q;
  logic [8:0]  left_q, burst_q, burst;
  logic [9:0]  to_page;
  logic        error_q;

  assign to_page = 10'd512 - {1'b0, addr_q[8:0]};
  assign burst   = ({1'b0, left_q} > to_page) ? to_page[8:0] : left_q;

  assign awvalid_o = state_q == S_AW;
  assign awaddr_o  = {addr_q, 3'b000};
  assign awlen_o   = 8'(burst - 9'd1);
  assign wvalid_o  = state_q == S_W;
  assign wdata_o   = data_i;
  assign wlast_o   = burst_q == 9'd1;
  assign bready_o  = state_q == S_B;
  assign ready_o   = wvalid_o & wready_i;
  assign idle_o    = state_q == S_IDLE;
  assign error_o   = error_q | (|bresp_i);
  assign done_o    = bvalid_i && bready_o && left_q == 0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= S_IDLE;
      addr_q  <= '0;
      left_q  <= '0;
      burst_q <= '0;
      error_q <= 1'b0;
    end else begin
      case (state_q)
        S_AW: if (awready_i) begin
          addr_q  <= addr_q + {52'b0, burst};
          left_q  <= left_q - burst;
          burst_q <= burst;
          state_q <= S_W;
        end
        S_W: if (wready_i) begin
          burst_q <= burst_q - 9'd1;
          if (wlast_o) state_q <= S_B;
        end
        S_B: if (bvalid_i) begin
          error_q <= error_o;
          state_q <= (left_q == 0) ? S_IDLE : S_AW;
        end
        default: if (start_i) begin
          addr_q  <= addr_i[63:3];
          left_q  <= beats_i;
          error_q <= 1'b0;
          state_q <= S_AW;
        end
      endcase
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) start_i |-> idle_o && beats_i != 0);
  assert property (@(posedge clk_i) disable iff (!rst_ni)
    awvalid_o |-> {1'b0, awaddr_o[11:3]} + 10'(awlen_o) < 10'd512);
`endif
endmodule
