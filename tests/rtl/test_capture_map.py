"""The state map: complete by count, the same from the same design, its layout id structural."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rtl_sim
from rtl_sim.capture import Options, capture, netlist, yosys
from rtl_sim.design import Design

DESIGNS = Path(__file__).parent / "designs"
CHECKSUM = Path(rtl_sim.__file__).parent / "rtl" / "checksum"
SOURCES = {
    **{path.stem: [path] for path in sorted(DESIGNS.glob("*.sv"))},
    "checksum": sorted(CHECKSUM.glob("*.sv")),
}
BASE = """
module leaf #(parameter int W = 4) (input logic clk, input logic [W-1:0] d, output logic [W-1:0] q);
  logic [W-1:0] store [8];
  logic [2:0] at;
  always_ff @(posedge clk) begin
    at <= at + 3'd1;
    store[at] <= d;
    q <= store[at];
  end
endmodule
module t #(parameter int W = 4) (input logic clk, input logic [W-1:0] d, output logic [W-1:0] q);
  logic [W-1:0] between;
  leaf #(.W(W)) u_first (.clk, .d, .q(between));
  leaf #(.W(W)) u_second (.clk, .d(between), .q);
endmodule
"""


def _map(text: str, folder: Path, lanes: int = 32, **params: int) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "t.sv"
    source.write_text(text)
    result = capture(Design((source,), "t", params), folder / "out", Options(lanes=lanes))
    loaded: dict[str, Any] = json.loads(result.state_map.read_text())
    return loaded


def _counted(script: list[str], folder: Path, top: str) -> tuple[int, int]:
    """Flip-flop and memory bits that Yosys counts in a netlist."""
    yosys.run([*script, "write_json counted.json"], folder)
    cells = netlist.read(folder / "counted.json")[top].cells
    flops = sum(len(c.pins["Q"]) for c in cells if "Q" in c.pins)
    memories = sum(
        c.number("WIDTH") * c.number("SIZE")
        for c in cells
        if c.kind == "$mem_v2" and c.number("WR_PORTS")
    )
    return flops, memories


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_bit_of_state_is_in_the_map(name: str, tmp_path: Path) -> None:
    """Counted twice without capture's code: in the sources, and in the emitted file."""
    result = capture(Design(tuple(SOURCES[name]), name), tmp_path / "out")
    state = json.loads(result.state_map.read_text())
    for index, source in enumerate(SOURCES[name]):
        (tmp_path / f"{index}.sv").write_bytes(source.read_bytes())
    (tmp_path / "out.v").write_bytes(result.verilog.read_bytes())
    optimised = ["proc", "flatten", "opt_expr", "opt_clean", "opt_dff -nodffe -nosdff", "opt_clean"]
    files = " ".join(f"{index}.sv" for index in range(len(SOURCES[name])))
    original = _counted(
        [f"read_verilog -sv {files}", f"hierarchy -top {name}", *optimised, "memory_collect"],
        tmp_path,
        name,
    )
    emitted = _counted(
        [
            "read_verilog -sv out.v",
            f"hierarchy -top {name}",
            *("proc", "flatten", "opt_clean", "memory_collect"),
        ],
        tmp_path,
        name,
    )
    bits = [bit for register in state["read_registers"] for bit in register["bits"]]
    # Not in the sources: a register of the data where the RTL has one of the address.
    made = sum(".read" in name for name, _ in bits)
    flops = len(state["flops"]) + len(bits)
    memories = sum(memory["width"] * memory["depth"] for memory in state["memories"])
    assert original == (flops - made, memories)
    added = result.report.padding + result.report.shadow_bits + result.report.walk_bits
    assert emitted == (flops + added, memories)
    assert (result.report.flop_bits, result.report.memory_bits) == (flops, memories)


def test_state_is_named_as_the_rtl_names_it(tmp_path: Path) -> None:
    state = _map(BASE, tmp_path)
    names = {flop["name"] for flop in state["flops"]}
    names |= {bit[0] for register in state["read_registers"] for bit in register["bits"]}
    assert names == {f"u_{which}.{reg}" for which in ("first", "second") for reg in ("at", "q")}
    assert [(m["name"], m["width"], m["depth"]) for m in state["memories"]] == [
        ("u_first.store", 4, 8),
        ("u_second.store", 4, 8),
    ]


def test_the_same_sources_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    results = []
    for place in ("one", "another/deeper"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        copies = []
        for source in SOURCES["checksum"]:
            copies.append(folder / source.name)
            copies[-1].write_bytes(source.read_bytes())
        results.append(capture(Design(tuple(copies), "checksum"), folder / "out"))
    assert results[0].verilog.read_bytes() == results[1].verilog.read_bytes()
    assert results[0].state_map.read_bytes() == results[1].state_map.read_bytes()


def test_comments_wires_and_lanes_leave_the_layout_id(tmp_path: Path) -> None:
    wanted = _map(BASE, tmp_path / "base")["layout_id"]
    changed = BASE.replace("between", "renamed").replace("\nmodule t", "\n// a comment\n\nmodule t")
    assert changed != BASE
    assert _map(changed, tmp_path / "changed")["layout_id"] == wanted
    assert _map(BASE, tmp_path / "lanes", lanes=3)["layout_id"] == wanted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("at", "place"),  # a register's name
        ("store", "shelf"),  # a memory's name
        ("u_first", "u_other"),  # where they are
        ("[8]", "[16]"),  # a depth
        ("logic [2:0] at", "logic [3:0] at"),  # a width
    ],
)
def test_another_register_or_memory_changes_the_layout_id(
    old: str, new: str, tmp_path: Path
) -> None:
    changed = BASE.replace(old, new)
    assert changed != BASE
    if old == "[8]":
        changed = changed.replace("[2:0] at", "[3:0] at").replace("3'd1", "4'd1")
    ids = {_map(text, tmp_path / str(i))["layout_id"] for i, text in enumerate((BASE, changed))}
    assert len(ids) == 2


def test_a_parameter_changes_the_layout_and_keeps_the_name(tmp_path: Path) -> None:
    narrow, wide = _map(BASE, tmp_path / "narrow"), _map(BASE, tmp_path / "wide", W=9)
    assert (narrow["mem_width"], wide["mem_width"]) == (4, 9)
    assert "module t (" in (tmp_path / "wide" / "out" / "t.v").read_text()


def test_a_rom_is_no_state_but_its_content_is_told(tmp_path: Path) -> None:
    text = """
    module t(input logic clk, input logic [3:0] a, output logic [7:0] q);
      logic [7:0] rom [16];
      initial for (int i = 0; i < 16; i++) rom[i] = i * FACTOR;
      always_ff @(posedge clk) q <= rom[a];
    endmodule"""
    maps = [_map(text.replace("FACTOR", f), tmp_path / f) for f in ("3", "3", "5")]
    assert [memory["name"] for memory in maps[0]["memories"]] == []
    assert [rom["name"] for rom in maps[0]["roms"]] == ["rom"]
    assert maps[0]["roms"] == maps[1]["roms"] != maps[2]["roms"]


def test_a_design_without_flip_flops_has_an_empty_chain(tmp_path: Path) -> None:
    state = _map(
        "module t(input clk, input [2:0] a, input [3:0] d, input we, output [3:0] q);"
        " reg [3:0] m [0:7]; always @(posedge clk) if (we) m[a] <= d; assign q = m[a]; endmodule",
        tmp_path,
    )
    assert (state["rows"], state["flops"], len(state["memories"])) == (0, [], 1)
