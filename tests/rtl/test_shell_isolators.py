"""The shell's isolators on AXI buses not of our making, frozen at random cycles."""

from __future__ import annotations

from pathlib import Path

import pytest

import rtl_sim
from rtl_sim.tb import runner

ROOT = Path(rtl_sim.__file__).parent
NAMES = ("fifo", "axi_isolator", "stream_isolator", "lite_front", "lite_back")
SOURCES = [ROOT / "rtl" / "shell" / f"shell_{name}.sv" for name in NAMES]
BENCH = [ROOT / "tb" / "shell_axi_watch.sv", ROOT / "tb" / "shell_isolators.sv"]
MODULE = "rtl_sim.tb.shell_isolator_bench"


def test_freezing_a_fabric_at_any_cycle_is_invisible_outside(tmp_path: Path) -> None:
    simulator = runner.build([*SOURCES, *BENCH], "shell_isolators", assertions=True)
    assert runner.run(simulator, "shell_isolators", MODULE, tmp_path, {}) == 4


# Pass-through between outside and fabric, with every valid and ready of the fabric's side gated.
GATE = """
  assign quiet_o = park_i && !run_i;
  assign {out_awvalid, out_wvalid, out_arvalid} =
      {fab_awvalid, fab_wvalid, fab_arvalid} & {3{run_i}};
  assign {out_bready, out_rready} = {fab_bready, fab_rready} & {2{run_i}};
  assign {fab_awready, fab_wready, fab_arready, fab_bvalid, fab_rvalid} =
      {out_awready, out_wready, out_arready, out_bvalid, out_rvalid};
  assign {out_awid, out_awaddr, out_awlen, out_awsize, out_awburst} =
      {fab_awid, fab_awaddr, fab_awlen, fab_awsize, fab_awburst};
  assign {out_arid, out_araddr, out_arlen, out_arsize, out_arburst} =
      {fab_arid, fab_araddr, fab_arlen, fab_arsize, fab_arburst};
  assign {out_wdata, out_wstrb, out_wlast} = {fab_wdata, fab_wstrb, 1'b1};
  assign {fab_bid, fab_bresp} = {out_bid, out_bresp};
  assign {fab_rid, fab_rdata, fab_rresp, fab_rlast} = {out_rid, out_rdata, out_rresp, out_rlast};
endmodule
"""

# What a broken isolator says instead.
BROKEN = {
    "noise is taken for write data": ("run_i && fab_wvalid", "fab_wvalid"),
    "a burst begins while parked": ("!park_i && room_q", "room_q"),
    "a burst begins before its data": ("gathered_q >= write_beats", "gathered_q != 0"),
    "reads without room": ("room_q >= read_beats", "1'b1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*BROKEN, "valids are just gated"])
def test_the_bench_fails_a_broken_isolator(fault: str, tmp_path: Path) -> None:
    text = SOURCES[1].read_text()
    if fault in BROKEN:
        right, wrong = BROKEN[fault]
        assert right in text
        text = text.replace(right, wrong)
    else:
        head, separator, _ = text.partition("\n  localparam int unsigned RequestWidth")
        assert separator
        text = head + GATE
    broken = tmp_path / "broken.sv"
    broken.write_text(text)
    simulator = runner.build([SOURCES[0], broken, *SOURCES[2:], *BENCH], "shell_isolators")
    with pytest.raises(runner.BenchFailed):
        runner.run(
            simulator, "shell_isolators", MODULE, tmp_path, {},
            testcase="no_burst_is_broken_and_no_byte_lost",
        )  # fmt: skip
