// Hands the rows of products to the engines, in the order of the program: row r of a matrix that
// begins in engine e to engine (e + r) mod ENGINES, as soon as its tiles are there.
module npu_issue #(
  parameter ENGINES = 1,
  parameter TILES   = 16,
  parameter QUEUE   = 4,
  parameter LOADS   = 2
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  npu_chain_pkg::chain_t [QUEUE-1:0] chains_i,
  input  logic                        push_i,
  input  logic [$clog2(QUEUE):0]      pushed_i,
  output logic [$clog2(QUEUE):0]      issued_o,
  // loads that are under way, and the lines they write
  input  logic [LOADS-1:0]            load_busy_i,
  input  logic [LOADS*16-1:0]         load_line_i,
  input  logic [LOADS*16-1:0]         load_lines_i,
  // jobs
  output logic [ENGINES-1:0]          job_valid_o,
  output logic [$clog2(QUEUE)-1:0]    job_chain_o,
  output logic [$clog2(TILES)-1:0]    job_line_o,
  input  logic [ENGINES-1:0]          job_full_i,
  output logic                        stall_tiles_o
);
  localparam QW = $clog2(QUEUE);
  localparam EW = (ENGINES > 1) ? $clog2(ENGINES) : 1;
  localparam TW = $clog2(TILES);

  logic [QW:0] issued_q;
  logic [7:0]  row_q;
  logic [2:0]  engine_q, engine;
  logic [TW-1:0] line_q, line;
  logic [QUEUE*LOADS-1:0] after_q;  // the load was under way when the chain came: it is older
  npu_chain_pkg::chain_t chain;
  logic        valid, blocked, go, wrap;
  integer      j, k, p;

  assign chain       = chains_i[issued_q[QW-1:0]];
  assign issued_o    = issued_q;
  assign valid       = issued_q != pushed_i;
  assign engine      = (row_q == 0) ? chain.engine : engine_q;
  assign line        = (row_q == 0) ? chain.line[TW-1:0] : line_q;
  assign job_chain_o = issued_q[QW-1:0];
  assign job_line_o  = line;
  assign wrap        = engine == 3'(ENGINES - 1);
  assign stall_tiles_o = valid && chain.mv && blocked;

  always_comb begin
    blocked = 1'b0;
    for (j = 0; j < LOADS; j = j + 1) begin
      if (after_q[issued_q[QW-1:0]*LOADS + j] && load_busy_i[j] && chain.line < load_line_i[j*16 +: 16] + load_lines_i[j*16 +: 16]
          && load_line_i[j*16 +: 16] < chain.line + chain.lines) blocked = 1'b1;
    end
    if (row_q != 0) blocked = 1'b0;
    go = valid && chain.mv && !blocked && !job_full_i[EW'(engine)];
    job_valid_o = '0;
    job_valid_o[EW'(engine)] = go;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      issued_q <= '0;
      row_q    <= '0;
      engine_q <= '0;
      line_q   <= '0;
      after_q  <= '0;
    end else begin
      if (go) begin
        engine_q <= wrap ? 3'd0 : engine + 3'd1;
        line_q   <= wrap ? line + TW'(chain.cols) : line;
        row_q    <= (row_q + 8'd1 == chain.rows) ? 8'd0 : row_q + 8'd1;
      end
      if (valid && (!chain.mv || (go && row_q + 8'd1 == chain.rows))) issued_q <= issued_q + 1'b1;
      for (p = 0; p < QUEUE; p = p + 1) begin
        for (k = 0; k < LOADS; k = k + 1) begin
          if (push_i && pushed_i[QW-1:0] == QW'(p)) after_q[p*LOADS + k] <= load_busy_i[k];
          else if (!load_busy_i[k])                  after_q[p*LOADS + k] <= 1'b0;
        end
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) go |-> 32'(engine) < ENGINES);
`endif
endmodule
