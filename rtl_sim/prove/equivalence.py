"""Proves, by Yosys, that a captured design with `sp_run` 1 is the design it was made from.

The state port is tied off in the text, registers of both sides are matched by name, and their
next states and all outputs are proved equal, memories included. A proof of this kind needs no
stimulus; what happens while frozen is for simulation to show.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from rtl_sim.capture import ElaborationError, ToolError, readers, staging, yosys
from rtl_sim.design import Design

_TIED_INPUTS = {"sp_run": 1, "sp_scan": 0, "sp_si": 0, "sp_msel": 0, "sp_maddr": 0,
                "sp_mre": 0, "sp_mwe": 0, "sp_mwd": 0}  # fmt: skip
_INPUT = re.compile(r"^  input (\[\d+:0\] )?(sp_\w+),?$", re.MULTILINE)
_OUTPUT = re.compile(r"^  output (reg )?(\[\d+:0\] )?(sp_\w+),?$", re.MULTILINE)
# Running, a clock's switch or gate passes on the design's clock; its latch is no state to match.
_SWITCHES = re.compile(r"^  reg open;\n(?:.*\n)*?  assign (switched|gated) = .*$", re.MULTILINE)
_RUNNING = {"switched": "functional", "gated": "clk"}
_PASSES = ("proc", "flatten", "opt_expr", "opt_clean", "memory_map", "dffunmap", "async2sync",
           "opt_clean")  # fmt: skip


def prove(design: Design, verilog: Path, timeout_s: float = yosys.TIMEOUT_S) -> None:
    """Raises ElaborationError naming how much stayed unproven, ToolError after `timeout_s`."""
    with tempfile.TemporaryDirectory(prefix="haltere-prove-") as folder:
        work = Path(folder)
        top = readers.read(design, staging.stage(design, work), work, assertions=False).top
        (work / "gate.v").write_text(tied_off(verilog.read_text(encoding="utf-8")))
        yosys.run(
            [
                "read_rtlil raw.il",
                f"hierarchy -top {top}",
                "rename -top gold",
                *_PASSES,
                "design -stash gold",
                "read_verilog -sv gate.v",
                f"hierarchy -top {top}",
                "rename -top gate",
                *_PASSES,
                "design -stash gate",
                "design -copy-from gold -as gold gold",
                "design -copy-from gate -as gate gate",
                "equiv_make gold gate both",
                "hierarchy -top both",
                "opt_clean",
                "equiv_struct",
                "equiv_simple",
                "equiv_induct",
                "equiv_status -assert",
            ],
            work,
            "prove",
            timeout_s,
        )


def attempt(design: Design, verilog: Path, timeout_s: float) -> str:
    """What came of a proof within `timeout_s`: "proved", or why there is none.

    No proof is no refutation: Yosys gives up on much that is equal.
    """
    try:
        prove(design, verilog, timeout_s)
    except ToolError as error:
        return f"no answer in {timeout_s:.0f} s: {_last_line(error)}"
    except ElaborationError as error:
        unproven = "unproven" in str(error)
        return f"{'not proved' if unproven else 'not tried'}: {_last_line(error)}"
    return "proved"


def _last_line(error: Exception) -> str:
    return str(error).splitlines()[-1]


def tied_off(verilog: str) -> str:
    """The captured design without its state port: it runs, and nothing else can be asked of it."""
    ports: list[str] = []

    def constant(match: re.Match[str]) -> str:
        width, name = match.group(1) or "", match.group(2)
        ports.append(f"  wire {width}{name} = {_TIED_INPUTS[name]};")
        return ""

    def dangling(match: re.Match[str]) -> str:
        kind = "reg" if match.group(1) else "wire"
        ports.append(f"  {kind} {match.group(2) or ''}{match.group(3)};")
        return ""

    def passed(match: re.Match[str]) -> str:
        return f"  assign {match.group(1)} = {_RUNNING[match.group(1)]};"

    below, module, top = _SWITCHES.sub(passed, verilog).rpartition("\nmodule ")
    text = _OUTPUT.sub(dangling, _INPUT.sub(constant, top))
    head, mark, body = re.sub(r",\s*\n\);", "\n);", text).partition("\n);\n")
    return below + module + head + mark + "\n".join(ports) + "\n" + body
