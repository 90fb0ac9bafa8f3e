"""Text of a top that looks like the original and holds two captured copies, one of them running.

A cocotb bench that is given it instead of the original finds the same module, ports, parameters and
simulation step. The mover (tb/moving_bench.py) drives the inputs `haltere_*`: `hold` keeps the
outputs while state is moved, `active` says whose they are, `flip` runs or stops a copy (0: as at
power-on), `mclk` is a clock that only turns while the design's clocks are low.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rtl_sim.errors import BuildFailed
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.halting import STATE_PORT

COPIES: Final = "ab"
_MODULE: Final = re.compile(r"^module (\S+) \(", re.M)
_PORT: Final = re.compile(r"\s*(input|output)(?: reg)?(?: \[(\d+):(\d+)\])? (\S+?),?\s*")
# Powers of ten in seconds, as `timescale writes them.
_UNITS: Final = {0: "s", -3: "ms", -6: "us", -9: "ns", -12: "ps", -15: "fs"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a bench sees of the original's top (tb/probe_bench.py)."""

    constants: Mapping[str, str]  # parameter -> its declaration
    ranges: Mapping[str, tuple[int, int]]  # vector -> its bounds
    precision: int


def wrapper(top: str, captured: Sequence[Path], maps: Sequence[StateMap], seen: Seen) -> str:
    """Verilog of both captured files, renamed, and of the module `top` around them.

    Raises BuildFailed for a port that a Verilog-2001 header cannot write.
    """
    texts = [path.read_text(encoding="utf-8") for path in captured]
    ports = _ports(texts[0], top)
    scale = _timescale(seen.precision)
    parts = [f"`timescale {scale}/{scale}"]
    parts += [_renamed(text, copy) for text, copy in zip(texts, COPIES, strict=True)]
    parts.append(_top(top, ports, maps, seen))
    return "\n".join(parts)


def _top(
    top: str, ports: Mapping[str, tuple[str, int]], maps: Sequence[StateMap], seen: Seen
) -> str:
    declared, outputs = [], []
    for name, (direction, width) in ports.items():
        left, right = seen.ranges.get(name, (width - 1, 0))
        if abs(left - right) + 1 != width:  # of several dimensions
            left, right = width - 1, 0
        bits = f" [{left}:{right}]" if width > 1 or name in seen.ranges else ""
        declared.append(f"  {direction} {'reg' if direction == 'output' else 'wire'}{bits} {name}")
        if direction == "output":
            outputs.append((name, width))
    mem_width = max(state_map.mem_width for state_map in maps)
    clock = maps[0].clock
    # Inputs, not registers: what a simulator derives from inputs it settles before any edge.
    own = [(name, 1) for name in ("hold", "active", "mclk")]
    own += [("msel", 16), ("maddr", 32), ("mwd", mem_width)]
    for copy, state_map in zip(COPIES, maps, strict=True):
        own += [(f"{name}_{copy}", 1) for name in ("flip", "scan", "mre", "mwe")]
        own.append((f"si_{copy}", state_map.lanes))
    declared += [f"  input wire [{width - 1}:0] haltere_{name}" for name, width in own]
    body = [f"  localparam {text};" for name, text in seen.constants.items() if name not in ports]
    body += [
        "  wire haltere_run_a = !haltere_flip_a;",  # inputs are 0 at first: a runs, b does not
        "  wire haltere_run_b = haltere_flip_b;",
        "  reg [63:0] haltere_cycles = 0;",
        f"  wire haltere_clk = {clock} | haltere_mclk;",
        f"  always @(posedge {clock}) haltere_cycles <= haltere_cycles + 1;",
    ]
    for copy, state_map in zip(COPIES, maps, strict=True):
        body += _copy(top, copy, ports, state_map, outputs)
    body += ["  /* verilator lint_off LATCH */", "  always @* if (!haltere_hold) begin"]
    body += [
        f"    {name} = haltere_active ? haltere_b_{name} : haltere_a_{name};" for name, _ in outputs
    ]
    body += ["  end", "  /* verilator lint_on LATCH */"]
    header = ",\n".join(declared)
    return "\n".join([f"module {top} (", header, ");", *body, "endmodule", ""])


def _copy(
    top: str,
    copy: str,
    ports: Mapping[str, tuple[str, int]],
    state_map: StateMap,
    outputs: Sequence[tuple[str, int]],
) -> list[str]:
    shown = {name for name, _ in outputs}
    given = {
        name: f"haltere_{copy}_{name}" if name in shown else name for name in ports
    }  # fmt: skip
    given[state_map.clock] = "haltere_clk"
    own = {name: f"haltere_{name}_{copy}" for name in ("run", "scan", "si", "so", "mre", "mwe",
                                                        "mrd")}  # fmt: skip
    shared = {name: f"haltere_{name}" for name in ("msel", "maddr")}
    shared["mwd"] = f"haltere_mwd[{state_map.mem_width - 1}:0]"
    state = {f"sp_{name}": signal for name, signal in (own | shared).items()}
    lanes, width = state_map.lanes - 1, state_map.mem_width - 1
    return [
        *(f"  wire [{bits - 1}:0] haltere_{copy}_{name};" for name, bits in outputs),
        f"  wire [{lanes}:0] {own['so']};",
        f"  wire [{width}:0] {own['mrd']};",
        f"  {top}_{copy} haltere_{copy} (",
        ",\n".join(f"    .{name}({signal})" for name, signal in (given | state).items()),
        "  );",
    ]


def _ports(text: str, top: str) -> dict[str, tuple[str, int]]:
    """Name -> (direction, bits) of the ports that the captured `top` has from its author."""
    header = re.search(rf"^module {re.escape(top)} \(\n(.*?)\n\);", text, re.M | re.S)
    found: dict[str, tuple[str, int]] = {}
    for line in header.group(1).splitlines() if header else ():
        match = _PORT.fullmatch(line)
        if match is None or match.group(4).startswith("\\"):
            raise BuildFailed(
                f"{top}: the port {line.strip()!r} has a name that a bench cannot be given: "
                "rename it, or wrap the design"
            )
        direction, left, right, name = match.groups()
        if name not in STATE_PORT:
            found[name] = (direction, int(left) - int(right) + 1 if left else 1)
    return found


def _renamed(text: str, copy: str) -> str:
    """Every module with another name, so that both captured files fit in one simulation."""
    for name in set(_MODULE.findall(text)):
        pattern = rf"^(module |\s+){re.escape(name)}(?=\s+\S+ \(| \()"
        text = re.sub(pattern, rf"\g<1>{name}_{copy}", text, flags=re.M)
    return text


def _timescale(precision: int) -> str:
    unit = precision - precision % 3
    return f"{10 ** (precision - unit)}{_UNITS.get(unit, 'ps')}"
