// The sequencer: fetches the program, executes one instruction at a time, writes the statistics.
// A chain's rows are executed by going back to its source; the matrix unit runs ahead of them.
module npu_seq #(
  parameter N       = 16,
  parameter TILES   = 16,
  parameter IVRF    = 16,
  parameter AVRF    = 16,
  parameter MVRF    = 16,
  parameter PROGRAM = 128
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // kernel registers
  input  logic        start_i,
  output logic        take_o,
  output logic        idle_o,
  output logic        done_o,
  input  logic [63:0] program_i,
  input  logic [63:0] weights_i,
  input  logic [63:0] input_i,
  input  logic [63:0] output_i,
  input  logic [63:0] stats_addr_i,
  input  logic [31:0] n_instr_i,
  input  logic [31:0] n_weights_i,
  input  logic [31:0] n_input_i,
  input  logic [31:0] n_output_i,
  // program memory
  output logic                       fetch_we_o,
  output logic [$clog2(PROGRAM)-1:0] fetch_addr_o,
  output logic [$clog2(PROGRAM)-1:0] pc_o,
  input  logic [63:0]                instr_i,
  // device memory
  output logic        dma_start_o,
  output logic        dma_write_o,
  output logic [63:0] dma_addr_o,
  output logic [22:0] dma_beats_o,
  input  logic        dma_valid_i,
  input  logic        dma_ready_i,
  input  logic        dma_done_i,
  input  logic        dma_error_i,
  output logic        send_stats_o,   // what goes out: statistics, else the vector
  output logic [2:0]  stats_beat_o,
  // vector path
  output logic [15:0] entry_o,
  output logic [3:0]  mem_o,
  output logic [7:0]  op_o,
  output logic        load_o,
  output logic        op_en_o,      // the lanes' result becomes the vector
  output logic        vector_op_o,
  output logic        shift_o,
  output logic        rotate_o,
  output logic        write_o,
  // matrix unit
  output logic        mv_start_o,
  output logic        mv_flush_o,
  output logic [15:0] tile_o,
  output logic [15:0] source_o,
  output logic [7:0]  rows_o,
  output logic [7:0]  cols_o,
  input  logic        mv_valid_i,
  output logic        mv_take_o,
  output logic        tiles_start_o,
  output logic        tiles_valid_o,
  // statistics
  output logic        clear_o,
  output logic        running_o,
  output logic        retire_o,
  output logic        chain_o,
  output logic        stall_mem_o,
  output logic        stall_mv_o,
  output logic        read_beat_o,
  output logic        write_beat_o,
  output logic [31:0] status_o
);

  localparam PW = $clog2(PROGRAM);
  localparam [22:0] VECTOR_BEATS = 23'(N / 4);
  localparam [22:0] TILE_BEATS   = 23'((N + 2) * N / 8);
  localparam VECTOR_SHIFT = $clog2(2 * N);
  localparam [22:0] STATS_BEATS  = 23'd8;

  localparam [2:0] S_IDLE = 0, S_CHECK = 1, S_FETCH = 2, S_EXEC = 3, S_LOAD = 4, S_STORE = 5,
                   S_TILES = 6, S_STATS = 7;
  localparam [1:0] NO_CHAIN = 0, V_CHAIN = 1, M_CHAIN = 2;

  logic [2:0]  state_q, state_d;
  logic [PW:0] pc_q, pc_d;            // one bit more: n_instr may equal the depth
  logic [PW-1:0] fetch_q, fetch_d;
  logic [1:0]  chain_q, chain_d;
  logic [PW:0] chain_pc_q, chain_pc_d;
  logic [7:0]  row_q, row_d, rows_q, rows_d, cols_q, cols_d;
  logic [15:0] source_q, source_d;    // of the chain's v_rd.mv or m_rd
  logic        mv_next_q, mv_next_d, mv_chain_q, mv_chain_d, mv_started_q, mv_started_d;
  logic [1:0]  depth_q, depth_d;
  logic [PW:0] body0_q, body0_d, body1_q, body1_d;
  logic [15:0] turns0_q, turns0_d, turns1_q, turns1_d, turn0_q, turn0_d, turn1_q, turn1_d;
  logic [2:0]  stats_beat_q, stats_beat_d;
  logic [7:0]  error_q, error_d;
  logic [15:0] error_pc_q, error_pc_d;

  logic [7:0]  op, decode_error, fail;
  logic [3:0]  mem;
  logic [15:0] address, tiles;
  logic [16:0] entry;
  logic        vector_op, at_end, device_mem, inner;
  logic [15:0] turns, turn;
  logic [63:0] base, index;

  npu_decode #(.N(N), .TILES(TILES), .IVRF(IVRF), .AVRF(AVRF), .MVRF(MVRF)) u_decode (
    .instr_i, .chain_i(chain_q), .at_source_i(pc_q == chain_pc_q), .mv_next_i(mv_next_q),
    .mv_chain_i(mv_chain_q), .row_i(row_q), .rows_i(rows_q), .cols_i(cols_q), .depth_i(depth_q),
    .turn0_i(turn0_q), .turn1_i(turn1_q), .source_i(source_q), .n_weights_i, .n_input_i,
    .n_output_i, .error_o(decode_error), .address_o(address), .entry_o(entry), .tiles_o(tiles),
    .vector_op_o(vector_op)
  );

  assign op         = instr_i[7:0];
  assign mem        = instr_i[11:8];
  assign at_end     = pc_q == n_instr_i[PW:0];
  assign device_mem = mem == npu_pkg::MEM_INPUT || mem == npu_pkg::MEM_WEIGHTS || mem == npu_pkg::MEM_OUTPUT;
  assign inner      = depth_q == 2'd2;
  assign turns      = inner ? turns1_q : turns0_q;
  assign turn       = inner ? turn1_q : turn0_q;

  assign idle_o       = state_q == S_IDLE;
  assign pc_o         = pc_q[PW-1:0];
  assign fetch_addr_o = fetch_q;
  assign fetch_we_o   = state_q == S_FETCH && dma_valid_i;
  assign send_stats_o = state_q == S_STATS;
  assign stats_beat_o = stats_beat_q;
  assign shift_o      = state_q == S_LOAD && dma_valid_i;
  assign rotate_o     = state_q == S_STORE && dma_ready_i;
  assign tiles_valid_o = state_q == S_TILES && dma_valid_i;
  assign entry_o      = entry[15:0];
  assign mem_o        = mem;
  assign op_o         = op;
  assign tile_o       = address;
  assign source_o     = source_q;
  assign rows_o       = rows_q;
  assign cols_o       = cols_q;
  assign running_o    = state_q != S_IDLE && state_q != S_STATS;
  assign stall_mem_o  = state_q == S_FETCH || state_q == S_LOAD || state_q == S_STORE
                     || state_q == S_TILES;
  assign read_beat_o  = dma_valid_i;
  assign write_beat_o = rotate_o;
  assign vector_op_o  = op_en_o & ~mv_take_o;
  assign status_o     = {error_pc_q, 8'b0, error_q};

  // where a device memory access goes
  always_comb begin
    case (mem)
      npu_pkg::MEM_INPUT:  base = input_i;
      npu_pkg::MEM_OUTPUT: base = output_i;
      default:    base = weights_i;
    endcase
    index = {47'b0, entry};
    if (op == npu_pkg::OP_M_WR) begin
      base  = weights_i;
      index = {48'b0, source_q};
    end
    dma_addr_o  = base + (index << VECTOR_SHIFT);
    dma_beats_o = (op == npu_pkg::OP_M_WR) ? {7'b0, tiles} * TILE_BEATS : VECTOR_BEATS;
    dma_write_o = op == npu_pkg::OP_V_WR;
    if (state_d == S_STATS) begin
      dma_addr_o  = stats_addr_i;
      dma_beats_o = STATS_BEATS;
      dma_write_o = 1'b1;
    end else if (state_q == S_CHECK) begin
      dma_addr_o  = program_i;
      dma_beats_o = n_instr_i[22:0];
      dma_write_o = 1'b0;
    end
  end

  always_comb begin
    state_d      = state_q;
    pc_d         = pc_q;
    fetch_d      = fetch_q;
    chain_d      = chain_q;
    chain_pc_d   = chain_pc_q;
    row_d        = row_q;
    rows_d       = rows_q;
    cols_d       = cols_q;
    source_d     = source_q;
    mv_next_d    = mv_next_q;
    mv_chain_d   = mv_chain_q;
    mv_started_d = mv_started_q;
    depth_d      = depth_q;
    body0_d      = body0_q;
    body1_d      = body1_q;
    turns0_d     = turns0_q;
    turns1_d     = turns1_q;
    turn0_d      = turn0_q;
    turn1_d      = turn1_q;
    stats_beat_d = stats_beat_q;
    error_d      = error_q;
    error_pc_d   = error_pc_q;

    take_o        = 1'b0;
    done_o        = 1'b0;
    dma_start_o   = 1'b0;
    load_o        = 1'b0;
    op_en_o       = 1'b0;
    write_o       = 1'b0;
    mv_start_o    = 1'b0;
    mv_flush_o    = 1'b0;
    mv_take_o     = 1'b0;
    tiles_start_o = 1'b0;
    clear_o       = 1'b0;
    retire_o      = 1'b0;
    chain_o       = 1'b0;
    stall_mv_o    = 1'b0;
    fail          = npu_pkg::ST_OK;

    case (state_q)
      S_IDLE: begin
        if (start_i) begin
          take_o  = 1'b1;
          clear_o = 1'b1;
          state_d = S_CHECK;
          {pc_d, fetch_d, chain_d, row_d, depth_d, turn0_d, turn1_d} = '0;
          {mv_next_d, mv_chain_d, mv_started_d} = 3'b000;
          {stats_beat_d, error_d, error_pc_d} = '0;
          rows_d = 8'd1;
          cols_d = 8'd1;
        end
      end

      S_CHECK: begin
        if (error_q != npu_pkg::ST_OK) begin  // a failed program only reports
          dma_start_o = 1'b1;
          state_d     = S_STATS;
        end else if ((program_i[2:0] | weights_i[2:0] | input_i[2:0] | output_i[2:0] | stats_addr_i[2:0])
            != 0) begin
          fail = npu_pkg::ST_ALIGN;
        end else if (n_instr_i == 0 || n_instr_i > 32'(PROGRAM)) begin
          fail = npu_pkg::ST_PROGRAM;
        end else begin
          dma_start_o = 1'b1;
          state_d     = S_FETCH;
        end
      end

      S_FETCH: begin
        if (dma_valid_i) fetch_d = fetch_q + 1'b1;
        if (dma_done_i) begin
          if (dma_error_i) fail = npu_pkg::ST_BUS;
          else             state_d = S_EXEC;
        end
      end

      S_EXEC: begin
        if (at_end) begin
          if (chain_q != NO_CHAIN) fail = npu_pkg::ST_CHAIN;
          else if (depth_q != 0)   fail = npu_pkg::ST_LOOP;
          else begin
            dma_start_o = 1'b1;
            state_d     = S_STATS;
          end
        end else if (decode_error != npu_pkg::ST_OK) begin
          fail = decode_error;
        end else if (op == npu_pkg::OP_MV_MUL && !(mv_started_q && mv_valid_i)) begin
          stall_mv_o   = 1'b1;
          mv_start_o   = ~mv_started_q;
          mv_started_d = 1'b1;
        end else begin
          retire_o  = 1'b1;
          pc_d      = pc_q + 1'b1;
          mv_next_d = 1'b0;
          op_en_o   = vector_op;
          case (op)
            npu_pkg::OP_V_RD: begin
              chain_d    = V_CHAIN;
              chain_pc_d = pc_q;
              if (instr_i[12]) begin
                source_d   = address;
                mv_next_d  = 1'b1;
                mv_chain_d = 1'b1;
              end else if (device_mem) begin
                dma_start_o = 1'b1;
                state_d     = S_LOAD;
              end else begin
                load_o = 1'b1;
              end
            end
            npu_pkg::OP_V_WR: begin
              if (device_mem) begin
                dma_start_o = 1'b1;
                state_d     = S_STORE;
              end else begin
                write_o = 1'b1;
              end
            end
            npu_pkg::OP_MV_MUL: begin
              op_en_o   = 1'b1;
              mv_take_o = 1'b1;
            end
            npu_pkg::OP_M_RD: begin
              chain_d  = M_CHAIN;
              source_d = address;
            end
            npu_pkg::OP_M_WR: begin
              dma_start_o   = 1'b1;
              tiles_start_o = 1'b1;
              state_d       = S_TILES;
            end
            npu_pkg::OP_S_WR: begin
              if (mem == npu_pkg::SCALAR_ROWS) rows_d = instr_i[23:16];
              else                    cols_d = instr_i[23:16];
            end
            npu_pkg::OP_END_CHAIN: begin
              if (chain_q == V_CHAIN && row_q != rows_q - 8'd1) begin
                row_d = row_q + 8'd1;
                pc_d  = chain_pc_q;
              end else begin
                row_d        = 8'd0;
                chain_d      = NO_CHAIN;
                mv_chain_d   = 1'b0;
                mv_started_d = 1'b0;
                chain_o      = 1'b1;
              end
            end
            npu_pkg::OP_LOOP: begin
              depth_d = depth_q + 2'd1;
              if (depth_q == 0) begin
                body0_d  = pc_q + 1'b1;
                turns0_d = instr_i[31:16];
              end else begin
                body1_d  = pc_q + 1'b1;
                turns1_d = instr_i[31:16];
              end
            end
            npu_pkg::OP_END_LOOP: begin
              if (turn + 16'd1 != turns) begin
                pc_d = inner ? body1_q : body0_q;
                if (inner) turn1_d = turn + 16'd1;
                else       turn0_d = turn + 16'd1;
              end else begin
                depth_d = depth_q - 2'd1;
                if (inner) turn1_d = 16'd0;
                else       turn0_d = 16'd0;
              end
            end
            default: ;
          endcase
        end
      end

      S_LOAD, S_STORE, S_TILES: begin
        if (dma_done_i) begin
          if (dma_error_i) fail = npu_pkg::ST_BUS;
          else             state_d = S_EXEC;
        end
      end

      default: begin  // S_STATS
        if (dma_ready_i) stats_beat_d = stats_beat_q + 3'd1;
        if (dma_done_i) begin
          state_d = S_IDLE;
          done_o  = 1'b1;
          if (dma_error_i && error_q == npu_pkg::ST_OK) error_d = npu_pkg::ST_BUS;
        end
      end
    endcase

    if (fail != npu_pkg::ST_OK) begin
      // back to S_CHECK: the transfer that failed is over only in the next cycle. By then, the pc of
      // an access has moved on.
      error_d    = fail;
      error_pc_d = (fail == npu_pkg::ST_BUS && state_q != S_FETCH) ? 16'(pc_q) - 16'd1 : 16'(pc_q);
      mv_flush_o = 1'b1;
      state_d    = S_CHECK;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= S_IDLE;
      {pc_q, fetch_q, chain_q, chain_pc_q, row_q, rows_q, cols_q, source_q} <= '0;
      {mv_next_q, mv_chain_q, mv_started_q, depth_q, body0_q, body1_q}      <= '0;
      {turns0_q, turns1_q, turn0_q, turn1_q, stats_beat_q}                  <= '0;
      {error_q, error_pc_q}                                                 <= '0;
    end else begin
      state_q      <= state_d;
      pc_q         <= pc_d;
      fetch_q      <= fetch_d;
      chain_q      <= chain_d;
      chain_pc_q   <= chain_pc_d;
      row_q        <= row_d;
      rows_q       <= rows_d;
      cols_q       <= cols_d;
      source_q     <= source_d;
      mv_next_q    <= mv_next_d;
      mv_chain_q   <= mv_chain_d;
      mv_started_q <= mv_started_d;
      depth_q      <= depth_d;
      body0_q      <= body0_d;
      body1_q      <= body1_d;
      turns0_q     <= turns0_d;
      turns1_q     <= turns1_d;
      turn0_q      <= turn0_d;
      turn1_q      <= turn1_d;
      stats_beat_q <= stats_beat_d;
      error_q      <= error_d;
      error_pc_q   <= error_pc_d;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) take_o |-> idle_o);
  assert property (@(posedge clk_i) disable iff (!rst_ni) row_q != 0 |-> chain_q == V_CHAIN);
  assert property (@(posedge clk_i) disable iff (!rst_ni) state_q == S_EXEC |-> depth_q <= 2);
`endif
endmodule
