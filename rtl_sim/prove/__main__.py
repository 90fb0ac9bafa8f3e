"""`python -m rtl_sim.prove DESIGN [--pairs N] [--seed S] [--control] [--json] ...`

DESIGN is a design.toml, a file list (.f), or sources with --top. Exit status: 0 nothing found,
1 a divergence (or a bit not covered, or a control not noticed), 2 the design cannot be proved on.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from rtl_sim.design import Design, load_design
from rtl_sim.errors import SimError
from rtl_sim.prove import ProofReport, prove
from rtl_sim.prove.tool import PAIRS, command_line

DESCRIPTIONS = (".toml", ".f")


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    try:
        design = _design(options.design, options.top, options.clock)
        report = prove(
            design,
            pairs=options.pairs,
            seed=options.seed,
            control=options.control,
            equivalence_s=options.equivalence,
            waves=options.waves,
            progress=_progress if sys.stderr.isatty() else None,
            reproduce=command_line(given),
        )
    except SimError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        _show(report)
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


def _progress(done: int, asked: int) -> None:
    print(f"\r{done} of {asked} pairs", end="\n" if done >= asked else "", file=sys.stderr)


def _show(report: ProofReport) -> None:
    print(f"{report.top}: {'no divergence' if report.ok else 'NOT PROVED'}")
    print(
        f"  {report.pairs} (stimulus, cycle) pairs in {report.stimuli} stimuli, {report.cycles} "
        f"cycles, seed {report.seed}, {report.seconds} s"
    )
    print(f"  {report.covered_bits} of {report.state_bits} state bits written and read")
    print(f"  a save takes {' or '.join(map(str, report.save_cycles))} cycles")
    for control in report.controls:
        said = "noticed" if control.noticed else "NOT NOTICED"
        print(f"  control: {control.segment} left out of a restore: {said}")
    print(f"  equivalence by Yosys: {report.equivalence}")
    if report.divergence is not None:
        print(f"  {report.divergence}".replace("\n", "\n  "))


if __name__ == "__main__":
    sys.exit(main())
