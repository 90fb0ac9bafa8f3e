// The statistics: 16 words of 32 bits (docs/npu.md). Cleared at start, counting while running.
module npu_stats #(
  parameter N     = 16,
  parameter LANES = 16
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        clear_i,
  input  logic        running_i,
  input  logic        retire_i,
  input  logic        chain_i,
  input  logic        mv_take_i,
  input  logic [7:0]  cols_i,
  input  logic        stall_mem_i,
  input  logic        stall_mv_i,
  input  logic        saturation_i,
  input  logic        read_beat_i,
  input  logic        write_beat_i,
  input  logic        tile_i,
  input  logic        vector_op_i,
  input  logic [31:0] status_i,
  output logic [16*32-1:0] words_o
);

  localparam BEATS = N / LANES;

  logic [31:0] cycles_q, instructions_q, chains_q, mv_beats_q, stall_mem_q, stall_mv_q;
  logic [31:0] saturations_q, read_beats_q, write_beats_q, tiles_q, vector_ops_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      {cycles_q, instructions_q, chains_q, mv_beats_q, stall_mem_q, stall_mv_q} <= '0;
      {saturations_q, read_beats_q, write_beats_q, tiles_q, vector_ops_q}       <= '0;
    end else begin
      if (running_i)    cycles_q       <= cycles_q + 1;
      if (retire_i)     instructions_q <= instructions_q + 1;
      if (chain_i)      chains_q       <= chains_q + 1;
      if (mv_take_i)    mv_beats_q     <= mv_beats_q + 32'(cols_i) * 32'(BEATS);
      if (stall_mem_i)  stall_mem_q    <= stall_mem_q + 1;
      if (stall_mv_i)   stall_mv_q     <= stall_mv_q + 1;
      if (saturation_i) saturations_q  <= saturations_q + 1;
      if (read_beat_i)  read_beats_q   <= read_beats_q + 1;
      if (write_beat_i) write_beats_q  <= write_beats_q + 1;
      if (tile_i)       tiles_q        <= tiles_q + 1;
      if (vector_op_i)  vector_ops_q   <= vector_ops_q + 1;
    end
  end

  // word 0 last
  assign words_o = {
    96'b0, npu_pkg::ISA_VERSION, 12'(LANES), 12'(N),
    vector_ops_q, tiles_q, write_beats_q, read_beats_q,
    saturations_q, stall_mv_q, stall_mem_q, mv_beats_q,
    chains_q, instructions_q, cycles_q, status_i
  };
endmodule
