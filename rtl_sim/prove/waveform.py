"""The first divergence again, with waveforms of both sides; registers that differ, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from rtl_sim.prove import check
from rtl_sim.prove.builds import Builds, original_library
from rtl_sim.prove.report import Differing, Divergence

MAX_CHANGES: Final = 50_000_000  # of a waveform that is read; what diverged is near its start
X_NOTE: Final = (
    "the RTL assigns X, and its own outputs depend on what becomes of it: a don't care that the "
    "captured design decides otherwise, not a divergence of its state"
)

SIMULATOR_NOTE: Final = (
    "built to write waveforms both sides agree, so that these show nothing: the simulator made "
    "something else of one text without them; what is right, the RTL says"
)


def explain(builds: Builds, seed: int, divergence: Divergence, waves: Path | None) -> Divergence:
    """`divergence` with its cause as far as another run shows it; waveforms go to `waves`."""
    if divergence.law == "original" and _depends_on_x(builds, seed, divergence):
        divergence = replace(divergence, note=X_NOTE)
    if waves is None:
        return divergence
    waves.mkdir(parents=True, exist_ok=True)
    tracing = check.Tracing(waves, divergence.cut)
    traced = check.play(builds.traced(), seed, divergence.stimulus, tracing=tracing)
    if traced.divergence is None and not divergence.note:
        divergence = replace(divergence, note=SIMULATOR_NOTE)
    pair = ("original", "kept") if divergence.law == "original" else ("kept", "moved")
    paths = [waves / f"{name}.vcd" for name in pair]
    found = [str(path) for path in paths if path.exists()]
    registers = divergence.registers
    if not registers and len(found) == len(paths):
        names = frozenset(name for name, _ in builds.state_map.bits)
        registers = first_difference(paths[0], paths[1], names)
    return replace(divergence, waveforms=tuple(found), registers=registers[: check.NAMED])


def first_difference(wanted: Path, found: Path, names: frozenset[str]) -> tuple[Differing, ...]:
    """The signals of `names` that differ at the first time at which any does."""
    for (time, a), (_, b) in zip(_values(wanted, names), _values(found, names), strict=False):
        differing = [name for name in sorted(a.keys() & b.keys()) if a[name] != b[name]]
        if differing:
            return tuple(
                Differing(f"{name} (time {time})", _hex(a[name]), _hex(b[name]))
                for name in differing
            )
    return ()


def _depends_on_x(builds: Builds, seed: int, divergence: Divergence) -> bool:
    """Whether the original, built with its X the other way, shows there something else."""
    library = original_library(builds.design, x_assign="1", initial_edges=builds.initial_edges)
    again = check.play(replace(builds, original=library), seed, divergence.stimulus).divergence
    if again is None or again.law != divergence.law:
        return True
    if (again.cut, again.row) != (divergence.cut, divergence.row):
        return (again.cut, again.row) > (divergence.cut, divergence.row)
    return not set(divergence.outputs) & set(again.outputs)


def _values(path: Path, names: frozenset[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """(time, values by name) at each time of a waveform; the mapping is changed in place."""
    of: dict[str, list[str]] = {}  # identifier code -> names
    scopes: list[str] = []
    values: dict[str, str] = {}
    time = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for count, line in enumerate(file):
            text = line.strip()
            if not text or count > MAX_CHANGES:
                continue
            if text.startswith("$scope"):
                scopes.append(text.split()[2])
            elif text.startswith("$upscope"):
                scopes.pop()
            elif text.startswith("$var"):
                code, name = text.split()[3], text.split()[4]
                dotted = ".".join((*scopes[2:], name))  # below "top" and the design
                if len(scopes) > 1 and dotted in names:
                    of.setdefault(code, []).append(dotted)
            elif text[0] == "#":
                yield time, values
                time = int(text[1:])
            elif text[0] in "01xz":
                values.update((name, text[0]) for name in of.get(text[1:], ()))
            elif text[0] == "b":
                value, code = text[1:].split()
                values.update((name, value) for name in of.get(code, ()))
    yield time, values


def _hex(value: str) -> str:
    return f"{int(value, 2):#x}" if set(value) <= {"0", "1"} else value
