// Stateless: what an instruction is, and whether it is legal here (docs/npu.md: chains, checks).
// The order of the checks is architecture: the first that fails names the error.
module npu_decode #(
  parameter N     = 16,
  parameter TILES = 16,
  parameter IVRF  = 16,
  parameter AVRF  = 16,
  parameter MVRF  = 16
) (
  input  logic [63:0] instr_i,
  // where the program stands
  input  logic [1:0]  chain_i,     // none, vector, matrix
  input  logic        at_source_i, // the pc is that of the open chain's source
  input  logic        mv_next_i,
  input  logic        mv_chain_i,
  input  logic [7:0]  row_i,
  input  logic [7:0]  rows_i,
  input  logic [7:0]  cols_i,
  input  logic [1:0]  depth_i,
  input  logic [15:0] turn0_i,
  input  logic [15:0] turn1_i,
  input  logic [15:0] source_i,
  input  logic [31:0] n_weights_i,
  input  logic [31:0] n_input_i,
  input  logic [31:0] n_output_i,

  output logic [7:0]  error_o,
  output logic [15:0] address_o,   // effective address
  output logic [16:0] entry_o,     // of this row
  output logic [15:0] tiles_o,     // rows * cols
  output logic        vector_op_o  // vv_* or v_*
);

  localparam [1:0] NO_CHAIN = 0, V_CHAIN = 1, M_CHAIN = 2;

  logic [7:0]  op;
  logic [3:0]  mem;
  logic        flag, known, vv, legal, mem_ok;
  logic [31:0] size;
  logic        in_range, in_source;

  assign op   = instr_i[7:0];
  assign mem  = instr_i[11:8];
  assign flag = instr_i[12];
  assign address_o = instr_i[31:16] + instr_i[47:32] * turn0_i + instr_i[63:48] * turn1_i;
  assign entry_o   = {1'b0, address_o} + {9'b0, row_i};
  assign tiles_o   = {8'b0, rows_i} * {8'b0, cols_i};

  always_comb begin
    vv = op == npu_pkg::OP_VV_ADD || op == npu_pkg::OP_VV_A_SUB_B || op == npu_pkg::OP_VV_B_SUB_A || op == npu_pkg::OP_VV_MAX
      || op == npu_pkg::OP_VV_MUL;
    vector_op_o = vv || op == npu_pkg::OP_V_RELU || op == npu_pkg::OP_V_SIGM || op == npu_pkg::OP_V_TANH;
    known = vector_op_o || op == npu_pkg::OP_V_RD || op == npu_pkg::OP_V_WR || op == npu_pkg::OP_M_RD || op == npu_pkg::OP_M_WR
      || op == npu_pkg::OP_S_WR || op == npu_pkg::OP_END_CHAIN || op == npu_pkg::OP_LOOP || op == npu_pkg::OP_END_LOOP
      || op == npu_pkg::OP_MV_MUL;
    if (instr_i[15:13] != 0 || (flag && op != npu_pkg::OP_V_RD)) known = 1'b0;

    case (chain_i)
      NO_CHAIN: legal = op == npu_pkg::OP_V_RD || op == npu_pkg::OP_M_RD || op == npu_pkg::OP_S_WR || op == npu_pkg::OP_LOOP
                     || op == npu_pkg::OP_END_LOOP;
      M_CHAIN:  legal = op == npu_pkg::OP_M_WR || op == npu_pkg::OP_END_CHAIN;
      default: begin
        if (op == npu_pkg::OP_V_RD) legal = at_source_i;
        else legal = (vector_op_o || op == npu_pkg::OP_V_WR || op == npu_pkg::OP_MV_MUL || op == npu_pkg::OP_END_CHAIN)
                  && (op == npu_pkg::OP_MV_MUL) == mv_next_i;
      end
    endcase

    case (op)
      npu_pkg::OP_V_RD: mem_ok = flag ? mem == npu_pkg::MEM_IVRF
             : mem == npu_pkg::MEM_IVRF || mem == npu_pkg::MEM_AVRF || mem == npu_pkg::MEM_MVRF || mem == npu_pkg::MEM_INPUT
            || mem == npu_pkg::MEM_WEIGHTS;
      npu_pkg::OP_V_WR: mem_ok = mem == npu_pkg::MEM_IVRF || mem == npu_pkg::MEM_AVRF || mem == npu_pkg::MEM_MVRF || mem == npu_pkg::MEM_OUTPUT;
      npu_pkg::OP_M_RD: mem_ok = mem == npu_pkg::MEM_WEIGHTS;
      npu_pkg::OP_M_WR, npu_pkg::OP_MV_MUL: mem_ok = mem == npu_pkg::MEM_MATRIX;
      default: mem_ok = !vv || mem == npu_pkg::MEM_AVRF || mem == npu_pkg::MEM_MVRF;
    endcase

    case (mem)
      npu_pkg::MEM_IVRF:    size = 32'(IVRF);
      npu_pkg::MEM_AVRF:    size = 32'(AVRF);
      npu_pkg::MEM_MVRF:    size = 32'(MVRF);
      npu_pkg::MEM_INPUT:   size = n_input_i;
      npu_pkg::MEM_WEIGHTS: size = n_weights_i;
      default:     size = n_output_i;
    endcase

    in_range = 1'b1;
    case (op)
      npu_pkg::OP_V_RD: in_range = flag ? {16'b0, address_o} + {24'b0, cols_i} <= 32'(IVRF)
                               : {15'b0, entry_o} < size;
      npu_pkg::OP_M_RD: in_range =
        {16'b0, address_o} + {16'b0, tiles_o} * 32'(N / 2 + 1) <= n_weights_i;
      npu_pkg::OP_M_WR, npu_pkg::OP_MV_MUL: in_range = {16'b0, address_o} + {16'b0, tiles_o} <= 32'(TILES);
      default: if (vv || op == npu_pkg::OP_V_WR) in_range = {15'b0, entry_o} < size;
    endcase

    in_source = entry_o >= {1'b0, source_i} && entry_o < {1'b0, source_i} + {9'b0, cols_i};

    error_o = npu_pkg::ST_OK;
    if (!known)                                               error_o = npu_pkg::ST_OPCODE;
    else if (!legal)                                          error_o = npu_pkg::ST_CHAIN;
    else if (!mem_ok)                                         error_o = npu_pkg::ST_MEMORY;
    else if (!in_range)                                       error_o = npu_pkg::ST_RANGE;
    else if (op == npu_pkg::OP_S_WR && (mem > npu_pkg::SCALAR_COLS || instr_i[31:16] == 0 || instr_i[31:24] != 0))
                                                              error_o = npu_pkg::ST_VALUE;
    else if (op == npu_pkg::OP_LOOP && depth_i == 2)                   error_o = npu_pkg::ST_LOOP;
    else if (op == npu_pkg::OP_LOOP && instr_i[31:16] == 0)            error_o = npu_pkg::ST_VALUE;
    else if (op == npu_pkg::OP_END_LOOP && depth_i == 0)               error_o = npu_pkg::ST_LOOP;
    else if (op == npu_pkg::OP_V_WR && mem == npu_pkg::MEM_IVRF && mv_chain_i && rows_i != 1 && in_source)
                                                              error_o = npu_pkg::ST_HAZARD;
  end
endmodule
