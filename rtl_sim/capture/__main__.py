"""`python -m rtl_sim.capture --top T --out DIR [--param N=V] [--lanes W] sources...`"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rtl_sim.capture.errors import CaptureError
from rtl_sim.capture.options import DEFAULT_LANES, Options
from rtl_sim.capture.tool import capture
from rtl_sim.design import Design


def _param(text: str) -> tuple[str, int]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, int(value, 0)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rtl_sim.capture",
        description="Rewrite a design so that it can be halted at any cycle and its state moved.",
    )
    parser.add_argument("sources", nargs="+", type=Path, help="SystemVerilog, packages first")
    parser.add_argument("--top", required=True)
    parser.add_argument("--out", required=True, type=Path, help="folder for the three files")
    parser.add_argument("--param", action="append", default=[], type=_param, metavar="NAME=VALUE")
    parser.add_argument("--lanes", type=int, default=DEFAULT_LANES)
    parser.add_argument("--area", action="store_true", help="report LUTs etc.; takes minutes")
    options = parser.parse_args()
    try:
        result = capture(
            Design(tuple(options.sources), options.top, dict(options.param)),
            options.out,
            Options(lanes=options.lanes),
            area=options.area,
        )
    except CaptureError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    report = result.report
    print(f"{result.verilog}")
    print(f"{result.state_map}  layout {report.layout_id[:16]}")
    print(
        f"state bits {report.state_bits} (flip-flops {report.flop_bits} in {report.rows} rows of "
        f"{options.lanes}, {report.memories} memories {report.memory_bits})"
    )
    print(f"cells {report.cells_before} -> {report.cells_after}, padding {report.padding}")
    for family, table in (report.area or {}).items():
        before, after = table["before"], table["after"]
        counts = (f"{kind} {before[kind]} -> {after[kind]}" for kind in before)
        print(f"{family}: {', '.join(counts)}")
    for warning in report.warnings:
        print(f"warning: {warning}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
