// RV32I core of the small kind: one instruction in three cycles, a register file in distributed
// RAM, data in a synchronous RAM. It runs a program from a ROM for ever: sorts, sums and stores.

package rv32_pkg;
  typedef enum logic [1:0] {FETCH, EXECUTE, WRITE_BACK, HALTED} phase_e;

  typedef enum logic [6:0] {
    OP_LUI = 7'h37, OP_AUIPC = 7'h17, OP_JAL = 7'h6f, OP_JALR = 7'h67, OP_BRANCH = 7'h63,
    OP_LOAD = 7'h03, OP_STORE = 7'h23, OP_IMM = 7'h13, OP_REG = 7'h33
  } opcode_e;

  typedef struct packed {
    logic [6:0] funct7;
    logic [4:0] rs2;
    logic [4:0] rs1;
    logic [2:0] funct3;
    logic [4:0] rd;
    logic [6:0] opcode;
  } instr_t;
endpackage

module rv32_alu (
  input  logic [31:0] a,
  input  logic [31:0] b,
  input  logic [2:0]  funct3,
  input  logic        alternate,
  output logic [31:0] y
);
  always_comb begin
    unique case (funct3)
      3'd0: y = alternate ? a - b : a + b;
      3'd1: y = a << b[4:0];
      3'd2: y = {31'd0, $signed(a) < $signed(b)};
      3'd3: y = {31'd0, a < b};
      3'd4: y = a ^ b;
      3'd5: y = alternate ? 32'($signed(a) >>> b[4:0]) : a >> b[4:0];
      3'd6: y = a | b;
      default: y = a & b;
    endcase
  end
endmodule

module rv32 #(
  parameter int ROM_WORDS = 64,
  parameter int RAM_WORDS = 256
) (
  input  logic        clk,
  input  logic        rst_n,
  input  logic        irq,
  input  logic [31:0] in_port,
  output logic        out_valid,
  output logic [31:0] out_port,
  output logic [31:0] pc_o,
  output logic [63:0] retired_o
);
  import rv32_pkg::*;

  phase_e      phase;
  logic [31:0] pc, next_pc, cause;
  instr_t      instr;
  logic [63:0] retired;
  logic [31:0] regs [32];
  logic [31:0] ram [RAM_WORDS];
  logic [31:0] rom [ROM_WORDS];
  logic [31:0] ram_q;
  logic [31:0] rs1, rs2, imm, operand, alu_y, address, result;
  logic        taken, writes, irq_taken;

  initial $readmemh("program.hex", rom);

  assign rs1 = instr.rs1 == 0 ? 32'd0 : regs[instr.rs1];
  assign rs2 = instr.rs2 == 0 ? 32'd0 : regs[instr.rs2];

  always_comb begin
    unique case (instr.opcode)
      OP_LUI, OP_AUIPC: imm = {instr[31:12], 12'd0};
      OP_JAL: imm = {{12{instr[31]}}, instr[19:12], instr[20], instr[30:21], 1'b0};
      OP_BRANCH: imm = {{20{instr[31]}}, instr[7], instr[30:25], instr[11:8], 1'b0};
      OP_STORE: imm = {{21{instr[31]}}, instr[30:25], instr[11:7]};
      default: imm = {{21{instr[31]}}, instr[30:20]};
    endcase
  end

  assign operand = instr.opcode == OP_REG ? rs2 : imm;
  rv32_alu alu (
    .a(rs1),
    .b(operand),
    .funct3(instr.funct3),
    .alternate(instr[30] && (instr.opcode == OP_REG || instr.funct3 == 3'd5)),
    .y(alu_y)
  );

  always_comb begin
    unique case (instr.funct3)
      3'd0: taken = rs1 == rs2;
      3'd1: taken = rs1 != rs2;
      3'd4: taken = $signed(rs1) < $signed(rs2);
      3'd5: taken = $signed(rs1) >= $signed(rs2);
      3'd6: taken = rs1 < rs2;
      3'd7: taken = rs1 >= rs2;
      default: taken = 1'b0;
    endcase
  end

  assign address = rs1 + imm;

  always_comb begin
    next_pc = pc + 4;
    result = alu_y;
    writes = 1'b1;
    case (instr.opcode)
      OP_LUI: result = imm;
      OP_AUIPC: result = pc + imm;
      OP_JAL: begin
        result = pc + 4;
        next_pc = pc + imm;
      end
      OP_JALR: begin
        result = pc + 4;
        next_pc = {address[31:1], 1'b0};
      end
      OP_BRANCH: begin
        writes = 1'b0;
        if (taken) next_pc = pc + imm;
      end
      OP_LOAD: result = address[31] ? in_port : ram_q;
      OP_STORE: writes = 1'b0;
      OP_IMM, OP_REG: ;
      default: writes = 1'b0;
    endcase
  end

  // Byte stores, word loads: what the program needs of the data RAM.
  wire store = phase == EXECUTE && instr.opcode == OP_STORE && !address[31];
  wire [3:0] lanes = instr.funct3[1] ? 4'hf : 4'h1 << address[1:0];
  wire [$clog2(RAM_WORDS)-1:0] ram_word = address[2+:$clog2(RAM_WORDS)];
  wire [31:0] store_data = instr.funct3[1] ? rs2 : {4{rs2[7:0]}};

  always_ff @(posedge clk) begin
    for (int i = 0; i < 4; i++)
      if (store && lanes[i]) ram[ram_word][8*i+:8] <= store_data[8*i+:8];
    if (phase == EXECUTE) ram_q <= ram[ram_word];
  end

  always_ff @(posedge clk) begin
    if (phase == WRITE_BACK && writes && instr.rd != 0) regs[instr.rd] <= result;
  end

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      phase <= FETCH;
      pc <= 32'd0;
      instr <= '0;
      retired <= 64'd0;
      cause <= 32'd0;
      irq_taken <= 1'b0;
      out_valid <= 1'b0;
      out_port <= 32'd0;
    end else begin
      out_valid <= 1'b0;
      unique case (phase)
        FETCH: begin
          instr <= instr_t'(rom[pc[2+:$clog2(ROM_WORDS)]]);
          phase <= EXECUTE;
        end
        EXECUTE: begin
          phase <= WRITE_BACK;
          if (instr.opcode == OP_STORE && address[31]) begin
            out_valid <= 1'b1;
            out_port <= rs2;
          end
        end
        WRITE_BACK: begin
          phase <= FETCH;
          retired <= retired + 1;
          irq_taken <= irq;
          if (irq && !irq_taken) begin
            cause <= next_pc;
            pc <= 32'd0;
          end else begin
            pc <= next_pc;
          end
        end
        default: phase <= FETCH;
      endcase
    end
  end

  assign pc_o = pc ^ cause;
  assign retired_o = retired;
endmodule
