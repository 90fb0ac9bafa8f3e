"""Every kind of flip-flop, both polarities of each pin, in one design: it runs and moves."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from rtl_sim.capture import CaptureRefused, Options, capture
from rtl_sim.design import Design
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.player import build_player
from tests.rtl.test_capture_clocks import libraries, moves_like

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

# kind -> (which pins it has, events and body of its process)
KINDS = {
    "dff": ("", "q <= d"),
    "dffe": ("e", "if ({e}) q <= d"),
    "sdff": ("r", "if ({r}) q <= 2; else q <= d"),
    "sdffe": ("re", "if ({r}) q <= 2; else if ({e}) q <= d"),
    "sdffce": ("re", "if ({e}) begin if ({r}) q <= 2; else q <= d; end"),
    "adff": ("a", "if ({a}) q <= 2; else q <= d"),
    "adffe": ("ae", "if ({a}) q <= 2; else if ({e}) q <= d"),
    "dffsr": ("as", "if ({a}) q <= 0; else if ({s}) q <= 3; else q <= d"),
    "dffsre": ("ase", "if ({a}) q <= 0; else if ({s}) q <= 3; else if ({e}) q <= d"),
}


def sweep() -> str:
    """Two bits for each kind and polarity; every second register has an initial value."""
    lines, count = [], 0
    for pins, body in KINDS.values():
        for rising, *levels in product((1, 0), repeat=1 + len(pins)):
            active = dict(zip(pins, levels, strict=True))
            names = {pin: pin if level else f"{pin}_n" for pin, level in active.items()}
            if "s" in active and "a" in active:
                # A set that outlives the reset acts at once in hardware, not in simulation.
                names["s"] = f"s{count}"
                given, reset = "s" if active["s"] else "!s_n", "a" if active["a"] else "!a_n"
                invert = "" if active["s"] else "!"
                lines.append(f"  wire s{count} = {invert}({given} && !({reset}));")
            texts = {
                pin: names[pin] if level else f"!{names[pin]}" for pin, level in active.items()
            }
            events = [f"{'pos' if rising else 'neg'}edge clk"]
            events += [
                f"{'pos' if active[p] else 'neg'}edge {names[p]}" for p in "as" if p in active
            ]
            name = f"q{count}"
            value = f" = {count % 4}" if count % 2 else ""
            text = body.format(**texts).replace("q <=", f"{name} <=")
            text = text.replace("<= d", f"<= d ^ {count % 4}")
            lines.append(f"  reg [1:0] {name}{value};")
            lines.append(f"  always @({' or '.join(events)}) {text};")
            lines.append(f"  assign q[{2 * count + 1}:{2 * count}] = {name};")
            count += 1
    # Low-active pins are made inside: at power-on, all inputs 0, no reset must be active.
    head = (
        f"module t(input clk, e, r, a, s, input [1:0] d, output [{2 * count - 1}:0] q);\n"
        "  wire e_n = !e, r_n = !r, a_n = !a, s_n = !s;"
    )
    return "\n".join([head, *lines, "endmodule\n"])


def test_every_kind_of_flip_flop_runs_freezes_and_moves(tmp_path: Path) -> None:
    source = tmp_path / "t.v"
    source.write_text(sweep())
    resets = {"a": 1, "s": 1}
    design = Design((source,), "t", clocks=("clk",), resets=resets)
    results = tuple(
        capture(design, tmp_path / options.freeze, options)
        for options in (Options(lanes=32), Options(lanes=5, freeze="gate"))
    )
    assert results[0].report.flop_bits == 2 * source.read_text().count("reg ")
    beside = [w for w in results[0].report.warnings if "set beside reset" in w]
    assert len(beside) == 8 + 16
    original = build_player([source], "t")
    moves_like(original, libraries(results, "t"), design, 3)


def test_an_asynchronous_load_of_a_constant_is_a_reset(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    source.write_text(
        "module t(input clk, l, input [1:0] d, output logic [1:0] q); wire [1:0] c = 2;\n"
        "always_ff @(posedge clk or posedge l) if (l) q <= c; else q <= d; endmodule"
    )
    result = capture(Design((source,), "t"), tmp_path / "out")
    assert "wire sp_arst = sp_run && l;" in result.verilog.read_text()


@pytest.mark.parametrize(
    ("statement", "kind", "line"),
    [
        ("always @(posedge clk or posedge l) if (l) q <= d; else q <= !q;", "asynchronous-load", 2),
        ("always @($global_clock) q <= d;", "global-clock", 2),
        ("always @* if (l) q = d;", "latch", 2),
        ("always @* if (e) q = 0; else if (l) q = d;", "latch", 2),
        ("always @(posedge 1'b1) q <= d;", "constant-clock", 2),
        ("wire c = 0; u u(c, d, q);", "constant-clock", 4),
        ("u u(, d, q);", "undriven-clock", 4),
        ("wire c; always @(posedge c) q <= d;", "undriven-clock", 2),
    ],
)
def test_registers_that_cannot_be_held_are_refused_with_their_line(
    statement: str, kind: str, line: int, tmp_path: Path
) -> None:
    source = tmp_path / "t.v"
    output = "output" if " u(" in statement else "output reg"
    source.write_text(
        f"module t(input clk, l, e, d, {output} q);\n{statement}\nendmodule\n"
        "module u(input c, d, output reg q); always @(posedge c) q <= d; endmodule\n"
    )
    with pytest.raises(CaptureRefused) as caught:
        capture(Design((source,), "t"), tmp_path / "out")
    assert any(
        refusal.kind == kind and f"t.v:{line}" in refusal.where for refusal in caught.value.refusals
    ), caught.value


HALF_RESET = """\
module t(input clk, rst, input [1:0] d, output [7:0] q, output [3:0] p);
  {before}
  reg [7:0] whole; reg [3:0] started = 5;
  always @(posedge clk or posedge rst) if (rst) whole <= 8'h59; else whole[1:0] <= {value};
  always @(posedge clk or posedge rst) if (rst) started <= 10; else if (d[1]) started[3] <= d[0];
  assign q = whole, p[2:0] = started[3:1], p[3] = started[0];
endmodule
"""


def test_bits_that_only_an_asynchronous_reset_writes_are_what_it_says(tmp_path: Path) -> None:
    """slang's reader loses them; Yosys's does not."""
    source = tmp_path / "t.sv"
    source.write_text(HALF_RESET.format(before="", value="d"))
    design = Design((source,), "t", clocks=("clk",), resets={"rst": 1})
    results = tuple(capture(design, tmp_path / str(n), Options(lanes=n)) for n in (32, 3))
    assert results[0].report.flop_bits == 12
    moves_like(build_player([source], "t"), libraries(results, "t"), design, 3)


def test_such_bits_are_refused_where_no_other_reader_knows_the_text(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    macro = "let same(x) = x;"
    source.write_text(HALF_RESET.format(before=macro, value="same(d)"))
    with pytest.raises(CaptureRefused) as error:
        capture(Design((source,), "t"), tmp_path / "out")
    assert {refusal.kind for refusal in error.value.refusals} == {"reset-alone"}


def test_a_variable_with_a_constant_part_beside_a_register_is_no_such_thing(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    source.write_text("""module t(input clk, rst, d, output logic [7:0] q);
      let same(x) = x;
      assign q[7:1] = 7'h12;
      always_ff @(posedge clk or posedge rst) if (rst) q[0] <= 1; else q[0] <= same(d);
    endmodule""")
    assert capture(Design((source,), "t"), tmp_path / "out").report.flop_bits == 1


def test_casts_are_refused_where_only_yosys_could_read_the_rest(tmp_path: Path) -> None:
    """It has to, where a set stands beside a reset."""
    source = tmp_path / "t.sv"
    text = """module t(input clk, r, s, input [8:0] d, output reg q);
      always @(posedge clk or posedge r or posedge s)
        if (r) q <= 0; else if (s) q <= 1; else q <= ~d[1:0] >= {};
    endmodule"""
    source.write_text(text.replace("{}", "{8'(d), 5'(d)}"))
    with pytest.raises(CaptureRefused, match=r"width-cast: .*t\.sv:3"):
        capture(Design((source,), "t"), tmp_path / "cast")
    source.write_text(text.replace("{}", "{d[7:0], d[4:0]}"))
    assert capture(Design((source,), "t"), tmp_path / "plain").report.flop_bits == 1


def test_the_register_of_a_port_that_reads_one_word_for_ever_moves_too(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    source.write_text("""module t(input clk, we, input [2:0] at, input [7:0] d, output reg [7:0] q);
      reg [7:0] ram [8];
      always @(posedge clk) begin
        if (we) ram[at] <= d;
        q <= ram[2];
      end
    endmodule""")
    design = Design((source,), "t", clocks=("clk",))
    results = tuple(capture(design, tmp_path / str(n), Options(lanes=n)) for n in (32, 3))
    moves_like(build_player([source], "t"), libraries(results, "t"), design, 3)
