// When the fabric runs, and when everything around it has come to rest.
//
// FREEZE lets an access of the host end (at most its patience), then stops the fabric and the
// isolators' new bursts in one cycle, and waits until the outside has answered those that had begun.
// RUN takes back a FREEZE at any point. RESET gives a frozen fabric its reset and freezes it again.
module shell_freezer
  import shell_pkg::*;
#(
  parameter int unsigned ResetCycles = 8
) (
  input  logic     clk_i,
  input  logic     rst_ni,
  input  command_e command_i,       // accepted, for one cycle
  input  logic     control_idle_i,  // no access of the host is with the fabric
  input  logic     quiet_i,         // nothing that the isolators began is under way
  output logic     running_o,       // RUN is in force
  output logic     freezing_o,
  output logic     frozen_o,
  output logic     refuse_o,        // accesses of the host
  output logic     park_o,          // the isolators begin no burst
  output logic     fabric_run_o,
  output logic     boundary_run_o,
  output logic     fabric_rst_no
);
  localparam int unsigned CountWidth = $clog2(ResetCycles + 1);
  typedef enum logic [2:0] {Reset, Running, Settle, Park, Frozen} state_e;

  state_e                state_q;
  logic [CountWidth-1:0] count_q;
  logic                  then_run_q;

  assign running_o      = state_q == Running;
  assign freezing_o     = state_q == Settle || state_q == Park || state_q == Reset;
  assign frozen_o       = state_q == Frozen;
  assign refuse_o       = state_q != Running;
  assign park_o         = state_q == Park || state_q == Frozen;
  assign fabric_run_o   = state_q != Park && state_q != Frozen;
  assign boundary_run_o = state_q != Frozen;
  assign fabric_rst_no  = state_q != Reset;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q    <= Reset;
      count_q    <= CountWidth'(ResetCycles);
      then_run_q <= 1'b1;
    end else begin
      if (count_q != 0) count_q <= count_q - 1'b1;
      case (state_q)
        Reset:   if (count_q == 0) state_q <= then_run_q ? Running : Frozen;
        Running: if (command_i == CmdFreeze) state_q <= Settle;
        Settle:  if (command_i == CmdRun) state_q <= Running;
                 else if (control_idle_i) state_q <= Park;
        Park:    if (command_i == CmdRun) state_q <= Running;
                 else if (quiet_i) state_q <= Frozen;
        default: begin
          if (command_i == CmdRun) state_q <= Running;
          if (command_i == CmdReset) begin
            state_q    <= Reset;
            count_q    <= CountWidth'(ResetCycles);
            then_run_q <= 1'b0;
          end
        end
      endcase
    end
  end
endmodule
