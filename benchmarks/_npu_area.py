"""What configurations of the NPU cost on a Xilinx 7 by Yosys: LUTs, flip-flops, DSPs, block RAM."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtl_sim.capture.area import synthesise
from rtl_sim.spec.npu import CONFIGS
from rtl_sim.tb.npu_bench import design

NAMES = ("nano", "edge")
TIMEOUT_S = 4 * 3600.0  # of one configuration


def areas(names: tuple[str, ...] = NAMES) -> list[dict[str, Any]]:
    rows = []
    for name in names:
        what = design(CONFIGS[name])
        params = " ".join(f"-G {key}={value}" for key, value in what.params.items())
        sources = " ".join(str(path.resolve()) for path in what.sources)
        load = [f"read_slang --top {what.top} -D SYNTHESIS {params} {sources}"]
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            area = synthesise(load, what.top, work, "xilinx", timeout_s=TIMEOUT_S, flatten=False)
        config = CONFIGS[name]
        multipliers = config.n * config.lanes * config.engines
        rows.append({"configuration": name, "multipliers": multipliers, **asdict(area)})
    return rows
