"""What being haltable costs on a board: LUTs, flip-flops and the rest, before and after capture.

    python benchmarks/capture_area.py [--lanes W]... [--freeze MODE]... [DESIGN...]

DESIGN is a name of the corpus (`tests/rtl/corpus`) or a `design.toml` elsewhere; without one, all
of the corpus that capture takes. Synthesised by Yosys for Xilinx 7 and iCE40, the design as written
and the captured one by the same flow. `lut` counts LUTs of logic, LUT RAM and shift registers.
Beside them stand the factors of the first prototype. A refused design says why, and so does
one whose memories a family has not.
Prints JSON, and each line of it to standard error once it is known; large designs take many minutes
(`nice`). What was synthesised before, as the design as written for every option, is not again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from _machine import machine_facts

from rtl_sim.capture import CaptureError, capture
from rtl_sim.capture.options import Options
from rtl_sim.design import Design, load_design

CORPUS = Path(__file__).parents[1] / "tests" / "rtl" / "corpus"
LANES = (1, 8, 32)
FREEZE: tuple[Literal["enable", "gate"], ...] = ("enable", "gate")
PROTOTYPE_LUT = {"picorv32": 1.45, "aes": 1.55, "fft-1024": 2.4}  # xc7, 32 lanes, enables


def measure(design: Design, options: Options) -> dict[str, object]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = capture(design, Path(folder) / "out", options, area=True).report
        except CaptureError as error:
            return {"refused": str(error)}
    assert report.area is not None
    return {
        "state_bits": report.state_bits,
        "chain_rows": report.rows,
        "factor": {f: table["factor"] for f, table in report.area.items() if "factor" in table},
        "area": {
            family: {key: value for key, value in table.items() if key != "factor"}
            for family, table in report.area.items()
        },
        "seconds": round(time.monotonic() - began),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = sorted(path.parent.name for path in CORPUS.glob("*/design.toml"))
    parser.add_argument("designs", nargs="*", default=known)
    parser.add_argument("--lanes", type=int, action="append")
    parser.add_argument("--freeze", choices=FREEZE, action="append")
    options = parser.parse_args()
    modes: Sequence[Literal["enable", "gate"]] = options.freeze or FREEZE
    table: dict[str, dict[str, object]] = {}
    for name in options.designs:
        design = load_design(CORPUS / name / "design.toml" if name in known else Path(name))
        rows = table[name] = {}
        for freeze, lanes in itertools.product(modes, options.lanes or LANES):
            row = rows[f"{freeze}, W = {lanes}"] = measure(
                design, Options(lanes=lanes, freeze=freeze)
            )
            print(f"{name}, {freeze}, W = {lanes}: {json.dumps(row)}", file=sys.stderr, flush=True)
    facts = {"machine": machine_facts(), "prototype_lut_factor": PROTOTYPE_LUT}
    print(json.dumps({**facts, "capture_area": table}, indent=1))


if __name__ == "__main__":
    main()
