// Kernel registers on AXI4-Lite (docs/overlays.md): start, done, idle, interrupt, arguments; the
// statistics are readable behind them.
module npu_ctrl #(
  parameter STATS_WORDS = 16
) (
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic        awvalid_i,
  output logic        awready_o,
  input  logic [11:0] awaddr_i,
  input  logic        wvalid_i,
  output logic        wready_o,
  input  logic [31:0] wdata_i,
  input  logic [3:0]  wstrb_i,
  output logic        bvalid_o,
  input  logic        bready_i,
  input  logic        arvalid_i,
  output logic        arready_o,
  input  logic [11:0] araddr_i,
  output logic        rvalid_o,
  input  logic        rready_i,
  output logic [31:0] rdata_o,
  output logic        interrupt_o,

  output logic        start_o,    // held until the kernel takes it
  input  logic        take_i,
  input  logic        idle_i,
  input  logic        done_i,     // one cycle
  input  logic [STATS_WORDS*32-1:0] stats_i,
  output logic [63:0] program_o,
  output logic [63:0] weights_o,
  output logic [63:0] input_o,
  output logic [63:0] output_o,
  output logic [63:0] stats_addr_o,
  output logic [31:0] n_instr_o,
  output logic [31:0] n_weights_o,
  output logic [31:0] n_input_o,
  output logic [31:0] n_output_o
);

  logic        start_q, done_q, ready_q, gie_q, ier_q, isr_q;
  logic        bvalid_q, rvalid_q;
  logic [31:0] rdata_q, rdata_d;
  logic [31:0] mask;
  logic        write, read, read_control;
  logic [11:0] waddr, raddr;
  logic [63:0] program_q, weights_q, input_q, output_q, stats_addr_q;
  logic [31:0] n_instr_q, n_weights_q, n_input_q, n_output_q;
  localparam SW = $clog2(STATS_WORDS);

  assign write     = awvalid_i & wvalid_i & ~bvalid_q;
  assign awready_o = write;
  assign wready_o  = write;
  assign bvalid_o  = bvalid_q;
  assign read      = arvalid_i & ~rvalid_q;
  assign arready_o = read;
  assign rvalid_o  = rvalid_q;
  assign rdata_o   = rdata_q;
  assign waddr     = {awaddr_i[11:2], 2'b00};
  assign raddr     = {araddr_i[11:2], 2'b00};
  assign mask      = {{8{wstrb_i[3]}}, {8{wstrb_i[2]}}, {8{wstrb_i[1]}}, {8{wstrb_i[0]}}};
  assign read_control = read && raddr == 12'h000;

  assign interrupt_o  = gie_q & ier_q & isr_q;
  assign start_o      = start_q;
  assign program_o    = program_q;
  assign weights_o    = weights_q;
  assign input_o      = input_q;
  assign output_o     = output_q;
  assign stats_addr_o = stats_addr_q;
  assign n_instr_o    = n_instr_q;
  assign n_weights_o  = n_weights_q;
  assign n_input_o    = n_input_q;
  assign n_output_o   = n_output_q;

  always_comb begin
    case (raddr)
      12'h000: rdata_d = {28'b0, ready_q, idle_i & ~start_q, done_q, start_q};
      12'h004: rdata_d = {31'b0, gie_q};
      12'h008: rdata_d = {31'b0, ier_q};
      12'h00c: rdata_d = {31'b0, isr_q};
      npu_pkg::REG_PROGRAM:          rdata_d = program_q[31:0];
      npu_pkg::REG_PROGRAM + 12'd4:  rdata_d = program_q[63:32];
      npu_pkg::REG_WEIGHTS:          rdata_d = weights_q[31:0];
      npu_pkg::REG_WEIGHTS + 12'd4:  rdata_d = weights_q[63:32];
      npu_pkg::REG_INPUT:            rdata_d = input_q[31:0];
      npu_pkg::REG_INPUT + 12'd4:    rdata_d = input_q[63:32];
      npu_pkg::REG_OUTPUT:           rdata_d = output_q[31:0];
      npu_pkg::REG_OUTPUT + 12'd4:   rdata_d = output_q[63:32];
      npu_pkg::REG_STATS:            rdata_d = stats_addr_q[31:0];
      npu_pkg::REG_STATS + 12'd4:    rdata_d = stats_addr_q[63:32];
      npu_pkg::REG_N_INSTR:          rdata_d = n_instr_q;
      npu_pkg::REG_N_WEIGHTS:        rdata_d = n_weights_q;
      npu_pkg::REG_N_INPUT:          rdata_d = n_input_q;
      npu_pkg::REG_N_OUTPUT:         rdata_d = n_output_q;
      default:              rdata_d = 32'd0;
    endcase
    if (raddr[11:SW+2] == npu_pkg::REG_COUNTERS[11:SW+2]) begin
      rdata_d = stats_i[raddr[SW+1:2]*32 +: 32];
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {start_q, done_q, ready_q, gie_q, ier_q, isr_q, bvalid_q, rvalid_q} <= '0;
      rdata_q <= '0;
    end else begin
      if (write)         bvalid_q <= 1'b1;
      else if (bready_i) bvalid_q <= 1'b0;
      if (read) begin
        rvalid_q <= 1'b1;
        rdata_q  <= rdata_d;
      end else if (rready_i) begin
        rvalid_q <= 1'b0;
      end
      if (take_i) start_q <= 1'b0;
      if (read_control) {done_q, ready_q} <= 2'b00;
      if (write && wstrb_i[0]) begin
        case (waddr)
          12'h000: if (wdata_i[0]) start_q <= 1'b1;
          12'h004: gie_q <= wdata_i[0];
          12'h008: ier_q <= wdata_i[0];
          12'h00c: isr_q <= isr_q ^ wdata_i[0];
          default: ;
        endcase
      end
      if (done_i) begin
        {done_q, ready_q} <= 2'b11;
        if (ier_q) isr_q <= 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {program_q, weights_q, input_q, output_q, stats_addr_q} <= '0;
      {n_instr_q, n_weights_q, n_input_q, n_output_q} <= '0;
    end else if (write) begin
      case (waddr)
        npu_pkg::REG_PROGRAM:         program_q[31:0]     <= (program_q[31:0] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_PROGRAM + 12'd4: program_q[63:32]    <= (program_q[63:32] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_WEIGHTS:         weights_q[31:0]     <= (weights_q[31:0] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_WEIGHTS + 12'd4: weights_q[63:32]    <= (weights_q[63:32] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_INPUT:           input_q[31:0]       <= (input_q[31:0] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_INPUT + 12'd4:   input_q[63:32]      <= (input_q[63:32] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_OUTPUT:          output_q[31:0]      <= (output_q[31:0] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_OUTPUT + 12'd4:  output_q[63:32]     <= (output_q[63:32] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_STATS:           stats_addr_q[31:0]  <= (stats_addr_q[31:0] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_STATS + 12'd4:   stats_addr_q[63:32] <= (stats_addr_q[63:32] & ~mask) | (wdata_i & mask);
        npu_pkg::REG_N_INSTR:         n_instr_q           <= (n_instr_q & ~mask) | (wdata_i & mask);
        npu_pkg::REG_N_WEIGHTS:       n_weights_q         <= (n_weights_q & ~mask) | (wdata_i & mask);
        npu_pkg::REG_N_INPUT:         n_input_q           <= (n_input_q & ~mask) | (wdata_i & mask);
        npu_pkg::REG_N_OUTPUT:        n_output_q          <= (n_output_q & ~mask) | (wdata_i & mask);
        default: ;
      endcase
    end
  end
endmodule
