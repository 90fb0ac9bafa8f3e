"""Text of the harness in which captured copies of a design run beside the original.

Per design: `ref`, the RTL as written; `kept`, captured and never frozen; `a` and `b`, captured with
different lane widths, between which state is moved. All see the same inputs, except that a frozen
`a` and `b` see them with noise. While nothing may move, the clocks of `ref` and `kept` are held;
`kept` gets its own again when its state is read.
Every output of every copy is compared with `ref` in `differs` (bit 0 kept, 1 a, 2 b).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rtl_sim.statemap import StateMap

ROW_BITS: Final = 32  # width of the harness's ports for rows; lanes of a and b are at most that


@dataclass(frozen=True, slots=True)
class Captured:
    """A captured build of a design under a module name of its own."""

    module: str
    verilog: str
    state_map: StateMap


def renamed(verilog: Path, state_map: Path, top: str, suffix: str) -> Captured:
    """The captured file with every module renamed, so that several fit in one simulation."""
    text = re.sub(
        rf"\b{re.escape(top)}(?=__\w+__\d+ |\s*\(\n)",
        f"{top}_{suffix}",
        verilog.read_text(encoding="utf-8"),
    )
    return Captured(f"{top}_{suffix}", text, StateMap.parse(state_map.read_bytes()))


def harness(designs: Sequence[tuple[str, Captured, Captured]]) -> str:
    """Module `bench`. `which` chooses one of `designs`: the original, kept and a, b."""
    width = max(c.state_map.mem_width for _, *copies in designs for c in copies)
    bodies, choices = [], []
    for number, (name, first, second) in enumerate(designs):
        bodies.append(_design(number, name, first, second))
        choices.append(
            f"    {number}: begin differs = differs_{number}; so_k = so_k_{number};"
            f" so_a = so_a_{number}; so_b = so_b_{number}; mrd_k = mrd_k_{number};"
            f" mrd_a = mrd_a_{number}; mrd_b = mrd_b_{number}; y = y_{number}; end"
        )
    return "\n".join(
        [
            "module bench (",
            "  input clk, input held, input held_k, input rst, input [31:0] x,",
            "  input noise_rst, input [31:0] noise_x, input [7:0] which,",
            *(
                f"  input run_{c}, input scan_{c}, input [{ROW_BITS - 1}:0] si_{c},"
                f" output reg [{ROW_BITS - 1}:0] so_{c}, input mre_{c}, input mwe_{c},"
                f" output reg [{width - 1}:0] mrd_{c},"
                for c in "kab"
            ),
            f"  input [15:0] msel, input [31:0] maddr, input [{width - 1}:0] mwd,",
            "  output reg [2:0] differs, output reg [31:0] y",
            ");",
            "  wire clk_ref = clk & !held;",
            "  wire clk_k = clk & !held_k;",
            *bodies,
            "  always @* begin",
            "    case (which)",
            *choices,
            "    default: begin differs = 0; so_k = 0; so_a = 0; so_b = 0; mrd_k = 0;"
            " mrd_a = 0; mrd_b = 0; y = 0; end",
            "    endcase",
            "  end",
            "endmodule",
        ]
    )


def _design(number: int, name: str, first: Captured, second: Captured) -> str:
    lines = [
        f"  wire [31:0] y_{number}, yk_{number}, ya_{number}, yb_{number};",
        f"  {name} ref_{number} (.clk(clk_ref), .rst(rst), .x(x), .y(y_{number}));",
        f"  wire [2:0] differs_{number} = {{yb_{number} != y_{number}, ya_{number} != y_{number},"
        f" yk_{number} != y_{number}}};",
    ]
    for copy, captured in (("k", first), ("a", first), ("b", second)):
        state = captured.state_map
        own = f"which == {number}"
        inputs = (
            "clk(clk_k), .rst(rst), .x(x)"
            if copy == "k"
            else "clk(clk), .rst(rst ^ noise_rst), .x(x ^ noise_x)"
        )
        lines += [
            f"  wire [{state.lanes - 1}:0] so_{copy}_{number};",
            f"  wire [{state.mem_width - 1}:0] mrd_{copy}_{number};",
            f"  {captured.module} {copy}_{number} (.{inputs}, .y(y{copy}_{number}),",
            f"    .sp_run(run_{copy}), .sp_scan(scan_{copy} && {own}),",
            f"    .sp_si(si_{copy}[{state.lanes - 1}:0]), .sp_so(so_{copy}_{number}),",
            f"    .sp_msel(msel), .sp_maddr(maddr), .sp_mre(mre_{copy} && {own}),",
            f"    .sp_mwe(mwe_{copy} && {own}),",
            f"    .sp_mwd(mwd[{state.mem_width - 1}:0]), .sp_mrd(mrd_{copy}_{number}));",
        ]
    return "\n".join(lines)
