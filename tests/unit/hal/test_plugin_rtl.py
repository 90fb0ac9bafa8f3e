"""`fpga_sim(...)`: a design as a test drives it, plainly, halted and moved, and when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hal.errors import DeviceTimeout, UsageError
from hal.testing import designs
from hal.testing.dut import Dut
from hal.testing.fpga_sim import FpgaSim, absence
from hal.testing.halts import Diverged, HaltPlan
from rtl_sim.capture import CaptureRefused
from rtl_sim.errors import SnapshotError

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(absence() is not None, reason=str(absence()))

RTL = Path(__file__).parent / "rtl"
PLAN = HaltPlan(seed=3, cycles=40, moves=4)
RunPytest = Callable[..., pytest.RunResult]


@pytest.fixture
def sims() -> Iterator[Callable[[HaltPlan | None], FpgaSim]]:
    opened: list[FpgaSim] = []

    def make(plan: HaltPlan | None = None) -> FpgaSim:
        opened.append(FpgaSim(RTL, plan, "test"))
        return opened[-1]

    yield make
    for sim in opened:
        sim.close()


def counter(sim: FpgaSim) -> Dut:
    dut = sim("counter.sv", top="counter", reset=("rst_n", 0))
    dut.reset()
    return dut


@pytest.fixture
def dut(sims: Callable[..., FpgaSim]) -> Dut:
    return counter(sims())


# ---- driving


def test_inputs_hold_until_they_are_changed_and_outputs_are_as_they_are_now(dut: Dut) -> None:
    dut.by = 3
    dut.step(4)
    assert (dut.count, dut.wrapped, dut.cycle) == (12, 0, 6)
    dut.set(by=-1)
    dut.step()
    assert dut.count == 11
    assert dut.by == 0xF
    dut.at = 2  # an output that depends on an input without a clock between
    assert dut.noted == dut.memories["notes"][2]


def test_wide_ports_have_all_their_bits(dut: Dut) -> None:
    dut.by = 5
    dut.step()
    assert dut.wide == 0x1234_5678_9ABC << 8 | 5


def test_a_port_with_the_name_of_a_verb_is_set_as_others_and_read_by_item(dut: Dut) -> None:
    dut.set(start=77)
    dut.load = 1
    dut.step()
    assert dut["load"] == 1
    assert callable(dut.load)
    assert dut.count == 77


def test_a_port_that_is_not_there_is_an_attribute_error_with_a_suggestion(dut: Dut) -> None:
    with pytest.raises(AttributeError, match="did you mean 'count'"):
        _ = dut.coutn
    with pytest.raises(AttributeError, match="no port 'strat'"):
        dut.strat = 1
    with pytest.raises(UsageError, match="no port 'strat'"):
        dut["strat"] = 1
    assert not hasattr(dut, "nothing")


def test_what_cannot_be_set_is_refused(dut: Dut) -> None:
    with pytest.raises(UsageError, match="by = 16: the port has 4 bits"):
        dut.by = 16
    with pytest.raises(UsageError, match="by = -9"):
        dut.by = -9
    with pytest.raises(UsageError, match="count is an output"):
        dut.count = 1
    with pytest.raises(UsageError, match="clk is a clock"):
        dut.clk = 1
    for fraction in (1.5, "3", None):
        with pytest.raises(UsageError, match=r"by = .*: a whole number"):
            dut.by = fraction
    for cycles in (-1, 1.5, "3"):
        with pytest.raises(UsageError, match=r"step\(.*\): a number of cycles, 0 or more"):
            dut.step(cycles)
    dut.step(np.int64(1))
    with pytest.raises(UsageError, match="give what save"):
        dut.load(b"junk")
    with pytest.raises(KeyError, match="there is no 'coun'; there are count"):
        dut.registers["coun"]


def test_run_until_returns_the_cycles_and_is_bounded(dut: Dut) -> None:
    dut.by = 4
    assert dut.run_until(lambda: dut.count >= 20, max_cycles=10) == 5
    assert dut.run_until(lambda: dut.count >= 20, max_cycles=0) == 0
    with pytest.raises(DeviceTimeout, match=r"after 3 cycles of clk; outputs now: count=0x20"):
        dut.run_until(lambda: dut.wrapped, max_cycles=3)


def test_registers_and_memories_are_seen_by_their_names(dut: Dut) -> None:
    dut.by = 1
    dut.step(9)
    dut.set(note=1, at=3)
    dut.step()
    assert dut.registers["count"] == dut.count == 10
    assert dut.registers["hidden"] == 10
    assert dut.memories["notes"] == (0, 0, 0, 9)


def test_a_saved_state_is_gone_on_from_as_often_as_one_likes(dut: Dut) -> None:
    dut.by = 1
    dut.step(5)
    saved = dut.save()
    ends = []
    for by in (1, 2, 3):
        dut.load(saved)
        assert (dut.count, dut.by) == (5, 1)
        dut.by = by
        dut.step(10)
        ends.append(dut.count)
    assert ends == [15, 25, 35]


def test_loading_a_state_undoes_an_asynchronous_reset(dut: Dut) -> None:
    dut.by = 1
    dut.step(5)
    saved = dut.save()
    dut.rst_n = 0
    assert dut.count == 0
    getattr(dut, "load")(saved)  # noqa: B009  (the port's name; reading gives the verb)
    assert (dut.count, dut.rst_n) == (5, 1)


def test_a_state_of_another_parameterization_is_refused(
    dut: Dut, sims: Callable[..., FpgaSim]
) -> None:
    other = sims()("counter.sv", top="counter", params={"WIDTH": 9}, reset=("rst_n", 0))
    with pytest.raises(SnapshotError, match="layout"):
        other.load(dut.save())


def test_moving_by_hand_is_not_seen(dut: Dut) -> None:
    dut.set(by=2, note=1, at=1)
    dut.step(7)
    dut.halt_and_move()
    dut.step(3)
    assert dut.count == 20
    assert dut.registers["hidden"] == 10
    assert dut.memories["notes"][1] == 18


# ---- what is asked for wrongly


def test_a_design_is_refused_with_the_reason(sims: Callable[..., FpgaSim], tmp_path: Path) -> None:
    latch = tmp_path / "latch.sv"
    latch.write_text(
        "module latch (input logic clk, input logic d, output logic q);\n"
        "  always_latch if (clk) q = d;\nendmodule\n"
    )
    with pytest.raises(CaptureRefused, match="latch"):
        sims()(latch, top="latch")


def test_files_clocks_and_resets_that_are_not_there_are_named(
    sims: Callable[..., FpgaSim],
) -> None:
    sim = sims()
    with pytest.raises(UsageError, match=r"there is no .*missing\.sv"):
        sim("missing.sv")
    with pytest.raises(UsageError, match=r"reset 'rst' of counter: .*did you mean 'rst_n'"):
        sim("counter.sv", top="counter", reset=("rst", 1))
    with pytest.raises(UsageError, match="a port and its active level"):
        sim("counter.sv", top="counter", reset="rst_n")
    with pytest.raises(UsageError, match="3 is no file"):
        sim(3, top="counter")
    with pytest.raises(UsageError, match="name the reset"):
        sim("counter.sv", top="counter").reset()
    with pytest.raises(UsageError, match="periods from 1"):
        sim("counter.sv", top="counter", clock={"clk": 0})


HEADED = """
`include "step.svh"
module headed(input logic clk, input logic [1:0] at, output logic [7:0] sum, read);
  logic [7:0] words [4];
  initial $readmemh("words.hex", words);
  always_ff @(posedge clk) begin sum <= sum + `STEP; read <= words[at]; end
endmodule
"""


def test_a_header_or_memory_file_beside_the_source_that_changes_is_read_anew(
    tmp_path: Path,
) -> None:
    (tmp_path / "headed.sv").write_text(HEADED)
    for step, word in ((3, 7), (5, 7), (5, 9)):
        (tmp_path / "step.svh").write_text(f"`define STEP {step}\n")
        (tmp_path / "words.hex").write_text(f"{word}\n0\n0\n0\n")
        sim = FpgaSim(tmp_path, None, "test")
        dut = sim("headed.sv", top="headed")
        dut.step(2)
        assert (dut.sum, dut.read) == (2 * step, word)
        sim.close()


# ---- halted runs


def exercise(dut: Dut) -> tuple[int, int]:
    dut.set(by=3, note=1)
    for at in range(4):
        dut.at = at
        dut.step(11)
    return dut.count, dut.noted


def test_a_halted_run_is_the_undisturbed_one(sims: Callable[..., FpgaSim]) -> None:
    plain, halted = sims(), sims(PLAN)
    assert exercise(counter(halted)) == exercise(counter(plain))
    halted.check_end()
    assert halted.moves == PLAN.moves
    assert plain.moves == 0


def test_a_reset_in_progress_is_halted_too(sims: Callable[..., FpgaSim]) -> None:
    sim = sims(HaltPlan(seed=0, cycles=6, moves=6))
    dut = counter(sim)
    dut.by = 1
    dut.step(4)
    assert dut.count == 4
    assert sim.moves == 6


def test_a_run_shorter_than_its_plan_is_moved_at_its_end(sims: Callable[..., FpgaSim]) -> None:
    sim = sims(HaltPlan(seed=0, cycles=10**9, moves=1))
    counter(sim)
    sim.check_end()
    assert sim.moves == 1


def forgetting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The control: captures whose state map leaves out the registers called `name`."""
    whole = designs.build

    def build(design: designs.Design) -> designs.Build:
        made = whole(design)
        kept = tuple(flop for flop in made.state_map.flops if flop[0] != name)
        return replace(made, state_map=replace(made.state_map, flops=kept))

    monkeypatch.setattr(designs, "build", build)


def test_a_register_left_behind_fails_at_the_cycle_where_it_shows(
    sims: Callable[..., FpgaSim], monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetting(monkeypatch, "count")
    dut = counter(sims(PLAN))
    with pytest.raises(
        Diverged, match=r"moved at cycle (\d+) and differs .* at cycle \1:\n  count"
    ):
        exercise(dut)


def test_a_register_that_no_output_shows_fails_at_the_end(
    sims: Callable[..., FpgaSim], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs alone would not have noticed."""
    sim = sims(HaltPlan(seed=0, cycles=1, moves=1))
    whole = designs.build
    made: list[designs.Build] = []

    def build(design: designs.Design) -> designs.Build:
        made.append(whole(design))
        return made[-1]

    monkeypatch.setattr(designs, "build", build)
    dut = counter(sim)
    exercise(dut)
    saved = dut.save()
    bench = dut._bench
    flops = bytearray(saved.snapshot.segments["flops"])
    position = [name for name, _ in made[0].state_map.bits].index("hidden")
    flops[position // 8] ^= 1 << position % 8
    segments = {**saved.snapshot.segments, "flops": bytes(flops)}
    bench._player.load(replace(saved.snapshot, segments=segments))
    with pytest.raises(Diverged, match=r"all outputs were right, but .*\n  hidden is "):
        sim.check_end()


# ---- failures, as pytest shows them


FAILING = """
    import pytest

    @pytest.fixture
    def dut(fpga_sim):
        dut = fpga_sim("{rtl}/counter.sv", top="counter", reset=("rst_n", 0))
        dut.reset()
        return dut

    @pytest.mark.haltable(cycles=8, moves=2, runs=1)
    def test_that_fails(dut):
        dut.by = 1
        dut.step(10)
        assert dut.count == 11

    def test_that_passes(dut):
        dut.step()
"""


def test_a_failure_leaves_a_waveform_and_says_how_to_have_it_again(
    pytester: pytest.Pytester, run_pytest: RunPytest
) -> None:
    pytester.makepyfile(test_it=FAILING.format(rtl=RTL))
    result = run_pytest("--haltere-waves=waves", "--haltere-seed=7")
    result.assert_outcomes(passed=1, failed=2)
    written = sorted(path.name for path in (pytester.path / "waves").iterdir())
    stem = "test_it.py_test_that_fails"
    assert written == [f"{stem}_plain.vcd", f"{stem}_seed7.halted.vcd", f"{stem}_seed7.vcd"]
    as_written = (pytester.path / "waves" / f"{stem}_plain.vcd").read_text()
    assert " hidden [7:0] $end" in as_written
    assert "#24" in as_written  # two rows a cycle
    result.stdout.fnmatch_lines(
        [
            "counter: 12 cycles, halted and moved at cycles *",
            f"waveform: *{stem}_seed7.vcd",
            "again: pytest 'test_it.py::test_that_fails[[]seed7]' --haltere-seed=7",
        ]
    )


def test_a_waveform_that_cannot_be_made_hides_nothing(
    pytester: pytest.Pytester, run_pytest: RunPytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced(self: designs.Build) -> None:
        raise CaptureRefused("counter", [])

    monkeypatch.setattr(designs.Build, "traced", traced)
    pytester.makepyfile(test_it=FAILING.format(rtl=RTL))
    result = run_pytest("--haltere-runs=0")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError*", "no waveform: *"])


def test_a_folder_that_cannot_hold_waveforms_hides_nothing(
    pytester: pytest.Pytester, run_pytest: RunPytest
) -> None:
    pytester.makepyfile(test_it=FAILING.format(rtl=RTL))
    (pytester.path / "file").touch()
    result = run_pytest("--haltere-runs=0", "--haltere-waves=file/waves")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError*", "no waveform: *file*"])


# ---- two clocks


def test_clocks_rise_by_their_periods(sims: Callable[..., FpgaSim]) -> None:
    dut = sims()("crossing.sv", top="crossing", clock={"fast": 2, "slow": 5})
    dut.step(4, "slow")
    assert (dut.slow_count, dut.fast_count) == (4, 10)
    dut.step(3)
    assert (dut.fast_count, dut.slow_count) == (13, 5)
    assert dut.cycle == 13 + 5 - 2  # at 10 and 20 they rose together


def test_a_design_with_two_clocks_is_halted_between_their_edges(
    sims: Callable[..., FpgaSim],
) -> None:
    sim = sims(HaltPlan(seed=2, cycles=30, moves=10))
    dut = sim("crossing.sv", top="crossing", clock={"fast": 3, "slow": 7})
    dut.step(30)
    sim.check_end()
    assert (dut.fast_count, dut.slow_count, sim.moves) == (30, 12, 10)
