"""From RTL text to Yosys's netlist of modules: two readers, each where it is the better one.

Yosys's own reader knows the Verilog that people wrote for synthesis (`full_case`, asynchronous set
beside reset, parts of other tools' dialects); slang knows SystemVerilog whole, and says what is
wrong with a text, where, all at once. SystemVerilog (`.sv`) is read by slang and Verilog by Yosys;
what one of them does not read or makes something refused of, the other is given. Registers get the
same names from both: those of the RTL.

After a reader, registers are cells that still carry the RTL's names; every register's net gets
REGISTER_MARK there, because after flattening nobody can tell a register's own name from a port it
passes through.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from rtl_sim.capture import cells, formal, netlist, refuse, tasks, uniform, yosys
from rtl_sim.capture.errors import CaptureRefused, ElaborationError, Refusal
from rtl_sim.capture.misread import misread
from rtl_sim.capture.netlist import Module
from rtl_sim.capture.staging import Staged
from rtl_sim.design import Design, literal

_NO_ASSERTIONS: Final = " --ignore-assertions"
_NO_TIMING: Final = " --ignore-timing"
_KEEP_MODULES: Final = " --best-effort-hierarchy"
_ACROSS: Final = "hierarchical reference across preserved module boundary"
_MAX_DEPTH: Final = 64  # of instances: deeper is a module that contains itself
_TOPS: Final = re.compile(r"^Top level design units:\n((?:    \S+\n)+)", re.MULTILINE)

_IMPLICIT: Final = re.compile(
    r"^(.+?:\d+): Warning: Identifier `\\?(\S+)' is implicitly declared", re.MULTILINE
)
_IGNORED: Final = re.compile(
    r"^(.+?:\d+): Warning: Ignoring call to system task (\S+?)\.?$", re.MULTILINE
)
_NO_TOP: Final = re.compile(r"not a valid top-level module|Module `.*' not found")
_ENDLESS: Final = re.compile(r"^.*exceeded max include depth.*$", re.MULTILINE)
_ARRAY_MARK: Final = "haltere_array"
_PLACE: Final = re.compile(r":\d+(?:[.:][\d.:-]+)?: ")
# A delay before a statement, as far as a text shows it; slang then says whether it is meant.
_DELAY: Final = re.compile(r"(?:\balways|\bbegin|\belse|;)\s*#\s*[\w(]")
_TIMING: Final = re.compile(r"^(.*unsynthesizable timing control).*\n(.*)\n( *)\^", re.MULTILINE)
_INSIDE: Final = re.compile(r"(?:=|\bassign)\s*\Z")  # `q <= #1 d` says when, and not what

# (design, its files, its top, working directory, whether assertions are wanted) -> all modules,
# which it leaves in raw.il too, and warnings
_Reader = Callable[[Design, Staged, str, Path, bool], tuple[dict[str, Module], list[str]]]


class Read(NamedTuple):
    top: str
    modules: dict[str, Module]
    warnings: tuple[str, ...]  # assertions that no reader makes anything of


def read(design: Design, staged: Staged, work: Path, assertions: bool = True) -> Read:
    """The design's top and modules, nothing optimised, nothing refused by a look at single cells.

    Raises CaptureRefused or ElaborationError with what the reader said that got furthest.
    """
    systemverilog = any(source.endswith((".sv", ".svh")) for source in staged.sources)
    order = (_by_slang, _by_yosys) if systemverilog else (_by_yosys, _by_slang)
    if any("`include" in text for _, text in _texts(staged, work)):
        _check_includes(design, staged, work)
    top = design.top or _find_top(design, staged, work)
    refused: list[CaptureRefused] = []
    mistaken: list[Refusal] = []
    failed: dict[_Reader, ElaborationError] = {}
    for reader in order:
        try:
            raw, warnings = reader(design, staged, top, work, assertions)
            if reader is _by_slang:
                lost = [each for module in raw.values() for each in refuse.reset_alone(module)]
                if lost:
                    raise CaptureRefused(top, lost)
            refuse.check_raw(raw, top)
            if reader is _by_yosys:
                mistaken = _mistaken(design, staged, work)
            if not mistaken or reader is _by_slang:
                return Read(top, raw, tuple(warnings))
        except CaptureRefused as error:
            refused.append(error)
        except ElaborationError as error:
            failed[reader] = error
    if refused or mistaken:  # nor has slang, which reads it right, read this design
        if _by_slang in failed:
            said = str(failed[_by_slang]).strip().splitlines()[0]
            mistaken = [replace(each, why=f"{each.why} ({said})") for each in mistaken]
        raise CaptureRefused(top, [*mistaken, *(refused[0].refusals if refused else ())])
    # The words that name a line; slang's before Yosys's, since they name all that is wrong.
    # If that it lacks the top is all slang says, what Yosys's reader cannot read is not to blame.
    said = str(failed[_by_slang])
    lacking = _NO_TOP.search(said) and not _PLACE.search(said)
    if lacking or all(_NO_TOP.search(str(error)) for error in failed.values()):
        held = ", ".join(_tops(design, staged, work)) or "none"
        raise ElaborationError(f"the sources hold no module {top}; modules nobody uses: {held}")
    words = [failed[_by_slang], failed[_by_yosys]]
    raise next((error for error in words if _PLACE.search(str(error))), words[0])


def _by_yosys(
    design: Design, staged: Staged, top: str, work: Path, assertions: bool
) -> tuple[dict[str, Module], list[str]]:
    params = [f"-chparam {name} {_as_bits(value)}" for name, value in sorted(design.params.items())]
    yosys.run(
        [
            _read_verilog(design, staged, assertions),
            f"hierarchy -top {top} {' '.join(params)}",
            *_finish(top, assertions),
        ],
        work,
        "read",
    )
    log = (work / "read.log").read_text(encoding="utf-8")
    implicit = _IMPLICIT.findall(log)
    raw = netlist.read(work / "raw.json")
    _check_depth(raw, top)
    _check_declared(raw, implicit)
    _check_ports(raw)
    texts = (work / source for source in staged.sources)
    if any(_DELAY.search(text.read_text(encoding="utf-8", errors="replace")) for text in texts):
        # Yosys's own reader drops delays without a word.
        _command_file(design, staged, work / "timing.f", [f"--top {top}"])
        with contextlib.suppress(ElaborationError):  # other complaints are not slang's to make
            yosys.run([f"read_slang{_NO_ASSERTIONS} -f timing.f"], work, "timing")
        said = (work / "timing.log").read_text(encoding="utf-8")
        if acting := [complaint for complaint, acts in _delays(said) if acts]:
            raise ElaborationError("\n  ".join(acting))
    ignored = _IGNORED.findall(log) if assertions else []
    return raw, [f"{formal.where(place)}: {task} is not kept" for place, task in ignored]


def _mistaken(design: Design, staged: Staged, work: Path) -> list[Refusal]:
    """What Yosys's own reader, which has read the design, made something else of."""
    return list(misread(yosys.run([_read_verilog(design, staged, dump=True)], work, "text"), work))


def _check_declared(modules: Mapping[str, Module], implicit: Sequence[tuple[str, str]]) -> None:
    """An undeclared name is a wire to Verilog; one that also nothing drives is a mistake."""
    for place, name in implicit:
        if name.startswith("$"):
            raise ElaborationError(f"{place}: {name} has no value in hardware")
    names = dict((name, place) for place, name in implicit)
    for module in modules.values() if names else ():
        driven = {bit for cell in module.cells for pin in cell.outputs for bit in cell.pins[pin]}
        driven.update(bit for p in module.ports if p.direction != "output" for bit in p.bits)
        for net in module.nets:
            if net.name in names and not any(isinstance(b, str) or b in driven for b in net.bits):
                raise ElaborationError(
                    f"{names[net.name]}: {net.name} in module {module.name} is neither declared "
                    "nor driven"
                )


def _check_ports(modules: Mapping[str, Module]) -> None:
    """Yosys leaves what is connected to a port that does not exist for nothing."""
    ports = {name: {port.name for port in module.ports} for name, module in modules.items()}
    for module in modules.values():
        for cell in module.cells:
            for pin in sorted(set(cell.pins) - ports.get(cell.kind, set(cell.pins))):
                kind = uniform.definition(cell.kind)
                raise ElaborationError(f"{cell.source}: module {kind} has no port {pin}")


def _delays(log: str) -> list[tuple[str, bool]]:
    """slang's complaints about timing, and whether the delay acts: not one inside an assignment."""
    return [
        (complaint, not _INSIDE.search(line[: len(blank)]))
        for complaint, line, blank in _TIMING.findall(log)
    ]


def _check_depth(modules: Mapping[str, Module], top: str) -> None:
    """slang says so itself; Yosys would flatten a module into itself for ever."""
    path = [top]
    below = [iter(modules[top].cells)]
    done: set[str] = set()
    while below:
        cell = next(below[-1], None)
        if cell is None:
            below.pop()
            done.add(path.pop())
        elif cell.kind in path:
            raise ElaborationError(f"module {cell.kind} contains itself ({cell.source})")
        elif cell.kind in modules and cell.kind not in done:
            path.append(cell.kind)
            below.append(iter(modules[cell.kind].cells))


def _by_slang(
    design: Design, staged: Staged, top: str, work: Path, assertions: bool
) -> tuple[dict[str, Module], list[str]]:
    params = [
        f"-G {_quoted(f'{name}={literal(value)}')}" for name, value in sorted(design.params.items())
    ]
    checks = []
    if params:  # slang takes an override of a parameter that does not exist for none
        pins = ", ".join(f".{name}({literal(value)})" for name, value in design.params.items())
        (work / "params.sv").write_text(f"module haltere_params; {top} #({pins}) u(); endmodule\n")
        _command_file(design, staged, work / "params.f", ["--top haltere_params", "params.sv"])
        checks = [f"read_slang --ast-compilation-only{_NO_ASSERTIONS} -f params.f"]
    _command_file(design, staged, work / "read.f", [f"--top {top}", *params])
    rest = [
        f"hierarchy -top {top}",
        # slang has no resets: an asynchronous load of a constant is one.
        "opt_dff -nodffe -nosdff t:$aldff t:$aldffe %u",
        *_finish(top, assertions),
    ]
    reading = f"read_slang{_KEEP_MODULES} -f read.f"
    if not assertions:
        reading += _NO_ASSERTIONS
    warnings: list[str] = []
    while True:  # ends: each turn leaves less to complain of
        try:
            yosys.run([*checks, reading, *rest], work, "read")
            break
        except ElaborationError as error:
            log = (work / "read.log").read_text(encoding="utf-8")
            delays = _delays(log)
            if tasks.rewrite(staged, log):
                continue
            if _NO_TIMING not in reading and delays and not any(acts for _, acts in delays):
                reading += _NO_TIMING
            elif _KEEP_MODULES in reading and _ACROSS in str(error):
                reading = reading.replace(_KEEP_MODULES, "")
            elif _NO_ASSERTIONS not in reading:
                reading += _NO_ASSERTIONS
                warnings += _unread_assertions(staged, work, error)
            else:
                raise
    if assertions:
        warnings = [*_skipped(staged, work), *warnings]
    path = work / "raw.il"
    text, stands = uniform.unify(path.read_text(encoding="utf-8"))
    raw = uniform.apply(netlist.read(work / "raw.json"), stands)
    arrays = [(module.name, name) for module in raw.values() for name in _only_registers(module)]
    if not arrays:
        path.write_text(text, encoding="utf-8")
        return raw, warnings
    path.write_text(uniform.mark_memories(text, arrays, _ARRAY_MARK), encoding="utf-8")
    # A write enable is a bit per bit of a word: as one signal, each register gets one multiplexer.
    one_enable = ["opt_reduce t:$mux", "opt_clean"]
    into_registers = [*one_enable, f"memory_map a:{_ARRAY_MARK}", *_finish(top, assertions)]
    yosys.run(["read_rtlil raw.il", *into_registers], work, "arrays")
    return netlist.read(work / "raw.json"), warnings


def _unread_assertions(staged: Staged, work: Path, error: ElaborationError) -> list[str]:
    """A warning for each assertion of the design: slang reads all of them or is to read none."""
    found = [place for text in _texts(staged, work) for place in formal.statements(*text)]
    first = str(error).partition(": ")[2].splitlines()[0]
    reason = f"{formal.where(first)}: {first.rpartition('ERROR: ')[2]}"
    return [f"{place} is not kept: the reader takes all of them or none ({reason})"
            for place in found]  # fmt: skip


def _skipped(staged: Staged, work: Path) -> list[str]:
    """A warning for each thing that slang leaves out without a word."""
    found = [place for text in _texts(staged, work) for place in formal.skipped(*text)]
    return [f"{place} is not kept: the reader makes nothing of it" for place in found]


def _texts(staged: Staged, work: Path) -> Iterator[tuple[str, str]]:
    for name in staged.sources:
        yield name, (work / name).read_text(encoding="utf-8", errors="replace")


def _only_registers(module: Module) -> set[str]:
    """Arrays that slang takes for memories although every write names its word: registers."""
    fixed: dict[str, bool] = {}
    for cell in module.cells:
        if cell.kind.startswith("$memwr"):
            constant = all(isinstance(bit, str) for bit in cell.pins["ADDR"])
            memory = cell.params["MEMID"]
            fixed[memory] = fixed.get(memory, True) and constant
    return {memory for memory, constant in fixed.items() if constant}


def _finish(top: str, assertions: bool) -> list[str]:
    kinds = [f"t:${kind}" for kind in cells.ANY_REGISTER]
    registers = " ".join([kinds[0], *(f"{kind} %u" for kind in kinds[1:])])
    return [
        f"rename -top {top}",
        "proc",
        f"select -set registers {registers} %co1:+[Q] w:* %i",
        f"setattr -set {cells.REGISTER_MARK} 1 @registers",
        *(() if assertions else (f"delete t:{cells.PRINT}",)),
        f"setattr -set keep 1 t:{cells.CHECK} t:{cells.PRINT}",  # also of two that are alike
        "write_json raw.json",
        "write_rtlil raw.il",
    ]


def _read_verilog(
    design: Design, staged: Staged, assertions: bool = False, dump: bool = False
) -> str:
    options = [f"-I {folder}" for folder in staged.include]
    options += [
        f"-D {name}={value}" if value else f"-D {name}"
        for name, value in sorted(design.defines.items())
    ]
    return (
        f"read_verilog -sv -nodisplay {'' if assertions else '-noassert -noassume '}"
        f"{'-ppdump ' if dump else ''}{' '.join(options)} {' '.join(staged.named)}"
    )


def _command_file(design: Design, staged: Staged, path: Path, more: Sequence[str]) -> None:
    """slang's options in a file of their own, where strings keep their quotes."""
    lines = [
        "--single-unit",  # one file's macros hold in the next, as in every simulator
        "--allow-use-before-declare",
        f"--max-hierarchy-depth {_MAX_DEPTH}",
        *(f"-I {folder}" for folder in staged.include),
        *(
            f"-D {_quoted(f'{name}={value}' if value else name)}"
            for name, value in sorted(design.defines.items())
        ),
        *staged.named,
        *more,
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(word: str) -> str:
    """One word of a command file."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _as_bits(value: int | str) -> str:
    """A parameter's value as Yosys takes one: it knows unsigned numbers and bits."""
    text = literal(value)
    if text.startswith('"'):
        raw = text[1:-1].encode()
        return f"{8 * len(raw)}'b{''.join(f'{byte:08b}' for byte in raw)}" if raw else "8'b0"
    if not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise ElaborationError(f"Yosys's own reader cannot be given a parameter of value {value}")
    return text


def _check_includes(design: Design, staged: Staged, work: Path) -> None:
    """Raises ElaborationError for a file that includes itself: Yosys's own reader would follow it
    for ever. Other mistakes are told when the top is known."""
    _command_file(design, staged, work / "includes.f", [])
    with contextlib.suppress(ElaborationError):
        yosys.run(
            [f"read_slang --ast-compilation-only{_NO_ASSERTIONS} -f includes.f"], work, "includes"
        )
    if endless := _ENDLESS.search((work / "includes.log").read_text(encoding="utf-8")):
        raise ElaborationError(endless[0])


def _find_top(design: Design, staged: Staged, work: Path) -> str:
    """The one module that nothing instantiates. Raises ElaborationError with the candidates."""
    tops = _tops(design, staged, work)
    if len(tops) == 1:
        return tops[0]
    raise ElaborationError(
        f"no top module was named, and {', '.join(tops)} are instantiated by nothing: name one"
        if tops
        else "no top module was named, and the sources hold none"
    )


def _tops(design: Design, staged: Staged, work: Path) -> list[str]:
    """The modules that no other instantiates, sorted."""
    try:
        _command_file(design, staged, work / "tops.f", [])
        log = yosys.run(
            [f"read_slang --ast-compilation-only{_NO_ASSERTIONS} -f tops.f"], work, "tops"
        )
        match = _TOPS.search(log)
        return sorted(match[1].split()) if match else []
    except ElaborationError as error:
        try:
            yosys.run([_read_verilog(design, staged), "write_json tops.json"], work, "tops")
        except ElaborationError:
            raise error from None
    modules = netlist.read(work / "tops.json")
    used = {cell.kind for module in modules.values() for cell in module.cells}
    names = {name.removeprefix("$abstract\\") for name in modules}
    return sorted(names - {kind.removeprefix("\\") for kind in used})
