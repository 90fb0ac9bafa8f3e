// AXI4-Stream isolator, for either direction: a queue whose fabric side counts only while it runs.
//
// FabricIsSource 1: beats come from the fabric (`run_i` gates taking them), `park_i` keeps those
// that wait from being shown outside; a beat already shown stays until it is taken, as AXI asks, and
// `quiet_o` is low so long. 0: beats go to the fabric; `park_i` takes no more from outside.
// Beats in the queue are part of the fabric's state. A packet may be parked between two beats: who
// gives a stream to another context meanwhile must route it by context.
module shell_stream_isolator #(
  parameter bit          FabricIsSource = 1'b1,
  parameter int unsigned Width          = 64,  // tdata, tkeep, tlast, tid, tdest, tuser together
  parameter int unsigned DepthLog2      = 4
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             run_i,
  input  logic             park_i,
  output logic             quiet_o,
  input  logic             s_tvalid,
  output logic             s_tready,
  input  logic [Width-1:0] s_tpayload,
  output logic             m_tvalid,
  input  logic             m_tready,
  output logic [Width-1:0] m_tpayload
);
  logic full, waiting, push, pop;

  shell_fifo #(.Width(Width), .DepthLog2(DepthLog2)) u_beats (
    .clk_i, .rst_ni, .push_i(push), .data_i(s_tpayload), .full_o(full),
    .pop_i(pop), .valid_o(waiting), .data_o(m_tpayload)
  );

  assign push = s_tvalid && s_tready && (run_i || !FabricIsSource);
  assign pop  = m_tvalid && m_tready && (run_i || FabricIsSource);

  if (FabricIsSource) begin : gen_out
    logic shown_q;  // the beat that stands there was seen outside and not taken
    always_ff @(posedge clk_i) begin
      if (!rst_ni) shown_q <= 1'b0;
      else shown_q <= m_tvalid && !m_tready;
    end
    assign s_tready = !full;
    assign m_tvalid = waiting && (!park_i || shown_q);
    assign quiet_o  = park_i && !m_tvalid;
  end else begin : gen_in
    assign s_tready = !full && !park_i;
    assign m_tvalid = waiting;
    assign quiet_o  = park_i;
  end
endmodule
