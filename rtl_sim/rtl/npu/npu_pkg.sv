// Generated from rtl_sim/spec by `python -m rtl_sim.spec.npu_generate`: do not edit.

package npu_pkg;
  localparam [7:0] OP_V_RD = 8'd1;
  localparam [7:0] OP_V_WR = 8'd2;
  localparam [7:0] OP_M_RD = 8'd3;
  localparam [7:0] OP_M_WR = 8'd4;
  localparam [7:0] OP_S_WR = 8'd5;
  localparam [7:0] OP_END_CHAIN = 8'd6;
  localparam [7:0] OP_LOOP = 8'd7;
  localparam [7:0] OP_END_LOOP = 8'd8;
  localparam [7:0] OP_MV_MUL = 8'd16;
  localparam [7:0] OP_VV_ADD = 8'd32;
  localparam [7:0] OP_VV_A_SUB_B = 8'd33;
  localparam [7:0] OP_VV_B_SUB_A = 8'd34;
  localparam [7:0] OP_VV_MAX = 8'd35;
  localparam [7:0] OP_VV_MUL = 8'd36;
  localparam [7:0] OP_V_RELU = 8'd40;
  localparam [7:0] OP_V_SIGM = 8'd41;
  localparam [7:0] OP_V_TANH = 8'd42;
  localparam [3:0] MEM_NONE = 4'd0;
  localparam [3:0] MEM_IVRF = 4'd1;
  localparam [3:0] MEM_AVRF = 4'd2;
  localparam [3:0] MEM_MVRF = 4'd3;
  localparam [3:0] MEM_MATRIX = 4'd4;
  localparam [3:0] MEM_INPUT = 4'd5;
  localparam [3:0] MEM_WEIGHTS = 4'd6;
  localparam [3:0] MEM_OUTPUT = 4'd7;
  localparam [3:0] SCALAR_ROWS = 4'd0;
  localparam [3:0] SCALAR_COLS = 4'd1;
  localparam [3:0] SCALAR_TAIL = 4'd2;
  localparam [3:0] SCALAR_RUN = 4'd3;
  localparam [3:0] SCALAR_WIN_X = 4'd4;
  localparam [3:0] SCALAR_WIN_Y = 4'd5;
  localparam [3:0] SCALAR_PITCH_X = 4'd6;
  localparam [3:0] SCALAR_PITCH_Y = 4'd7;
  localparam [7:0] ST_OK = 8'd0;
  localparam [7:0] ST_OPCODE = 8'd1;
  localparam [7:0] ST_CHAIN = 8'd2;
  localparam [7:0] ST_MEMORY = 8'd3;
  localparam [7:0] ST_RANGE = 8'd4;
  localparam [7:0] ST_LOOP = 8'd5;
  localparam [7:0] ST_VALUE = 8'd6;
  localparam [7:0] ST_PROGRAM = 8'd7;
  localparam [7:0] ST_ALIGN = 8'd8;
  localparam [7:0] ST_BUS = 8'd9;
  localparam [7:0] ST_HAZARD = 8'd10;
  localparam SLOT_ADD0 = 0;
  localparam SLOT_ACT0 = 1;
  localparam SLOT_MUL0 = 2;
  localparam SLOT_ADD1 = 3;
  localparam SLOT_ACT1 = 4;
  localparam SLOT_MUL1 = 5;
  localparam [7:0] ISA_VERSION = 8'd3;
  localparam [11:0] REG_COUNTERS = 12'h080;
  localparam [11:0] REG_PROGRAM = 12'h010;
  localparam [11:0] REG_WEIGHTS = 12'h01c;
  localparam [11:0] REG_INPUT = 12'h028;
  localparam [11:0] REG_OUTPUT = 12'h034;
  localparam [11:0] REG_STATS = 12'h040;
  localparam [11:0] REG_N_INSTR = 12'h04c;
  localparam [11:0] REG_N_WEIGHTS = 12'h054;
  localparam [11:0] REG_N_INPUT = 12'h05c;
  localparam [11:0] REG_N_OUTPUT = 12'h064;

  // Whether anybody looks at a value. Hardware makes it all the same; a simulator need not.
  function automatic logic looked_at(input logic by_whom);
`ifdef SYNTHESIS
    looked_at = 1'b1;
`else
    looked_at = by_whom;
`endif
  endfunction
endpackage
