"""What being haltable costs on a board, by structure: which cells synthesis makes of the text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from rtl_sim.capture import area, capture, yosys
from rtl_sim.capture.options import Options
from rtl_sim.design import Design, load_design

# Constants of what the state port itself costs: the widened enable, what joins the ends.
OVERHEAD_LUTS = 4


def _areas(text: str, folder: Path, lanes: int = 1) -> tuple[area.Area, area.Area]:
    """Of a design as written and as captured, on Xilinx 7."""
    source = folder / "t.sv"
    source.write_text(f"module t{text}\nendmodule\n")
    result = capture(Design((source,), "t"), folder / "out", Options(lanes=lanes))
    (folder / "captured.v").write_bytes(result.verilog.read_bytes())
    before, after = (
        area.synthesise([f"read_verilog -sv {name}"], "t", folder, "xilinx", name)
        for name in ("t.sv", "captured.v")
    )
    return before, after


# A substitution table: a chain of choices takes several times the LUTs.
ENTRIES = " ".join(f"6'd{n}: y = 8'd{(n * 167 + 13) % 256};" for n in range(64))
DESIGNS = {
    "accumulator": """(input clk, rst, en, input [15:0] d, output reg [15:0] total);
    reg [15:0] x;
    always @(posedge clk)
      if (rst) begin
        x <= 0;
        total <= 0;
      end else if (en) begin
        x <= d;
        total <= total + x;
      end""",
    "sum_and_difference": """(input clk, en, input [15:0] x, y, output reg [15:0] sum, difference);
    reg [15:0] a, b;
    always @(posedge clk) if (en) begin
      a <= x;
      b <= y;
      difference <= a - b;
      sum <= a + b;
    end""",
    "sum_of_sums": """(input clk, en, input [15:0] x, y, z, output reg [15:0] q);
    reg [15:0] a, b, c;
    always @(posedge clk) if (en) begin
      a <= x;
      b <= y;
      c <= z;
      q <= a - b - c;
    end""",
    "words": """(input clk, rst, write, input [2:0] at, look, input [31:0] d, output [31:0] q);
    reg [31:0] key [8];
    always @(posedge clk or posedge rst)
      if (rst) for (int i = 0; i < 8; i++) key[i] <= 0;
      else if (write) key[at] <= d;
    assign q = key[look];""",
    "reset_first": """(input clk, rst, en, input [15:0] d, output reg [15:0] q);
    reg [15:0] p;
    always @(posedge clk)
      if (rst) begin p <= 0; q <= 16'hffff; end
      else if (en) begin p <= d; q <= p; end""",
    "choices": f"""(input clk, input [5:0] d, output reg [7:0] q);
    reg [7:0] y;
    always @* (* parallel_case *) case (d) {ENTRIES} endcase
    always @(posedge clk) q <= y ^ q;""",
}
Areas = Mapping[str, tuple[area.Area, area.Area]]


@pytest.fixture(scope="module")
def areas(tmp_path_factory: pytest.TempPathFactory) -> Areas:
    """Of each of DESIGNS as written and as captured, on Xilinx 7: by one synthesis, which takes
    seconds to begin."""
    folder = tmp_path_factory.mktemp("area")
    for name, text in DESIGNS.items():
        source = folder / f"{name}.sv"
        source.write_text(f"module {name}{text}\nendmodule\n")
        captured = capture(Design((source,), name), folder / name, Options(lanes=1)).verilog
        renamed, count = re.subn(
            rf"\bmodule {name}\b", f"module {name}_after", captured.read_text()
        )
        assert count == 1
        (folder / f"{name}_after.v").write_text(renamed)
    tops = [f"{name}{suffix}" for name in DESIGNS for suffix in ("", "_after")]
    instances = " ".join(f"(* keep *) {top} u_{top} ();" for top in tops)
    (folder / "all.v").write_text(f"module all_of_them; {instances} endmodule")
    flow = [f"read_verilog -sv {' '.join(path.name for path in sorted(folder.glob('*.*v')))}"]
    flow += ["synth_xilinx -family xc7 -noiopad -top all_of_them", "tee -q -o stat.json stat -json"]
    yosys.run(flow, folder)
    modules = json.loads((folder / "stat.json").read_text())["modules"]
    found = {top: area.counted(modules[f"\\{top}"]["num_cells_by_type"]) for top in tops}
    return {name: (found[name], found[f"{name}_after"]) for name in DESIGNS}


def test_a_delay_line_stays_shift_registers_and_needs_no_multiplexers(tmp_path: Path) -> None:
    before, after = _areas(
        """(input clk, en, input [7:0] d, output reg [7:0] q);
        reg [7:0] line [12];
        always @(posedge clk) if (en) begin
          line[0] <= d;
          for (int i = 1; i < 12; i++) line[i] <= line[i - 1];
          q <= line[11];
        end""",
        tmp_path,
    )
    assert before.srl == after.srl == 8
    assert after.lut - before.lut <= 8 + OVERHEAD_LUTS  # the 8 bits that enter the line
    assert after.ff <= before.ff


def test_adders_let_the_chain_through_without_a_multiplexer_behind_them(areas: Areas) -> None:
    """An accumulator of a register: one LUT a bit before and after."""
    before, after = areas["accumulator"]
    assert after.carry == before.carry
    assert after.lut - before.lut <= 16 + OVERHEAD_LUTS  # the 16 bits that enter x


def test_sum_and_difference_of_two_registers_each_let_one_of_them_through(areas: Areas) -> None:
    before, after = areas["sum_and_difference"]
    assert after.carry == before.carry
    assert after.lut - before.lut <= 32 + OVERHEAD_LUTS  # the bits that enter a and b


def test_a_sum_of_sums_lets_the_chain_through_all_of_them(areas: Areas) -> None:
    before, after = areas["sum_of_sums"]
    assert after.carry == before.carry
    assert after.lut - before.lut <= 48 + 2 * OVERHEAD_LUTS  # the bits that enter a, b and c


def test_words_that_share_their_data_need_one_multiplexer_for_all(areas: Areas) -> None:
    """One LUT for each bit of a word, and a multiplexer that shows one of them."""
    before, after = areas["words"]
    assert after.ff == before.ff + 3  # the address of a walk
    assert after.lut - before.lut <= 5 * 32  # and not eight times 32


def test_a_reset_that_stands_first_keeps_its_pin(areas: Areas) -> None:
    before, after = areas["reset_first"]
    assert after.lut - before.lut <= 16 + OVERHEAD_LUTS


def test_choices_of_which_one_is_made_get_no_order(areas: Areas) -> None:
    """A substitution table of 64 entries: a chain of choices takes several times that."""
    before, after = areas["choices"]
    assert after.lut <= before.lut + 2 * 8 + OVERHEAD_LUTS


def test_every_primitive_is_counted_and_ram_by_the_luts_it_takes() -> None:
    cells = {"LUT6": 3, "INV": 1, "RAM32M": 2, "SRL16E": 5, "FDRE": 7, "FDCE": 1, "CARRY4": 2}
    assert area.counted({**cells, "RAMB18E1": 1, "DSP48E1": 4, "BUFG": 1}) == area.Area(
        lut=17, lut_ram=8, srl=5, ff=8, bram=1, dsp=4, carry=2
    )
    assert area.counted({"SB_LUT4": 3, "SB_DFFSR": 2, "SB_CARRY": 1}).lut == 3


def test_a_factor_of_nothing_is_no_number() -> None:
    nothing, one = area.counted({}), area.counted({"FDRE": 1})
    assert area.factor(nothing, one, "ff") is None
    assert area.factor(one, one, "ff") == 1.0


@pytest.mark.slow
def test_the_report_tells_the_area_only_when_asked(tmp_path: Path) -> None:
    source = tmp_path / "t.v"
    source.write_text("module t(input c, d, output reg q); always @(posedge c) q <= d; endmodule")
    design = Design((source,), "t")
    assert capture(design, tmp_path / "plain").report.area is None
    capture(design, tmp_path / "out", area=True)
    table = json.loads((tmp_path / "out" / "report.json").read_text())["area"]
    assert sorted(table) == ["ice40", "xilinx"]
    assert table["xilinx"]["before"]["ff"] == 1


@pytest.mark.slow
def test_a_family_without_such_a_memory_is_told_and_the_other_counted(tmp_path: Path) -> None:
    folder = Path(__file__).parent / "corpus" / "dual_port"
    table = capture(load_design(folder / "design.toml"), tmp_path, area=True).report.area
    assert table is not None
    why = "as written: no valid mapping found for memory dual_port.mem"
    assert table["ice40"] == {"refused": why}
    assert [table["xilinx"][side]["bram"] for side in ("before", "after")] == [1, 1]
