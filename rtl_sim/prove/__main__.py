"""`python -m rtl_sim.prove DESIGN [--pairs N] [--seed S] [--bench FILE] [--json] ...`

The design is described as for `haltere capture`. Exit status: 0 nothing found,
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

from rtl_sim import arguments
from rtl_sim.design import Design
from rtl_sim.errors import SimError
from rtl_sim.prove import BenchReport, ProofReport, prove, prove_bench
from rtl_sim.prove.tool import PAIRS, Progress, command_line
from rtl_sim.tb.runner import BenchFailed


def main(words: list[str] | None = None) -> int:
    given = sys.argv[1:] if words is None else words
    options = _parser().parse_intermixed_args(given)
    try:
        design = _driven(arguments.design(options), options)
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
                    hierarchy=options.keep_hierarchy,
                )
    except SimError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"os_error: {error}", file=sys.stderr)
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
    arguments.add(parser)
    for name, what in (
        ("--reset", "a reset and its active level, e.g. rst_n=0; declare every one"),
        ("--hold", "an input that never changes"),
    ):
        parser.add_argument(
            name, action="append", default=[], type=_level, metavar="PORT=VALUE", help=what
        )
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
    parser.add_argument("--keep-hierarchy", action="store_true", help="as for capture")
    parser.add_argument("--waves", type=Path, default=Path("waves"), help="of a divergence")
    parser.add_argument("--json", action="store_true")
    return parser


def _level(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    try:
        return name, int(value, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT=NUMBER") from None


def _driven(design: Design, options: argparse.Namespace) -> Design:
    """`design` with what the options say about its inputs."""
    return replace(
        design,
        resets={**design.resets, **dict(options.reset)},
        hold={**design.hold, **dict(options.hold)},
    )


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
