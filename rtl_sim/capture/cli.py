"""`haltere capture`, also `python -m rtl_sim.capture`: options in, three files and a table out.

Exit status: 0 captured; 2 the design or the call is at fault, with the reason on standard error.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rtl_sim.capture.options import DEFAULT_LANES, Options
from rtl_sim.capture.tool import DEFAULTS, CaptureResult, capture
from rtl_sim.design import Design, load_design
from rtl_sim.errors import DesignError, SimError

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
    made.add_argument(
        "sources", nargs="*", type=Path, metavar="SOURCE",
        help="one design.toml, or Verilog (.v) and SystemVerilog (.sv) files, packages first",
    )  # fmt: skip
    made.add_argument("-f", dest="lists", action="append", default=[], type=Path, metavar="FILE.f",
                      help="a file list as simulators take it; may be repeated")  # fmt: skip
    made.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the files")
    design = made.add_argument_group("design")
    design.add_argument("--top", default="", help="top module; found when only one can be it")
    design.add_argument("--param", action="append", default=[], type=_pair, metavar="NAME=VALUE",
                        help="parameter of the top: a number, or a text")  # fmt: skip
    design.add_argument("--define", action="append", default=[], type=_define,
                        metavar="NAME[=VALUE]", help="macro for the preprocessor")  # fmt: skip
    design.add_argument("--include", action="append", default=[], type=Path, metavar="DIR",
                        help="where `include looks")  # fmt: skip
    design.add_argument("--clock", action="append", default=[], metavar="PORT",
                        help="clock port, the primary one first; default: found")  # fmt: skip
    options = made.add_argument_group("how it is made haltable")
    options.add_argument("--lanes", type=int, default=DEFAULT_LANES, metavar="W",
                         help="bits of state that move in a cycle (default 32)")  # fmt: skip
    options.add_argument("--freeze", choices=get_args(hints["freeze"]), default=DEFAULTS.freeze,
                         help="hold flip-flops by their enables, or gate the clock")  # fmt: skip
    options.add_argument("--read-registers", choices=get_args(hints["read_registers"]),
                         default=DEFAULTS.read_registers,
                         help="restore memories' read registers through the memory, or from "
                         "a shadow on the chain")  # fmt: skip
    options.add_argument("--no-assertions", action="store_true",
                         help="leave out assertions and messages, and their state")  # fmt: skip
    made.add_argument("--area", action="store_true",
                      help="report LUTs before and after synthesis; takes minutes")  # fmt: skip
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        design = _design(given)
        options = Options(
            given.lanes,
            given.freeze,
            given.read_registers,
            design.clocks,
            not given.no_assertions,
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
        for kind, before in counts["before"].items():
            after = counts["after"][kind]
            if before or after:
                factor = f"x {after / before:.2f}" if before else ""
                table.add_row(f"{family} {kind}", f"{before:,} -> {after:,}", factor)
    table.add_row("warnings", str(len(report.warnings)), "")
    console.print(table)
    for warning in report.warnings:
        console.print(f"warning: {escape(warning)}")
    for path in (result.verilog, result.state_map, result.report_file):
        console.print(escape(str(path)))


def _design(given: argparse.Namespace) -> Design:
    tables = [source for source in given.sources if source.suffix == ".toml"]
    if tables:
        if len(given.sources) > 1 or given.lists:
            raise DesignError(f"{tables[0]} describes the whole design: give no other sources")
        design = load_design(tables[0])
    else:
        described = [load_design(path) for path in given.lists]
        design = Design(
            sources=(*(path for one in described for path in one.sources), *given.sources),
            top=next((one.top for one in described if one.top), ""),
            include=tuple(path for one in described for path in one.include),
            defines={name: text for one in described for name, text in one.defines.items()},
        )
    if not design.sources:
        raise DesignError("no sources: give a design.toml, a file list with -f, or source files")
    params: Mapping[str, int | str] = {**design.params, **dict(given.param)}
    return replace(
        design,
        top=given.top or design.top,
        params=params,
        include=(*design.include, *given.include),
        defines={**design.defines, **dict(given.define)},
        clocks=tuple(given.clock) or design.clocks,
    )


def _pair(text: str) -> tuple[str, int | str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, int(value, 0)
    except ValueError:
        return name, value.removeprefix('"').removesuffix('"')


def _define(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
