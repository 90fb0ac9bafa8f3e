"""From RTL sources to a flat, word-level netlist: the part of capture that is Yosys's.

Two scripts with a look in between. The first ends after `proc`, where registers have just become
cells and still carry the names that the RTL gives them; every register's net gets REGISTER_MARK
there, because after flattening nobody can tell a register's own name from a port it passes through.
The second flattens, except for modules that hold no state at all: those stay modules, so that
their code keeps its structure.

`memory_dff` is never run: a memory's read register stays an ordinary flip-flop and is therefore on
the chain. `memory_share` is not run either: it merges ports, which helps no simulation.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rtl_sim.capture import cells, netlist, yosys
from rtl_sim.capture.errors import ElaborationError
from rtl_sim.capture.netlist import Module

REGISTER_MARK: Final = "haltere_register"
_KEEP_MARK: Final = "keep_hierarchy"
# Files that RTL may name from inside: copied beside the sources, so that relative paths hold.
_SIBLING_SUFFIXES: Final = frozenset({".svh", ".vh", ".h", ".mem", ".hex", ".dat"})


def read_raw(
    sources: Sequence[Path], top: str, params: Mapping[str, int | str], work: Path
) -> dict[str, Module]:
    """The design as its author wrote it: all modules, registers marked, nothing optimised."""
    names = _gather(sources, work)
    chparams = " ".join(f"-chparam {name} {value}" for name, value in sorted(params.items()))
    kinds = [f"t:${kind}" for kind in cells.ANY_REGISTER]
    registers = " ".join([kinds[0], *(f"{kind} %u" for kind in kinds[1:])])
    yosys.run(
        [
            f"read_verilog -sv -nodisplay -noassert -noassume -I . {' '.join(names)}",
            f"hierarchy -top {top} {chparams}",
            f"rename -top {top}",
            "proc",
            f"select -set registers {registers} %co1:+[Q] w:* %i",
            f"setattr -set {REGISTER_MARK} 1 @registers",
            "write_json raw.json",
            "write_rtlil raw.il",
        ],
        work,
        "elaborate",
    )
    raw = netlist.read(work / "raw.json")
    if top not in raw:
        raise ElaborationError(f"the sources hold no module {top}")
    return raw


def flatten(work: Path, keep: Iterable[str]) -> dict[str, Module]:
    """The netlist that `read_raw` left in `work`, flat except for the modules `keep`."""
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
            known[name] = any(
                cell.kind in cells.REMEMBERING
                or (cell.kind in modules and remembers(cell.kind))
                or not (cell.kind in modules or cell.kind.startswith("$"))
                for cell in modules[name].cells
            )
        return known[name]

    return frozenset(name for name in modules if name != top and not remembers(name))


def count_cells(verilog: Path, top: str, work: Path) -> int:
    """How many word-level cells Yosys sees in the emitted file, which it must accept whole."""
    shutil.copyfile(verilog, work / "emitted.v")
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
        count(modules, cell.kind) if cell.kind in modules else 1 for cell in modules[name].cells
    )


def _gather(sources: Sequence[Path], work: Path) -> list[str]:
    """Copy the sources under names that keep their order and nothing of where they lay."""
    names = []
    for index, source in enumerate(sources):
        if not source.is_file():
            raise ElaborationError(f"source file {source} does not exist")
        name = f"{index:03d}_{source.name}"
        shutil.copyfile(source, work / name)
        names.append(name)
    for folder in sorted({source.parent for source in sources}):
        for sibling in sorted(folder.iterdir()):
            if sibling.suffix in _SIBLING_SUFFIXES and sibling.is_file():
                shutil.copyfile(sibling, work / sibling.name)
    return names


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
