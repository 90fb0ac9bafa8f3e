// The statistics: 16 words of 32 bits (docs/npu.md). Cleared at start, counting while running.
module npu_stats #(
  parameter N       = 16,
  parameter LANES   = 16,
  parameter ENGINES = 1
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        clear_i,
  input  logic        running_i,
  input  logic        decoding_i,
  input  logic        retire_i,
  input  logic [1:0]  chains_i,        // that ended: a vector chain, a matrix chain
  input  logic [ENGINES-1:0] beats_i,
  input  logic        stall_mem_i,
  input  logic        stall_mv_i,
  input  logic        stall_dep_i,
  input  logic        stall_issue_i,
  input  logic        stall_tiles_i,
  input  logic [2:0]  saturations_i,
  input  logic        read_beat_i,
  input  logic        write_beat_i,
  input  logic        tile_i,
  input  logic [2:0]  vector_ops_i,
  input  logic [31:0] status_i,
  output logic [16*32-1:0] words_o
);

  logic [31:0] cycles_q, instructions_q, chains_q, mv_beats_q, stall_mem_q, stall_mv_q;
  logic [31:0] saturations_q, read_beats_q, write_beats_q, tiles_q, vector_ops_q;
  logic [31:0] stall_dep_q, stall_issue_q, stall_tiles_q;
  logic [3:0]  beats;
  integer      e;

  always_comb begin
    beats = 4'd0;
    for (e = 0; e < ENGINES; e = e + 1) beats = beats + {3'b0, beats_i[e]};
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      {cycles_q, instructions_q, chains_q, mv_beats_q, stall_mem_q, stall_mv_q} <= '0;
      {saturations_q, read_beats_q, write_beats_q, tiles_q, vector_ops_q}       <= '0;
      {stall_dep_q, stall_issue_q, stall_tiles_q}                               <= '0;
    end else if (running_i) begin
      cycles_q       <= cycles_q + 1;
      instructions_q <= instructions_q + 32'(retire_i);
      chains_q       <= chains_q + 32'(chains_i[0]) + 32'(chains_i[1]);
      mv_beats_q     <= mv_beats_q + 32'(beats);
      stall_mem_q    <= stall_mem_q + 32'(stall_mem_i);
      stall_mv_q     <= stall_mv_q + 32'(stall_mv_i);
      stall_dep_q    <= stall_dep_q + 32'(stall_dep_i);
      stall_issue_q  <= stall_issue_q + 32'(stall_issue_i & decoding_i);
      stall_tiles_q  <= stall_tiles_q + 32'(stall_tiles_i);
      saturations_q  <= saturations_q + 32'(saturations_i);
      read_beats_q   <= read_beats_q + 32'(read_beat_i);
      write_beats_q  <= write_beats_q + 32'(write_beat_i);
      tiles_q        <= tiles_q + 32'(tile_i);
      vector_ops_q   <= vector_ops_q + 32'(vector_ops_i);
    end
  end

  // word 0 last
  assign words_o = {
    stall_tiles_q, stall_issue_q, stall_dep_q, npu_pkg::ISA_VERSION, 12'(LANES), 12'(N),
    vector_ops_q, tiles_q, write_beats_q, read_beats_q,
    saturations_q, stall_mv_q, stall_mem_q, mv_beats_q,
    chains_q, instructions_q, cycles_q, status_i
  };
endmodule
