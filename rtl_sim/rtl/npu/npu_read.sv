// Reads device memory for two: long transfers (program, tiles), 64 bits a beat, and vectors, which
// go first, as wide as the bus. A transfer is cut into bursts that keep within 4 KiB pages; who is
// next is decided burst by burst. Addresses run ahead of data, so latency costs bandwidth nothing;
// only two bursts of the long transfer are under way, lest vectors wait behind it.
module npu_read #(
  parameter BUS = 64
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // requests: long transfers (0) and vectors (1), in beats of their own; at least 1
  input  logic [1:0]   req_valid_i,
  output logic [1:0]   req_ready_o,
  input  logic [127:0] req_addr_i,
  input  logic [63:0]  req_beats_i,
  // data for one or the other
  output logic [1:0]     valid_o,
  output logic [63:0]    long_o,
  output logic [BUS-1:0] vector_o,
  output logic           long_done_o,  // with the last beat
  output logic           error_o,      // with any
  output logic           idle_o,

  output logic           arvalid_o,
  input  logic           arready_i,
  output logic [63:0]    araddr_o,
  output logic [7:0]     arlen_o,
  output logic [2:0]     arsize_o,
  input  logic           rvalid_i,
  output logic           rready_o,
  input  logic [BUS-1:0] rdata_i,
  input  logic [1:0]     rresp_i,
  input  logic           rlast_i
);
  localparam BURSTS = 8;                  // under way
  localparam BW     = $clog2(BURSTS);
  localparam WIDE   = $clog2(BUS / 64);   // words a beat of a vector, as a power of two
  localparam LW     = (WIDE == 0) ? 1 : WIDE;
  localparam [8:0] LONG_BURST = 9'd128;

  logic [1:0][60:0] addr_q;   // of 8-byte words
  logic [1:0][31:0] left_q;   // that no burst covers yet
  logic             ask_q, who_q, room;
  logic [8:0]       burst, most;
  logic [9:0]       to_page;
  logic [1:0]       pending, long_q;  // bursts of the long transfer that are under way
  logic [BW:0]      count_q;
  // the bursts under way, oldest first: whose, and whether one ends its transfer
  logic             head_who, head_last, valid, beat, last, unused_full;
  logic [LW-1:0]    lane, lane_q;
  logic             first_q;

  // a burst takes what is left, up to the page's end
  assign to_page = 10'd512 - {1'b0, addr_q[who_q][8:0]};
  assign most    = who_q ? 9'd256 : LONG_BURST;
  always_comb begin
    burst = most;
    if (who_q) begin
      if ((to_page >> WIDE) < {1'b0, most}) burst = 9'(to_page >> WIDE);
    end else if (to_page < {1'b0, most}) begin
      burst = to_page[8:0];
    end
    if (left_q[who_q] < {23'b0, burst}) burst = left_q[who_q][8:0];
  end

  assign pending     = {left_q[1] != 0, left_q[0] != 0};
  assign req_ready_o = ~pending;
  assign room        = count_q != (BW + 1)'(BURSTS);
  assign arvalid_o   = ask_q;
  assign araddr_o    = {addr_q[who_q], 3'b000};
  assign arlen_o     = 8'(burst - 9'd1);
  assign arsize_o    = who_q ? 3'd3 + 3'(WIDE) : 3'd3;
  assign idle_o      = pending == 2'b00 && count_q == 0;

  npu_fifo #(.WIDTH(2 + LW), .DEPTH(BURSTS)) u_bursts (
    .clk_i, .rst_ni, .push_i(ask_q & arready_i),
    .data_i({who_q, left_q[who_q] == {23'b0, burst}, addr_q[who_q][LW-1:0]}),
    .full_o(unused_full), .valid_o(valid), .data_o({head_who, head_last, lane}), .pop_i(last)
  );
  assign rready_o    = valid;
  assign beat        = rvalid_i & valid;
  assign last        = beat & rlast_i;
  assign vector_o    = rdata_i;
  assign valid_o     = {beat & head_who, beat & ~head_who};
  assign long_done_o = last & head_last & ~head_who;
  assign error_o     = beat & (|rresp_i);

  // a narrow beat lies in the lanes that its address says
  if (WIDE == 0) begin : gen_narrow
    assign long_o = rdata_i;
  end else begin : gen_lanes
    assign long_o = rdata_i[32'(first_q ? lane : lane_q)*64 +: 64];
  end

  integer p;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ask_q   <= 1'b0;
      who_q   <= 1'b0;
      first_q <= 1'b1;
      lane_q  <= '0;
      long_q  <= '0;
      count_q <= '0;
      addr_q  <= '0;
      left_q  <= '0;
    end else begin
      for (p = 0; p < 2; p = p + 1) begin
        if (req_valid_i[p] && req_ready_o[p]) begin
          addr_q[p] <= req_addr_i[p*64+3 +: 61];
          left_q[p] <= req_beats_i[p*32 +: 32];
        end
      end
      if (ask_q) begin
        if (arready_i) begin
          ask_q         <= 1'b0;
          addr_q[who_q] <= addr_q[who_q] + (61'(burst) << (who_q ? WIDE : 0));
          left_q[who_q] <= left_q[who_q] - {23'b0, burst};
        end
      end else begin
        ask_q <= room && (pending[1] || (pending[0] && long_q != 2'd2));
        who_q <= pending[1];
      end
      count_q <= count_q + (BW + 1)'(ask_q & arready_i) - (BW + 1)'(last);
      long_q  <= long_q + 2'(ask_q && arready_i && !who_q) - 2'(last && !head_who);
      if (beat) begin
        first_q <= rlast_i;
        lane_q  <= (first_q ? lane : lane_q) + 1'b1;
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni)
    arvalid_o |-> {1'b0, araddr_o[11:3]} + (10'(arlen_o) << (who_q ? WIDE : 0)) < 10'd512);
  assert property (@(posedge clk_i) disable iff (!rst_ni) arvalid_o |-> left_q[who_q] != 0);
  assert property (@(posedge clk_i) disable iff (!rst_ni) rvalid_i |-> valid);
`endif
endmodule
