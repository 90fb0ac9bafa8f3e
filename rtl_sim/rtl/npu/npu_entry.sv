// Lets the rows of chains into the pipe, one a cycle at most: when the source is there, and no entry
// that the row reads or writes is still to be written by a row before it.
module npu_entry #(
  parameter ENGINES = 1,
  parameter IVRF    = 16,
  parameter AVRF    = 16,
  parameter MVRF    = 16,
  parameter QUEUE   = 4,
  parameter OUTPUTS = 4
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  npu_chain_pkg::chain_t [QUEUE-1:0] chains_i,
  input  logic [$clog2(QUEUE):0]      pushed_i,
  // sources
  input  logic [ENGINES-1:0]          result_valid_i,
  output logic [ENGINES-1:0]          result_take_o,
  input  logic [$clog2(QUEUE):0]      issued_i,
  input  logic [ENGINES-1:0]          reading_i,
  input  logic [ENGINES*$clog2(QUEUE)-1:0] reading_chain_i,
  input  logic                        input_valid_i,
  output logic                        input_take_o,
  // the row that goes in
  output logic                        enter_o,
  output logic [$clog2(QUEUE)-1:0]    place_o,
  output logic [7:0]                  row_o,
  output logic [2:0]                  engine_o,
  // entries that are written
  input  logic [2:0]                  write_i,     // IVRF, AVRF, MVRF
  input  logic [$clog2(IVRF)-1:0]     ivrf_addr_i,
  input  logic [$clog2(AVRF)-1:0]     avrf_addr_i,
  input  logic [$clog2(MVRF)-1:0]     mvrf_addr_i,
  input  logic                        output_gone_i,  // a vector left the queue of outputs
  // statistics
  output logic                        stall_mem_o,
  output logic                        stall_mv_o,
  output logic                        stall_dep_o,
  output logic                        stall_issue_o
);
  import npu_pkg::*;
  import npu_chain_pkg::*;
  localparam QW = $clog2(QUEUE);
  localparam EW = (ENGINES > 1) ? $clog2(ENGINES) : 1;
  localparam IW = $clog2(IVRF);
  localparam AW = $clog2(AVRF);
  localparam MW = $clog2(MVRF);
  localparam OW = $clog2(OUTPUTS);

  logic [QW:0]   entered_q;
  logic [7:0]    row_q;
  logic [2:0]    engine_q, engine;
  logic [OW:0]   outputs_q;  // in the pipe or in the queue
  chain_t        chain;
  logic          valid, from_memory, source_there, room, dependent, ivrf_busy, avrf_busy, mvrf_busy;
  logic          still_read, last_row;
  logic [3:0]    to;
  logic [IW-1:0] ivrf_sink, ivrf_source;
  logic [AW-1:0] avrf_sink, avrf_source;
  logic [MW-1:0] mvrf_sink, mvrf_source;
  integer        e;

  assign chain    = chains_i[entered_q[QW-1:0]];
  assign valid    = entered_q != pushed_i;
  assign place_o  = entered_q[QW-1:0];
  assign row_o    = row_q;
  assign engine   = (row_q == 0) ? chain.engine : engine_q;
  assign engine_o = engine;
  assign to       = chain.tap_to | chain.end_to;
  assign last_row = row_q + 8'd1 == chain.rows;
  assign from_memory = !chain.mv && (chain.mem == MEM_INPUT || chain.mem == MEM_WEIGHTS);

  // a chain that writes where its product reads waits until the product has read everything
  always_comb begin
    still_read = issued_i == entered_q;
    for (e = 0; e < ENGINES; e = e + 1) begin
      if (reading_i[e] && reading_chain_i[e*QW +: QW] == entered_q[QW-1:0]) still_read = 1'b1;
    end
    if (chain.mv)         source_there = result_valid_i[EW'(engine)] && !(chain.in_place && still_read);
    else if (from_memory) source_there = input_valid_i;
    else                  source_there = 1'b1;
  end

  assign room = !to[TO_OUTPUT] || outputs_q != (OW + 1)'(OUTPUTS);

  assign ivrf_source = IW'(chain.source) + IW'(row_q);
  assign avrf_source = AW'(chain.source) + AW'(row_q);
  assign mvrf_source = MW'(chain.source) + MW'(row_q);
  assign ivrf_sink   = IW'(chain.ivrf_at) + IW'(row_q);
  assign avrf_sink   = AW'(chain.avrf_at) + AW'(row_q);
  assign mvrf_sink   = MW'(chain.mvrf_at) + MW'(row_q);

  npu_busy #(.DEPTH(IVRF), .PORTS(2)) u_ivrf (
    .clk_i, .rst_ni, .set_i(enter_o & to[TO_IVRF]), .set_addr_i(ivrf_sink),
    .clear_i(write_i[TO_IVRF]), .clear_addr_i(ivrf_addr_i),
    .asked_i({to[TO_IVRF], !chain.mv && chain.mem == MEM_IVRF}),
    .addr_i({ivrf_sink, ivrf_source}), .busy_o(ivrf_busy)
  );
  npu_busy #(.DEPTH(AVRF), .PORTS(4)) u_avrf (
    .clk_i, .rst_ni, .set_i(enter_o & to[TO_AVRF]), .set_addr_i(avrf_sink),
    .clear_i(write_i[TO_AVRF]), .clear_addr_i(avrf_addr_i),
    .asked_i({to[TO_AVRF], chain.add1 != ADD_PASS, chain.add0 != ADD_PASS,
              !chain.mv && chain.mem == MEM_AVRF}),
    .addr_i({avrf_sink, AW'(chain.add1_at) + AW'(row_q), AW'(chain.add0_at) + AW'(row_q), avrf_source}),
    .busy_o(avrf_busy)
  );
  npu_busy #(.DEPTH(MVRF), .PORTS(4)) u_mvrf (
    .clk_i, .rst_ni, .set_i(enter_o & to[TO_MVRF]), .set_addr_i(mvrf_sink),
    .clear_i(write_i[TO_MVRF]), .clear_addr_i(mvrf_addr_i),
    .asked_i({to[TO_MVRF], chain.mul1, chain.mul0, !chain.mv && chain.mem == MEM_MVRF}),
    .addr_i({mvrf_sink, MW'(chain.mul1_at) + MW'(row_q), MW'(chain.mul0_at) + MW'(row_q), mvrf_source}),
    .busy_o(mvrf_busy)
  );
  assign dependent = ivrf_busy | avrf_busy | mvrf_busy;

  assign enter_o       = valid & source_there & room & ~dependent;
  assign input_take_o  = enter_o & from_memory;
  always_comb begin
    result_take_o = '0;
    result_take_o[EW'(engine)] = enter_o & chain.mv;
  end
  assign stall_issue_o = !valid;
  assign stall_mv_o    = valid && chain.mv && !source_there;
  assign stall_mem_o   = valid && !stall_mv_o && (!source_there || !room);
  assign stall_dep_o   = valid && source_there && room && dependent;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      entered_q <= '0;
      row_q     <= '0;
      engine_q  <= '0;
      outputs_q <= '0;
    end else begin
      if (enter_o) begin
        row_q    <= last_row ? 8'd0 : row_q + 8'd1;
        engine_q <= (engine == 3'(ENGINES - 1)) ? 3'd0 : engine + 3'd1;
        if (last_row) entered_q <= entered_q + 1'b1;
      end
      outputs_q <= outputs_q + (OW + 1)'(enter_o & to[TO_OUTPUT]) - (OW + 1)'(output_gone_i);
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) output_gone_i |-> outputs_q != 0);
  assert property (@(posedge clk_i) disable iff (!rst_ni) valid |-> row_q < chain.rows);
`endif
endmodule
