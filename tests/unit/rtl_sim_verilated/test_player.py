"""Players: any top, its ports found, rows in and rows out."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rtl_sim.errors import BuildFailed, ModelFault, PortError
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.player import Player, build_player
from rtl_sim.verilated.player_build import build_program

HERE = Path(__file__).parent
PORTS = HERE / "rtl" / "ports.sv"

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)


@pytest.fixture(scope="module")
def library() -> Path:
    return build_player([PORTS], "ports")


def test_ports_are_found_with_the_names_and_widths_of_the_rtl(library: Path) -> None:
    with Player(library) as player:
        widths = {port.name: port.width for port in player.inputs}
        outputs = {port.name: port.width for port in player.outputs}
    assert widths == {
        "clk": 1, "rst_n": 1, "b1": 1, "b8__x": 8, "b13": 13, "b32": 32, "b33": 33, "b64": 64,
        "b65": 65, "b100": 100, "odd+name": 1, "while_": 4,
    }  # fmt: skip
    assert outputs == {
        "interrupt": 1, "q8": 8, "q13": 13, "q32": 32, "q33": 33, "q64": 64, "q65": 65,
        "q100": 100, "count": 32,
    }  # fmt: skip


def test_a_value_of_every_width_passes_unchanged(library: Path) -> None:
    rng = np.random.default_rng(1)
    with Player(library) as player:
        for _ in range(20):
            given = {
                port.name: int.from_bytes(rng.bytes(16), "little") & ((1 << port.width) - 1)
                for port in player.inputs
                if port.name not in ("clk", "rst_n")
            }
            for name, value in given.items():
                player.set(name, value)
            for level in (0, 1):
                player.set("clk", level)
                player.eval()
            for source, target in (("b8__x", "q8"), ("b13", "q13"), ("b32", "q32"), ("b33", "q33"),
                                   ("b64", "q64"), ("b65", "q65"), ("b100", "q100")):  # fmt: skip
                assert player.get(target) == given[source], target
            parity = given["b1"] ^ given["odd+name"] ^ (given["while_"].bit_count() & 1)
            assert player.get("interrupt") == parity


def test_bits_above_a_port_in_a_row_are_ignored(library: Path) -> None:
    with Player(library) as player:
        shown = player.play(np.full((2, player.in_words), 0xFFFFFFFF, np.uint32))
        q33 = player.port("q33")
        assert list(shown[-1, q33.first : q33.first + 2]) == [0xFFFFFFFF, 1]


def test_rows_in_one_call_do_what_single_evaluations_do(library: Path) -> None:
    rng = np.random.default_rng(2)
    with Player(library) as one, Player(library) as other:
        rows = rng.integers(0, 1 << 32, (400, one.in_words), dtype=np.uint32)
        rows[:, one.port("rst_n").first] = 1
        together = one.play(rows)
        apart = np.concatenate([other.play(rows[i : i + 1]) for i in range(len(rows))])
        assert np.array_equal(together, apart)
        assert one.get("count") == other.get("count") > 0


def test_short_rows_leave_the_last_ports_as_they_are() -> None:
    rng = np.random.default_rng(4)
    last = ("b33", "b8__x", "q33", "count")
    with (
        Player(build_player([PORTS], "ports", last=last)) as short,
        Player(build_player([PORTS], "ports")) as whole,
    ):
        in_words, out_words = short.short_words
        assert (short.in_words - in_words, short.out_words - out_words) == (3, 3)
        assert [port.name for port in short.ports.values() if port.last] == sorted(last)
        rows = rng.integers(0, 1 << 32, (60, in_words), dtype=np.uint32)
        full = np.zeros((60, whole.in_words), np.uint32)
        for player in (short, whole):
            player.set("b33", 0x1_2345_6789)
            player.set("b8__x", 0x5A)
            player.eval()
        for port in whole.inputs:
            place = short.port(port.name).first
            full[:, port.first : port.first + port.words] = (
                whole.row[port.first : port.first + port.words]
                if port.name in last
                else rows[:, place : place + port.words]
            )
        shown, expected = short.play(rows), whole.play(full)
        assert shown.shape == (60, out_words)
        for port in whole.outputs:
            assert short.get(port.name) == whole.get(port.name), port.name
            if port.name not in last:
                place = short.port(port.name).first
                assert np.array_equal(
                    shown[:, place : place + port.words],
                    expected[:, port.first : port.first + port.words],
                )
        assert short.get("b33") == 0x1_2345_6789


def test_an_output_can_feed_an_input(library: Path) -> None:
    with Player(library) as player:
        player.set("b32", 5)
        player.set("rst_n", 1)
        player.eval()
        rows = np.tile(player.row, (6, 1))
        rows[:, player.port("clk").first] = [0, 1, 0, 1, 0, 1]
        shown = player.play(rows, feed=("count", "b32"))
        column = player.port("q32").first
        assert list(shown[:, column]) == [0, 0, 1, 1, 2, 2]
        assert player.get("b32") == 2


def test_a_seed_makes_noise_of_what_nothing_initializes(library: Path) -> None:
    with Player(library) as zeros, Player(library, 3) as noise, Player(library, 3) as again:
        assert zeros.get("q100") == 0
        assert noise.get("q100") == again.get("q100") != 0


def test_a_model_that_finishes_says_so_and_stays_stopped(library: Path) -> None:
    with Player(library) as player:
        player.set("rst_n", 1)
        rows = np.tile(player.row, (4000, 1))
        rows[:, player.port("clk").first] = np.arange(len(rows)) & 1
        with pytest.raises(ModelFault, match=r"row 2001.*\$finish at .*ports.sv"):
            player.play(rows)
        with pytest.raises(ModelFault):
            player.eval()


def test_what_does_not_fit_is_refused_by_name(library: Path) -> None:
    with Player(library) as player:
        with pytest.raises(PortError, match="no input 'q8'; it has b1, b100"):
            player.set("q8", 1)
        with pytest.raises(PortError, match="b13 has 13 bits; 0x2000"):
            player.set("b13", 1 << 13)
        with pytest.raises(PortError, match="words of uint32"):
            player.play(np.zeros((1, player.in_words + 1), np.uint32))
        with pytest.raises(PortError, match="words of uint32"):
            player.play(np.zeros((1, player.in_words), np.int32))  # type: ignore[arg-type]
        with pytest.raises(PortError, match="q8 has 8 bits, b13 13"):
            player.play(np.zeros((1, player.in_words), np.uint32), feed=("q8", "b13"))
        with pytest.raises(PortError, match="trace=True") as refused:
            player.trace(Path("nowhere.vcd"))
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_a_waveform_holds_every_row_and_changes_nothing(library: Path, tmp_path: Path) -> None:
    traced = build_player([PORTS], "ports", trace=True)
    rows = np.random.default_rng(5).integers(0, 1 << 32, (50, 40), dtype=np.uint32)
    with Player(traced) as seen, Player(library) as plain:
        rows = rows[:, : plain.in_words]
        seen.trace(tmp_path / "wave.vcd")
        assert np.array_equal(seen.play(rows), plain.play(rows))
    text = (tmp_path / "wave.vcd").read_text()
    assert "q100" in text
    assert text.count("\n#") >= len(rows)


def test_parameters_defines_and_included_files_reach_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "include"
    folder.mkdir()
    source = tmp_path / "sum.sv"
    source.write_text(
        '`include "value.svh"\n'
        'module sum #(parameter A = 1, parameter string S = "x") (output [31:0] y);\n'
        '  assign y = A + `B + `C + (S == "yes" ? 1000 : 0);\nendmodule\n'
    )
    for value in (300, 400):  # the key sees what is included
        (folder / "value.svh").write_text(f"`define C {value}\n")
        library = build_player(
            [source], "sum", {"A": 7, "S": "yes"}, include=[folder], defines={"B": "20"}
        )
        with Player(library) as player:
            assert player.get("y") == 1027 + value


def test_an_unpacked_array_is_one_port_with_its_leftmost_element_highest(tmp_path: Path) -> None:
    source = tmp_path / "arrays.sv"
    source.write_text(
        "module arrays (input logic clk, input logic [6:0] up [0:2],\n"
        "               input logic [66:0] down [1:0], input logic bits [2:1][0:2],\n"
        "               output logic [6:0] shown [0:2],\n"
        "               output logic [66:0] wide [0:1], output logic [5:0] flat);\n"
        "  assign shown[0] = up[0] + 1, shown[1] = up[1], shown[2] = up[2];\n"
        "  assign wide[0] = down[0], wide[1] = down[1] ^ 1;\n"
        "  assign flat = {bits[1][0], bits[1][1], bits[1][2],\n"
        "                 bits[2][0], bits[2][1], bits[2][2]};\n"
        "endmodule\n"
    )
    with Player(build_player([source], "arrays")) as player:
        assert {port.name: port.width for port in player.ports.values()} == {
            "clk": 1, "up": 21, "down": 134, "bits": 6, "shown": 21, "wide": 134, "flat": 6,
        }  # fmt: skip
        high, low = 0x7_0123_4567_89AB_CDEF, 0x1_FEDC_BA98_7654_3210
        player.set("up", 5 << 14 | 100 << 7 | 77)
        player.set("down", high << 67 | low)  # [1], [0]
        player.set("bits", 0b110_001)  # [2][0], [2][1], [2][2], [1][0], ...
        player.eval()
        assert player.get("shown") == 6 << 14 | 100 << 7 | 77
        assert player.get("wide") == low << 67 | high ^ 1
        assert player.get("flat") == 0b001_110


@pytest.mark.parametrize("shift", ["<<", ">>"])
def test_one_shift_after_another_shifts_by_the_whole_sum(shift: str, tmp_path: Path) -> None:
    source = tmp_path / "twice.v"
    source.write_text(
        f"module twice (input [64:0] a, input [3:0] b, c, output [64:0] y);"
        f" wire [64:0] once = a {shift} b; assign y = once {shift} c; endmodule\n"
    )
    with Player(build_player([source], "twice")) as player:
        player.set("a", 1 << 32)
        for b, c in ((0, 3), (7, 8), (8, 8), (15, 15)):
            player.set("b", b)
            player.set("c", c)
            player.eval()
            assert player.get("y") == (1 << 32 + b + c if shift == "<<" else 1 << 32 - b - c)


def test_a_register_that_a_task_updates_in_place_keeps_its_value(tmp_path: Path) -> None:
    source = tmp_path / "bump.v"
    source.write_text(
        "module bump (input clk, input en, output reg y); reg [7:0] n = 0;\n"
        "  task add; inout [7:0] x; x = x + 1; endtask\n"
        "  always @(posedge clk) begin add(n); y <= ^n & en; end\nendmodule\n"
    )
    with Player(build_player([source], "bump")) as player:
        player.set("en", 1)
        seen = []
        for _ in range(8):
            for level in (1, 0):
                player.set("clk", level)
                player.eval()
            seen.append(player.get("y"))
    assert seen == [1, 1, 0, 1, 0, 0, 1, 1]  # the parity of 1, 2, ... 8


@pytest.mark.parametrize("port", ["inout x", "input real x [2]", "input real x"])
def test_ports_that_are_no_bits_are_refused(port: str, tmp_path: Path) -> None:
    source = tmp_path / "odd.sv"
    source.write_text(f"module odd ({port}, output y); assign y = 0; endmodule\n")
    with pytest.raises(BuildFailed, match=r"port .*x.* is not an input or output of bits"):
        build_player([source], "odd")


@pytest.mark.slow
def test_the_player_touches_no_memory_but_its_own_and_its_rows() -> None:
    program = build_program([PORTS], "ports", HERE / "sanitize_player.cpp")
    done = subprocess.run([program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "clean\n"), done.stderr[-3000:]
