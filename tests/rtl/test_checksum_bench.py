"""The checksum overlay in simulation: on AXI buses not of our making, cut at random cycles."""

from __future__ import annotations

from pathlib import Path

import rtl_sim
from rtl_sim.capture import Options, capture
from rtl_sim.design import Design
from rtl_sim.tb import runner
from rtl_sim.tb.captured_pair import renamed
from rtl_sim.tb.overlay_pair import overlay_harness

RTL = Path(rtl_sim.__file__).parent / "rtl" / "checksum"
CUTS = 24


def test_the_checksum_overlay_computes_and_can_be_cut_anywhere(tmp_path: Path) -> None:
    sources = tuple(sorted(RTL.glob("*.sv")))
    builds = [
        capture(Design(sources, "checksum"), tmp_path / f"lanes_{lanes}", Options(lanes=lanes))
        for lanes in (32, 5)
    ]
    copies = [
        renamed(build.verilog, build.state_map, "checksum", suffix)
        for build, suffix in zip(builds, "ab", strict=True)
    ]
    bench = tmp_path / "bench.sv"
    bench.write_text(
        "\n".join([*(copy.verilog for copy in copies), overlay_harness("checksum", *copies)])
    )
    simulator = runner.build([*sources, bench], "bench")
    environment = {
        "BENCH_MAP_A": str(builds[0].state_map),
        "BENCH_MAP_B": str(builds[1].state_map),
        "BENCH_CUTS": str(CUTS),
    }
    assert runner.run(simulator, "bench", "rtl_sim.tb.checksum_bench", tmp_path, environment) == 2
