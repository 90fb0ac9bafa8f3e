"""`haltere capture`, also `python -m rtl_sim.capture`: options in, three files and a table out.

Exit status: 0 captured; 2 the design or the call is at fault, with the reason on standard error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rtl_sim import arguments
from rtl_sim.capture.options import DEFAULT_LANES, Options
from rtl_sim.capture.tool import DEFAULTS, CaptureResult, capture
from rtl_sim.errors import SimError

_EPILOG = """\
examples:
  haltere capture counter.v --out halted
  haltere capture core.sv alu.sv --top core --param WIDTH=64 --clock clk --out halted
  haltere capture -f files.f --top soc --include rtl/include --define SYNTH --out halted
  haltere capture design.toml --lanes 64 --freeze gate --area --out halted

Writes TOP.v (the design with a state port), state.json (where each bit of state is) and
report.json into the folder OUT. Nothing is written when the design is refused.
"""


def parser() -> argparse.ArgumentParser:
    hints = get_type_hints(Options)
    made = argparse.ArgumentParser(
        prog="haltere capture",
        description="Rewrite a design so that it can be halted at any cycle and its state moved.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add(made)
    made.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the files")
    options = made.add_argument_group("how it is made haltable")
    options.add_argument("--lanes", type=int, default=DEFAULT_LANES, metavar="W",
                         help="bits of state that move in a cycle (default 32)")  # fmt: skip
    options.add_argument("--freeze", choices=get_args(hints["freeze"]), default=DEFAULTS.freeze,
                         help="hold flip-flops by their enables, or gate the clock")  # fmt: skip
    options.add_argument("--read-registers", choices=get_args(hints["read_registers"]),
                         default=DEFAULTS.read_registers,
                         help="restore memories' read registers through the memory, or from "
                         "a shadow on the chain")  # fmt: skip
    options.add_argument("--keep-hierarchy", action="store_true",
                         help="instances with state stay modules")  # fmt: skip
    options.add_argument("--no-assertions", action="store_true",
                         help="leave out assertions and messages, and their state")  # fmt: skip
    made.add_argument("--area", action="store_true",
                      help="report LUTs before and after synthesis; takes minutes")  # fmt: skip
    return made


def main(given_words: Sequence[str] | None = None) -> int:
    given = parser().parse_intermixed_args(given_words)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        design = arguments.design(given)
        options = Options(
            given.lanes,
            given.freeze,
            given.read_registers,
            design.clocks,
            not given.no_assertions,
            given.keep_hierarchy,
        )
        with errors.status("reading the design") as status:
            result = capture(
                design,
                given.out,
                options,
                area=given.area,
                tell=lambda step: status.update(f"{step} ..."),
            )
    except SimError as error:
        errors.print(f"{error.code}: {escape(str(error))}")
        return 2
    except OSError as error:
        errors.print(f"os_error: into {escape(str(given.out))}: {escape(str(error))}")
        return 2
    show(result, options, Console(soft_wrap=True, highlight=False))
    return 0


def show(result: CaptureResult, options: Options, console: Console) -> None:
    report = result.report
    table = Table(title=f"{report.top} can be halted", show_header=False, title_justify="left")
    table.add_row("state", f"{report.state_bits:,} bits", f"layout {report.layout_id[:16]}")
    table.add_row(
        "flip-flops", f"{report.flop_bits:,} bits", f"{report.rows} rows of {options.lanes} lanes"
    )
    table.add_row("memories", f"{report.memory_bits:,} bits", f"{report.memories} memories")
    table.add_row("ROMs", str(report.roms), "no state, part of what the design is")
    table.add_row(
        "cells", f"{report.cells_before:,} -> {report.cells_after:,}", f"padding {report.padding}"
    )
    for family, counts in (report.area or {}).items():
        if "refused" in counts:
            table.add_row(family, "not possible", escape(counts["refused"]))
            continue
        for kind, before in counts["before"].items():
            after = counts["after"][kind]
            if before or after:
                factor = f"x {after / before:.2f}" if before else ""
                table.add_row(f"{family} {kind}", f"{before:,} -> {after:,}", factor)
    messages = report.messages_kept, report.messages_dropped
    if any(messages):
        table.add_row("messages", f"{messages[0]} kept, {messages[1]} dropped", "assertions, too")
    table.add_row("warnings", str(len(report.warnings)), "")
    console.print(table)
    for warning in report.warnings:
        console.print(f"warning: {escape(warning)}")
    for path in (result.verilog, result.state_map, result.report_file):
        console.print(escape(str(path)))
