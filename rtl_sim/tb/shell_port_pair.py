"""Text of the harness with the snapshot controller on a state port written by hand.

The port has what no overlay here has: a memory with two read registers, walked through the first,
and words wider than the bus. All its state shows on `state_o`, so that a bench needs no port to
know what a save must leave as it was; `seed` fills it with noise.
"""

from __future__ import annotations

import json
from typing import Any, Final

from rtl_sim.shell.geometry import Geometry
from rtl_sim.shell.wrap import FULL_ANSWERS, FULL_REQUESTS, LITE_ANSWERS, LITE_REQUESTS, ports

ROWS, LANES = 3, 32
WIDE, WIDE_DEPTH = 72, 4  # read without a clock; two bus words each
CLOCKED, CLOCKED_DEPTH = 40, 5
STATE_BITS: Final = ROWS * LANES + WIDE * WIDE_DEPTH + CLOCKED * (CLOCKED_DEPTH + 2)


def geometry() -> Geometry:
    def bits(name: str, count: int) -> list[list[object]]:
        return [[name, bit] for bit in range(count)]

    common: dict[str, Any] = {"format": 2, "clock": "clk", "clocks": ["clk"], "lanes": LANES}
    overlay = common | {
        "layout_id": "01" * 32,
        "rows": ROWS,
        "mem_width": WIDE,
        "flops": [
            {"name": "q", "bit": i, "row": i // LANES, "lane": i % LANES}
            for i in range(ROWS * LANES)
        ],
        "memories": [
            {"name": "wide", "index": 0, "width": WIDE, "depth": WIDE_DEPTH},
            {"name": "clocked", "index": 1, "width": CLOCKED, "depth": CLOCKED_DEPTH},
        ],
        "read_registers": [
            {"select": 2, "memory": 1, "bits": bits("first", CLOCKED)},
            {"select": 3, "memory": 1, "bits": bits("second", CLOCKED)},
        ],
    }
    boundary = common | {
        "layout_id": "02" * 32, "rows": 0, "mem_width": 1,
        "flops": [], "memories": [], "read_registers": [],
    }  # fmt: skip
    return Geometry.of(json.dumps(overlay).encode(), json.dumps(boundary).encode())


def harness() -> str:
    parameters = ", ".join(f".{name}({value})" for name, value in geometry().parameters().items())
    unused = ("awsize", "awburst", "wstrb", "arsize", "arburst", "rlast")
    declared = [
        "input logic clk, rst_n, input logic [31:0] seed, input logic fill",
        f"output logic [{STATE_BITS - 1}:0] state_o",
        *ports("s", LITE_REQUESTS, LITE_ANSWERS),
        *ports("m", FULL_ANSWERS, FULL_REQUESTS),
        "output logic [0:0] m_awid, m_arid, input logic [0:0] m_bid, m_rid",
    ]
    pins = [
        *(f".s_{name}" for name, _ in (*LITE_REQUESTS, *LITE_ANSWERS)),
        *(f".m_{name}" for name, _ in (*FULL_REQUESTS, *FULL_ANSWERS) if name not in unused),
    ]
    head = ",\n".join(f"  {port}" for port in declared)
    return f"""module shell_port_pair (
{head}
);
  logic run, scan, mre, mwe;
  logic [31:0] si, so, maddr;
  logic [15:0] msel;
  logic [{WIDE - 1}:0] mwd, mrd;
  logic [31:0] q [0:{ROWS - 1}];
  logic [{WIDE - 1}:0] wide [0:{WIDE_DEPTH - 1}];
  logic [{CLOCKED - 1}:0] clocked [0:{CLOCKED_DEPTH - 1}], first, second;
  logic walk;  // the word read at the last edge shows for this cycle, and no longer
  logic [1:0] at;
  integer i;

  assign so = q[0];
  always_comb begin
    case (msel)
      0: mrd = walk ? wide[at] : {WIDE}'(seed);
      1, 2: mrd = {WIDE}'(first);
      3: mrd = {WIDE}'(second);
      default: mrd = 'x;
    endcase
  end
  always @(posedge clk) begin
    walk <= mre && !run;
    at   <= maddr[1:0];
    if (fill) begin
      for (i = 0; i < {ROWS}; i++) q[i] <= seed * (i + 3);
      for (i = 0; i < {WIDE_DEPTH}; i++) wide[i] <= {{seed ^ i, seed * (i + 7), 8'(seed >> i)}};
      for (i = 0; i < {CLOCKED_DEPTH}; i++) clocked[i] <= {{seed * (i + 5), 8'(i)}};
      first <= {{seed ^ 32'h1234, 8'h1}};
      second <= {{seed ^ 32'h4321, 8'h2}};
    end else if (!run) begin
      if (scan) begin
        for (i = 0; i < {ROWS - 1}; i++) q[i] <= q[i + 1];
        q[{ROWS - 1}] <= si;
      end
      if (mwe && msel == 0) wide[maddr[1:0]] <= mwd;
      if (mwe && msel == 1) clocked[maddr[2:0]] <= mwd[{CLOCKED - 1}:0];
      if (mre && (msel == 1 || msel == 2)) first <= clocked[maddr[2:0]];
      if (mre && msel == 3) second <= clocked[maddr[2:0]];
    end
  end
  assign state_o = {{
    {", ".join(f"q[{i}]" for i in range(ROWS))},
    {", ".join(f"wide[{i}]" for i in range(WIDE_DEPTH))},
    {", ".join(f"clocked[{i}]" for i in range(CLOCKED_DEPTH))}, first, second}};

  shell_controller #({parameters}) u_controller (
    .clk_i(clk), .rst_ni(rst_n), {", ".join(pins)},
    .control_idle_i(1'b1), .quiet_i(1'b1), .refuse_o(), .park_o(), .fabric_run_o(),
    .boundary_run_o(), .fabric_rst_no(), .sp_fabric_run(run), .sp_boundary_run(),
    .sp_scan(scan), .sp_si(si), .sp_so(so), .sp_msel(msel), .sp_maddr(maddr), .sp_mre(mre),
    .sp_mwe(mwe), .sp_mwd(mwd), .sp_mrd(mrd)
  );
  assign {{m_awid, m_arid}} = '0;
  assign {{m_awsize, m_arsize, m_awburst, m_arburst}} = {{3'd3, 3'd3, 2'd1, 2'd1}};
  assign m_wstrb = 8'hFF;
endmodule
"""
