"""From the modules that were read (`readers.py`) to a flat, word-level netlist.

Modules that hold no state at all stay modules, so that their code keeps its structure.

Registers behind memories become part of their read ports there (`memory_dff`, and before it enables
and resets of just those registers: in the other order all block RAM is lost), so that synthesis
finds the block RAM that it finds in the sources. `memory_share` is not run: it joins writes of
bytes to one address, bit by bit, which synthesis does as well and simulation is slow with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rtl_sim.capture import boxes, cells, netlist, yosys
from rtl_sim.capture.netlist import Cell, Module

_KEEP_MARK: Final = "keep_hierarchy"
# What a read word passes until it is in a register.
_BEHIND: Final = "%co*:+$memrd,$memrd_v2,$mux,$pmux %co1"


def flatten(work: Path, keep: Iterable[str]) -> dict[str, Module]:
    """The netlist that a reader left in `work`, flat except for the modules `keep`."""
    _mark_kept(work / "raw.il", work / "marked.il", frozenset(keep))
    yosys.run(
        [
            "read_rtlil marked.il",
            "flatten -noscopeinfo",
            "opt_expr -mux_undef",
            "opt_merge",
            "opt_muxtree",
            "opt_clean",
            # Constant and unused bits go; enables and resets are left before D, as multiplexers.
            "opt_dff -nodffe -nosdff",
            "select -set reads t:$memrd t:$memrd_v2 %u",
            f"select -set behind @reads {_BEHIND}",
            "opt_dff @behind",
            "opt_clean",
            "memory_dff",
            "dffunmap",
            "opt_expr -mux_undef",
            "opt_merge",
            "opt_clean",
            "memory_collect",
            "opt_clean",
            "write_json flat.json",
        ],
        work,
        "flatten",
    )
    return netlist.read(work / "flat.json")


def stateless(modules: Mapping[str, Module], top: str) -> frozenset[str]:
    """Modules below the top in which, all the way down, nothing remembers."""
    known: dict[str, bool] = {}

    def remembers(name: str) -> bool:
        if name not in known:
            known[name] = boxes.state_bits(modules[name]) > 0 or any(
                cell.kind in cells.REMEMBERING
                or cell.kind in (cells.CHECK, cells.PRINT)  # stand under the top's sp_run
                or (cell.kind in modules and remembers(cell.kind))
                or not (cell.kind in modules or cell.kind.startswith("$"))
                or _is_block_rom(cell)
                for cell in modules[name].cells
            )
        return known[name]

    return frozenset(
        name
        for name, module in modules.items()
        if name != top and not boxes.is_box(module) and not remembers(name)
    )


def _is_block_rom(cell: Cell) -> bool:
    """A table that synthesis makes block RAM of, with a register that may be outside its module."""
    if cell.kind not in ("$memrd", "$memrd_v2"):
        return False
    return cell.number("WIDTH") << cell.number("ABITS") >= cells.BLOCK_ROM_BITS


def count_cells(verilog: Sequence[Path], top: str, work: Path) -> int:
    """How many word-level cells Yosys sees in the emitted files, which it must accept whole."""
    texts = (path.read_text(encoding="utf-8") for path in verilog)
    (work / "emitted.v").write_text("".join(texts), encoding="utf-8")
    yosys.run(
        [
            "read_verilog -sv emitted.v",
            f"hierarchy -check -top {top}",
            "proc",
            "flatten -noscopeinfo",
            "opt_clean",
            "memory_collect",
            "write_json emitted.json",
        ],
        work,
        "recount",
    )
    return count(netlist.read(work / "emitted.json"), top)


def count(modules: Mapping[str, Module], name: str) -> int:
    """Word-level cells below `name`, those of a module as often as it is used."""
    return sum(
        count(modules, cell.kind) if _has_body(modules, cell.kind) else 1
        for cell in modules[name].cells
    )


def _has_body(modules: Mapping[str, Module], kind: str) -> bool:
    return kind in modules and not boxes.is_box(modules[kind])


def _mark_kept(design: Path, marked: Path, keep: frozenset[str]) -> None:
    """Give `keep`, and no other module, the attribute at which flattening stops.

    In the file and not by a selection: module names made of parameters hold characters that a
    Yosys selection takes for patterns. Whoever wrote keep_hierarchy for an FPGA flow did not mean
    this one, so other marks go.
    """
    lines = []
    for line in design.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"attribute \\{_KEEP_MARK} "):
            continue
        if line.startswith("module "):
            name = line.removeprefix("module ")
            if name.removeprefix("\\") in keep:
                lines.append(f"attribute \\{_KEEP_MARK} 1")
        lines.append(line)
    marked.write_text("\n".join(lines) + "\n", encoding="utf-8")
