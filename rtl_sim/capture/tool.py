"""`capture`: RTL in, a design that can be halted at any cycle out.

Essay: see the package's docstring. This file is the order of the steps.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from rtl_sim.capture import (
    boxes,
    elaborate,
    formal,
    loops,
    memories,
    owners,
    parts,
    ports,
    races,
    readers,
    refuse,
    staging,
    statemap,
    writer,
)
from rtl_sim.capture.area import compare
from rtl_sim.capture.clocks import Clocks, edges
from rtl_sim.capture.domains import GATE, SWITCH
from rtl_sim.capture.errors import CaptureRefused, ElaborationError, Refusal
from rtl_sim.capture.netlist import Module
from rtl_sim.capture.options import MAX_LANES, Options
from rtl_sim.capture.prepare import drop_unread
from rtl_sim.design import Design

DEFAULTS: Final = Options()
BOXES: Final = "boxes.v"  # declarations of black boxes, for tools that read what was written
MAX_MEMORIES: Final = 1 << 16  # sp_msel has 16 bits


@dataclass(frozen=True, slots=True)
class CaptureReport:
    top: str
    layout_id: str
    flop_bits: int
    memory_bits: int
    memories: int
    roms: int
    rows: int
    padding: int  # flip-flops added to fill the last row
    shadow_bits: int  # flip-flops added because read registers have shadows
    walk_bits: int  # flip-flops added to walk what has no synchronous read port
    cells_before: int  # word-level cells, all instances counted
    cells_after: int
    kept_modules: int  # modules without state that stayed modules
    state_modules: int  # instances with state that are modules of their own
    messages_kept: int  # assertions, messages and the like that came along
    messages_dropped: int  # a warning names each
    warnings: tuple[str, ...]
    area: Mapping[str, Any] | None = None  # by family of devices, when asked for

    @property
    def state_bits(self) -> int:
        return self.flop_bits + self.memory_bits


@dataclass(frozen=True, slots=True)
class CaptureResult:
    verilog: Path
    state_map: Path
    report: CaptureReport

    @property
    def report_file(self) -> Path:
        return self.state_map.with_name("report.json")


def capture(
    design: Design,
    out: Path,
    options: Options = DEFAULTS,
    *,
    area: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> CaptureResult:
    """Instrument the design's top and write `<top>.v`, `state.json` and `report.json` into `out`.

    `area`: the report says what the design costs on a board before and after; this takes minutes.
    `tell` is called with the name of each long step before it begins.

    Raises CaptureRefused with every obstacle when the design holds state that could not be saved
    soundly; nothing is written then. The same sources give the same bytes, wherever they lie.
    """
    if not 1 <= options.lanes <= MAX_LANES:
        raise ElaborationError(f"{options.lanes} lanes asked for, but a chain has 1 to {MAX_LANES}")
    with tempfile.TemporaryDirectory(prefix="haltere-capture-") as folder:
        work = Path(folder)
        staged = staging.stage(design, work)
        try:
            tell("reading the design")
            top, raw, unread = readers.read(design, staged, work, options.assertions)
            tell("flattening and checking it")
            flat, clocks = _elaborated(top, raw, options.clocks or design.clocks, work)
            tell("rewriting it")
            part = parts.make(flat, top, clocks, options)
            late, racing = races.blocking(part.module, clocks, races.text_in(work))
            if racing:
                raise CaptureRefused(top, racing)
        except CaptureRefused as error:
            raise CaptureRefused(error.top, map(staged.renamed, error.refusals)) from None
        except ElaborationError as error:
            raise ElaborationError(staged.original(str(error))) from None
        part = replace(part, late=late)
        found, chain = part.state, part.chain
        if not found.bit_count:
            why = "remembers nothing: there is no state to save, and it can be halted as it is"
            raise CaptureRefused(top, [Refusal("no-state", top, why)])
        others = {name: module for name, module in flat.items() if name != top}
        owned = owners.found(raw, top, found.names) if options.hierarchy else owners.NOBODY
        written = writer.write(others, part, options, owned)
        (work / BOXES).write_text(boxes.declarations(flat), encoding="utf-8")
        instrumented = work / "instrumented.v"
        instrumented.write_text(written.verilog, encoding="utf-8")
        tell("reading what was written")
        after = elaborate.count_cells([work / BOXES, instrumented], top, work)
        if area:
            tell("synthesising for two families of devices")
        table = _area(top, work) if area else None
    dropped = [*unread, *formal.dropped(flat[top])]
    report = CaptureReport(
        top=top,
        layout_id=statemap.layout_id(found),
        flop_bits=found.flop_count,
        memory_bits=found.bit_count - found.flop_count,
        memories=len(found.addressed),
        roms=len(found.roms),
        rows=chain.rows,
        padding=chain.padding,
        shadow_bits=sum(r.width + 1 for r in found.read_registers if r.shadow),
        walk_bits=memories.walk_bits(found),
        cells_before=elaborate.count({**flat, top: drop_unread(formal.without(flat[top]))}, top),
        cells_after=after,
        kept_modules=sum(not boxes.is_box(module) for module in others.values()),
        state_modules=len(owned.paths),
        messages_kept=formal.kept(flat[top]),
        messages_dropped=len(dropped),
        warnings=tuple(  # one for what each of many instances has
            dict.fromkeys((*written.warnings, *dropped, *formal.set_beside_reset(flat[top])))
        ),
        area=table,
    )
    texts = {
        f"{top}.v": written.verilog,
        "state.json": statemap.to_text(statemap.state_map(found, chain, clocks.ports)),
        "report.json": json.dumps(asdict(report), indent=1) + "\n",
    }
    _write_all(texts, out)
    return CaptureResult(out / f"{top}.v", out / "state.json", report)


def _write_all(texts: Mapping[str, str], out: Path) -> None:
    """All files or none: each is whole before the first takes its name.

    One run at a time: two into one folder would leave files of both, which do not fit.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out), tempfile.TemporaryDirectory(prefix=".capture-", dir=out) as folder:
        for name, text in texts.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        for name in texts:
            (Path(folder) / name).replace(out / name)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _area(top: str, work: Path) -> Mapping[str, Any]:
    """Both from what the work folder holds: the design as it was read, and what was written."""
    original = ["read_rtlil raw.il", "chformal -remove"]
    captured = [
        f"read_verilog -sv {BOXES} instrumented.v",
        f"hierarchy -check -top {top}",
        # On a board clock buffers take their place; synthesis would refuse the latches in them.
        f"blackbox *__{GATE} *__{SWITCH}",
    ]
    return compare(original, captured, top, work)


def _clocked(module: Module, kinds: frozenset[str]) -> set[str]:
    """Those of `kinds` that an instance gives a clock of `module`."""
    clocks = {bit for cell in module.cells for bit, _, _ in edges(cell)}
    return {
        cell.kind
        for cell in module.cells
        if cell.kind in kinds
        and any(bit in clocks for pin in cell.inputs for bit in cell.pins[pin])
    }


def _elaborated(
    top: str, raw: Mapping[str, Module], declared: Sequence[str], work: Path
) -> tuple[dict[str, Module], Clocks]:
    """The checked design, flat but for modules without state, and its clocks.

    A kept module ties every output to every input. Where that closes a ring that the gates inside
    do not, or could make data of a clock (a register that parameters bypass), it is flattened after
    all.
    """
    keep = elaborate.stateless(raw, top)
    while True:  # ends: each turn keeps fewer modules
        flat = elaborate.flatten(work, keep)
        flat = boxes.opened(flat, boxes.known(flat))
        cells = (cell for module in flat.values() for cell in loops.word_rings(module))
        opened = keep.intersection(cell.kind for cell in cells) | _clocked(flat[top], keep)
        if not opened:
            break
        keep -= opened
    clocks = refuse.check_flat(flat, top, declared)
    owners = [cell for cell in flat[top].cells if cell.kind == "$mem_v2"]
    memory_count = len(owners) + sum(len(ports.read_ports(cell)) for cell in owners)
    if memory_count > MAX_MEMORIES:
        why = f"has {memory_count} memories and read ports; sp_msel has {MAX_MEMORIES} values"
        raise CaptureRefused(top, [Refusal("too-many-memories", top, why)])
    return flat, clocks
