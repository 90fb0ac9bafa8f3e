"""A user's cocotb bench on both sides: it passes, and it notices a broken capture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rtl_sim.capture import CaptureResult, capture
from rtl_sim.design import Design
from rtl_sim.errors import DesignError, HaltTooLong
from rtl_sim.prove import __main__ as command
from rtl_sim.prove import bench as tool
from rtl_sim.prove.bench import examine_bench
from rtl_sim.prove.builds import OPTIONS
from rtl_sim.prove.wrapper import Seen, wrapper
from rtl_sim.statemap import StateMap
from rtl_sim.verilated import toolchain

pytest.importorskip("cocotb")
if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

HERE = Path(__file__).parent
SOURCE = HERE / "designs" / "fsm_fifo.sv"
BENCH = HERE / "benches" / "fsm_fifo_bench.py"
DESIGN = Design((SOURCE,), "fsm_fifo")
TESTS = 3


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> list[CaptureResult]:
    folder = tmp_path_factory.mktemp("captured")
    return [capture(DESIGN, folder / str(n), options) for n, options in enumerate(OPTIONS)]


def test_a_bench_does_not_notice_that_state_moves(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(SOURCE), "--top", "fsm_fifo", "--bench", str(BENCH), "--json"]
    assert command.main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["tests"], said["failed"], said["failures"]) == (TESTS, [], [])
    assert said["moves"] > 50
    assert said["cycles"] > 400


def forgetful(captured: list[CaptureResult], folder: Path) -> list[CaptureResult]:
    """As if capture had missed the queue's memory: nobody moves its words and read registers."""
    wrong = []
    for number, result in enumerate(captured):
        state = json.loads(result.state_map.read_text())
        assert [memory["name"] for memory in state.pop("memories")] == ["u_queue.mem"]
        path = folder / f"{number}.json"
        path.write_text(json.dumps({**state, "memories": [], "read_registers": []}))
        wrong.append(replace(result, state_map=path))
    return wrong


def test_a_bench_notices_words_that_are_not_moved(
    captured: list[CaptureResult], tmp_path: Path
) -> None:
    report = examine_bench(DESIGN, str(BENCH), forgetful(captured, tmp_path))
    assert not report.ok
    assert report.failed == ()
    assert {failure.law for failure in report.failures} == {"halting"}
    tests = [failure.test for failure in report.failures]
    assert "fsm_fifo_bench.good_packets_are_counted" in tests


@pytest.mark.slow
def test_waveforms_of_both_sides_show_a_divergence(
    captured: list[CaptureResult], tmp_path: Path
) -> None:
    wrong = forgetful(captured, tmp_path)
    report = examine_bench(DESIGN, str(BENCH), wrong, waves=tmp_path / "waves")
    assert [Path(path).name for path in report.waveforms] == ["original.vcd", "moved.vcd"]
    assert all(Path(path).stat().st_size > 1000 for path in report.waveforms)
    assert all(path in str(report) for path in report.waveforms)


def test_a_state_too_long_to_move_is_refused_with_numbers(
    captured: list[CaptureResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "MAX_STEPS", 20)
    with pytest.raises(HaltTooLong, match=r"one move takes \d+ steps .* may have 20"):
        examine_bench(DESIGN, str(BENCH), captured)


@pytest.mark.parametrize("bench", ["nothing.py", "nothing", ""])
def test_a_bench_that_is_not_there_is_told_before_anything_is_built(bench: str) -> None:
    with pytest.raises(DesignError, match=f"the bench .*{bench}"):
        tool.prove_bench(replace(DESIGN, sources=(Path("neither.sv"),)), bench)


def test_the_wrapper_has_the_names_parameters_and_ranges_of_the_original(
    captured: list[CaptureResult],
) -> None:
    maps = [StateMap.parse(result.state_map.read_bytes()) for result in captured]
    seen = Seen({"Depth": "integer Depth = 8"}, {"x": (0, 31), "y": (3, 0)}, -10)
    text = wrapper("fsm_fifo", [result.verilog for result in captured], maps, seen)
    assert text.startswith("`timescale 100ps/100ps\n")
    for line in (
        "module fsm_fifo (",
        "module fsm_fifo_a (",
        "module fsm_fifo_b (",
        "  input wire clk,",
        "  input wire [0:31] x,",
        "  output reg [31:0] y,",  # several dimensions: one here
        "  localparam integer Depth = 8;",
    ):
        assert line in text.splitlines(), line
