// Writes a stream of 64-bit words to memory from a page's start on, in INCR bursts of 64 beats.
//
// Bursts lie on multiples of their length and so never cross 4 KiB; the last may be shorter.
module shell_dma_write (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [63:0] address_i,  // multiple of 4096
  input  logic [31:0] beats_i,
  output logic        busy_o,
  output logic        error_o,    // since the start

  input  logic        valid_i,
  output logic        ready_o,
  input  logic [63:0] data_i,

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
  localparam int unsigned MaxBeats = 64;
  localparam logic [3:0]  MaxAhead = 4;  // bursts asked for whose data have not gone

  logic [31:0] ask_left_q, send_left_q;  // beats
  logic [63:0] address_q;
  logic [5:0]  place_q;                  // of the beat in its burst
  logic [3:0]  ahead_q, unanswered_q;
  logic        full, waiting, asked, sent, ended;
  logic [6:0]  burst;

  assign burst     = ask_left_q < MaxBeats ? ask_left_q[6:0] : 7'(MaxBeats);
  assign awvalid_o = ask_left_q != 0 && ahead_q < MaxAhead && unanswered_q != 4'd15;
  assign awaddr_o  = address_q;
  assign awlen_o   = 8'(burst) - 8'd1;
  assign wvalid_o  = waiting && ahead_q != 0;
  assign wlast_o   = place_q == 6'd63 || send_left_q == 1;
  assign bready_o  = 1'b1;
  assign asked     = awvalid_o && awready_i;
  assign sent      = wvalid_o && wready_i;
  assign ended     = sent && wlast_o;
  assign ready_o   = !full;
  assign busy_o    = ask_left_q != 0 || send_left_q != 0 || unanswered_q != 0;

  shell_fifo #(.Width(64), .DepthLog2(6)) u_beats (
    .clk_i, .rst_ni, .push_i(valid_i && !full), .data_i, .full_o(full),
    .pop_i(sent), .valid_o(waiting), .data_o(wdata_o)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ask_left_q   <= '0;
      send_left_q  <= '0;
      address_q    <= '0;
      place_q      <= '0;
      ahead_q      <= '0;
      unanswered_q <= '0;
      error_o      <= 1'b0;
    end else if (start_i) begin
      ask_left_q  <= beats_i;
      send_left_q <= beats_i;
      address_q   <= address_i;
      place_q     <= '0;
      error_o     <= 1'b0;
    end else begin
      if (asked) begin
        ask_left_q <= ask_left_q - 32'(burst);
        address_q  <= address_q + 64'(MaxBeats * 8);
      end
      if (sent) begin
        send_left_q <= send_left_q - 1'b1;
        place_q     <= place_q + 1'b1;
      end
      ahead_q      <= ahead_q + 4'(asked) - 4'(ended);
      unanswered_q <= unanswered_q + 4'(asked) - 4'(bvalid_i);
      if (bvalid_i && bresp_i != 2'b00) error_o <= 1'b1;
    end
  end

`ifndef SYNTHESIS
  logic        held_q;
  logic [71:0] request_q;
  always_ff @(posedge clk_i) begin
    held_q    <= rst_ni && awvalid_o && !awready_i;
    request_q <= {awaddr_o, awlen_o};
    if (rst_ni) begin
      assert (!start_i || (!busy_o && address_i[11:0] == 0)) else $error("start while busy");
      assert (!held_q || (awvalid_o && request_q == {awaddr_o, awlen_o}))
        else $error("a request changed");
      assert (!(bvalid_i && unanswered_q == 0)) else $error("an answer to no write");
    end
  end
`endif
endmodule
