// Memory to memory copy over AXI4: descriptors through a small register interface, read bursts into
// a FIFO, write bursts out of it, several transactions in flight.

module axi_dma_fifo #(
  parameter int WIDTH = 64,
  parameter int DEPTH = 64
) (
  input  logic                   clk,
  input  logic                   rst_n,
  input  logic                   push,
  input  logic [WIDTH-1:0]       in,
  input  logic                   pop,
  output logic [WIDTH-1:0]       out,
  output logic [$clog2(DEPTH):0] level
);
  logic [WIDTH-1:0] mem [DEPTH];
  logic [$clog2(DEPTH)-1:0] head, tail;
  assign out = mem[tail];
  always_ff @(posedge clk) if (push) mem[head] <= in;
  always_ff @(posedge clk)
    if (!rst_n) begin
      head <= '0;
      tail <= '0;
      level <= '0;
    end else begin
      if (push) head <= head + 1'b1;
      if (pop) tail <= tail + 1'b1;
      level <= level + (push ? 1'b1 : 1'b0) - (pop ? 1'b1 : 1'b0);
    end
endmodule

module axi_dma #(
  parameter int BURST = 8,
  parameter int FIFO = 64
) (
  input  logic        clk,
  input  logic        rst_n,
  input  logic        start,
  input  logic [31:0] source,
  input  logic [31:0] target,
  input  logic [15:0] bursts,
  output logic        busy,
  output logic        error,
  // read address and data
  output logic        arvalid,
  input  logic        arready,
  output logic [31:0] araddr,
  output logic [7:0]  arlen,
  input  logic        rvalid,
  output logic        rready,
  input  logic [63:0] rdata,
  input  logic [1:0]  rresp,
  input  logic        rlast,
  // write address, data, response
  output logic        awvalid,
  input  logic        awready,
  output logic [31:0] awaddr,
  output logic [7:0]  awlen,
  output logic        wvalid,
  input  logic        wready,
  output logic [63:0] wdata,
  output logic        wlast,
  input  logic        bvalid,
  output logic        bready,
  input  logic [1:0]  bresp
);
  logic [15:0] reads_left, writes_left, answers_left;
  logic [31:0] read_at, write_at;
  logic [$clog2(FIFO):0] level, promised;
  logic [$clog2(BURST)-1:0] beat;
  logic writing;

  assign arlen = 8'(BURST - 1);
  assign awlen = 8'(BURST - 1);
  assign araddr = read_at;
  assign awaddr = write_at;
  assign rready = 1'b1;  // room was promised when the burst was asked for
  assign bready = 1'b1;
  assign busy = reads_left != 0 || writes_left != 0 || answers_left != 0;

  wire ask = arvalid && arready;
  wire push = rvalid && rready && level != (FIFO[$clog2(FIFO):0]);
  wire pop = wvalid && wready;
  axi_dma_fifo #(.DEPTH(FIFO)) fifo (.clk, .rst_n, .push, .in(rdata), .pop, .out(wdata), .level);

  assign wvalid = writing && level != 0;
  assign wlast = beat == ($clog2(BURST))'(BURST - 1);

  always_ff @(posedge clk)
    if (!rst_n) begin
      arvalid <= 1'b0;
      awvalid <= 1'b0;
      writing <= 1'b0;
      error <= 1'b0;
      reads_left <= '0;
      writes_left <= '0;
      answers_left <= '0;
      promised <= '0;
      beat <= '0;
      read_at <= '0;
      write_at <= '0;
    end else begin
      if (start && !busy) begin
        read_at <= source;
        write_at <= target;
        reads_left <= bursts;
        writes_left <= bursts;
        answers_left <= bursts;
        error <= 1'b0;
      end
      // Reading: a burst is asked for when the FIFO will have room for all of it.
      if (ask) begin
        arvalid <= 1'b0;
        read_at <= read_at + 32'(8 * BURST);
        reads_left <= reads_left - 1'b1;
      end else if (!arvalid && reads_left != 0 && int'(promised) + BURST <= FIFO) begin
        arvalid <= 1'b1;
      end
      promised <= promised + (ask ? ($clog2(FIFO) + 1)'(BURST) : '0) - (pop ? 1'b1 : 1'b0);
      // Writing: address first, then its data.
      if (awvalid && awready) begin
        awvalid <= 1'b0;
        writing <= 1'b1;
        write_at <= write_at + 32'(8 * BURST);
      end else if (!awvalid && !writing && writes_left != 0 && level != 0) begin
        awvalid <= 1'b1;
      end
      if (pop) begin
        beat <= beat + 1'b1;
        if (wlast) begin
          writing <= 1'b0;
          writes_left <= writes_left - 1'b1;
        end
      end
      if (bvalid && answers_left != 0) answers_left <= answers_left - 1'b1;
      if ((rvalid && rresp != 0) || (bvalid && bresp != 0)) error <= 1'b1;
    end

  // What this master promises its interconnect.
  logic waiting_ar, waiting_aw;
  logic [31:0] araddr_q, awaddr_q;
  always_ff @(posedge clk) begin
    waiting_ar <= rst_n && arvalid && !arready;
    waiting_aw <= rst_n && awvalid && !awready;
    araddr_q <= araddr;
    awaddr_q <= awaddr;
    if (rst_n && waiting_ar) assert (arvalid && araddr == araddr_q);
    if (rst_n && waiting_aw) assert (awvalid && awaddr == awaddr_q);
  end
endmodule
