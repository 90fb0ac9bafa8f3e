// The sequencer: fetches the program, decodes an instruction a cycle, forms chains and hands them
// on, waits until all is done, and has the statistics written.
module npu_seq #(
  parameter N       = 16,
  parameter LANES   = 16,
  parameter ENGINES = 1,
  parameter TILES   = 16,
  parameter IVRF    = 16,
  parameter AVRF    = 16,
  parameter MVRF    = 16,
  parameter PROGRAM = 128,
  parameter RESULTS = 2
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // kernel registers
  input  logic        start_i,
  output logic        take_o,
  output logic        idle_o,
  output logic        done_o,
  input  logic        aligned_i,    // the buffers' addresses
  input  logic [31:0] n_instr_i,
  input  logic [31:0] n_weights_i,
  input  logic [31:0] n_input_i,
  input  logic [31:0] n_output_i,
  // the program: a request to the bus, and what comes
  output logic        fetch_o,
  input  logic        fetch_ready_i,
  input  logic        fetch_valid_i,
  input  logic [63:0] fetch_data_i,
  input  logic        fetch_done_i,
  // vector chains
  output logic        chain_push_o,
  output npu_chain_pkg::chain_t chain_o,
  input  logic        chain_full_i,
  // matrix chains
  output logic        load_push_o,
  input  logic        load_full_i,
  output logic [19:0] load_vector_o,
  // what all of them use
  output logic [2:0]  engine_o,
  output logic [15:0] line_o,
  output logic [15:0] lines_o,
  output logic [7:0]  rows_o,
  output logic [7:0]  cols_o,
  // the window
  output logic [7:0]  run_o,
  output logic [7:0]  win_x_o,
  output logic [7:0]  win_y_o,
  output logic [13:0] pitch_x_o,
  output logic [13:0] pitch_y_o,
  input  logic        mv_quiet_i,   // no product is under way
  // the end
  input  logic        quiet_i,      // nothing at all is
  input  logic        bus_error_i,
  output logic        stats_start_o,
  input  logic        stats_done_i,
  // statistics
  output logic        clear_o,
  output logic        running_o,
  output logic        decoding_o,
  output logic        retire_o,
  output logic [31:0] status_o
);
  import npu_pkg::*;
  import npu_chain_pkg::*;
  localparam PW = $clog2(PROGRAM);
  localparam [2:0] S_IDLE = 0, S_CHECK = 1, S_ASK = 2, S_FETCH = 3, S_FIRST = 4, S_RUN = 5,
                   S_DRAIN = 6, S_STATS = 7;

  logic [2:0]    state_q, state_d;
  logic [PW:0]   pc_q, pc_d;        // one bit more: n_instr may equal the depth
  logic [PW-1:0] fetch_q;
  logic [63:0]   instr;
  logic [7:0]    error_q, fail;
  logic [15:0]   error_pc_q;
  // scalar registers
  logic [7:0]    rows_q, cols_q, tail_q, run_q, win_x_q, win_y_q;
  logic [13:0]   pitch_x_q, pitch_y_q;
  // the chain that is being formed
  chain_t        chain_q, chain_d;
  logic          v_chain_q, m_chain_q, mv_next_q, loaded_q, sunk_q, tapped_q, ended_q;
  logic [2:0]    passed_q, tap_q, end_q;
  logic [3:0]    tap_to_q, end_to_q, sink;
  logic [15:0]   extent_q;
  logic [19:0]   vector_q, address;

  logic [7:0]    op, decode_error;
  logic [3:0]    mem;
  logic [15:0]   lines, extent, unused_tiles;
  logic          mv, window;
  logic [23:0]   window_extent, window_cols;
  logic [2:0]    slot;
  logic          no_slot, tap_here, overlap, stall, at_end, window_scalar, retire, operation;
  logic [1:0]    depth;
  logic          again;
  logic [PW:0]   body;
  logic          fetched;
  logic [15:0]   outer_turn, inner_turn, input_base, output_base;

  npu_ram #(.WIDTH(64), .DEPTH(PROGRAM)) u_program (
    .clk_i, .we_i(fetched), .waddr_i(fetch_q), .wdata_i(fetch_data_i),
    .re_i(1'b1), .raddr_i(pc_d[PW-1:0]), .rdata_o(instr)
  );

  npu_loops #(.PW(PW + 1)) u_loops (
    .clk_i, .rst_ni, .clear_i(take_o), .open_i(retire && op == OP_LOOP),
    .close_i(retire && op == OP_END_LOOP), .body_i(pc_q + 1'b1), .turns_i(instr[31:16]),
    .input_step_i(instr[47:32]), .output_step_i(instr[63:48]), .depth_o(depth), .again_o(again),
    .body_o(body), .outer_turn_o(outer_turn), .inner_turn_o(inner_turn),
    .input_base_o(input_base), .output_base_o(output_base)
  );

  assign window_cols   = 24'(run_q) * 24'(win_x_q) * 24'(win_y_q);
  assign window_extent = 24'(win_y_q - 8'd1) * 24'(pitch_y_q)
                       + 24'(win_x_q - 8'd1) * 24'(pitch_x_q) + 24'(run_q);
  npu_decode #(
    .N(N), .LANES(LANES), .ENGINES(ENGINES), .TILES(TILES), .IVRF(IVRF), .AVRF(AVRF), .MVRF(MVRF),
    .RESULTS(RESULTS)
  ) u_decode (
    .instr_i(instr), .v_chain_i(v_chain_q), .m_chain_i(m_chain_q), .mv_next_i(mv_next_q),
    .loaded_i(loaded_q), .sunk_i(sunk_q), .passed_i(passed_q), .sinks_i(tap_to_q | end_to_q),
    .tapped_i(tapped_q), .tap_i(tap_q), .ended_i(ended_q), .end_i(end_q), .mv_i(chain_q.mv),
    .source_i(chain_q.source[15:0]), .extent_i(extent_q), .rows_i(rows_q), .cols_i(cols_q),
    .window_cols_i(window_cols), .window_extent_i(window_extent), .depth_i(depth),
    .outer_turn_i(outer_turn), .inner_turn_i(inner_turn), .input_base_i(input_base),
    .output_base_i(output_base), .n_weights_i, .n_input_i, .n_output_i,
    .error_o(decode_error), .address_o(address), .mv_o(mv), .window_o(window), .tiles_o(unused_tiles), .lines_o(lines),
    .columns_extent_o(extent), .no_slot_o(no_slot), .slot_o(slot), .tap_here_o(tap_here),
    .overlap_o(overlap)
  );

  assign fetched = fetch_valid_i && state_q == S_FETCH;
  assign op  = instr[7:0];
  assign mem = instr[11:8];
  assign at_end = pc_q == n_instr_i[PW:0];
  assign window_scalar = op == OP_S_WR && mem >= SCALAR_RUN;
  assign operation = op == OP_VV_ADD || op == OP_VV_A_SUB_B || op == OP_VV_B_SUB_A
                  || op == OP_VV_MAX || op == OP_VV_MUL || op == OP_V_RELU || op == OP_V_SIGM
                  || op == OP_V_TANH;
  always_comb begin
    stall = 1'b0;
    if (op == OP_END_CHAIN) stall = m_chain_q ? load_full_i : chain_full_i;
    if (window_scalar)      stall = !mv_quiet_i;
    sink = 4'b0000;
    case (mem)
      MEM_IVRF: sink[TO_IVRF] = 1'b1;
      MEM_AVRF: sink[TO_AVRF] = 1'b1;
      MEM_MVRF: sink[TO_MVRF] = 1'b1;
      default:  sink[TO_OUTPUT] = 1'b1;
    endcase
  end
  assign retire = state_q == S_RUN && !bus_error_i && !at_end && decode_error == ST_OK && !stall;

  assign take_o     = state_q == S_IDLE && start_i;
  assign idle_o     = state_q == S_IDLE;
  assign done_o     = state_q == S_STATS && stats_done_i;
  assign fetch_o    = state_q == S_ASK;
  assign clear_o    = take_o;
  assign running_o  = state_q != S_IDLE && state_q != S_STATS;
  assign decoding_o = state_q == S_RUN;
  assign retire_o   = retire;
  assign stats_start_o = state_q == S_DRAIN && quiet_i;
  assign status_o   = {error_pc_q, 8'b0, error_q};
  assign chain_push_o  = retire && op == OP_END_CHAIN && v_chain_q;
  assign load_push_o   = retire && op == OP_END_CHAIN && m_chain_q;
  assign load_vector_o = vector_q;
  assign engine_o = chain_q.engine;
  assign line_o   = chain_q.line;
  assign lines_o  = chain_q.lines;
  assign rows_o   = rows_q;
  assign cols_o   = cols_q;
  assign run_o    = run_q;
  assign win_x_o  = win_x_q;
  assign win_y_o  = win_y_q;
  assign pitch_x_o = pitch_x_q;
  assign pitch_y_o = pitch_y_q;

  // the chain as it is handed on: sinks at one place only are those at the end
  always_comb begin
    chain_o        = chain_q;
    chain_o.rows   = rows_q;
    chain_o.cols   = cols_q;
    chain_o.tail   = tail_q;
    chain_o.tap    = tap_q;
    chain_o.tap_to = ended_q ? tap_to_q : 4'b0000;
    chain_o.end_to = ended_q ? end_to_q : tap_to_q;
  end

  always_comb begin
    chain_d = chain_q;
    case (op)
      OP_V_RD: begin
        chain_d        = '0;
        chain_d.mem    = mem;
        chain_d.source = address;
        chain_d.mv     = mv;
        chain_d.window = window;
      end
      OP_MV_MUL, OP_M_WR: begin
        chain_d.engine = instr[15:13];
        chain_d.line   = address[15:0];
        chain_d.lines  = lines;
      end
      OP_V_WR: begin
        case (mem)
          MEM_IVRF: chain_d.ivrf_at   = address[15:0];
          MEM_AVRF: chain_d.avrf_at   = address[15:0];
          MEM_MVRF: chain_d.mvrf_at   = address[15:0];
          default:  chain_d.output_at = address[15:0];
        endcase
        chain_d.in_place = chain_q.in_place | overlap;
      end
      default: if (operation) begin
        chain_d.operations = chain_q.operations + 3'd1;
        case (slot)
          3'(SLOT_ADD0): begin
            chain_d.add0    = add_op(op);
            chain_d.add0_at = address[15:0];
          end
          3'(SLOT_ACT0): chain_d.act0 = act_op(op);
          3'(SLOT_MUL0): begin
            chain_d.mul0    = 1'b1;
            chain_d.mul0_at = address[15:0];
          end
          3'(SLOT_ADD1): begin
            chain_d.add1    = add_op(op);
            chain_d.add1_at = address[15:0];
          end
          3'(SLOT_ACT1): chain_d.act1 = act_op(op);
          default: begin
            chain_d.mul1    = 1'b1;
            chain_d.mul1_at = address[15:0];
          end
        endcase
      end
    endcase
  end

  function automatic [2:0] add_op(input logic [7:0] code);
    case (code)
      OP_VV_ADD:     add_op = ADD_SUM;
      OP_VV_A_SUB_B: add_op = ADD_A_SUB_B;
      OP_VV_B_SUB_A: add_op = ADD_B_SUB_A;
      default:       add_op = ADD_MAX;
    endcase
  endfunction
  function automatic [1:0] act_op(input logic [7:0] code);
    case (code)
      OP_V_RELU: act_op = ACT_RELU;
      OP_V_SIGM: act_op = ACT_SIGM;
      default:   act_op = ACT_TANH;
    endcase
  endfunction

  always_comb begin
    state_d = state_q;
    pc_d    = pc_q;
    fail    = ST_OK;
    case (state_q)
      S_IDLE: if (start_i) begin
        state_d = S_CHECK;
        pc_d    = '0;
      end
      S_CHECK: begin
        if (!aligned_i)                                       fail = ST_ALIGN;
        else if (n_instr_i == 0 || n_instr_i > 32'(PROGRAM))  fail = ST_PROGRAM;
        state_d = (fail != ST_OK) ? S_DRAIN : S_ASK;
      end
      S_ASK:   if (fetch_ready_i) state_d = S_FETCH;
      S_FETCH: if (fetch_done_i)  state_d = S_FIRST;
      S_FIRST: state_d = S_RUN;  // a program of one instruction has only now been written
      S_RUN: begin
        if (bus_error_i)  fail = ST_BUS;
        else if (at_end) begin
          if (v_chain_q || m_chain_q) fail = ST_CHAIN;
          else if (depth != 0)        fail = ST_LOOP;
          state_d = S_DRAIN;
        end else begin
          fail = decode_error;
        end
        if (fail != ST_OK) state_d = S_DRAIN;
        if (retire) begin
          pc_d = pc_q + 1'b1;
          if (op == OP_END_LOOP && again) pc_d = body;
        end
      end
      S_DRAIN: begin
        if (bus_error_i && error_q != ST_BUS) fail = ST_BUS;
        if (quiet_i) state_d = S_STATS;
      end
      default: if (stats_done_i) begin
        state_d = S_IDLE;
        if (bus_error_i && error_q != ST_BUS) fail = ST_BUS;
      end
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= S_IDLE;
      {pc_q, fetch_q, error_q, error_pc_q} <= '0;
    end else begin
      state_q <= state_d;
      pc_q    <= pc_d;
      if (take_o)             fetch_q <= '0;
      else if (fetched) fetch_q <= fetch_q + 1'b1;
      if (take_o) begin
        error_q    <= ST_OK;
        error_pc_q <= '0;
      end else if (fail != ST_OK) begin
        error_q    <= fail;
        error_pc_q <= (fail == ST_BUS) ? 16'd0 : 16'(pc_q);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || take_o) begin
      {rows_q, cols_q, run_q, win_x_q, win_y_q} <= {5{8'd1}};
      tail_q    <= 8'(N / LANES);
      pitch_x_q <= '0;
      pitch_y_q <= '0;
      {v_chain_q, m_chain_q, mv_next_q, loaded_q} <= '0;
    end else if (retire) begin
      if (op == OP_S_WR) begin
        case (mem)
          SCALAR_ROWS:    rows_q    <= instr[23:16];
          SCALAR_COLS:    cols_q    <= instr[23:16];
          SCALAR_TAIL:    tail_q    <= instr[23:16];
          SCALAR_RUN:     run_q     <= instr[23:16];
          SCALAR_WIN_X:   win_x_q   <= instr[23:16];
          SCALAR_WIN_Y:   win_y_q   <= instr[23:16];
          SCALAR_PITCH_X: pitch_x_q <= instr[29:16];
          default:        pitch_y_q <= instr[29:16];
        endcase
      end
      mv_next_q <= op == OP_V_RD && instr[12];
      loaded_q  <= op == OP_M_WR;
      if (op == OP_V_RD)      v_chain_q <= 1'b1;
      if (op == OP_M_RD)      m_chain_q <= 1'b1;
      if (op == OP_END_CHAIN) {v_chain_q, m_chain_q} <= 2'b00;
    end
  end

  // Data of the chain need no reset: v_rd and m_rd set them.
  always_ff @(posedge clk_i) begin
    if (retire) begin
      chain_q <= chain_d;
      sunk_q  <= op == OP_V_WR;
      if (op == OP_M_RD) vector_q <= address;
      if (op == OP_V_RD) begin
        extent_q <= extent;
        {passed_q, tapped_q, ended_q, tap_to_q, end_to_q, tap_q, end_q} <= '0;
      end
      if (operation) passed_q <= slot + 3'd1;
      if (op == OP_V_WR) begin
        if (tap_here) begin
          tapped_q <= 1'b1;
          tap_q    <= passed_q;
          tap_to_q <= tap_to_q | sink;
        end else begin
          ended_q  <= 1'b1;
          end_q    <= passed_q;
          end_to_q <= end_to_q | sink;
        end
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) retire && operation |-> !no_slot);
  assert property (@(posedge clk_i) disable iff (!rst_ni) chain_push_o |-> !chain_full_i);
  assert property (@(posedge clk_i) disable iff (!rst_ni) load_push_o |-> !load_full_i);
`endif
endmodule
