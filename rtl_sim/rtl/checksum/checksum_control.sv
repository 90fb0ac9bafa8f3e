// Kernel registers as `ap_ctrl_hs` lays them out (docs/overlays.md), for this kernel's arguments.
//
//   0x10 source, 64 bits · 0x1C result, 64 bits · 0x28 nbytes · 0x40 cycles of the last run, read-only
module checksum_control (
  input  logic        clk_i,
  input  logic        rst_ni,
  // AXI-Lite
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
  // kernel
  output logic        start_o,  // level, until the kernel takes it
  input  logic        taken_i,
  input  logic        done_i,
  input  logic        idle_i,
  input  logic [31:0] cycles_i,
  output logic [63:0] source_o,
  output logic [63:0] result_o,
  output logic [31:0] nbytes_o
);
  localparam logic [11:0] Control = 12'h000, GlobalEnable = 12'h004, Enable = 12'h008,
                          Status = 12'h00C, SourceLow = 12'h010, SourceHigh = 12'h014,
                          ResultLow = 12'h01C, ResultHigh = 12'h020, Nbytes = 12'h028,
                          Cycles = 12'h040;

  typedef enum logic [1:0] {WriteIdle, WriteData, WriteResponse} write_e;

  write_e      write_q;
  logic [11:0] awaddr_q;
  logic        start_q, done_q, gie_q, ier_q, isr_q;
  logic        write, read_control;
  logic [31:0] mask;

  assign awready_o   = write_q == WriteIdle;
  assign wready_o    = write_q == WriteData;
  assign bvalid_o    = write_q == WriteResponse;
  assign arready_o   = !rvalid_o;
  assign interrupt_o = gie_q && ier_q && isr_q;
  assign start_o     = start_q;

  assign write        = write_q == WriteData && wvalid_i;
  assign read_control = arvalid_i && arready_o && {araddr_i[11:2], 2'b00} == Control;
  assign mask = {{8{wstrb_i[3]}}, {8{wstrb_i[2]}}, {8{wstrb_i[1]}}, {8{wstrb_i[0]}}};

  function automatic logic [31:0] merged(logic [31:0] old, logic [31:0] value, logic [31:0] m);
    merged = (old & ~m) | (value & m);
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q  <= WriteIdle;
      awaddr_q <= '0;
    end else begin
      case (write_q)
        WriteIdle: begin
          if (awvalid_i) begin
            awaddr_q <= {awaddr_i[11:2], 2'b00};
            write_q  <= WriteData;
          end
        end
        WriteData: if (wvalid_i) write_q <= WriteResponse;
        default:   if (bready_i) write_q <= WriteIdle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      gie_q    <= 1'b0;
      ier_q    <= 1'b0;
      source_o <= '0;
      result_o <= '0;
      nbytes_o <= '0;
    end else if (write) begin
      case (awaddr_q)
        GlobalEnable: if (wstrb_i[0]) gie_q <= wdata_i[0];
        Enable:       if (wstrb_i[0]) ier_q <= wdata_i[0];
        SourceLow:    source_o[31:0]  <= merged(source_o[31:0], wdata_i, mask);
        SourceHigh:   source_o[63:32] <= merged(source_o[63:32], wdata_i, mask);
        ResultLow:    result_o[31:0]  <= merged(result_o[31:0], wdata_i, mask);
        ResultHigh:   result_o[63:32] <= merged(result_o[63:32], wdata_i, mask);
        Nbytes:       nbytes_o        <= merged(nbytes_o, wdata_i, mask);
        default: ;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      start_q <= 1'b0;
      done_q  <= 1'b0;
      isr_q   <= 1'b0;
    end else begin
      if (write && awaddr_q == Control && wstrb_i[0] && wdata_i[0]) start_q <= 1'b1;
      else if (taken_i) start_q <= 1'b0;

      if (done_i) done_q <= 1'b1;
      else if (read_control) done_q <= 1'b0;

      if (done_i && ier_q) isr_q <= 1'b1;
      else if (write && awaddr_q == Status && wstrb_i[0] && wdata_i[0]) isr_q <= !isr_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      rvalid_o <= 1'b0;
      rdata_o  <= '0;
    end else if (arvalid_i && arready_o) begin
      rvalid_o <= 1'b1;
      case ({araddr_i[11:2], 2'b00})
        Control:      rdata_o <= {28'd0, done_q, idle_i, done_q, start_q};
        GlobalEnable: rdata_o <= {31'd0, gie_q};
        Enable:       rdata_o <= {31'd0, ier_q};
        Status:       rdata_o <= {31'd0, isr_q};
        SourceLow:    rdata_o <= source_o[31:0];
        SourceHigh:   rdata_o <= source_o[63:32];
        ResultLow:    rdata_o <= result_o[31:0];
        ResultHigh:   rdata_o <= result_o[63:32];
        Nbytes:       rdata_o <= nbytes_o;
        Cycles:       rdata_o <= cycles_i;
        default:      rdata_o <= '0;
      endcase
    end else if (rready_i) begin
      rvalid_o <= 1'b0;
    end
  end
endmodule
