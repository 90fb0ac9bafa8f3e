"""What capture will not touch, it names, with the reason, and writes nothing."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import pytest

from rtl_sim.capture import CaptureRefused, ElaborationError, Options, capture
from rtl_sim.design import Design

HEAD = (
    "module t(input clk, input clk2, input arst, input set, input en, input [3:0] d,"
    " output reg [3:0] q"
)

REFUSED = {
    "latch": (
        "latch",
        "q",
        f"{HEAD}); always @* if (en) q = d; endmodule",
    ),
    "a latch with a reset": (
        "latch",
        "q",
        f"{HEAD}); always @* if (arst) q = 0; else if (en) q = d; endmodule",
    ),
    "asynchronous load": (
        "asynchronous-load",
        "q",
        f"{HEAD}); always @(posedge clk or posedge arst) if (arst) q <= d; else q <= q + 1;"
        " endmodule",
    ),
    "a clock that nothing drives": (
        "undriven-clock",
        "q",
        f"{HEAD}); wire c; always @(posedge c) q <= d; endmodule",
    ),
    "no clock port": (
        "undeclared-clock",
        "q",
        f"{HEAD}); wire c = clk & en; always @(posedge c) q <= d; endmodule",
    ),
    "a clock in a wider port": (
        "undeclared-clock",
        "q",
        f"{HEAD}); always @(posedge d[1]) q <= d + en; endmodule",
    ),
    "clock as data": (
        "clock-as-data",
        "",
        f"{HEAD}); always @(posedge clk) q <= {{d[3:1] + clk2, clk}}; endmodule",
    ),
    "tristate": (
        "tristate",
        "z",
        f"{HEAD}, output [3:0] z); assign z = en ? d : 4'bz; always @(posedge clk) q <= d;"
        " endmodule",
    ),
    "inout": (
        "port-direction",
        "io",
        f"{HEAD}, inout io); always @(posedge clk) q <= d; endmodule",
    ),
    "a module without source": (
        "blackbox",
        "u_missing",
        f"{HEAD}); wire [3:0] w; missing u_missing(.d(d), .q(w)); always @(posedge clk) q <= w;"
        " endmodule",
    ),
    "a declared black box": (
        "blackbox",
        "box",
        "(* blackbox *) module box(input [3:0] d, output [3:0] q); endmodule\n"
        f"{HEAD}); wire [3:0] w; box u(.d(d), .q(w)); always @(posedge clk) q <= w; endmodule",
    ),
    "combinational loop": (
        "combinational-loop",
        "a",
        f"{HEAD}); wire a, b; assign a = b ^ en; assign b = a & d[0];"
        " always @(posedge clk) q <= a; endmodule",
    ),
    "a loop through an instance": (
        "combinational-loop",
        "",
        "module inv(input i, output o); assign o = !i; endmodule\n"
        f"{HEAD}); wire a, b; inv u(.i(a), .o(b)); assign a = b & en;"
        " always @(posedge clk) q <= a; endmodule",
    ),
    "two drivers": (
        "driver-conflict",
        "",
        f"{HEAD}); wire w; assign w = d[0] ^ en; assign w = d[1] & en;"
        " always @(posedge clk) q <= w; endmodule",
    ),
    "two drivers, one of them a constant": (
        "driver-conflict",
        "w",
        f"{HEAD}, output w); assign w = d[0]; assign w = 1'b1;"
        " always @(posedge clk) q <= d[1]; endmodule",
    ),
    "two registers behind one output": (
        "driver-conflict",
        "w",
        f"{HEAD}, output w); reg r; assign w = r; assign w = q;"
        " always @(posedge clk) begin q <= d[1]; r <= d[0]; end endmodule",
    ),
    "nothing to save": (
        "no-state",
        "t",
        "module t(input a, b, output q); assign q = a ^ b; endmodule",
    ),
    "a port named as what is added": (
        "reserved-name",
        "sp_padding",
        f"{HEAD}, input sp_padding); always @(posedge clk) q <= d + sp_padding; endmodule",
    ),
    "a name of the state port": (
        "reserved-name",
        "sp_run",
        f"{HEAD}, input sp_run); always @(posedge clk) q <= d + sp_run; endmodule",
    ),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_what_cannot_be_saved_soundly_is_refused_by_name(what: str, tmp_path: Path) -> None:
    kind, where, text = REFUSED[what]
    source = tmp_path / "t.sv"
    source.write_text(text)
    with pytest.raises(CaptureRefused) as caught:
        capture(Design((source,), "t"), tmp_path / "out")
    found = [refusal for refusal in caught.value.refusals if refusal.kind == kind]
    assert any(where in refusal.where for refusal in found), caught.value
    assert all(refusal.why for refusal in found)
    assert not (tmp_path / "out").exists(), "something was written although the design was refused"


def test_all_obstacles_are_named_at_once(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    source.write_text(
        f"{HEAD}, inout io, output [3:0] z); always @* if (en) q = d;"
        " assign z = en ? d : 4'bz; endmodule"
    )
    with pytest.raises(CaptureRefused) as caught:
        capture(Design((source,), "t"), tmp_path / "out")
    assert {refusal.kind for refusal in caught.value.refusals} == {
        "latch",
        "port-direction",
        "tristate",
    }
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.refusals, str(copy)) == (caught.value.refusals, str(caught.value))
    assert (copy.code, copy.disposition) == ("capture_refused", "caller")


def test_a_ring_of_words_that_is_none_of_bits_is_accepted(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    source.write_text(
        f"{HEAD}); wire [3:0] c; assign c = {{c[2:0], en}} & d;"
        " always @(posedge clk) q <= c; endmodule"
    )
    assert capture(Design((source,), "t"), tmp_path / "out").report.flop_bits == 4


def test_a_module_without_state_that_only_seems_to_loop_is_accepted(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    source.write_text(
        "module two(input a, b, output x, y); assign x = !a; assign y = !b; endmodule\n"
        f"{HEAD}); wire m, n; two u(.a(en), .b(m), .x(m), .y(n));"
        " always @(posedge clk) q <= {d[3:1], n}; endmodule"
    )
    report = capture(Design((source,), "t"), tmp_path / "out").report
    assert (report.flop_bits, report.kept_modules) == (4, 0)


def test_a_loop_variable_of_a_combinational_process_is_no_latch(tmp_path: Path) -> None:
    source = tmp_path / "t.v"
    source.write_text(
        f"{HEAD}); integer i; reg [3:0] next; always @* begin next = d;"
        " if (en) for (i = 0; i < 4; i = i + 1) if (d[i]) next = i; end"
        " always @(posedge clk) q <= next; endmodule"
    )
    assert capture(Design((source,), "t"), tmp_path / "out").report.flop_bits == 4
    source.write_text(source.read_text().replace("q <= next", "q <= next ^ i"))
    with pytest.raises(CaptureRefused, match="latch: i "):
        capture(Design((source,), "t"), tmp_path / "out")


def test_a_register_that_parameters_bypass_makes_no_data_of_its_clock(tmp_path: Path) -> None:
    source = tmp_path / "t.v"
    source.write_text(
        "module stage #(parameter BYPASS = 1) (input clk, input [3:0] d, output [3:0] q);"
        " reg [3:0] r; always @(posedge clk) r <= d; generate if (BYPASS) assign q = d;"
        " else assign q = r; endgenerate endmodule\n"
        f"{HEAD}); wire [3:0] w; stage u(clk, d, w); always @(posedge clk) q <= w; endmodule"
    )
    assert capture(Design((source,), "t"), tmp_path / "out").report.flop_bits == 4


@pytest.mark.parametrize("freeze", ["enable", "gate"])
def test_signals_may_be_named_as_what_is_added(
    freeze: Literal["enable", "gate"], tmp_path: Path
) -> None:
    names = ("sp_padding", "sp_walk", "sp_at", "sp_gate", "sp_gated", "sp_clk_0", "sp_clk_0_flops")
    steps = "".join(f" {b} <= {a};" for a, b in zip(("d", *names), (*names, "q"), strict=True))
    source = tmp_path / "t.v"
    source.write_text(
        f"{HEAD}, output reg n); reg [3:0] {', '.join(names)};"
        f" always @(posedge clk) begin{steps} end always @(negedge clk) n <= en; endmodule"
    )
    report = capture(Design((source,), "t"), tmp_path / "out", Options(freeze=freeze)).report
    assert report.flop_bits == 33


def test_a_source_that_yosys_rejects_is_an_elaboration_error(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    source.write_text("module t(input clk; endmodule")
    with pytest.raises(ElaborationError, match=r"t\.sv:1: ERROR: expected '\)'"):
        capture(Design((source,), "t"), tmp_path / "out")


def test_a_missing_source_or_top_is_named(tmp_path: Path) -> None:
    with pytest.raises(ElaborationError, match=r"absent\.sv does not exist"):
        capture(Design((tmp_path / "absent.sv",), "t"), tmp_path / "out")
    source = tmp_path / "t.sv"
    source.write_text("module other(input clk); endmodule")
    with pytest.raises(ElaborationError, match=r"\bt\b"):
        capture(Design((source,), "t"), tmp_path / "out")


@pytest.mark.parametrize("lanes", [0, -1, 1025])
def test_a_chain_of_no_or_too_many_lanes_is_refused(lanes: int, tmp_path: Path) -> None:
    with pytest.raises(ElaborationError, match="lanes"):
        capture(Design((tmp_path / "t.sv",), "t"), tmp_path / "out", Options(lanes=lanes))
