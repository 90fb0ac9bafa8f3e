"""`prove`: the order of the steps, and what is done about a divergence."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from rtl_sim.design import Design, load_design
from rtl_sim.errors import DesignError
from rtl_sim.prove import check, equivalence, waveform
from rtl_sim.prove.bench import BenchReport, prove_bench
from rtl_sim.prove.builds import Builds, build
from rtl_sim.prove.report import Control, Divergence, ProofReport

PAIRS: Final = 250

Progress = Callable[[int, int], None]  # (pairs done, pairs asked for)


def prove(
    design: Design,
    *,
    pairs: int = PAIRS,
    seed: int = 1,
    control: bool = False,
    equivalence_s: float = 0.0,
    waves: Path | None = None,
    progress: Progress | None = None,
    reproduce: str = "",
    hierarchy: bool = False,
) -> ProofReport:
    """Capture `design` and try to tell the captured one from it: at least `pairs` halts.

    control        also check that restores without one of the segments are noticed
    equivalence_s  seconds that Yosys may take for a proof for all inputs (0: not tried)
    waves          folder for waveforms of the first divergence (None: no waveforms)
    reproduce      the command line that the divergence names
    hierarchy      as an option of capture
    Raises CaptureError and BuildFailed; a divergence is no exception but in the report.
    """
    with tempfile.TemporaryDirectory(prefix="haltere-prove-") as folder:
        builds = build(design, Path(folder), hierarchy=hierarchy)
        report = examine(
            builds, pairs=pairs, seed=seed, control=control, waves=waves, progress=progress,
            reproduce=reproduce,
        )  # fmt: skip
        if equivalence_s > 0 and report.divergence is None:
            verilog = builds.captured[0].result.verilog
            said = equivalence.attempt(design, verilog, equivalence_s)
            report = replace(report, equivalence=said)
    return report


def assert_haltable(
    design: Design | Path, *, bench: str = "", pairs: int = PAIRS, seed: int = 1,
    waves: Path | None = None,
) -> ProofReport | BenchReport:  # fmt: skip
    """For tests: raises AssertionError, with the report, unless `design` is proved.

    design  or the path of its description (design.toml, .f)
    bench   the user's cocotb tests instead of generated stimulus, as for `prove_bench`
    """
    given = load_design(design) if isinstance(design, Path) else design
    report: ProofReport | BenchReport
    if bench:
        report = prove_bench(given, bench, moves=pairs, seed=seed, waves=waves)
    else:
        report = prove(given, pairs=pairs, seed=seed, waves=waves)
    if not report.ok:
        raise AssertionError(str(report))
    return report


def examine(
    builds: Builds,
    *,
    pairs: int = PAIRS,
    seed: int = 1,
    control: bool = False,
    waves: Path | None = None,
    progress: Progress | None = None,
    reproduce: str = "",
) -> ProofReport:
    """`prove` with builds that are there already."""
    if pairs < 1 or seed < 0:
        raise DesignError(f"{pairs} pairs, seed {seed}: at least one pair, and no seed below 0")
    began = time.monotonic()
    done = edges = rows = stimulus = 0
    divergence: Divergence | None = None
    while done < pairs and divergence is None:
        outcome = check.play(builds, seed, stimulus, min(check.CUTS, pairs - done))
        done, rows = done + outcome.pairs, rows + outcome.rows
        edges += outcome.edges
        stimulus += 1
        divergence = outcome.divergence
        if progress is not None:
            progress(done, pairs)
    if divergence is not None and divergence.law == "original" and not builds.initial_edges:
        # A reset inside the design that is active at power-on acts by its level on a board and in
        # the captured design; the original's simulator waits for an edge.
        other = examine(
            builds.with_initial_edges(), pairs=pairs, seed=seed, control=control, progress=progress
        )
        if other.divergence is None:
            return other
    if divergence is not None:
        divergence = replace(divergence, command=reproduce and f"again: {reproduce}")
        divergence = waveform.explain(builds, seed, divergence, waves)
    controls: list[Control] = []
    if control and divergence is None:
        for segment in check.segments(builds.state_map):
            controls.append(Control(segment, check.notices(builds, seed, segment)))
    return ProofReport(
        top=builds.design.top,
        seed=seed,
        stimuli=stimulus,
        pairs=done,
        cycles=edges,
        rows=rows,
        state_bits=builds.state_map.state_bits,
        covered_bits=check.coverage(builds, seed),
        save_cycles=(
            builds.captured[0].state_map.save_cycles,
            builds.captured[1].state_map.save_cycles,
        ),
        seconds=round(time.monotonic() - began, 2),
        divergence=divergence,
        controls=tuple(controls),
        initial_edges=builds.initial_edges,
    )


def command_line(arguments: list[str]) -> str:
    return shlex.join(["haltere", "prove", *arguments])
