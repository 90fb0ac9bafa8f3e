"""RTL of any top module in, shared library of its player out (see player.py), cached by content.

The ports are read from the header that Verilator writes, so that what drives them never disagrees
with the model. The key is made of the preprocessed text: files found by `include count too. Files
that RTL names in a string (`$readmemh`) are kept beside the library, where Player has them read.

Flags as in build.py, but assertions are off unless asked for: stimulus that nobody's testbench
constrains would break the RTL's own assumptions.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

from rtl_sim import cache
from rtl_sim.design import literal
from rtl_sim.errors import BuildFailed
from rtl_sim.verilated import arrays, build, toolchain
from rtl_sim.verilated.arrays import Array
from rtl_sim.verilated.build import CXX_FLAGS, FAST, RUNTIME, SANITIZE, SLOW, SOUND_SHIFTS
from rtl_sim.verilated.toolchain import Toolchain

SHIM: Final = Path(__file__).parent / "play"
LIBRARY: Final = "player.so"
PROGRAM: Final = "player"
WORD_BITS: Final = 32
PORTS_FORMAT: Final = "4"  # of ports.inc and the library's folder
# Where a model's `initial` blocks find the files that RTL names: so deep that `../x.hex`, too,
# lies in the library's folder.
RUN_FOLDER: Final = Path("run/run/run/run")
# Below this, one compilation of all generated C++: what takes long is the runtime's headers.
TOGETHER_BYTES: Final = 400_000

_FLAGS: Final = (
    *("--cc", "--prefix", "Vmodel", "--threads", "1", "--no-timing", "-O3", "-Wno-fatal"),
    *("--x-initial", "unique"),
    *SOUND_SHIFTS,
)
_TRACE_FLAGS: Final = ("--trace-vcd",)
_TRACE_DEFINES: Final = ("-DVM_TRACE=1", "-DVM_TRACE_VCD=1", "-DHALTERE_TRACE")
# Verilator makes a variable of a process local when it sees every use written first, and takes an
# `inout` argument of a task for written only: what was in a register of that kind is lost.
_INOUT: Final = re.compile(r"\binout\b")
_KEEP_REGISTERS: Final = "-fno-localize"
_PORT: Final = re.compile(r"VL_(IN|OUT|INOUT)(?:8|16|64|W)?\(&(\w+),(\d+),(\d+)(?:,\d+)?\);")
_STRING: Final = re.compile(r'"([^"\\\n]{1,200})"')
_ESCAPE: Final = re.compile(r"__0([0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a top module: `words` words of a row, from word `first`."""

    name: str
    direction: Literal["in", "out"]
    width: int  # bits
    first: int
    last: bool = False  # a row may leave it off

    @property
    def words(self) -> int:
        return -(-self.width // WORD_BITS)


def build_player(
    sources: Sequence[Path],
    top: str,
    params: Mapping[str, int | str] | None = None,
    *,
    include: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
    trace: bool = False,
    assertions: bool = False,
    x_assign: Literal["0", "1"] = "0",
    initial_edges: bool = False,
    last: Collection[str] = (),
) -> Path:
    """The shared library that `Player` loads.

    sources  Verilog or SystemVerilog, packages first; include: folders that `include searches
    top      "": the module that nothing instantiates
    trace    the library can write waveforms; it is slower then
    x_assign what the RTL assigns as X: a don't care, but one constant in every build
    initial_edges  power-on is an edge of every signal, as in simulators that begin with X
    last     ports at the end of a row, which a row may leave off (`Player.play`)
    Raises BuildFailed (ports that are neither in nor out, reals among them) and ToolMissing.
    An unpacked array is one port (`arrays.py`).
    """
    tools = toolchain.find()
    arguments = arguments_of(sources, top, params or {}, include, defines or {})
    flags = [*_FLAGS, *(_TRACE_FLAGS if trace else ()), "--x-assign", x_assign]
    flags.append("--assert" if assertions else "--no-assert")
    flags += ["--x-initial-edge"] if initial_edges else []
    extra = _TRACE_DEFINES if trace else ()
    text = preprocessed(tools, arguments)
    if _INOUT.search(text):
        flags.append(_KEEP_REGISTERS)
    data = data_files(text, sources, params or {})
    key = _key(tools, text, arguments, flags, top, "library", *sorted(last),
               *(f"{n} {d!r}" for n, d in data))  # fmt: skip

    def make(folder: Path) -> None:
        objects = _compile(tools, arguments, flags, folder, extra, last)
        exports = folder / "exports.map"
        exports.write_text("{ global: haltere_player_*; local: *; };\n")
        link = ["-shared", "-Wl,-Bsymbolic", f"-Wl,--version-script={exports}", "-pthread"]
        runtime = build.runtime(tools, extra, _runtime_files(trace))
        build.call(tools, [tools.compiler, *link, *map(str, objects), str(runtime),
                           "-o", str(folder / LIBRARY)])  # fmt: skip
        build.drop_intermediates(folder, keep=LIBRARY)
        place_data(data, folder)

    return cache.entry("players", key, make) / LIBRARY


def build_program(sources: Sequence[Path], top: str, main: Path) -> Path:
    """An executable of the player and a C++ `main` under the sanitizers, for tests."""
    tools = toolchain.find()
    arguments = arguments_of(sources, top, {}, (), {})
    extra = (*_TRACE_DEFINES, *SANITIZE.split())
    flags = [*_FLAGS, *_TRACE_FLAGS, "--x-assign", "0", "--no-assert"]
    text = preprocessed(tools, arguments)
    key = _key(tools, text, arguments, flags, top, f"program {extra}", main.read_bytes())

    def make(folder: Path) -> None:
        objects = _compile(tools, arguments, flags, folder, extra)
        objects.append(build.compile_file(tools, main, folder, (*CXX_FLAGS, *extra)))
        runtime = build.runtime(tools, extra, _runtime_files(trace=True))
        build.call(tools, [tools.compiler, *extra, *map(str, objects), str(runtime), "-pthread",
                           "-o", str(folder / PROGRAM)])  # fmt: skip
        build.drop_intermediates(folder, keep=PROGRAM)

    return cache.entry("players", key, make) / PROGRAM


def arguments_of(
    sources: Sequence[Path],
    top: str,
    params: Mapping[str, int | str],
    include: Sequence[Path],
    defines: Mapping[str, str],
) -> list[str]:
    return [
        *(("--top-module", top) if top else ()),
        *(f"-G{name}={literal(value)}" for name, value in sorted(params.items())),
        "--relative-includes",  # as capture's readers find them
        *(f"-I{path.resolve()}" for path in include),
        *(f"-D{name}={value}" if value else f"-D{name}" for name, value in sorted(defines.items())),
        *(str(path.resolve()) for path in sources),
    ]


def preprocessed(tools: Toolchain, arguments: Sequence[str]) -> str:
    return build.call(tools, [str(tools.verilator), "-E", "-P", "-Wno-fatal", *arguments])


def data_files(
    text: str, sources: Sequence[Path], params: Mapping[str, int | str]
) -> list[tuple[str, bytes]]:
    """(name as the RTL writes it, content) of each file beside a source that a string names.

    Strings of the preprocessed `text` and of parameters. An absolute name needs no help.
    """
    named = {
        *_STRING.findall(text),
        *(value for value in params.values() if isinstance(value, str)),
    }
    found: dict[str, bytes] = {}
    for name in sorted(named):
        climbs = Path(os.path.normpath(name)).parts.count("..")
        if not name or Path(name).is_absolute() or climbs > len(RUN_FOLDER.parts):
            continue
        for folder in dict.fromkeys(source.resolve().parent for source in sources):
            if (folder / name).is_file():
                found.setdefault(name, (folder / name).read_bytes())
    return list(found.items())


def place_data(data: Sequence[tuple[str, bytes]], folder: Path) -> Path:
    """Write `data_files` below `folder`; returns the folder in which their names mean them."""
    run = folder / RUN_FOLDER
    run.mkdir(parents=True, exist_ok=True)
    for name, content in data:
        path = Path(os.path.normpath(run / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return run


def _key(
    tools: Toolchain,
    text: str,
    arguments: Sequence[str],
    flags: Sequence[str],
    top: str,
    *more: bytes | str,
) -> str:
    return cache.digest_of(
        tools.identity,
        " ".join((*flags, *CXX_FLAGS, FAST, SLOW)),
        top,
        " ".join(argument for argument in arguments if argument.startswith("-G")),
        text,
        (SHIM / "play.cpp").read_bytes(),
        (build.SHIM / "hooks.h").read_bytes(),
        PORTS_FORMAT,
        *more,
    )


def _runtime_files(trace: bool) -> tuple[str, ...]:
    return (*RUNTIME, "verilated_vcd_c.cpp") if trace else RUNTIME


def _compile(
    tools: Toolchain,
    arguments: Sequence[str],
    flags: Sequence[str],
    folder: Path,
    extra: Sequence[str],
    last: Collection[str] = (),
) -> list[Path]:
    log = build.call(tools, [str(tools.verilator), *flags, "--Mdir", str(folder), *arguments])
    (folder / "verilator.log").write_text(log)
    header = (folder / "Vmodel.h").read_text()
    found = _arrays(tools, arguments, header, folder)
    (folder / "ports.inc").write_text(_include(_members(header, last, found), found))
    own = build.model_flags(tools, folder, extra)
    generated = sorted(folder.glob("*.cpp"))
    shim = SHIM / "play.cpp"
    if sum(path.stat().st_size for path in generated) > TOGETHER_BYTES:
        objects = build.compile_generated(tools, folder, extra)
        return [*objects, build.compile_file(tools, shim, folder, own)]
    together = folder / "together.cpp"
    together.write_text("".join(f'#include "{path}"\n' for path in (*generated, shim)))
    return [build.compile_file(tools, together, folder, own)]


def _declared(header: str) -> list[str]:
    """The generated header's lines about ports."""
    section = header.partition("// PORTS\n")[2].partition("\n\n")[0]
    lines = (line.strip() for line in section.splitlines())
    return [line for line in lines if line and not line.startswith("//")]


def _arrays(
    tools: Toolchain, arguments: Sequence[str], header: str, folder: Path
) -> dict[str, Array]:
    """The header's line -> the array that it declares."""
    found = {line: array for line in _declared(header) if (array := arrays.member(line))}
    if not found:
        return {}
    place = folder / "tree"
    flags = ["--json-only", "--no-timing", "-Wno-fatal", "--prefix", "Vmodel"]
    build.call(tools, [str(tools.verilator), *flags, "--Mdir", str(place), *arguments])
    named = [word for option, word in pairwise(arguments) if option == "--top-module"]
    whole = {line: arrays.completed(array, place / "Vmodel.tree.json", (*named, "")[0])
             for line, array in found.items()}  # fmt: skip
    shutil.rmtree(place)
    return {line: array for line, array in whole.items() if array is not None}


def _members(
    header: str, last: Collection[str], found_arrays: Mapping[str, Array]
) -> list[tuple[str, Port]]:
    """(member of the model class, port), by name: what has the same ports has the same rows.

    But those that come last do.
    """
    raw: list[tuple[str, str, Literal["in", "out"], int]] = []
    for text in _declared(header):
        if array := found_arrays.get(text):
            raw.append((_name(array.member), array.member, array.direction, array.bits))
            continue
        match = _PORT.fullmatch(text)
        if match is None or match.group(1) == "INOUT":
            name = match.group(2) if match else re.split(r"\W+", text.rstrip(";"))[-1]
            raise BuildFailed(
                f"the top module's port {name} is not an input or output "
                f"of bits ({text.rstrip(';')}): wrap the design in a top without reals, "
                "structs without a width and inouts among its ports"
            )
        member, width = match.group(2), int(match.group(3)) - int(match.group(4)) + 1
        raw.append((_name(member), member, "in" if match.group(1) == "IN" else "out", width))
    found: list[tuple[str, Port]] = []
    words = {"in": 0, "out": 0}
    for name, member, direction, width in sorted(raw, key=lambda port: (port[0] in last, port)):
        port = Port(name, direction, width, words[direction], name in last)
        words[direction] += port.words
        found.append((member, port))
    return found


def _name(member: str) -> str:
    """The RTL's name of what Verilator calls `member` in C++."""
    plain = member.removeprefix("__SYM__")
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), plain)


def _include(members: Iterable[tuple[str, Port]], found_arrays: Mapping[str, Array]) -> str:
    """The ports as the shim wants them: macros that name each with its place in a row.

    Of an array each element, with its place in the port.
    """
    members = list(members)
    of = {array.member: array for array in found_arrays.values()}
    described = "".join(
        f'    "{p.direction} {p.first} {p.width} {p.last:d} {_quoted(p.name)}\\n" \\\n'
        for _, p in members
    )
    lines: list[str] = []
    for kind, direction in (("IN", "in"), ("OUT", "out")):
        own = [(member, port) for member, port in members if port.direction == direction]
        short = [(member, port) for member, port in own if not port.last]
        for name, chosen in ((f"{kind}_WORDS", own), (f"SHORT_{kind}_WORDS", short)):
            lines.append(f"#define HALTERE_{name} {sum(port.words for _, port in chosen)}")
        rest = [(member, port) for member, port in own if port.last]
        for name, chosen in ((f"{kind}PUTS", short), (f"LAST_{kind}PUTS", rest)):
            lines.append(f"#define HALTERE_{name} \\")
            for member, port in chosen:
                if member in of:
                    lines.append(f"    HALTERE_CLEAR_{kind}({port.first}, {port.words}) \\")
                    lines += (
                        f"    HALTERE_PART_{kind}({element}, {port.first}, {low}, "
                        f"{of[member].width}) \\"
                        for element, low in of[member].elements()
                    )
                    continue
                place = f"{port.first}, {port.width}" if kind == "IN" else f"{port.first}"
                lines.append(f"    HALTERE_{kind}({member}, {place}) \\")
            lines.append("")
    return "\n".join([*lines, f'#define HALTERE_PORTS "" \\\n{described}', ""])


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
