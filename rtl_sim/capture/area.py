"""What a netlist costs on a board: its primitives counted after Yosys's own synthesis.

The same flow for a design as written and for its captured form, so that their ratio says what
being haltable costs. Two families: Xilinx 7 (6-input LUTs, shift registers in LUTs, resets and
enables as pins of a flip-flop) and iCE40 (4-input LUTs, none of that). Takes minutes for large
designs, which is why nobody calls it unasked, and why what was counted once is remembered.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from rtl_sim import cache
from rtl_sim.capture import yosys
from rtl_sim.capture.errors import ElaborationError, ToolError

# A pipelined FFT of 1,024 points takes ten minutes where nobody else works.
TIMEOUT_S: Final = 3600.0

Family = Literal["xilinx", "ice40"]
FAMILIES: Final[tuple[Family, ...]] = ("xilinx", "ice40")

_FLOWS: Final[Mapping[Family, str]] = {
    "xilinx": "synth_xilinx -family xc7 -flatten -noiopad",
    "ice40": "synth_ice40",
}
# What the Xilinx flow does from label `coarse` on, but for `share`, which asks a solver of each
# pair of a module's operators whether both are ever wanted at once: without end if it is large.
_COARSE: Final = (
    "techmap -map +/cmp2lut.v -map +/cmp2lcu.v -D LUT_WIDTH=6",
    *("alumacc", "opt", "memory -nomap", "opt_clean"),
)
_COUNTS: Final = "stat.json"
# As two write ports on two clocks for iCE40, or on one with reads elsewhere for any family.
_UNMAPPED: Final = re.compile(r"no valid mapping found for memory \S+")
# Pattern of primitives -> LUTs that one takes. Those of a LUT RAM by its ports and depth.
_LOGIC: Final = ((r"LUT\d|INV|SB_LUT4", 1),)
_SHIFT: Final = ((r"SRL.*", 1),)
_RAM: Final = (
    (r"RAM(32|64)X1S|RAM(32|64)X1S_1", 1),
    (r"RAM(32|64)X1D|RAM128X1S|RAM(32|64)X1D_1", 2),
    (r"RAM(32|64)M|RAM128X1D|RAM256X1S|RAM(32|64)M_1", 4),
    (r"RAM(32M16|64M8)|RAM512X1S", 8),
)
_OTHERS: Final = {
    "ff": r"FD[RSCP]E(_1)?|SB_DFF.*",
    "bram": r"RAMB.*|SB_RAM.*",
    "dsp": r"DSP.*|SB_MAC16",
    "carry": r"CARRY4|SB_CARRY",
}


@dataclass(frozen=True, slots=True)
class Area:
    """Primitives of one netlist. `lut` counts all LUTs: logic, LUT RAM and shift registers."""

    lut: int
    lut_ram: int
    srl: int
    ff: int
    bram: int
    dsp: int
    carry: int  # CARRY4 (four bits each) or SB_CARRY (one bit each)


def factor(before: Area, after: Area, resource: Literal["lut", "ff"]) -> float | None:
    """After divided by before; None where there was nothing before."""
    base: int = getattr(before, resource)
    return round(getattr(after, resource) / base, 3) if base else None


def compare(
    original: Sequence[str], captured: Sequence[str], top: str, work: Path
) -> dict[str, dict[str, Any]]:
    """By family: both areas and their factors. The two designs are what Yosys commands read.

    Of a family that has no memory as a design needs one: `refused`, which design and why.
    """
    table: dict[str, dict[str, Any]] = {}
    for family in FAMILIES:
        design = "as written"
        try:
            before = synthesise(original, top, work, family, "area.before")
            design = "captured"
            after = synthesise(captured, top, work, family, "area.after")
        except ElaborationError as error:
            if (unmapped := _UNMAPPED.search(str(error))) is None:
                raise
            table[family] = {"refused": f"{design}: {unmapped[0]}"}
            continue
        table[family] = {
            "before": asdict(before),
            "after": asdict(after),
            "factor": {
                "lut": factor(before, after, "lut"),
                "ff": factor(before, after, "ff"),
            },
        }
    return table


def synthesise(
    load: Sequence[str],
    top: str,
    work: Path,
    family: Family,
    name: str = "area",
    timeout_s: float = TIMEOUT_S,
    *,
    flatten: bool = True,
) -> Area:
    """Area of the design that the Yosys commands `load` read in `work`.

    Without `flatten` (Xilinx only) every module is synthesised once, however often it is there,
    and no operator is shared: much sooner for an array of thousands of multipliers, and a little
    larger, for nothing is simplified across modules.

    Remembered under the text of the design: with other options the original is the same.
    Raises ToolError or ElaborationError as `yosys.run` does.
    """
    if flatten:
        flow = [*load, f"{_FLOWS[family]} -top {top}"]
    else:
        synth = _FLOWS["xilinx"].replace(" -flatten", "") + f" -top {top}"
        flow = [*load, f"{synth} -run begin:coarse", *_COARSE, f"{synth} -run map_memory:"]

    def build(place: Path) -> None:
        counts = [f"tee -q -o {name}.{family}.json stat -json"]
        yosys.run([*flow, *counts], work, f"{name}.{family}", timeout_s)
        shutil.copyfile(work / f"{name}.{family}.json", place / _COUNTS)

    files = [work / word for word in " ".join(load).split() if (work / word).is_file()]
    texts = [file.read_bytes() for file in files]
    key = cache.digest_of(metadata.version("pyosys"), *flow, *texts)
    return counted(_primitives(cache.entry("area", key, build) / _COUNTS))


def counted(cells: Mapping[str, int]) -> Area:
    """`cells`: primitive -> how many of it."""
    ram, shift = _weighed(cells, _RAM), _weighed(cells, _SHIFT)
    return Area(
        lut=_weighed(cells, _LOGIC) + ram + shift,
        lut_ram=ram,
        srl=shift,
        **{kind: _weighed(cells, ((pattern, 1),)) for kind, pattern in _OTHERS.items()},
    )


def _weighed(cells: Mapping[str, int], weights: Sequence[tuple[str, int]]) -> int:
    return sum(
        count * weight
        for kind, count in cells.items()
        for pattern, weight in weights
        if re.fullmatch(pattern, kind)
    )


def _primitives(report: Path) -> Mapping[str, int]:
    try:
        found: Any = json.loads(report.read_text(encoding="utf-8"))
        cells: Mapping[str, int] = found["design"]["num_cells_by_type"]
    except (ValueError, KeyError) as error:
        raise ToolError(f"Yosys' statistics in {report.name} have no cell counts: {error}") from (
            error
        )
    return cells
