"""A user's own cocotb bench, unmodified: on the original, and while the state keeps moving.

The second simulation has a top of the same name and ports (wrapper.py) and a task beside each of
the user's tests (tb/moving_bench.py). A test that passes on the original and fails there is a
divergence; it is run once more without moves, to say whether halting or capture alone does it.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from rtl_sim.capture import CaptureResult, capture
from rtl_sim.design import Design
from rtl_sim.errors import DesignError, HaltTooLong, NotMoved
from rtl_sim.prove.builds import OPTIONS, options_for
from rtl_sim.prove.wrapper import Seen, wrapper
from rtl_sim.statemap import StateMap
from rtl_sim.tb import runner
from rtl_sim.verilated import player_build, toolchain

MOVES: Final = 250
MAX_STEPS: Final = 200_000  # primary clock cycles of all moves: some 0.3 ms each
TIMEOUT_S: Final = 600  # of one simulation
MOVER: Final = "rtl_sim.tb.moving_bench"
PROBE: Final = "rtl_sim.tb.probe_bench"
LAWS: Final = {
    "halting": "passes on the original and on the captured design that is never halted",
    "original": "passes on the original and fails on the captured design though it is never "
    "halted: a wrong capture, or a test that looks at more than the ports",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that passed on the original; `law` as in `Divergence`, `said`: its exception."""

    test: str
    law: str
    said: str


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What a bench said on both sides.

    cycles     of the primary clock in the bench; steps: of it that one move takes
    failed     tests that fail on the original already: they prove nothing
    failures   tests that pass on the original and fail while state is moved
    waveforms  of both sides, if there are failures
    """

    top: str
    bench: str
    seed: int
    tests: int
    failed: tuple[str, ...]
    failures: tuple[Failure, ...]
    moves: int
    cycles: int
    steps: int
    state_bits: int
    seconds: float
    waveforms: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.failed and not self.failures and self.moves > 0

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        lines = [
            f"{self.top} under {self.bench}: {'no divergence' if self.ok else 'NOT PROVED'}",
            f"  original: {self.tests - len(self.failed)} of {self.tests} tests pass",
            f"  moved:    {self.tests - len(self.failed) - len(self.failures)} of {self.tests} "
            f"tests pass, state moved {self.moves} times in {self.cycles} cycles",
            f"  {self.state_bits} state bits, {self.steps} steps a move, seed {self.seed}, "
            f"{self.seconds} s",
        ]
        lines += [f"  {test} fails on the original: it proves nothing" for test in self.failed]
        for failure in self.failures:
            lines += [f"  {failure.law}: {failure.test} {LAWS[failure.law]}", f"    {failure.said}"]
        lines += [f"  waveform {path}" for path in self.waveforms]
        return "\n".join(lines)


def prove_bench(
    design: Design,
    bench: str,
    *,
    moves: int = MOVES,
    seed: int = 1,
    waves: Path | None = None,
    hierarchy: bool = False,
) -> BenchReport:
    """Run the cocotb tests of `bench` (a file, or a module that is found from here) on both sides.

    moves  at most, over all tests: fewer when the tests are short
    waves  folder for waveforms of a failure (None: none)
    hierarchy  as an option of capture
    Raises CaptureError, DesignError and BuildFailed, HaltTooLong, NotMoved, and runner.BenchFailed
    when a simulation ended without results; a failing test is no exception but in the report.
    """
    _check_there(bench)
    with tempfile.TemporaryDirectory(prefix="haltere-bench-") as folder:
        work = Path(folder)
        captured = [
            capture(design, work / f"build{index}", options_for(design, options, hierarchy))
            for index, options in enumerate(OPTIONS)
        ]  # fmt: skip
        return examine_bench(design, bench, captured, moves=moves, seed=seed, waves=waves)


def _check_there(bench: str) -> None:
    """Before minutes of building. Raises DesignError."""
    if Path(bench).suffix == ".py":
        if not Path(bench).is_file():
            raise DesignError(f"the bench {bench} does not exist")
        return
    path = [str(Path()), *sys.path]
    if not bench or PathFinder.find_spec(bench.partition(".")[0], path) is None:
        raise DesignError(f"the bench {bench!r} is no module found from here, nor a .py file")


def examine_bench(
    design: Design,
    bench: str,
    captured: Sequence[CaptureResult],
    *,
    moves: int = MOVES,
    seed: int = 1,
    waves: Path | None = None,
) -> BenchReport:
    """`prove_bench` with two captured builds that are there already."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="haltere-bench-") as folder:
        sides = _Sides(design, bench, captured, Path(folder), seed)
        allowed = min(moves, MAX_STEPS // sides.steps)
        if not allowed:
            raise HaltTooLong(
                f"{sides.top}: one move takes {sides.steps} steps (a save and two loads), and a "
                f"bench may have {MAX_STEPS}: make memories smaller by parameters, or use "
                "generated stimulus (without --bench), which moves faster"
            )
        original = sides.original()
        moved, counts = sides.moved(allowed, len(original))
        failed = tuple(name for name, said in original.items() if said)
        failures = _failures(original, moved, "halting")
        if failures:
            still, _ = sides.moved(0, len(original))
            laws = {failure.test for failure in _failures(original, still, "original")}
            failures = [
                replace(failure, law="original") if failure.test in laws else failure
                for failure in failures
            ]
        if not failures and (counts["trouble"] or not counts["moves"]):
            raise NotMoved(
                f"{sides.top} under {sides.bench}: state moved {counts['moves']} times in "
                f"{counts['cycles']} cycles, then: "
                f"{counts['trouble'] or 'the tests ended'}. A move needs an instant at which "
                f"{', '.join(sides.maps[0].clocks)} are all low, and {sides.maps[0].clock} to fall"
            )
        return BenchReport(
            top=sides.top,
            bench=sides.bench,
            seed=seed,
            tests=len(original),
            failed=failed,
            failures=tuple(failures),
            moves=counts["moves"],
            cycles=counts["cycles"],
            steps=sides.steps,
            state_bits=sides.maps[0].state_bits,
            seconds=round(time.monotonic() - began, 2),
            waveforms=sides.waveforms(waves, allowed, len(original)) if waves and failures else (),
        )


class _Sides:
    """The two simulations of one bench."""

    def __init__(
        self, design: Design, bench: str, captured: Sequence[CaptureResult], work: Path, seed: int
    ) -> None:
        self.top, self.work, self.seed, self.captured = (
            captured[0].report.top, work, seed, captured
        )  # fmt: skip
        self.maps = [StateMap.parse(result.state_map.read_bytes()) for result in captured]
        file = Path(bench)
        self.bench = file.stem if file.suffix == ".py" else bench
        self.path = [file.parent if file.suffix == ".py" else Path()]
        self.sources = list(design.sources)
        arguments = player_build.arguments_of(
            design.sources, self.top, design.params, design.include, design.defines
        )
        self.options = [option for option in arguments if option[:2] in ("-G", "-I", "-D")]
        self.text = player_build.preprocessed(toolchain.find(), arguments)
        self.data = player_build.data_files(self.text, design.sources, design.params)

    @property
    def steps(self) -> int:
        """Cycles of a move, the longer way."""
        ways = ((a.save_cycles, b.load_cycles) for a in self.maps for b in self.maps if a is not b)
        return max(save + 2 * load for save, load in ways)

    def original(self, waves: bool = False) -> dict[str, str]:
        simulator = runner.build(
            self.sources, self.top, options=self.options, text=self.text, waves=waves
        )
        return self.run(simulator, "original", self.bench, {}, waves)

    def moved(
        self, moves: int, shares: int, waves: bool = False
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Results, and the mover's counts."""
        top = self.work / f"{self.top}.sv"
        files = [result.verilog for result in self.captured]
        top.write_text(wrapper(self.top, files, self.maps, self.seen()), encoding="utf-8")
        settings, counts = self.work / "moves.json", self.work / "counts.json"
        given = {
            "bench": self.bench, "maps": [str(result.state_map) for result in self.captured],
            "seed": self.seed, "moves": moves, "shares": shares, "result": str(counts),
        }  # fmt: skip
        settings.write_text(json.dumps(given), encoding="utf-8")
        counts.write_text('{"moves": 0, "cycles": 0, "trouble": "no test began"}', encoding="utf-8")
        simulator = runner.build([top], self.top, waves=waves)
        side, modules = "moved" if moves else "still", f"{MOVER},{self.bench}"
        results = self.run(simulator, side, modules, {"HALTERE_MOVES": str(settings)}, waves)
        return results, json.loads(counts.read_text(encoding="utf-8"))

    def seen(self) -> Seen:
        simulator = runner.build(self.sources, self.top, options=self.options, text=self.text)
        found = self.work / "probe.json"
        self.run(simulator, "probe", PROBE, {"HALTERE_PROBE": str(found)}, False)
        raw = json.loads(found.read_text(encoding="utf-8"))
        ranges = {name: (left, right) for name, (left, right) in raw["ranges"].items()}
        return Seen(raw["constants"], ranges, raw["precision"])

    def run(
        self, simulator: Path, side: str, module: str, environment: dict[str, str], waves: bool
    ) -> dict[str, str]:
        """Test -> what it failed with, "" if it passed."""
        folder = player_build.place_data(self.data, self.work / side)
        results = runner.simulate(
            simulator,
            self.top,
            module,
            folder,
            environment,
            path=self.path,
            waves=waves,
            timeout_s=TIMEOUT_S,
        )
        if not results:
            raise runner.BenchFailed(f"{module} has no cocotb tests")
        return {result.name: result.failure for result in results}

    def waveforms(self, folder: Path, moves: int, shares: int) -> tuple[str, ...]:
        """Both sides again, whole."""
        folder.mkdir(parents=True, exist_ok=True)
        self.original(waves=True)
        self.moved(moves, shares, waves=True)
        written = []
        for side in ("original", "moved"):
            dump = self.work / side / player_build.RUN_FOLDER / "dump.vcd"
            if dump.exists():
                written.append(str(shutil.move(dump, folder / f"{side}.vcd")))
        return tuple(written)


def _failures(original: dict[str, str], other: dict[str, str], law: str) -> list[Failure]:
    missing = "it did not run: the simulation ended before"
    return [
        Failure(name, law, other.get(name, missing))
        for name, said in original.items()
        if not said and other.get(name, missing)
    ]
