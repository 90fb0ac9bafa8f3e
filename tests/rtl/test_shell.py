"""The whole shell around the checksum overlay: moves of a running kernel, speed, bad input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import rtl_sim
from rtl_sim.design import Design
from rtl_sim.errors import DesignError, SnapshotError
from rtl_sim.shell import Wrapped, from_snapshot, to_snapshot, wrap
from rtl_sim.snapshot import SHELL
from rtl_sim.statemap import StateMap
from rtl_sim.tb import runner, shell_port_pair
from rtl_sim.tb.shell_pair import pair
from rtl_sim.verilated.build import Design as Simulated
from rtl_sim.verilated.build import build_library
from rtl_sim.verilated.model import Model

RTL = Path(rtl_sim.__file__).parent / "rtl" / "checksum"
SHELL_RTL = RTL.parent / "shell"
CUTS = 8
BURST_BEATS = 16  # of the checksum overlay


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Wrapped:
    design = Design(tuple(sorted(RTL.glob("*.sv"))), "checksum")
    return wrap(design, tmp_path_factory.mktemp("shell"), burst_beats=BURST_BEATS)


@pytest.fixture(scope="module")
def images(wrapped: Wrapped, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """What the benches saved; they run once, for all tests here."""
    folder = tmp_path_factory.mktemp("images")
    bench = folder / "bench.sv"
    bench.write_text(pair())
    simulator = runner.build([*wrapped.sources, bench], "shell_pair", assertions=True)
    environment = {
        "BENCH_MAPS": str(wrapped.sources[-1].parent),
        "BENCH_IMAGES": str(folder),
        "BENCH_CUTS": str(CUTS),
    }
    assert runner.run(simulator, "shell_pair", "rtl_sim.tb.shell_bench", folder, environment) == 3
    return {path.name: path.read_bytes() for path in folder.glob("*.img")}


def test_a_kernel_moves_between_shells_and_bad_input_is_refused(
    images: Mapping[str, bytes],
) -> None:
    assert len(set(images.values())) == CUTS, "frozen at the same place each time"


def test_an_image_holds_the_bits_that_the_simulations_state_port_saves(
    wrapped: Wrapped, images: Mapping[str, bytes]
) -> None:
    state_map = StateMap.parse(wrapped.overlay.state_map.read_bytes())
    library = build_library(Simulated((wrapped.overlay.verilog,), "checksum", state_port=True))
    for seed, image in enumerate(images.values(), 1):
        ours = to_snapshot(image, wrapped.geometry, "checksum")
        model = Model(library, state_map, seed)
        idle = model.save("checksum").segments[SHELL]
        model.load(replace(ours, segments={**ours.segments, SHELL: idle}), ["checksum"])
        theirs = model.save("checksum")
        assert dict(theirs.segments) == {**ours.segments, SHELL: idle}
        # And back: the image made from names is one that a shell would have saved.
        back = replace(
            theirs, cycle=ours.cycle, segments={**theirs.segments, SHELL: ours.segments[SHELL]}
        )
        assert (
            to_snapshot(from_snapshot(back, wrapped.geometry), wrapped.geometry, "checksum") == ours
        )
        model.close()


def test_an_image_that_is_damaged_or_of_another_geometry_is_refused(
    wrapped: Wrapped, images: Mapping[str, bytes]
) -> None:
    image = images["0.img"]
    for at, what in ((8, "geometry"), (400, "CRC"), (len(image) - 8, "CRC")):
        wrong = bytearray(image)
        wrong[at] ^= 4
        with pytest.raises(SnapshotError, match=what):
            to_snapshot(bytes(wrong), wrapped.geometry, "checksum")
    with pytest.raises(SnapshotError, match="bytes"):
        to_snapshot(image[:-8], wrapped.geometry, "checksum")
    with pytest.raises(SnapshotError, match="layout"):
        snapshot = to_snapshot(image, wrapped.geometry, "checksum")
        from_snapshot(replace(snapshot, layout_id="0" * 64), wrapped.geometry)


def test_a_design_without_an_overlays_ports_or_bursts_of_axi_is_not_wrapped(
    tmp_path: Path,
) -> None:
    source = tmp_path / "ok.v"
    source.write_text(
        "module ok(input ap_clk, input x, output reg interrupt);"
        " always @(posedge ap_clk) interrupt <= x; endmodule"
    )
    with pytest.raises(DesignError, match=r"ok has not the ports .* need input ap_rst_n, .* more"):
        wrap(Design((source,)), tmp_path)
    with pytest.raises(DesignError, match="bursts of 257 beats: AXI4 has 1 to 256"):
        wrap(Design((source,)), tmp_path, burst_beats=257)


def test_registers_inside_memories_are_saved_and_restored_through_them(tmp_path: Path) -> None:
    bench = tmp_path / "bench.sv"
    bench.write_text(shell_port_pair.harness())
    names = ("pkg", "fifo", "dma_write", "dma_read", "freezer", "sequencer", "registers")
    sources = [SHELL_RTL / f"shell_{name}.sv" for name in (*names, "controller")]
    simulator = runner.build([*sources, bench], "shell_port_pair", assertions=True)
    module = "rtl_sim.tb.shell_port_bench"
    assert runner.run(simulator, "shell_port_pair", module, tmp_path, {}) == 1


def test_the_waveforms_are_what_their_sources_say() -> None:
    script = Path(__file__).parents[2] / "scripts" / "draw_waves.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
