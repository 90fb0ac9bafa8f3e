// Watches the requests of an AXI4 master and counts broken rules; bit i of `broken_o` is rule i:
//   0  a valid fell before its ready
//   1  an address, its size or length, or write data changed under valid
//   2  a write beat of no burst, or WLAST elsewhere than at the end
//   3  a burst across a 4 KiB page
//   4  a write burst that began and did not go on at once: it waits for somebody
//   5  "quiet" while something was under way
//   6  a burst that began while parked: the freeze would last as long as there is work
module shell_axi_watch (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        quiet_i,
  input  logic        park_i,
  input  logic        awvalid, awready,
  input  logic [31:0] awaddr,
  input  logic [7:0]  awlen,
  input  logic [2:0]  awsize,
  input  logic        wvalid, wready, wlast,
  input  logic [63:0] wdata,
  input  logic [7:0]  wstrb,
  input  logic        bvalid, bready,
  input  logic        arvalid, arready,
  input  logic [31:0] araddr,
  input  logic [7:0]  arlen,
  input  logic [2:0]  arsize,
  input  logic        rvalid, rready, rlast,
  output logic [6:0]  broken_o,
  output logic [31:0] bursts_o
);
  logic        aw_held_q, w_held_q, ar_held_q;  // valid without ready in the last cycle
  logic [42:0] aw_q, ar_q;
  logic [72:0] w_q;
  logic [7:0]  lens [0:63];   // of the bursts whose addresses were taken
  logic [5:0]  told_q, ended_q;
  logic [7:0]  beat_q;
  logic [7:0]  writes_q, reads_q;  // under way
  logic        crosses_aw, crosses_ar, open, last;
  logic [6:0]  broken;
  logic        parked_q;  // in the last cycle, when what is valid now was decided

  // A burst's beats lie on whole beats, wherever in the first it begins.
  assign crosses_aw = ((13'(awaddr[11:0] >> awsize) + 13'(awlen) + 13'd1) << awsize) > 13'd4096;
  assign crosses_ar = ((13'(araddr[11:0] >> arsize) + 13'(arlen) + 13'd1) << arsize) > 13'd4096;
  assign open       = ended_q != told_q || awvalid;
  assign last       = beat_q == (ended_q != told_q ? lens[ended_q] : awlen);

  always_comb begin
    broken[0] = (aw_held_q && !awvalid) || (w_held_q && !wvalid) || (ar_held_q && !arvalid);
    broken[1] = (aw_held_q && aw_q != {awaddr, awlen, awsize})
                || (w_held_q && w_q != {wdata, wstrb, wlast})
                || (ar_held_q && ar_q != {araddr, arlen, arsize});
    broken[2] = wvalid && (!open || wlast != last);
    broken[3] = (awvalid && crosses_aw) || (arvalid && crosses_ar);
    broken[4] = beat_q != 0 && !wvalid;
    broken[6] = parked_q && ((awvalid && !aw_held_q) || (arvalid && !ar_held_q));
    broken[5] = quiet_i && (awvalid || wvalid || arvalid || writes_q != 0 || reads_q != 0);
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {aw_held_q, w_held_q, ar_held_q, parked_q} <= '0;
      {told_q, ended_q, beat_q, writes_q, reads_q} <= '0;
      broken_o <= '0;
      bursts_o <= '0;
    end else begin
      parked_q  <= park_i;
      aw_held_q <= awvalid && !awready;
      w_held_q  <= wvalid && !wready;
      ar_held_q <= arvalid && !arready;
      aw_q      <= {awaddr, awlen, awsize};
      w_q       <= {wdata, wstrb, wlast};
      ar_q      <= {araddr, arlen, arsize};
      if (awvalid && awready) begin
        lens[told_q] <= awlen;
        told_q       <= told_q + 1'b1;
      end
      if (wvalid && wready) begin
        beat_q <= wlast ? '0 : beat_q + 1'b1;
        if (wlast) ended_q <= ended_q + 1'b1;
      end
      writes_q <= writes_q + 8'(awvalid && awready) - 8'(bvalid && bready);
      reads_q  <= reads_q + 8'(arvalid && arready) - 8'(rvalid && rready && rlast);
      bursts_o <= bursts_o + 32'(awvalid && awready) + 32'(arvalid && arready);
      broken_o <= broken_o | broken;
    end
  end
endmodule
