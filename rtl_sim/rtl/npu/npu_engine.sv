// A tile engine: its MatrixRf, its copy of the InitialVrf in block floating point, N dot units. It
// works through its jobs, each a row of a product, and keeps the results until they are taken.
module npu_engine #(
  parameter N       = 16,
  parameter LANES   = 16,
  parameter MANT    = 7,
  parameter GUARD   = 5,
  parameter TILES   = 16,
  parameter IVRF    = 16,
  parameter QUEUE   = 4,
  parameter RESULTS = 2
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  npu_chain_pkg::chain_t [QUEUE-1:0] chains_i,
  input  logic [$clog2(QUEUE):0]        retired_i,
  input  logic [7:0]                    retired_rows_i,
  input  logic [7:0]                    run_i,
  input  logic [7:0]                    win_x_i,
  input  logic [7:0]                    win_y_i,
  input  logic [13:0]                   pitch_x_i,
  input  logic [13:0]                   pitch_y_i,
  input  logic                          job_valid_i,
  input  logic [$clog2(QUEUE)-1:0]      job_chain_i,
  input  logic [$clog2(TILES)-1:0]      job_line_i,
  output logic                          job_full_o,
  output logic                          reading_o,
  output logic [$clog2(QUEUE)-1:0]      reading_chain_o,
  output logic                          beat_o,
  // writing the InitialVrf
  input  logic                          vrf_we_i,
  input  logic [$clog2(IVRF)-1:0]       vrf_addr_i,
  input  logic [N*(MANT+1)+4:0]         vrf_data_i,
  // writing tiles
  input  logic                          exp_we_i,
  input  logic [$clog2(TILES)-1:0]      exp_addr_i,
  input  logic [N*8-1:0]                exp_data_i,
  input  logic                          row_we_i,
  input  logic [$clog2(N)-1:0]          row_i,
  input  logic [$clog2(TILES*N/LANES)-1:0] row_addr_i,
  input  logic [LANES*(MANT+1)-1:0]     row_data_i,
  // results: accumulators and their exponents
  output logic                          valid_o,
  output logic [N*41-1:0]               result_o,
  input  logic                          take_i
);
  localparam MB    = MANT + 1;
  localparam BEATS = N / LANES;
  localparam WORDS = TILES * BEATS;
  localparam PW    = 2 * MANT + $clog2(LANES) + 1;

  logic                     beat, first, last;
  logic [$clog2(IVRF)-1:0]  entry;
  logic [7:0]               index, index_q;
  logic [$clog2(TILES)-1:0] tile;
  logic [$clog2(WORDS)-1:0] word;
  // behind the beat: operands read, product, product settled, accumulated
  logic [3:0]               valid_q, first_q, last_q;
  logic [N*MB-1:0]          x;
  logic [4:0]               block;
  logic [N*8-1:0]           exps;
  logic [LANES*MB-1:0]      x_lanes;
  logic [N*41-1:0]          result;
  logic                     full;

  npu_columns #(
    .BEATS(BEATS), .TILES(TILES), .IVRF(IVRF), .QUEUE(QUEUE), .RESULTS(RESULTS)
  ) u_columns (
    .clk_i, .rst_ni, .chains_i, .retired_i, .retired_rows_i, .run_i, .win_x_i, .win_y_i,
    .pitch_x_i, .pitch_y_i, .job_valid_i, .job_chain_i, .job_line_i, .job_full_o, .take_i,
    .reading_o, .reading_chain_o, .beat_o(beat), .first_o(first), .last_o(last), .entry_o(entry),
    .index_o(index), .tile_o(tile), .word_o(word)
  );
  assign beat_o = beat;

  npu_ram #(.WIDTH(N*MB + 5), .DEPTH(IVRF)) u_vrf (
    .clk_i, .we_i(vrf_we_i), .waddr_i(vrf_addr_i), .wdata_i(vrf_data_i),
    .re_i(beat), .raddr_i(entry), .rdata_o({block, x})
  );
  npu_ram #(.WIDTH(N*8), .DEPTH(TILES)) u_exps (
    .clk_i, .we_i(exp_we_i), .waddr_i(exp_addr_i), .wdata_i(exp_data_i),
    .re_i(beat), .raddr_i(tile), .rdata_o(exps)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {valid_q, first_q, last_q} <= '0;
      index_q <= '0;
    end else begin
      valid_q <= {valid_q[2:0], beat};
      first_q <= {first_q[2:0], first};
      last_q  <= {last_q[2:0], last};
      index_q <= index;
    end
  end

  if (BEATS == 1) begin : gen_all_lanes
    assign x_lanes = x;
  end else begin : gen_some_lanes
    assign x_lanes = x[32'(index_q)*LANES*MB +: LANES*MB];
  end

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_row
    npu_row #(.LANES(LANES), .MANT(MANT), .GUARD(GUARD), .WORDS(WORDS), .PW(PW)) u_row (
      .clk_i,
      .we_i(row_we_i && row_i == g), .waddr_i(row_addr_i), .wdata_i(row_data_i),
      .read_i(beat), .raddr_i(word),
      .dot_i(valid_q[0]), .x_i(x_lanes),
      .product_exp_i($signed({exps[g*8+7], exps[g*8 +: 8]}) + $signed({4'b0000, block})),
      .settle_i(valid_q[1]), .accumulate_i(valid_q[2]), .first_i(first_q[2]),
      .acc_o(result[g*41 +: 32]), .exp_o(result[g*41+32 +: 9])
    );
  end

  npu_fifo #(.WIDTH(N*41), .DEPTH(RESULTS)) u_results (
    .clk_i, .rst_ni, .push_i(valid_q[3] & last_q[3]), .data_i(result), .full_o(full),
    .valid_o, .data_o(result_o), .pop_i(take_i)
  );

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) valid_q[3] && last_q[3] |-> !full);
`endif
endmodule
