"""`fpga_sim.overlay`: kernels that are halted in their midst and moved, unseen by the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import bitstreams
from bitstreams.manifest import parse_draft
from hal import Context, Overlay, SelfTest
from hal.backends.fpga import overlays
from hal.testing.fpga_sim import FpgaSim, absence
from hal.testing.halts import Diverged, HaltPlan
from hal.types import Grid
from hal.workload import prepare

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(absence() is not None, reason=str(absence()))

NAME = "checksum"
PLAN = HaltPlan(seed=1, cycles=300, moves=4)
RunPytest = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module")
def known() -> SelfTest:
    return overlays.self_tests(overlays.overlay(NAME))[0]


def simulated(plan: HaltPlan | None) -> FpgaSim:
    return FpgaSim(Path(), plan, "test")


def forgetful(drop: str) -> Overlay:
    """The overlay with a state map that leaves out the registers whose names hold `drop`."""
    whole = overlays.overlay(NAME)
    manifest, files = json.loads(whole.manifest), dict(whole.files)
    state_map = json.loads(files[manifest["state_map"]])
    state_map["flops"] = [flop for flop in state_map["flops"] if drop not in flop["name"]]
    files[manifest["state_map"]] = json.dumps(state_map).encode()
    draft = {key: value for key, value in manifest.items() if key != "files"}
    return overlays.as_overlay(bitstreams.make(parse_draft(draft, files), files))


def run(context: Context, test: SelfTest, times: int = 1) -> list[tuple[bytes, ...]]:
    work = prepare(context, test)
    found = []
    for _ in range(times):
        work.launch()
        found.append(work.read())
    return found


def test_without_a_plan_it_is_a_plain_device(known: SelfTest) -> None:
    sim = simulated(None)
    try:
        assert run(sim.overlay(NAME), known) == [known.expected]
        assert sim.moves == 0
    finally:
        sim.close()


def test_a_halted_run_computes_the_same(known: SelfTest) -> None:
    sim = simulated(PLAN)
    try:
        assert run(sim.overlay(NAME), known, times=2) == [known.expected] * 2
        sim.check_end()
        assert sim.moves == PLAN.moves
    finally:
        sim.close()


def test_equal_seeds_halt_at_equal_cycles(known: SelfTest) -> None:
    stories = []
    for seed in (5, 5, 6):
        sim = simulated(HaltPlan(seed, cycles=300, moves=3))
        run(sim.overlay(NAME), known)
        stories.append(sim.story())
        sim.close()
    assert stories[0] == stories[1] != stories[2]


def test_a_run_shorter_than_its_plan_is_moved_at_its_end(known: SelfTest) -> None:
    sim = simulated(HaltPlan(seed=0, cycles=10**9, moves=1))
    try:
        run(sim.overlay(NAME), known)
        assert sim.moves == 0
        sim.check_end()
        assert sim.moves == 1
    finally:
        sim.close()


def test_commands_between_kernels_survive_the_moves(known: SelfTest) -> None:
    """Copies, writes, frees and reads that queue behind a kernel, on handles given out earlier."""
    sim = simulated(PLAN)
    try:
        context = sim.overlay(NAME)
        dead, spare = context.alloc(100), context.alloc(64)
        work = prepare(context, known)
        into = bytearray(work.outputs[0].size_bytes)
        work.launch()
        context.read_into(work.outputs[0], into)
        seq = context.signal()
        assert context.wait(seq, 60.0)
        assert bytes(into) == known.expected[0]
        dead.free()
        context.write(spare, b"\x5a" * 64)
        work.launch()
        count = min(16, work.outputs[0].size_bytes)
        context.copy(work.outputs[0], spare, count)
        assert context.read(spare) == known.expected[0][:count] + b"\x5a" * (64 - count)
        context.launch(work.program, known.entry, work.args, Grid())
        sim.check_end()
        assert sim.moves == PLAN.moves
    finally:
        sim.close()


def test_state_that_is_left_behind_fails_by_cycle_and_name(known: SelfTest) -> None:
    """The control: registers that are not moved hold noise where the context goes on."""
    overlay = forgetful("u_reader")
    sim = simulated(PLAN)
    try:
        context = sim.overlay(overlay)
        with pytest.raises(Diverged, match=r"halted and moved at cycle.* at cycle \d+"):
            run(context, overlays.self_tests(overlay)[0])
    finally:
        sim.close()


def test_the_marker_halts_overlays_and_counts_the_moves(
    pytester: pytest.Pytester, run_pytest: RunPytest
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from hal.backends.fpga import overlays
        from hal.workload import prepare

        @pytest.mark.haltable(cycles=200, moves=2, runs=2)
        def test_known_answer(fpga_sim):
            context = fpga_sim.overlay("checksum")
            known = overlays.self_tests(overlays.overlay("checksum"))[0]
            work = prepare(context, known)
            work.launch()
            assert work.read() == known.expected
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["haltere: 2 halted runs, 4 moves, first seed 0"])
