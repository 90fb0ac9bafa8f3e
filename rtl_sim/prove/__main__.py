"""`python -m rtl_sim.prove DESIGN [--pairs N] [--seed S] [--bench FILE] [--json] ...`

DESIGN is a design.toml, a file list (.f), or sources with --top. Exit status: 0 nothing found,
1 a divergence (or a bit not covered, or a control not noticed), 2 the design cannot be proved on
(or the bench given fails on the original already).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rtl_sim.design import Design, load_design
from rtl_sim.errors import SimError
from rtl_sim.prove import BenchReport, ProofReport, prove, prove_bench
from rtl_sim.prove.tool import PAIRS, Progress, command_line
from rtl_sim.tb.runner import BenchFailed

DESCRIPTIONS = (".toml", ".f")


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    try:
        design = _design(options.design, options.top, options.clock)
        report: ProofReport | BenchReport
        if options.bench:
            report = prove_bench(
                design, options.bench, moves=options.pairs, seed=options.seed, waves=options.waves
            )
        else:
            with _progress() as progress:
                report = prove(
                    design,
                    pairs=options.pairs,
                    seed=options.seed,
                    control=options.control,
                    equivalence_s=options.equivalence,
                    waves=options.waves,
                    progress=progress,
                    reproduce=command_line(given),
                )
    except SimError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    except BenchFailed as error:
        print(f"bench_failed: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report.as_dict(), indent=1) if options.json else report)
    if isinstance(report, BenchReport) and report.failed and not report.failures:
        return 2
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="haltere prove", description="Try to tell a captured design from the original."
    )
    parser.add_argument("design", nargs="+", type=Path, help="design.toml, files.f, or sources")
    parser.add_argument("--top", default="", help="of sources")
    parser.add_argument("--clock", action="append", default=[], help="a clock, the primary first")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="halts, each somewhere else")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", action="store_true", help="and notice a missing segment")
    parser.add_argument(
        "--equivalence", type=float, default=0.0, metavar="SECONDS",
        help="let Yosys try, for so long, to prove the running design equal for all inputs",
    )  # fmt: skip
    parser.add_argument(
        "--bench", default="", metavar="FILE",
        help="run these cocotb tests (my_bench.py, or a module) while state moves",
    )  # fmt: skip
    parser.add_argument("--waves", type=Path, default=Path("waves"), help="of a divergence")
    parser.add_argument("--json", action="store_true")
    return parser


def _design(paths: list[Path], top: str, clocks: list[str]) -> Design:
    if len(paths) == 1 and paths[0].suffix in DESCRIPTIONS:
        design = load_design(paths[0])
        design = replace(design, top=top or design.top)
    else:
        design = Design(tuple(paths), top)
    return replace(design, clocks=tuple(clocks)) if clocks else design


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("halts", total=None)  # until both builds are made

        def show(done: int, asked: int) -> None:
            bar.update(task, completed=done, total=asked)

        yield show


if __name__ == "__main__":
    sys.exit(main())
