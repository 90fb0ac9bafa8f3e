// Stateless: what an instruction is, and whether it is legal here (docs/npu.md: chains, checks).
// The order of the checks is architecture: the first that fails names the error.
module npu_decode #(
  parameter N       = 16,
  parameter LANES   = 16,
  parameter ENGINES = 1,
  parameter TILES   = 16,
  parameter IVRF    = 16,
  parameter AVRF    = 16,
  parameter MVRF    = 16,
  parameter RESULTS = 2
) (
  input  logic [63:0] instr_i,
  // where the program stands
  input  logic        v_chain_i,
  input  logic        m_chain_i,
  input  logic        mv_next_i,     // v_rd.mv came, mv_mul did not
  input  logic        loaded_i,      // m_wr came
  input  logic        sunk_i,        // the instruction before is a sink
  input  logic [2:0]  passed_i,      // slots
  input  logic [3:0]  sinks_i,
  input  logic        tapped_i,      // there are sinks at a first place,
  input  logic [2:0]  tap_i,         // behind so many slots,
  input  logic        ended_i,       // and at a second one
  input  logic [2:0]  end_i,
  input  logic        mv_i,          // a chain with a product, and its sources
  input  logic [15:0] source_i,
  input  logic [15:0] extent_i,
  input  logic [7:0]  rows_i,
  input  logic [7:0]  cols_i,
  input  logic [23:0] window_cols_i,
  input  logic [23:0] window_extent_i,
  input  logic [1:0]  depth_i,
  input  logic [15:0] outer_turn_i,  // of the two loops that have strides
  input  logic [15:0] inner_turn_i,
  input  logic [15:0] input_base_i,
  input  logic [15:0] output_base_i,
  input  logic [31:0] n_weights_i,
  input  logic [31:0] n_input_i,
  input  logic [31:0] n_output_i,

  output logic [7:0]  error_o,
  output logic [19:0] address_o,   // effective address; 16 bits of it except in WEIGHTS
  output logic        mv_o,        // flags of v_rd
  output logic        window_o,
  output logic [15:0] tiles_o,     // rows * cols
  output logic [15:0] lines_o,     // that the matrix takes in each engine
  output logic [15:0] columns_extent_o,
  output logic        no_slot_o,
  output logic [2:0]  slot_o,      // of an operation
  output logic        tap_here_o,  // a sink belongs to the first place
  output logic        overlap_o    // the sink lies among the product's sources
);

  import npu_pkg::*;
  localparam BEATS = N / LANES;

  logic [7:0]  op;
  logic [3:0]  mem;
  logic [15:0] value;
  logic        add, act, mul, known, legal, mem_ok, in_range, value_ok, pitch, engine_op;
  logic [2:0]  engine;
  logic [31:0] size;
  logic        wide;
  logic signed [19:0] moved;
  logic [15:0] wraps;
  logic [24:0] extent;
  logic [31:0] last;     // one behind the last entry
  logic        again;    // a memory is a sink already
  logic [16:0] sink_end, source_end;

  assign op     = instr_i[7:0];
  assign mem    = instr_i[11:8];
  assign value  = instr_i[31:16];
  assign engine = instr_i[15:13];
  assign tiles_o = {8'b0, rows_i} * {8'b0, cols_i};
  assign wraps   = (16'(engine) + 16'(rows_i) - 16'd1) / 16'(ENGINES) + 16'd1;
  assign lines_o = 16'(wraps * {8'b0, cols_i});
  assign columns_extent_o = extent[15:0];
  // v_rd and m_rd of WEIGHTS have address bits where others have flags or an engine
  assign wide     = op == OP_M_RD || (op == OP_V_RD && mem == MEM_WEIGHTS);
  assign mv_o     = instr_i[12] & ~wide;
  assign window_o = instr_i[13] & ~wide;
  assign extent   = window_o ? {1'b0, window_extent_i} : {17'b0, cols_i};

  always_comb begin
    moved = $signed(instr_i[47:32]) * $signed({4'b0000, outer_turn_i})
          + $signed(instr_i[63:48]) * $signed({4'b0000, inner_turn_i});
    address_o = {instr_i[15:12], value} + moved;
    if (mem == MEM_INPUT)  address_o = address_o + {4'b0000, input_base_i};
    if (mem == MEM_OUTPUT) address_o = address_o + {4'b0000, output_base_i};
    if (!wide) address_o[19:16] = 4'b0000;
  end

  always_comb begin
    add = op == OP_VV_ADD || op == OP_VV_A_SUB_B || op == OP_VV_B_SUB_A || op == OP_VV_MAX;
    mul = op == OP_VV_MUL;
    act = op == OP_V_RELU || op == OP_V_SIGM || op == OP_V_TANH;
    engine_op = op == OP_MV_MUL || op == OP_M_WR;
    known = add || mul || act || engine_op || op == OP_V_RD || op == OP_V_WR || op == OP_M_RD
         || op == OP_S_WR || op == OP_END_CHAIN || op == OP_LOOP || op == OP_END_LOOP;
    if (op == OP_V_RD && !wide) begin
      if (instr_i[15:14] != 0 || (instr_i[13] && !instr_i[12])) known = 1'b0;
    end else if (!wide && (instr_i[12] || (instr_i[15:13] != 0 && !engine_op))) begin
      known = 1'b0;
    end

    // the next slot of the operation's kind
    no_slot_o = 1'b0;
    slot_o    = 3'(SLOT_ADD0);
    if (add) begin
      if (passed_i > 3'(SLOT_ADD0)) slot_o = 3'(SLOT_ADD1);
      no_slot_o = passed_i > 3'(SLOT_ADD1);
    end else if (act) begin
      slot_o    = (passed_i > 3'(SLOT_ACT0)) ? 3'(SLOT_ACT1) : 3'(SLOT_ACT0);
      no_slot_o = passed_i > 3'(SLOT_ACT1);
    end else begin
      slot_o    = (passed_i > 3'(SLOT_MUL0)) ? 3'(SLOT_MUL1) : 3'(SLOT_MUL0);
      no_slot_o = passed_i > 3'(SLOT_MUL1);
    end

    case (mem)
      MEM_IVRF:   again = sinks_i[0];
      MEM_AVRF:   again = sinks_i[1];
      MEM_MVRF:   again = sinks_i[2];
      MEM_OUTPUT: again = sinks_i[3];
      default:    again = 1'b0;
    endcase
    tap_here_o = !tapped_i || (!ended_i && passed_i == tap_i);

    if (m_chain_i)      legal = loaded_i ? op == OP_END_CHAIN : op == OP_M_WR;
    else if (!v_chain_i) legal = op == OP_V_RD || op == OP_M_RD || op == OP_S_WR || op == OP_LOOP
                              || op == OP_END_LOOP;
    else if (mv_next_i) legal = op == OP_MV_MUL;
    else begin
      case (op)
        OP_END_CHAIN: legal = sunk_i;
        OP_V_WR:      legal = !again && !(ended_i && passed_i != end_i);
        default:      legal = (add || act || mul) && !no_slot_o;
      endcase
    end

    case (op)
      OP_V_RD: mem_ok = mem == MEM_IVRF || (!mv_o && (mem == MEM_AVRF || mem == MEM_MVRF
                     || mem == MEM_INPUT || mem == MEM_WEIGHTS));
      OP_V_WR: mem_ok = mem == MEM_IVRF || mem == MEM_AVRF || mem == MEM_MVRF || mem == MEM_OUTPUT;
      OP_M_RD: mem_ok = mem == MEM_WEIGHTS;
      OP_M_WR, OP_MV_MUL: mem_ok = mem == MEM_MATRIX;
      default: mem_ok = add ? mem == MEM_AVRF : !mul || mem == MEM_MVRF;
    endcase

    case (mem)
      MEM_IVRF:    size = 32'(IVRF);
      MEM_AVRF:    size = 32'(AVRF);
      MEM_MVRF:    size = 32'(MVRF);
      MEM_MATRIX:  size = 32'(TILES);
      MEM_INPUT:   size = n_input_i;
      MEM_WEIGHTS: size = n_weights_i;
      default:     size = n_output_i;
    endcase
    case (op)
      OP_V_RD: last = {12'b0, address_o} + (mv_o ? {7'b0, extent} : {24'b0, rows_i});
      OP_M_RD: last = {12'b0, address_o} + {16'b0, tiles_o} * 32'(N / 2 + 1);
      OP_M_WR, OP_MV_MUL: last = {12'b0, address_o} + {16'b0, lines_o};
      default: last = {12'b0, address_o} + {24'b0, rows_i};
    endcase
    in_range = last <= size;
    if (engine_op && 32'(engine) >= ENGINES) in_range = 1'b0;
    if (!(engine_op || op == OP_V_RD || op == OP_V_WR || op == OP_M_RD || add || mul)) begin
      in_range = 1'b1;
    end

    pitch = mem == SCALAR_PITCH_X || mem == SCALAR_PITCH_Y;
    case (mem)
      SCALAR_PITCH_X, SCALAR_PITCH_Y: value_ok = value[15:14] == 0;
      SCALAR_TAIL: value_ok = value != 0 && value <= 16'(BEATS);
      default:     value_ok = value != 0 && value[15:8] == 0 && mem <= SCALAR_PITCH_Y;
    endcase

    sink_end   = {1'b0, address_o[15:0]} + {9'b0, rows_i};
    source_end = {1'b0, source_i} + {1'b0, extent_i};
    overlap_o  = mv_i && mem == MEM_IVRF && {1'b0, address_o[15:0]} < source_end
              && {1'b0, source_i} < sink_end;

    error_o = ST_OK;
    if (!known)                                            error_o = ST_OPCODE;
    else if (!legal)                                       error_o = ST_CHAIN;
    else if (!mem_ok)                                      error_o = ST_MEMORY;
    else if (op == OP_V_RD && window_o && window_cols_i != {16'b0, cols_i}) error_o = ST_VALUE;
    else if (!in_range)                                    error_o = ST_RANGE;
    else if (op == OP_S_WR && !value_ok)                   error_o = ST_VALUE;
    else if (op == OP_LOOP && depth_i == 3)                error_o = ST_LOOP;
    else if (op == OP_LOOP && value == 0)                  error_o = ST_VALUE;
    else if (op == OP_END_LOOP && depth_i == 0)            error_o = ST_LOOP;
    else if (op == OP_V_WR && overlap_o && 32'(rows_i) > ENGINES * RESULTS) error_o = ST_HAZARD;
  end
endmodule
