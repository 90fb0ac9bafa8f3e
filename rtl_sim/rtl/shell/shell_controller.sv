// Snapshot controller: registers, freezer, sequencer and the movers between image and state port.
//
// Signals of the state port are launched on the falling edge, since they may change only while the
// clock is low (docs/overlays.md). `fabric_run_o` and `boundary_run_o` are the same decisions before
// that edge, for logic that looks at rising edges only.
module shell_controller
  import shell_pkg::*;
#(
  parameter int unsigned                     Lanes         = 32,
  parameter int unsigned                     MemWidth      = 1,
  parameter int unsigned                     Segments      = 1,
  parameter int unsigned                     ItemBeats     = 1,
  parameter int unsigned                     ImageBeats    = 8,
  parameter logic [63:0]                     Geometry      = '0,
  parameter logic [31:0]                     Rows          = '0,
  parameter logic [31:0]                     Words         = '0,
  parameter logic [31:0]                     ReadRegisters = '0,
  parameter logic [Segments*SegmentBits-1:0] Table         = '0
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                s_awvalid,
  output logic                s_awready,
  input  logic [11:0]         s_awaddr,
  input  logic                s_wvalid,
  output logic                s_wready,
  input  logic [31:0]         s_wdata,
  input  logic [3:0]          s_wstrb,
  output logic                s_bvalid,
  input  logic                s_bready,
  output logic [1:0]          s_bresp,
  input  logic                s_arvalid,
  output logic                s_arready,
  input  logic [11:0]         s_araddr,
  output logic                s_rvalid,
  input  logic                s_rready,
  output logic [31:0]         s_rdata,
  output logic [1:0]          s_rresp,

  output logic                m_awvalid,
  input  logic                m_awready,
  output logic [63:0]         m_awaddr,
  output logic [7:0]          m_awlen,
  output logic                m_wvalid,
  input  logic                m_wready,
  output logic [63:0]         m_wdata,
  output logic                m_wlast,
  input  logic                m_bvalid,
  output logic                m_bready,
  input  logic [1:0]          m_bresp,
  output logic                m_arvalid,
  input  logic                m_arready,
  output logic [63:0]         m_araddr,
  output logic [7:0]          m_arlen,
  input  logic                m_rvalid,
  output logic                m_rready,
  input  logic [63:0]         m_rdata,
  input  logic [1:0]          m_rresp,

  input  logic                control_idle_i,
  input  logic                quiet_i,
  output logic                refuse_o,
  output logic                park_o,
  output logic                fabric_run_o,
  output logic                boundary_run_o,
  output logic                fabric_rst_no,

  output logic                sp_fabric_run,
  output logic                sp_boundary_run,
  output logic                sp_scan,
  output logic [Lanes-1:0]    sp_si,
  input  logic [Lanes-1:0]    sp_so,
  output logic [15:0]         sp_msel,
  output logic [31:0]         sp_maddr,
  output logic                sp_mre,
  output logic                sp_mwe,
  output logic [MemWidth-1:0] sp_mwd,
  input  logic [MemWidth-1:0] sp_mrd
);
  localparam int unsigned IndexWidth = $clog2(Segments + 1);

  // ---- commands: taken, or refused without effect

  logic                  asked, running, freezing, frozen, moving, done, touched;
  logic [31:0]           code;
  logic [63:0]           address;
  command_e              wanted, command;
  error_e                refusal, outcome, error_q;
  logic [IndexWidth-1:0] segment, segment_q;
  logic                  sound_q;  // the fabric holds a state that may run
  logic                  at_rest, uses_image;

  assign wanted     = code < 32'd8 ? command_e'(code[2:0]) : CmdNone;
  assign at_rest    = frozen && !moving;
  assign uses_image = wanted == CmdSave || wanted == CmdLoad || wanted == CmdCheck;
  always_comb begin
    refusal = ErrNone;
    case (wanted)
      CmdNone:   refusal = ErrWrongState;
      CmdFreeze: if (!running) refusal = ErrWrongState;
      CmdRun:    if (!(at_rest || (freezing && fabric_rst_no))) refusal = ErrWrongState;
      default:   if (!at_rest) refusal = ErrWrongState;
    endcase
    if (refusal == ErrNone) begin
      if (uses_image && address[11:0] != 0) refusal = ErrMisaligned;
      if (!sound_q && (wanted == CmdRun || wanted == CmdSave)) refusal = ErrNoState;
    end
  end
  assign command = asked && refusal == ErrNone ? wanted : CmdNone;

  logic [31:0] elapsed_q, status;
  logic [63:0] cycle_q, image_cycle;
  logic        busy, loaded, touched_q;  // touched_q: by the LOAD under way
  assign busy   = freezing || moving;
  assign status = {16'(segment_q), error_q, 4'd0, running, sound_q, busy, frozen};
  assign loaded = done && outcome == ErrNone && touched_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      error_q   <= ErrNone;
      segment_q <= '0;
      sound_q   <= 1'b1;
      touched_q <= 1'b0;
      elapsed_q <= '0;
      cycle_q   <= '0;
    end else begin
      if (asked) begin
        error_q   <= refusal;
        segment_q <= '0;
      end else if (done) begin
        error_q   <= outcome;
        segment_q <= segment;
      end
      if (touched) sound_q <= 1'b0;
      if (loaded || command == CmdReset) sound_q <= 1'b1;
      if (touched) touched_q <= 1'b1;
      else if (done) touched_q <= 1'b0;
      if (command != CmdNone) elapsed_q <= '0;
      else if (busy) elapsed_q <= elapsed_q + 1'b1;
      if (!fabric_rst_no) cycle_q <= '0;
      else if (loaded) cycle_q <= image_cycle;
      else if (fabric_run_o) cycle_q <= cycle_q + 1'b1;
    end
  end

  logic [31:0] crc_index, crc;
  shell_registers #(
    .ImageBytes(ImageBeats * 8), .Segments(Segments), .Geometry(Geometry),
    .Rows(Rows), .Words(Words), .ReadRegisters(ReadRegisters)
  ) u_registers (
    .command_o(asked), .command_code_o(code), .address_o(address), .crc_index_o(crc_index),
    .status_i(status), .cycle_i(cycle_q), .elapsed_i(elapsed_q), .crc_i(crc), .*
  );

  shell_freezer u_freezer (
    .clk_i, .rst_ni, .command_i(command), .control_idle_i, .quiet_i,
    .running_o(running), .freezing_o(freezing), .frozen_o(frozen), .refuse_o, .park_o,
    .fabric_run_o, .boundary_run_o, .fabric_rst_no
  );

  // ---- moving a state

  logic                out_valid, out_ready, in_valid, in_ready, stop;
  logic [63:0]         out_data, in_data;
  logic                write_busy, write_error, read_busy, read_error;
  logic                scan, mre, mwe;
  logic [Lanes-1:0]    si;
  logic [15:0]         msel;
  logic [31:0]         maddr;
  logic [MemWidth-1:0] mwd;

  shell_sequencer #(
    .Lanes(Lanes), .MemWidth(MemWidth), .Segments(Segments), .ItemBeats(ItemBeats),
    .ImageBeats(ImageBeats), .Geometry(Geometry), .Table(Table)
  ) u_sequencer (
    .clk_i, .rst_ni, .command_i(command), .busy_o(moving), .done_o(done), .error_o(outcome),
    .segment_o(segment), .touched_o(touched), .cycle_i(cycle_q), .cycle_o(image_cycle),
    .crc_index_i(crc_index[IndexWidth-1:0]), .crc_o(crc),
    .out_valid_o(out_valid), .out_ready_i(out_ready), .out_data_o(out_data),
    .in_valid_i(in_valid), .in_ready_o(in_ready), .in_data_i(in_data), .stop_o(stop),
    .dma_busy_i(write_busy || read_busy), .read_error_i(read_error),
    .write_error_i(write_error),
    .scan_o(scan), .si_o(si), .so_i(sp_so), .msel_o(msel), .maddr_o(maddr), .mre_o(mre),
    .mwe_o(mwe), .mwd_o(mwd), .mrd_i(sp_mrd)
  );
  shell_dma_write u_write (
    .clk_i, .rst_ni, .start_i(command == CmdSave), .address_i(address),
    .beats_i(32'(ImageBeats)), .busy_o(write_busy), .error_o(write_error),
    .valid_i(out_valid), .ready_o(out_ready), .data_i(out_data),
    .awvalid_o(m_awvalid), .awready_i(m_awready), .awaddr_o(m_awaddr), .awlen_o(m_awlen),
    .wvalid_o(m_wvalid), .wready_i(m_wready), .wdata_o(m_wdata), .wlast_o(m_wlast),
    .bvalid_i(m_bvalid), .bready_o(m_bready), .bresp_i(m_bresp)
  );
  shell_dma_read u_read (
    .clk_i, .rst_ni, .start_i(command == CmdLoad || command == CmdCheck), .stop_i(stop),
    .address_i(address), .beats_i(32'(ImageBeats)), .busy_o(read_busy), .error_o(read_error),
    .valid_o(in_valid), .ready_i(in_ready), .data_o(in_data),
    .arvalid_o(m_arvalid), .arready_i(m_arready), .araddr_o(m_araddr), .arlen_o(m_arlen),
    .rvalid_i(m_rvalid), .rready_o(m_rready), .rdata_i(m_rdata), .rresp_i(m_rresp)
  );

  always_ff @(negedge clk_i) begin
    sp_fabric_run   <= fabric_run_o;
    sp_boundary_run <= boundary_run_o;
    sp_scan         <= scan;
    sp_si           <= si;
    sp_msel         <= msel;
    sp_maddr        <= maddr;
    sp_mre          <= mre;
    sp_mwe          <= mwe;
    sp_mwd          <= mwd;
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(moving && boundary_run_o)) else $error("a state moves while something runs");
    end
  end
`endif
endmodule
