// Walks an engine through its jobs, a beat a cycle: source vector, word of MatrixRf, first and last
// beat. It waits before a source vector that an older chain is still to write, and before a job
// whose result would find no room.
module npu_columns #(
  parameter BEATS   = 1,
  parameter TILES   = 16,
  parameter IVRF    = 16,
  parameter QUEUE   = 4,
  parameter RESULTS = 2
) (
  input  logic                             clk_i,
  input  logic                             rst_ni,
  input  npu_chain_pkg::chain_t [QUEUE-1:0] chains_i,
  input  logic [$clog2(QUEUE):0]           retired_i,
  input  logic [7:0]                       retired_rows_i,
  // the window, which stands still while there are jobs
  input  logic [7:0]                       run_i,
  input  logic [7:0]                       win_x_i,
  input  logic [7:0]                       win_y_i,
  input  logic [13:0]                      pitch_x_i,
  input  logic [13:0]                      pitch_y_i,
  // jobs
  input  logic                             job_valid_i,
  input  logic [$clog2(QUEUE)-1:0]         job_chain_i,
  input  logic [$clog2(TILES)-1:0]         job_line_i,
  output logic                             job_full_o,
  input  logic                             take_i,      // a result was taken
  // is there a job left to read, and of which chain is the oldest one
  output logic                             reading_o,
  output logic [$clog2(QUEUE)-1:0]         reading_chain_o,
  // beats
  output logic                             beat_o,
  output logic                             first_o,
  output logic                             last_o,
  output logic [$clog2(IVRF)-1:0]          entry_o,
  output logic [7:0]                       index_o,     // of the beat in its vector
  output logic [$clog2(TILES)-1:0]         tile_o,
  output logic [$clog2(TILES*BEATS)-1:0]   word_o
);
  localparam QW = $clog2(QUEUE);
  localparam TW = $clog2(TILES);
  localparam VW = $clog2(IVRF);
  localparam WW = $clog2(TILES * BEATS);
  localparam RW = $clog2(RESULTS);

  logic          job_valid, start, active_q, first_q, busy;
  logic [QW-1:0] job_chain, chain_q;
  logic [TW-1:0] job_line, tile_q;
  npu_chain_pkg::chain_t chain, next;
  logic [VW-1:0] entry_q, run_start_q, line_start_q;
  logic [7:0]    k_q, x_q, y_q, beat_q;
  logic [WW-1:0] word_q;
  logic [RW:0]   results_q;  // jobs begun whose result was not taken
  logic [7:0]    run, win_x, win_y, beats;
  logic          last_k, last_x, last_y, last_beat, done;

  npu_fifo #(.WIDTH(QW + TW), .DEPTH(2)) u_jobs (
    .clk_i, .rst_ni, .push_i(job_valid_i), .data_i({job_chain_i, job_line_i}), .full_o(job_full_o),
    .valid_o(job_valid), .data_o({job_chain, job_line}), .pop_i(start)
  );

  assign chain = chains_i[chain_q];
  assign next  = chains_i[job_chain];
  assign run   = chain.window ? run_i : chain.cols;
  assign win_x = chain.window ? win_x_i : 8'd1;
  assign win_y = chain.window ? win_y_i : 8'd1;
  assign last_k    = k_q + 8'd1 == run;
  assign last_x    = x_q + 8'd1 == win_x;
  assign last_y    = y_q + 8'd1 == win_y;
  assign beats     = last_k ? chain.tail : 8'(BEATS);
  assign last_beat = beat_q + 8'd1 == beats;
  assign done      = beat_o & last_o;
  assign start     = job_valid && (!active_q || done) && results_q != (RW + 1)'(RESULTS);

  assign beat_o  = active_q & ~busy;
  assign first_o = first_q;
  assign last_o  = last_beat & last_k & last_x & last_y;
  assign entry_o = entry_q;
  assign index_o = beat_q;
  assign tile_o  = tile_q;
  assign word_o  = word_q;
  assign reading_o       = active_q | job_valid;
  assign reading_chain_o = active_q ? chain_q : job_chain;

  // Does an older chain that has not ended yet write this entry?
  logic [QUEUE-1:0] writes;
  genvar g;
  for (g = 0; g < QUEUE; g = g + 1) begin : gen_older
    logic [QW-1:0] age, own_age;
    logic [15:0]   row;
    logic          sink;
    assign age     = QW'(g) - retired_i[QW-1:0];
    assign own_age = chain_q - retired_i[QW-1:0];
    assign row     = 16'(entry_q) - chains_i[g].ivrf_at;
    assign sink    = chains_i[g].tap_to[npu_chain_pkg::TO_IVRF]
                   | chains_i[g].end_to[npu_chain_pkg::TO_IVRF];
    assign writes[g] = age < own_age && sink && row < {8'b0, chains_i[g].rows}
                    && !(age == 0 && row < {8'b0, retired_rows_i});
  end
  assign busy = |writes;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q  <= 1'b0;
      first_q   <= 1'b0;
      results_q <= '0;
      chain_q   <= '0;
      {entry_q, run_start_q, line_start_q, tile_q, word_q} <= '0;
      {k_q, x_q, y_q, beat_q} <= '0;
    end else begin
      results_q <= results_q + (RW + 1)'(start) - (RW + 1)'(take_i);
      if (start) begin
        active_q <= 1'b1;
        first_q  <= 1'b1;
        chain_q  <= job_chain;
        tile_q   <= job_line;
        word_q   <= WW'(job_line) * WW'(BEATS);
        {k_q, x_q, y_q, beat_q} <= '0;
        entry_q      <= next.source[VW-1:0];
        run_start_q  <= next.source[VW-1:0];
        line_start_q <= next.source[VW-1:0];
      end else if (done) begin
        active_q <= 1'b0;
      end else if (beat_o) begin
        first_q <= 1'b0;
        if (!last_beat) begin
          beat_q <= beat_q + 8'd1;
          word_q <= word_q + 1'b1;
        end else begin
          beat_q <= '0;
          tile_q <= tile_q + 1'b1;
          word_q <= word_q - WW'(beat_q) + WW'(BEATS);
          if (!last_k) begin
            k_q     <= k_q + 8'd1;
            entry_q <= entry_q + 1'b1;
          end else if (!last_x) begin
            k_q         <= '0;
            x_q         <= x_q + 8'd1;
            entry_q     <= run_start_q + VW'(pitch_x_i);
            run_start_q <= run_start_q + VW'(pitch_x_i);
          end else begin
            k_q          <= '0;
            x_q          <= '0;
            y_q          <= y_q + 8'd1;
            entry_q      <= line_start_q + VW'(pitch_y_i);
            run_start_q  <= line_start_q + VW'(pitch_y_i);
            line_start_q <= line_start_q + VW'(pitch_y_i);
          end
        end
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) take_i |-> results_q != 0);
  assert property (@(posedge clk_i) disable iff (!rst_ni) active_q |-> beat_q < beats);
`endif
endmodule
