"""The shell around a Verilated overlay, against a small hand-instrumented design."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtl_sim import snapshot as fabric
from rtl_sim.errors import ModelFault, SnapshotError
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.build import Design, build_library
from rtl_sim.verilated.model import Model

DIGEST = "b1e2d" * 8
BASE = 0x1_0000_0000
TIMINGS = [(0, 0, 0), (7, 3, 0), (2, 5, 90)]


def fresh_copy(
    bench: Any, library: Path, state_map: StateMap, memory: tuple[np.ndarray, np.ndarray]
) -> Any:
    """Another instance, powered on with noise, whose memory holds copies of `memory`."""
    other = type(bench)(library, state_map, seed=random.Random(5).getrandbits(31), words=1)
    other.source, other.target = memory[0].copy(), memory[1].copy()
    other.expose()
    return other


def test_a_kernel_reads_and_writes_memory_and_raises_its_interrupt(bench: Any) -> None:
    bench.launch(key=5)
    assert not bench.model.interrupt()
    bench.finish()
    assert (bench.target == bench.source + 5).all()
    assert bench.model.read32(0x00) & 2


def test_run_stops_at_the_cycle_limit_and_counts_only_functional_cycles(bench: Any) -> None:
    before = bench.model.cycle
    assert bench.model.run(123, stop_on_irq=False) == 123
    bench.model.save(DIGEST)
    assert bench.model.cycle == before + 123


@pytest.mark.parametrize("timing", TIMINGS)
def test_halted_at_any_cycle_and_restored_elsewhere_a_run_ends_in_the_same_state(
    bench: Any, blend_library: Path, blend_map: StateMap, timing: tuple[int, int, int]
) -> None:
    bench.model.set_timing(*timing)
    bench.launch(key=5, words=40)
    start_cycle = bench.model.cycle
    memories, states = [], []
    while not bench.model.interrupt():  # a cut at every cycle of the uninterrupted run
        states.append(fabric.pack(bench.model.save(DIGEST)))
        memories.append((bench.source.copy(), bench.target.copy()))
        bench.model.run(1)
    end = bench.model.save(DIGEST)
    assert end.cycle - start_cycle == len(states) > 80
    assert (bench.target[:40] == bench.source[:40] + 5).all()
    for cut in range(0, len(states), 3):
        other = fresh_copy(bench, blend_library, blend_map, memories[cut])
        other.model.load(fabric.unpack(states[cut]), [DIGEST])
        other.finish()
        assert other.model.save(DIGEST) == end, f"cut at cycle {cut}"
        assert (other.target == bench.target).all()
        other.model.close()


def test_latency_and_wait_states_cost_cycles_and_are_deterministic(
    bench: Any, blend_library: Path, blend_map: StateMap
) -> None:
    cycles = []
    for timing in (*TIMINGS, TIMINGS[-1]):
        other = type(bench)(blend_library, blend_map, seed=0, words=64)
        other.model.set_timing(*timing)
        other.launch(key=1)
        other.finish()
        cycles.append(other.model.read32(0x40))
        other.model.close()
    assert cycles[0] < cycles[1] < cycles[2] == cycles[3]


def test_an_access_outside_the_windows_is_a_fault_that_names_the_address(bench: Any) -> None:
    bench.launch(key=5, source=BASE + 0x4000)
    with pytest.raises(ModelFault, match="read at device address 0x100004000"):
        bench.finish()
    assert not bench.target.any()


def test_a_burst_that_leaves_its_window_touches_nothing_beyond_it(bench: Any) -> None:
    guard = np.full(256, 0xAA, np.uint64)
    bench.target = guard[:8]  # 8 words writable, the kernel writes 16
    bench.expose()
    bench.launch(key=5, words=16)
    with pytest.raises(ModelFault, match="write at device address"):
        bench.finish()
    assert (guard[8:] == 0xAA).all()


def test_a_failing_assertion_of_the_rtl_is_a_fault_of_that_model_only(
    bench: Any, blend_library: Path, blend_map: StateMap
) -> None:
    with pytest.raises(ModelFault, match="assertion"):
        bench.launch(key=0xBAD)
        bench.finish()
    other = type(bench)(blend_library, blend_map, seed=0, words=8)
    other.launch(key=2)
    other.finish()
    assert (other.target == other.source + 2).all()


def test_a_snapshot_of_another_layout_overlay_or_shell_is_refused_and_changes_nothing(
    bench: Any,
) -> None:
    bench.launch(key=5)
    bench.model.run(50)
    good = bench.model.save(DIGEST)
    shell = bytearray(good.segments[fabric.SHELL])
    shell[0] ^= 2
    bad = {
        "layout": dataclasses.replace(good, layout_id="00"),
        "overlay": dataclasses.replace(good, overlay="00"),
        "shell": dataclasses.replace(good, segments={**good.segments, "shell": bytes(shell)}),
        "flops": dataclasses.replace(good, segments={**good.segments, "flops": b"1"}),
        "segments": dataclasses.replace(good, segments={**good.segments, "more": b""}),
    }
    for what, snapshot in bad.items():
        with pytest.raises(SnapshotError, match=what):
            bench.model.load(snapshot, [DIGEST])
        assert bench.model.save(DIGEST) == good


def test_every_state_section_matters(bench: Any, blend_library: Path, blend_map: StateMap) -> None:
    """Negative control: the law's test would notice a section that is not restored."""
    bench.launch(key=5, words=40)
    bench.model.run(60)  # the second burst is being read: all sections are in use
    good = bench.model.save(DIGEST)
    memory = bench.source.copy(), bench.target.copy()
    bench.finish()
    for name, payload in good.segments.items():
        if name == fabric.SHELL:
            blank = Model(blend_library, blend_map).save(DIGEST).segments[fabric.SHELL]
        else:
            blank = bytes(len(payload))
        other = fresh_copy(bench, blend_library, blend_map, memory)
        segments = {**good.segments, name: blank}
        other.model.load(dataclasses.replace(good, segments=segments), [DIGEST])
        other.model.run(2000)
        assert (other.target[:40] != bench.target[:40]).any(), name


def test_a_plain_design_builds_and_runs_without_a_state_port(bench: Any) -> None:
    rtl = Path(__file__).parent / "rtl" / "blend.sv"
    library = build_library(Design((rtl,), "blend", {"STATE_PORT": 0}))
    plain = type(bench)(library, None, seed=0, words=100)
    plain.launch(key=5)
    plain.finish()
    bench.launch(key=5)
    bench.finish()
    assert plain.model.cycle == bench.model.cycle
    assert (plain.target == bench.target).all()
    with pytest.raises(SnapshotError, match="no state port"):
        plain.model.save(DIGEST)


def test_two_models_in_one_process_do_not_share_state(bench: Any, blend_library: Path) -> None:
    other = type(bench)(blend_library, None, seed=0, words=100)
    bench.launch(key=5)
    other.launch(key=9)
    while not (bench.model.interrupt() and other.model.interrupt()):
        bench.model.run(7)
        other.model.run(11)
    assert (bench.target == bench.source + 5).all()
    assert (other.target == other.source + 9).all()
