"""What capture is given: RTL in both languages, names, and mistakes told with file and line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rtl_sim.capture import (
    CaptureError,
    CaptureRefused,
    CaptureResult,
    ElaborationError,
    Options,
    capture,
)
from rtl_sim.design import Design

HEAD = "module t(input clk, input en, input [3:0] d, output reg [3:0] q);\n"
KEEP = "always @(posedge clk) q <= d;\nendmodule\n"

# what -> (text, what the message must say besides the file)
WRONG = {
    "a syntax error": (f"{HEAD}always @(posedge clk q <= d;\nendmodule", r":2: .*expected '\)'"),
    "a delay that acts": (f"{HEAD}always begin #5 q = d; end\nendmodule", ":2: .*timing control"),
    "a clock made of delays": (
        f"{HEAD}reg c;\nalways #5 c = ~c;\nalways @(posedge c) q <= d;\nendmodule",
        ":3: .*timing control",
    ),
    "an event inside a process": (
        f"{HEAD}always begin @(posedge clk); q = d; @(posedge clk); q = 0; end\nendmodule",
        ":2: .*timing control",
    ),
    "a wait": (f"{HEAD}always begin wait (en); q = d; end\nendmodule", ":2: .*wait statement"),
    "a fork": (f"{HEAD}initial fork q = 1; join\nendmodule", ":2: ERROR: cannot be made: .*fork"),
    "a loop without end": (f"{HEAD}initial forever q = !q;\nendmodule", ":2: .*unsupported"),
    "a name nobody declared": (
        f"{HEAD}always @(posedge clk) q <= other;\nendmodule",
        ":2: .*'other'",
    ),
    "two modules of one name": (f"{HEAD}{KEEP}{HEAD}{KEEP}", ":4: .*duplicate definition"),
    "an include that is not there": (f'`include "no.vh"\n{HEAD}{KEEP}', r":1: ERROR: 'no\.vh'"),
    "a memory file that is not there": (
        f'{HEAD}reg [3:0] m [0:3];\ninitial $readmemh("no.hex", m);\n'
        "always @(posedge clk) q <= m[d[1:0]];\nendmodule",
        r":3: ERROR: failed to open file 'no\.hex'",
    ),
    "a module inside itself": (
        "module r(input c, output q);\nr u(c, q);\nendmodule\n"
        "module t(input clk, output q);\nr u(clk, q);\nendmodule",
        "maximum depth",
    ),
    "a port that the module has not": (
        f"module s(input a, output b); assign b = a; endmodule\n{HEAD}s u(.zz(d[0]));\n{KEEP}",
        ":3: .*'zz'",
    ),
    "another top": (f"{HEAD.replace('module t', 'module x')}{KEEP}", "no module t; .*: x$"),
    "another top of what slang alone reads": (
        "package p; function int f(int a); return (a << 1) | a; endfunction endpackage\n"
        f"{HEAD.replace('module t', 'module x')}{KEEP}",
        "no module t; .*: x$",
    ),
}  # fmt: skip
NO_LINE = {"another top", "another top of what slang alone reads"}


def _capture(
    folder: Path, text: str, suffix: str = "sv", top: str = "t", **params: int | str
) -> CaptureResult:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"t.{suffix}"
    source.write_text(text)
    return capture(Design((source,), top, params), folder / "out")


def _names(result: CaptureResult) -> set[str]:
    state = json.loads(result.state_map.read_text())
    return {flop["name"] for flop in state["flops"]} | {m["name"] for m in state["memories"]}


@pytest.mark.parametrize("what", sorted(WRONG))
def test_a_mistake_is_told_with_file_and_line(what: str, tmp_path: Path) -> None:
    text, message = WRONG[what]
    file = "" if what in NO_LINE else str(tmp_path / "t.sv")
    with pytest.raises(ElaborationError, match=f"{file}.*{message}"):
        _capture(tmp_path, text)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["a delay that acts", "a name nobody declared"])
def test_verilog_that_yosys_would_take_without_a_word_is_told_too(
    what: str, tmp_path: Path
) -> None:
    text, message = WRONG[what]
    with pytest.raises(ElaborationError, match=str(tmp_path / "t.v") + message):
        _capture(tmp_path, text, "v")


def test_a_delay_inside_an_assignment_says_when_and_changes_nothing(tmp_path: Path) -> None:
    text = f"{HEAD}wire [3:0] w;\nassign #2 w = d;\nalways @(posedge clk) q <= #1 w;\nendmodule"
    assert _capture(tmp_path, text).report.flop_bits == 4


def test_a_construct_that_simulates_but_is_not_for_synthesis_is_left_out(tmp_path: Path) -> None:
    text = f"{HEAD}`ifndef SYNTHESIS\ninitial begin #5 $finish; end\n`endif\n{KEEP}"
    assert _capture(tmp_path, text, "v").report.flop_bits == 4


def test_the_top_is_found_when_only_one_can_be_it(tmp_path: Path) -> None:
    assert _capture(tmp_path, f"{HEAD}{KEEP}", top="").report.top == "t"
    other = HEAD.replace("module t", "module u")
    with pytest.raises(ElaborationError, match="no top module was named, and t, u "):
        _capture(tmp_path, f"{HEAD}{KEEP}{other}{KEEP}", top="")


@pytest.mark.parametrize(
    ("sources", "message"),
    [((), "names no source files"), (("no.sv",), r"no\.sv does not exist")],
)
def test_files_that_are_not_there_are_named(
    sources: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ElaborationError, match=message):
        capture(Design(tuple(tmp_path / name for name in sources), "t"), tmp_path / "out")


PARAMETERS = (
    'module t #(parameter W = 4, parameter NAME = "abc", parameter real R = 1.0)\n'
    "  (input clk, input [W-1:0] d, output reg [W-1:0] q);\n"
    '  reg [(R > 1.5 && NAME == "x yz") ? 1 : 0 : 0] two;\n'
    "  always @(posedge clk) begin q <= d; two <= ~d; end\nendmodule\n"
)


@pytest.mark.parametrize("suffix", ["sv", "v"])
def test_parameters_are_numbers_texts_and_reals(suffix: str, tmp_path: Path) -> None:
    text = PARAMETERS.replace("output reg [W-1:0] q)", "output reg [W-1:0] q, output [1:0] o)")
    text = text.replace("endmodule", "assign o = two;\nendmodule")
    params: Mapping[str, int | str] = {"W": 9, "NAME": "x yz", "R": "1.75"}
    assert _capture(tmp_path / "a", text, suffix, **params).report.flop_bits == 11
    assert _capture(tmp_path / "b", text, suffix, W=9, NAME="x").report.flop_bits == 10
    with pytest.raises(ElaborationError, match="'NONE' does not exist in 't'"):
        _capture(tmp_path / "c", text, suffix, NONE=3)


SYSTEMVERILOG = """
package p;
  typedef enum logic [1:0] {IDLE, BUSY} phase_t;
  typedef struct packed {phase_t phase; logic [4:0] count;} item_t;
  function automatic logic [4:0] next(logic [4:0] n);
    if (n == 5'd20) return 5'd0;
    return n + 5'd1;
  endfunction
endpackage
interface bus_if (input logic clk); logic [7:0] data; modport to(input data, clk); endinterface
module leaf import p::*; #(parameter type T = logic [3:0]) (bus_if.to bus, output T q);
  item_t item;
  struct {logic [2:0] a; logic b;} loose;
  logic [7:0] taps [3];
  always_ff @(posedge bus.clk) begin
    item.count <= next(item.count);
    item.phase <= item.count[0] ? BUSY : IDLE;
    loose.a <= loose.a + 3'd1;
    loose.b <= ^taps[2] ^ loose.a[0];
    taps[0] <= bus.data;
    for (int i = 1; i < 3; i++) taps[i] <= taps[i-1];
    q <= T'(taps[2]) ^ T'({loose.b, item.count}) ^ T'({item.phase, loose.a});
  end
endmodule
module t (input logic clk, input logic [7:0] d, output logic [5:0] q [2]);
  for (genvar i = 0; i < 2; i++) begin : g_row
    bus_if bus (.clk);
    assign bus.data = d + 8'(i);
    leaf #(.T(logic [5:0])) u_leaf (.bus(bus), .q(q[i]));
  end
endmodule
"""


def test_systemverilog_is_read_whole_and_registers_keep_their_names(tmp_path: Path) -> None:
    result = _capture(tmp_path, SYSTEMVERILOG)
    registers = {"item", "loose", "taps[0]", "taps[1]", "taps[2]", "q"}
    assert _names(result) == {f"g_row[{i}].u_leaf.{name}" for i in (0, 1) for name in registers}
    assert result.report.flop_bits == 2 * (7 + 4 + 24 + 6)


BOTH = """
module leaf #(parameter W = 4) (input clk, input [W-1:0] d, input [2:0] a, output reg [W-1:0] q);
  reg [W-1:0] store [0:7];
  reg [W-1:0] line [0:2];
  always @(posedge clk) begin
    store[a] <= d;
    line[0] <= store[a]; line[1] <= line[0]; line[2] <= line[1];
    q <= line[2];
  end
endmodule
module t(input clk, input [3:0] d, input [2:0] a, output [3:0] q, output [3:0] r);
  leaf u_a(clk, d, a, q);
  leaf u_b(clk, q, a, r);
endmodule
"""


def test_both_readers_give_one_layout_so_that_a_snapshot_fits_both(tmp_path: Path) -> None:
    by_slang = _capture(tmp_path / "a", BOTH, "sv")
    by_yosys = _capture(tmp_path / "b", BOTH, "v")
    assert "u_a.line[2]" in _names(by_slang) and "u_b.store" in _names(by_slang)
    assert _names(by_slang) == _names(by_yosys)
    assert by_slang.report.layout_id == by_yosys.report.layout_id


def test_verilog_by_habit_is_read_by_the_reader_that_knows_it(tmp_path: Path) -> None:
    text = (
        f"{HEAD}reg [3:0] x;\nalways @* begin (* full_case *) case (d[1:0]) 0: x = 1; 1: x = d;"
        " 2: x = 3; endcase end\nalways @(posedge clk) q <= x;\nendmodule"
    )
    assert _capture(tmp_path, text, "v").report.flop_bits == 4
    assert _capture(tmp_path, text, "sv").report.flop_bits == 4  # slang makes a latch: not taken


def test_equal_instances_are_written_once(tmp_path: Path) -> None:
    text = (
        "module inc(input [3:0] a, output [3:0] y); assign y = (a + 1) * (a ^ 5); endmodule\n"
        f"{HEAD}wire [3:0] w, v; inc u(d, w); inc x(w, v);\n"
        "always @(posedge clk) q <= v;\nendmodule"
    )
    assert _capture(tmp_path, text).report.kept_modules == 1


def test_includes_defines_and_memory_files_are_found_beside_the_source(tmp_path: Path) -> None:
    rtl, headers = tmp_path / "rtl", tmp_path / "headers"
    rtl.mkdir()
    headers.mkdir()
    (headers / "widths.vh").write_text("`define WIDTH `BASE\n")
    (rtl / "image.hex").write_text("1\n2\n3\n4\n")
    (rtl / "t.v").write_text(
        '`include "widths.vh"\nmodule t(input clk, input [1:0] a, output reg [`WIDTH-1:0] q);\n'
        'reg [3:0] m [0:3];\ninitial $readmemh("image.hex", m);\n'
        "always @(posedge clk) q <= m[a];\nendmodule\n"
    )
    design = Design((rtl / "t.v",), "t", include=(headers,), defines={"BASE": "5"})
    report = capture(design, tmp_path / "out").report
    assert (report.flop_bits, report.roms) == (4, 1)  # the fifth bit is always 0


def test_a_name_inside_an_instance_can_be_read_from_outside(tmp_path: Path) -> None:
    text = (
        "module part(input clk, input [3:0] d); reg [3:0] seen, m [0:3];"
        " always @(posedge clk) begin seen <= d; m[d[1:0]] <= d; end endmodule\n"
        f"{HEAD}part u(clk, d); always @(posedge clk) q <= u.seen ^ u.m[d[3:2]]; endmodule\n"
    )
    state = json.loads(_capture(tmp_path, text).state_map.read_text())
    names = {bit["name"] for bit in state["flops"]}
    assert {"q", "u.seen"} <= names
    assert [memory["name"] for memory in state["memories"]] == ["u.m"]


@pytest.mark.parametrize("top", ["t", ""])
def test_a_file_that_includes_itself_is_told(top: str, tmp_path: Path) -> None:
    (tmp_path / "ring.vh").write_text('`include "ring.vh"\n')
    with pytest.raises(ElaborationError, match=r"ring\.vh:1: ERROR: exceeded max include depth"):
        _capture(tmp_path, f'`include "ring.vh"\n{HEAD}{KEEP}', top=top)


def test_a_signed_value_keeps_its_sign_in_a_part_of_a_memorys_word(tmp_path: Path) -> None:
    text = (
        "module t(input clk, input signed [2:0] s, input [1:0] a, output reg [8:0] q);"
        " reg [8:0] m [0:3];"
        " always @(posedge clk) begin m[a][7:1] <= s; q <= m[~a]; end endmodule\n"
    )
    written = _capture(tmp_path, text, "v").verilog.read_text()
    assert "{{4{s[2]}}, s}" in written


# What only slang reads right; the second is a latch to it, which Yosys's reader knows is none.
CAST = "`define WIDE(x) {8'(x) << 4}\nmodule t(input clk, input [3:0] d, output reg [7:0] q);\n"
UNREAD_BY_SLANG = (
    "reg x;\nalways @* begin (* full_case *) case (d[1:0]) 0: x = 1; 1: x = d[3]; 2: x = d[2];"
    " endcase end\n"
)


@pytest.mark.parametrize("suffix", ["v", "sv"])
def test_a_cast_is_as_wide_as_it_says_whatever_reads_the_design(
    suffix: str, tmp_path: Path
) -> None:
    written = _capture(tmp_path, f"{CAST}always @(posedge clk) q <= `WIDE(d);\nendmodule", suffix)
    assert written.report.flop_bits == 4  # Yosys's own reader makes it 0


@pytest.mark.parametrize("suffix", ["v", "sv"])
@pytest.mark.parametrize(
    ("text", "line", "kind"),
    [
        (f"{CAST}{UNREAD_BY_SLANG}always @(posedge clk) q <= `WIDE(d) ^ x;\nendmodule", 1,
         "width-cast"),
        ("module t(input clk, input signed [3:0] d, output reg [7:0] q);\nreg [7:0] m [0:3];\n"
         f"{UNREAD_BY_SLANG}always @(posedge clk) begin\n  m[d[1:0]][7:1] <= d;\n"
         "  q <= m[d[3:2]] ^ x;\nend\nendmodule", 6, "signed-part"),
    ],
)  # fmt: skip
def test_what_only_the_wrong_reader_reads_is_refused_with_file_and_line(
    suffix: str, text: str, line: int, kind: str, tmp_path: Path
) -> None:
    with pytest.raises(CaptureRefused) as refused:
        _capture(tmp_path, f"// 8'(d) and m[d][1:0] <= d are only told\n{text}", suffix)
    found = {each.kind: each.where for each in refused.value.refusals}
    assert found[kind] == f"{tmp_path}/t.{suffix}:{line + 1}"
    assert found.keys() == {kind, "latch"}  # and why slang does not read it
    assert not (tmp_path / "out").exists()


def test_what_the_top_does_not_use_may_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "empty.vh").write_text("")
    unused = "module unused(input clk); missing m(clk); endmodule\n"
    assert _capture(tmp_path, f'`include "empty.vh"\n{unused}{HEAD}{KEEP}').report.top == "t"


@pytest.mark.parametrize("suffix", ["sv", "v"])
def test_files_and_folders_may_have_blanks_in_their_names(suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "my rtl"
    folder.mkdir()
    source = folder / f"a counter;(1)#2.{suffix}"
    source.write_text(f"{HEAD}{KEEP}")
    assert capture(Design((source,)), tmp_path / "the out").report.top == "t"
    source.write_text(f"{HEAD}assign q = nowhere;\nendmodule\n")
    with pytest.raises(ElaborationError, match=rf"{re.escape(str(source))}:2: .*nowhere"):
        capture(Design((source,)), tmp_path / "the out")
    with pytest.raises(ElaborationError, match="has a name that Yosys cannot be told: rename it"):
        capture(Design((source.rename(folder / "it's.v"),)), tmp_path / "the out")


def test_the_bytes_do_not_depend_on_where_each_source_lies(tmp_path: Path) -> None:
    texts = [BOTH.split("module t")[0], "module t" + BOTH.split("module t")[1]]
    outputs = []
    for places in (("same", "same"), ("one/deep", "two")):
        paths = []
        for number, (place, text) in enumerate(zip(places, texts, strict=True)):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            paths.append(tmp_path / place / f"part{number}.v")
            paths[-1].write_text(text)
        result = capture(Design(tuple(paths), "t"), tmp_path / places[0] / "out")
        outputs.append([path.read_bytes() for path in sorted(result.verilog.parent.iterdir())])
    assert outputs[0] == outputs[1]


def test_an_earlier_result_survives_a_design_that_is_refused(tmp_path: Path) -> None:
    before = _capture(tmp_path, f"{HEAD}{KEEP}").verilog.read_bytes()
    with pytest.raises(CaptureError):
        _capture(tmp_path, f"{HEAD}endmodule")
    assert (tmp_path / "out" / "t.v").read_bytes() == before
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"t.v", "state.json", "report.json"}


@pytest.mark.slow
def test_the_example_in_the_documentation_does_what_is_shown(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "capture"
    for lanes, name in ((32, "wide"), (5, "narrow")):
        design = Design((example / "tally.sv",))
        capture(design, tmp_path / name, Options(lanes=lanes))
    done = subprocess.run(
        [sys.executable, example / "move.py", tmp_path / "wide", tmp_path / "narrow"],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert "258 frozen cycles" in done.stdout
    assert "never halted: 27; halted and moved: 27" in done.stdout
