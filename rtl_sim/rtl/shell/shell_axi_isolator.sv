// AXI4 isolator: what a fabric asks of memory goes outside in whole bursts only.
//
// A fabric that stops at any cycle leaves half-told things on its bus. None of them gets outside:
//   writes  A burst goes out once all its beats are here; the last one is marked by counting, not
//           by what the fabric says. The outside never waits for a fabric in the middle of a burst.
//   reads   A burst is asked for once there is room for all its beats, so every beat that comes is
//           taken at once, whether or not the fabric listens.
// `run_i` says that the fabric takes this clock edge; what it drives otherwise is ignored. With
// `park_i` no burst begins; `quiet_o` rises when those that have begun are answered, after
//   at most (beats of the reads asked for + beats of one write burst) and the memory's own delays.
// Everything else (requests not begun, half a write burst, answers nobody took yet) is parked in
// here: this module's registers and memories are part of the fabric's state.
//
// Bursts of up to 2^BeatsLog2 beats; up to 2^BurstsLog2 requests wait in each direction.
module shell_axi_isolator #(
  parameter int unsigned AddrWidth  = 64,
  parameter int unsigned DataWidth  = 64,
  parameter int unsigned IdWidth    = 1,
  parameter int unsigned BurstsLog2 = 3,
  parameter int unsigned BeatsLog2  = 9
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   run_i,
  input  logic                   park_i,
  output logic                   quiet_o,

  // the fabric's side
  input  logic                   fab_awvalid,
  output logic                   fab_awready,
  input  logic [IdWidth-1:0]     fab_awid,
  input  logic [AddrWidth-1:0]   fab_awaddr,
  input  logic [7:0]             fab_awlen,
  input  logic [2:0]             fab_awsize,
  input  logic [1:0]             fab_awburst,
  input  logic                   fab_wvalid,
  output logic                   fab_wready,
  input  logic [DataWidth-1:0]   fab_wdata,
  input  logic [DataWidth/8-1:0] fab_wstrb,
  output logic                   fab_bvalid,
  input  logic                   fab_bready,
  output logic [IdWidth-1:0]     fab_bid,
  output logic [1:0]             fab_bresp,
  input  logic                   fab_arvalid,
  output logic                   fab_arready,
  input  logic [IdWidth-1:0]     fab_arid,
  input  logic [AddrWidth-1:0]   fab_araddr,
  input  logic [7:0]             fab_arlen,
  input  logic [2:0]             fab_arsize,
  input  logic [1:0]             fab_arburst,
  output logic                   fab_rvalid,
  input  logic                   fab_rready,
  output logic [IdWidth-1:0]     fab_rid,
  output logic [DataWidth-1:0]   fab_rdata,
  output logic [1:0]             fab_rresp,
  output logic                   fab_rlast,

  // the outside
  output logic                   out_awvalid,
  input  logic                   out_awready,
  output logic [IdWidth-1:0]     out_awid,
  output logic [AddrWidth-1:0]   out_awaddr,
  output logic [7:0]             out_awlen,
  output logic [2:0]             out_awsize,
  output logic [1:0]             out_awburst,
  output logic                   out_wvalid,
  input  logic                   out_wready,
  output logic [DataWidth-1:0]   out_wdata,
  output logic [DataWidth/8-1:0] out_wstrb,
  output logic                   out_wlast,
  input  logic                   out_bvalid,
  output logic                   out_bready,
  input  logic [IdWidth-1:0]     out_bid,
  input  logic [1:0]             out_bresp,
  output logic                   out_arvalid,
  input  logic                   out_arready,
  output logic [IdWidth-1:0]     out_arid,
  output logic [AddrWidth-1:0]   out_araddr,
  output logic [7:0]             out_arlen,
  output logic [2:0]             out_arsize,
  output logic [1:0]             out_arburst,
  input  logic                   out_rvalid,
  output logic                   out_rready,
  input  logic [IdWidth-1:0]     out_rid,
  input  logic [DataWidth-1:0]   out_rdata,
  input  logic [1:0]             out_rresp,
  input  logic                   out_rlast
);
  localparam int unsigned RequestWidth = IdWidth + AddrWidth + 8 + 3 + 2;
  localparam int unsigned BeatWidth    = DataWidth + DataWidth / 8;
  localparam int unsigned AnswerWidth  = IdWidth + 2;
  localparam int unsigned ReadWidth    = IdWidth + DataWidth + 3;
  localparam int unsigned CountWidth   = BeatsLog2 + 2;  // of beats, with room for sums
  localparam logic [BurstsLog2:0] MaxWrites = 1 << BurstsLog2;

  // ---- writes: gather, send, pass the answers

  logic                  aw_full, aw_waiting, w_full, w_waiting, b_full;
  logic                  aw_open_q, w_open_q;  // of the burst on its way out
  logic [7:0]            left_q;               // beats of it after the one that stands there
  logic [CountWidth-1:0] gathered_q;           // beats here that belong to no burst on its way out
  logic [BurstsLog2:0]   owed_q;               // bursts begun whose answers the fabric did not take
  logic [BurstsLog2:0]   unanswered_q;         // bursts begun and not answered yet
  logic                  aw_push, w_push, b_pop, aw_sent, w_sent, w_end, write_begins;
  logic [CountWidth-1:0] write_beats;

  assign fab_awready = !aw_full;
  assign fab_wready  = !w_full;
  assign aw_push     = run_i && fab_awvalid && fab_awready;
  assign w_push      = run_i && fab_wvalid && fab_wready;
  assign b_pop       = run_i && fab_bvalid && fab_bready;
  assign aw_sent     = out_awvalid && out_awready;
  assign w_sent      = out_wvalid && out_wready;
  assign w_end       = w_sent && out_wlast;

  assign write_beats  = CountWidth'(out_awlen) + 1'b1;
  assign write_begins = aw_waiting && !aw_open_q && (!w_open_q || w_end) && !park_i
                        && gathered_q >= write_beats && owed_q != MaxWrites;

  assign out_awvalid = aw_open_q;
  assign out_wvalid  = w_open_q && w_waiting;
  assign out_wlast   = left_q == 0;
  assign out_bready  = 1'b1;

  shell_fifo #(.Width(RequestWidth), .DepthLog2(BurstsLog2)) u_aw (
    .clk_i, .rst_ni, .push_i(aw_push), .full_o(aw_full), .pop_i(aw_sent), .valid_o(aw_waiting),
    .data_i({fab_awid, fab_awaddr, fab_awlen, fab_awsize, fab_awburst}),
    .data_o({out_awid, out_awaddr, out_awlen, out_awsize, out_awburst})
  );
  shell_fifo #(.Width(BeatWidth), .DepthLog2(BeatsLog2)) u_w (
    .clk_i, .rst_ni, .push_i(w_push), .full_o(w_full), .pop_i(w_sent), .valid_o(w_waiting),
    .data_i({fab_wdata, fab_wstrb}), .data_o({out_wdata, out_wstrb})
  );
  shell_fifo #(.Width(AnswerWidth), .DepthLog2(BurstsLog2)) u_b (
    .clk_i, .rst_ni, .push_i(out_bvalid), .full_o(b_full), .pop_i(b_pop), .valid_o(fab_bvalid),
    .data_i({out_bid, out_bresp}), .data_o({fab_bid, fab_bresp})
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      aw_open_q    <= 1'b0;
      w_open_q     <= 1'b0;
      left_q       <= '0;
      gathered_q   <= '0;
      owed_q       <= '0;
      unanswered_q <= '0;
    end else begin
      if (write_begins) begin
        aw_open_q <= 1'b1;
        w_open_q  <= 1'b1;
        left_q    <= out_awlen;
      end else begin
        if (aw_sent) aw_open_q <= 1'b0;
        if (w_end) w_open_q <= 1'b0;
        if (w_sent) left_q <= left_q - 1'b1;
      end
      gathered_q <= gathered_q + CountWidth'(w_push) - (write_begins ? write_beats : '0);
      owed_q     <= owed_q + (BurstsLog2+1)'(write_begins) - (BurstsLog2+1)'(b_pop);
      unanswered_q <= unanswered_q + (BurstsLog2+1)'(write_begins)
                      - (BurstsLog2+1)'(out_bvalid);
    end
  end

  // ---- reads: ask for what fits, keep what comes

  logic                  ar_full, ar_waiting, r_full, ar_open_q;
  logic [CountWidth-1:0] room_q;     // beats for which there is room that no burst was promised
  logic [CountWidth-1:0] awaited_q;  // beats asked for that have not come
  logic                  ar_push, r_pop, ar_sent, read_begins;
  logic [CountWidth-1:0] read_beats;

  assign fab_arready = !ar_full;
  assign ar_push     = run_i && fab_arvalid && fab_arready;
  assign r_pop       = run_i && fab_rvalid && fab_rready;
  assign ar_sent     = out_arvalid && out_arready;

  assign read_beats  = CountWidth'(out_arlen) + 1'b1;
  assign read_begins = ar_waiting && !ar_open_q && !park_i && room_q >= read_beats;

  assign out_arvalid = ar_open_q;
  assign out_rready  = 1'b1;

  shell_fifo #(.Width(RequestWidth), .DepthLog2(BurstsLog2)) u_ar (
    .clk_i, .rst_ni, .push_i(ar_push), .full_o(ar_full), .pop_i(ar_sent), .valid_o(ar_waiting),
    .data_i({fab_arid, fab_araddr, fab_arlen, fab_arsize, fab_arburst}),
    .data_o({out_arid, out_araddr, out_arlen, out_arsize, out_arburst})
  );
  shell_fifo #(.Width(ReadWidth), .DepthLog2(BeatsLog2)) u_r (
    .clk_i, .rst_ni, .push_i(out_rvalid), .full_o(r_full), .pop_i(r_pop), .valid_o(fab_rvalid),
    .data_i({out_rid, out_rdata, out_rresp, out_rlast}),
    .data_o({fab_rid, fab_rdata, fab_rresp, fab_rlast})
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ar_open_q <= 1'b0;
      room_q    <= CountWidth'(1 << BeatsLog2);
      awaited_q <= '0;
    end else begin
      if (read_begins) ar_open_q <= 1'b1;
      else if (ar_sent) ar_open_q <= 1'b0;
      room_q    <= room_q + CountWidth'(r_pop) - (read_begins ? read_beats : '0);
      awaited_q <= awaited_q + (read_begins ? read_beats : '0) - CountWidth'(out_rvalid);
    end
  end

  assign quiet_o = !aw_open_q && !w_open_q && unanswered_q == 0 && !ar_open_q && awaited_q == 0;

  logic unused;
  assign unused = ^{b_full, r_full};

`ifndef SYNTHESIS
  initial assert (BeatsLog2 >= 1 && BeatsLog2 <= 16);
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(out_bvalid && unanswered_q == 0)) else $error("an answer to no write");
      assert (!(out_rvalid && awaited_q == 0)) else $error("a beat that nobody asked for");
      assert (!(aw_waiting && 32'(out_awlen) >= 1 << BeatsLog2)) else $error("burst too long");
      assert (!(ar_waiting && 32'(out_arlen) >= 1 << BeatsLog2)) else $error("burst too long");
    end
  end
`endif
endmodule
