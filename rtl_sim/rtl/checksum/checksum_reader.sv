// Asks memory for a range of words, in bursts, and hands over the answers in order.
//
// A burst is INCR, at most MaxBeats long, never across a 4 KiB page. It is asked for only when the
// queue behind has room for all of it, so `rready` never falls and memory may take any time.
module checksum_reader #(
  parameter int unsigned MaxBeats = 16,
  parameter int unsigned QueueLog2 = 6
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // command: taken while idle
  input  logic        start_i,
  input  logic [63:0] address_i,
  input  logic [31:0] beats_i,
  // answers
  output logic        push_o,
  output logic [63:0] data_o,
  input  logic        pop_i,  // the queue gave a word away: its place is credit again
  output logic        error_o,
  // memory, read side
  output logic        arvalid_o,
  input  logic        arready_i,
  output logic [63:0] araddr_o,
  output logic [7:0]  arlen_o,
  input  logic        rvalid_i,
  output logic        rready_o,
  input  logic [63:0] rdata_i,
  input  logic [1:0]  rresp_i,
  input  logic        rlast_i
);
  typedef enum logic [1:0] {Idle, Plan, Ask} state_e;

  state_e              state_q;
  logic [63:0]         address_q;
  logic [31:0]         left_q;    // beats not asked for yet
  logic [8:0]          beats_q;   // of the burst being asked for
  logic [QueueLog2:0]  credit_q;  // free places in the queue, less those promised

  logic [9:0] to_page_end;
  logic [8:0] wanted;
  logic       taken;

  assign to_page_end = 10'd512 - {1'b0, address_q[11:3]};
  always_comb begin
    wanted = 9'(MaxBeats);
    if (left_q < 32'(wanted)) wanted = left_q[8:0];
    if (to_page_end < 10'(wanted)) wanted = to_page_end[8:0];
  end

  assign taken     = arvalid_o && arready_i;
  assign arvalid_o = state_q == Ask;
  assign araddr_o  = address_q;
  assign arlen_o   = 8'(beats_q - 9'd1);
  assign rready_o  = 1'b1;
  assign push_o    = rvalid_i;
  assign data_o    = rdata_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q   <= Idle;
      address_q <= '0;
      left_q    <= '0;
      beats_q   <= 9'd1;
    end else begin
      case (state_q)
        Idle: begin
          if (start_i && beats_i != 0) begin
            state_q   <= Plan;
            address_q <= address_i;
            left_q    <= beats_i;
          end
        end
        Plan: begin
          beats_q <= wanted;
          if (32'(credit_q) >= 32'(wanted)) state_q <= Ask;
        end
        default: begin
          if (taken) begin
            address_q <= address_q + {52'd0, beats_q, 3'd0};
            left_q    <= left_q - 32'(beats_q);
            state_q   <= left_q == 32'(beats_q) ? Idle : Plan;
          end
        end
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      credit_q <= (QueueLog2+1)'(1 << QueueLog2);
      error_o  <= 1'b0;
    end else begin
      credit_q <= credit_q - (taken ? (QueueLog2+1)'(beats_q) : '0) + (QueueLog2+1)'(pop_i);
      if (state_q == Idle && start_i) error_o <= 1'b0;
      else if (rvalid_i && rresp_i != 2'b00) error_o <= 1'b1;
    end
  end

`ifndef SYNTHESIS
  logic unused;
  assign unused = rlast_i;
  always_ff @(posedge clk_i) begin
    if (rst_ni && arvalid_o) begin
      assert (int'(address_q[11:3]) + int'(beats_q) <= 512) else $error("burst across a page");
      assert (int'(beats_q) <= int'(credit_q)) else $error("burst without room for it");
    end
  end
`endif
endmodule
