// Reads the vectors of chains whose source is in device memory, ahead of the pipe, as far as its
// queue has room: up to GROUP vectors of a chain at a time, when there is a place for all of them.
module npu_input #(
  parameter N     = 16,
  parameter BUS   = 64,
  parameter QUEUE = 4,
  parameter DEPTH = 8,
  parameter GROUP = 4
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  npu_chain_pkg::chain_t [QUEUE-1:0] chains_i,
  input  logic [$clog2(QUEUE):0]   pushed_i,
  input  logic [63:0]              input_i,
  input  logic [63:0]              weights_i,
  // the bus
  output logic                     req_valid_o,
  input  logic                     req_ready_i,
  output logic [63:0]              req_addr_o,
  output logic [31:0]              req_beats_o,
  input  logic                     valid_i,
  input  logic [BUS-1:0]           data_i,
  // vectors
  output logic                     valid_o,
  output logic [N*16-1:0]          vec_o,
  input  logic                     take_i
);
  localparam QW = $clog2(QUEUE);
  localparam DW = $clog2(DEPTH);
  localparam BEATS = 16 * N / BUS;

  logic [QW:0] asked_q;
  logic [7:0]  row_q, beat_q, left;
  logic [DW:0] places_q, group;   // taken, by vectors that came or were asked for
  logic [N*16-BUS-1:0] held_q;
  logic [N*16-1:0] vec;
  logic [BUS-1:0]  entering;
  npu_chain_pkg::chain_t chain;
  logic [20:0] index;
  logic        valid, reads, full, complete, asked, last;

  assign chain = chains_i[asked_q[QW-1:0]];
  assign valid = asked_q != pushed_i;
  assign reads = !chain.mv && (chain.mem == npu_pkg::MEM_INPUT || chain.mem == npu_pkg::MEM_WEIGHTS);
  assign left  = chain.rows - row_q;
  assign group = (left < 8'(GROUP)) ? left[DW:0] : (DW + 1)'(GROUP);
  assign last  = left <= 8'(GROUP);
  assign req_valid_o = valid && reads && places_q <= (DW + 1)'(DEPTH) - group;
  assign req_addr_o  = ((chain.mem == npu_pkg::MEM_INPUT) ? input_i : weights_i)
                     + {43'b0, index} * 64'(2 * N);
  assign req_beats_o = 32'(group) * 32'(BEATS);
  assign index    = {1'b0, chain.source} + {13'b0, row_q};
  assign asked    = req_valid_o & req_ready_i;
  assign complete = valid_i && beat_q == 8'(BEATS - 1);
  assign vec      = {entering, held_q};

  // what is no h16 value becomes one (docs/npu.md, Arithmetic)
  genvar g;
  for (g = 0; g < BUS / 16; g = g + 1) begin : gen_entering
    assign entering[g*16 +: 16] =
      (data_i[g*16+10 +: 5] == 5'd0)  ? 16'h0000 :
      (data_i[g*16+10 +: 5] == 5'd31) ? {data_i[g*16+15], 15'h7bff} :
      data_i[g*16 +: 16];
  end

  npu_fifo #(.WIDTH(N*16), .DEPTH(DEPTH)) u_vectors (
    .clk_i, .rst_ni, .push_i(complete), .data_i(vec), .full_o(full),
    .valid_o, .data_o(vec_o), .pop_i(take_i)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      asked_q  <= '0;
      row_q    <= '0;
      beat_q   <= '0;
      places_q <= '0;
    end else begin
      if (asked) row_q <= last ? 8'd0 : row_q + 8'(GROUP);
      if (valid && (!reads || (asked && last))) asked_q <= asked_q + 1'b1;
      if (valid_i) beat_q <= complete ? 8'd0 : beat_q + 8'd1;
      places_q <= places_q + (asked ? group : '0) - (DW + 1)'(take_i);
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) held_q <= vec[N*16-1:BUS];
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) complete |-> !full);
`endif
endmodule
