// Reads memory from a page's start on as a stream of 64-bit words, in INCR bursts of 64 beats.
//
// A burst is asked for once there is room for it, so RREADY never falls. `stop_i` ends the
// reading early: what was asked for still comes and must be taken.
module shell_dma_read (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic        stop_i,
  input  logic [63:0] address_i,  // multiple of 4096
  input  logic [31:0] beats_i,
  output logic        busy_o,
  output logic        error_o,    // since the start

  output logic        valid_o,
  input  logic        ready_i,
  output logic [63:0] data_o,

  output logic        arvalid_o,
  input  logic        arready_i,
  output logic [63:0] araddr_o,
  output logic [7:0]  arlen_o,
  input  logic        rvalid_i,
  output logic        rready_o,
  input  logic [63:0] rdata_i,
  input  logic [1:0]  rresp_i
);
  localparam int unsigned MaxBeats = 64;
  localparam int unsigned RoomLog2 = 8;

  logic [31:0]         left_q;     // beats not asked for
  logic [63:0]         address_q;
  logic [RoomLog2:0]   room_q;     // places that no burst was promised
  logic [RoomLog2:0]   awaited_q;  // beats asked for that have not come
  logic                full, asked, pop, open_q;
  logic [6:0]          burst;

  assign burst     = left_q < MaxBeats ? left_q[6:0] : 7'(MaxBeats);
  assign arvalid_o = open_q;
  assign araddr_o  = address_q;
  assign arlen_o   = 8'(burst) - 8'd1;
  assign rready_o  = 1'b1;
  assign asked     = arvalid_o && arready_i;
  assign pop       = valid_o && ready_i;
  assign busy_o    = left_q != 0 || awaited_q != 0 || valid_o;

  shell_fifo #(.Width(64), .DepthLog2(RoomLog2)) u_beats (
    .clk_i, .rst_ni, .push_i(rvalid_i), .data_i(rdata_i), .full_o(full),
    .pop_i(pop), .valid_o, .data_o
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      left_q    <= '0;
      address_q <= '0;
      room_q    <= (RoomLog2+1)'(1 << RoomLog2);
      awaited_q <= '0;
      open_q    <= 1'b0;
      error_o   <= 1'b0;
    end else if (start_i) begin
      left_q    <= beats_i;
      address_q <= address_i;
      error_o   <= 1'b0;
    end else begin
      if (asked) begin
        left_q    <= stop_i ? '0 : left_q - 32'(burst);
        address_q <= address_q + 64'(MaxBeats * 8);
      end else if (stop_i && !open_q) begin
        left_q <= '0;
      end
      if (asked) open_q <= 1'b0;
      else if (left_q != 0 && room_q >= (RoomLog2+1)'(burst) && !stop_i) open_q <= 1'b1;
      room_q    <= room_q + (RoomLog2+1)'(pop) - (asked ? (RoomLog2+1)'(burst) : '0);
      awaited_q <= awaited_q + (asked ? (RoomLog2+1)'(burst) : '0) - (RoomLog2+1)'(rvalid_i);
      if (rvalid_i && rresp_i != 2'b00) error_o <= 1'b1;
    end
  end

  logic unused;
  assign unused = full;

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!start_i || (!busy_o && address_i[11:0] == 0)) else $error("start while busy");
      assert (!(rvalid_i && awaited_q == 0)) else $error("a beat that nobody asked for");
    end
  end
`endif
endmodule
