"""Small synchronous designs at random: registers of every kind, memories, several clocks.

Clocks are ports, and made of them: divided (by `<=` and by `=`), gated, chosen, and whatever a gate
of inputs and dividers gives; resets are, too.

A design is a list of parts, each of which declares one signal and says what drives it. Any of them
can be left out, its signal being 0 then, which is how a failing design is made small. What the
language or a simulator leaves open (X, words that are not there, edges at one time) is not made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

DEPTH: Final = 3  # of an expression
CLOCKS: Final = ("clk", "other")
HEAD: Final = """\
module t (
  input clk, other, rst, en,
  input [3:0] a,
  input [8:0] b,
  output reg [15:0] q
);
"""
_INPUTS: Final = (("en", 1), ("a", 4), ("b", 9))
_WIDTHS: Final = (1, 1, 2, 4, 7, 8, 12, 33, 70)


@dataclass(frozen=True, slots=True)
class Part:
    """`declared` declares the signal `name` of `width` bits, `text` drives it."""

    name: str
    width: int
    declared: str
    text: str


@dataclass(frozen=True, slots=True)
class RandomDesign:
    parts: tuple[Part, ...]
    out: tuple[Part, ...] = ()  # of the parts, those that were left out

    def text(self) -> str:
        """SystemVerilog of module `t`: clocks `clk` and `other`, active high reset `rst`."""
        lines = [
            f"  wire [{part.width - 1}:0] {part.name} = 0;" if part in self.out else part.declared
            for part in self.parts
        ] + [part.text for part in self.parts if part not in self.out]
        # Every signal, folded: nothing is without effect, and each bit of it in its place.
        shown = " ^ ".join(
            f"(({part.name} >> {low}) << {number % 3})"
            for number, part in enumerate(self.parts)
            for low in range(0, part.width, 16)
        )
        return f"{HEAD}{chr(10).join(lines)}\n  always_comb q = {shown};\nendmodule\n"

    def smaller(self, fails: Callable[[RandomDesign], bool]) -> RandomDesign:
        """With as few parts as still make it fail; `fails` holds for this one."""
        now = self
        for part in self.parts[::-1]:
            without = RandomDesign(now.parts, (*now.out, part))
            if len(without.out) < len(self.parts) and fails(without):
                now = without
        return now


def generate(seed: int) -> RandomDesign:
    return RandomDesign(tuple(_Generator(random.Random(seed)).parts()))


class _Generator:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._signals: list[tuple[str, int]] = list(_INPUTS)
        # Only slang reads casts right, and only Yosys's own reader set beside reset.
        self._casts = rng.random() < 0.5
        self._clocks = ["posedge clk"] * 3
        if rng.random() < 0.5:
            self._clocks += ["posedge other"] * 2
        if rng.random() < 0.3:
            self._clocks += ["negedge clk"]

    def parts(self) -> Iterator[Part]:
        rng = self._rng
        # All are declared before any is driven, so that registers read each other in rings.
        plan = [(f"r{n}", rng.choice(_WIDTHS)) for n in range(rng.randint(2, 7))]
        self._signals += plan
        self._resets = ["rst", "rst"]
        if rng.random() < 0.3:
            yield Part("tick", 1, "  reg tick;", "  always @(posedge clk) tick <= !tick && !rst;")
            self._clocks += ["posedge tick", "negedge tick"]
        for number in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
            yield self._derived(f"c{number}")
        for number in range(rng.choice((0, 0, 1, 1, 2))):
            part = self._memory(f"m{number}")
            self._signals.append((part.name, part.width))
            yield part
        for number in range(rng.randint(0, 3)):
            part = self._wire(f"w{number}")
            yield part
            self._signals.append((part.name, part.width))
        for name, width in plan:
            yield self._register(name, width)

    def _register(self, name: str, width: int) -> Part:
        rng, edge = self._rng, self._rng.choice(self._clocks)
        kind = rng.choice(("plain", "sync", "async", "async", "preset", "both"))
        kind = "async" if kind == "both" and self._casts else kind
        reset = rng.choice(("rst", "rst", f"(rst || {self._bit()})")) if kind == "sync" else "rst"
        by = "rst" if kind == "both" else rng.choice(self._resets)
        value = rng.getrandbits(width) if kind != "async" else 0
        body = self._update(name, width, rng.randint(0, 2))
        initial = f" = {width}'h{rng.getrandbits(width):x}" if rng.random() < 0.3 else ""
        # Where what it takes or resets it may be constant, it is not said what it held before.
        if (reset != "rst" or kind == "plain") and not initial:
            initial = f" = {width}'h0"
        lines: list[str] = []
        start = f"{name} <= {width}'h{value:x};"
        if kind in ("plain", "sync"):
            lines.append(f"  always @({edge})")
            lines += [f"    if ({reset}) {start}", "    else"] if kind == "sync" else []
        elif kind == "both":  # a set that never stands beside the reset
            lines += [f"  wire {name}_s = en && a[0] && !rst;",
                      f"  always @({edge} or posedge rst or posedge {name}_s)",
                      f"    if (rst) {name} <= 0;", f"    else if ({name}_s) {name} <= '1;",
                      "    else"]  # fmt: skip
        else:
            lines += [f"  always @({edge} or posedge {by})", f"    if ({by}) {start}", "    else"]
        text = "\n".join([*lines, *(f"      {line}" for line in body)])
        return Part(name, width, f"  reg [{width - 1}:0] {name}{initial};", text)

    def _derived(self, name: str) -> Part:
        """A clock made of clocks. One assigned by `=` is no data: of it the RTL has no order."""
        rng = self._rng
        bit = f"{rng.choice(_INPUTS)[0]}[0]".replace("en[0]", "en")
        source = rng.choice(self._clocks)
        gate = f"{name}_g"
        form = rng.choice(("blocking", "counter", "and", "or", "chosen", "gate", "pulse"))
        if form == "blocking":
            lines = [f"  always @({source}) if ({bit}) {name} = !{name};"]
        elif form == "counter":
            lines = [f"  reg [2:0] {gate} = 0;",
                     f"  always @({source}) if (rst) {gate} <= 0; else {gate} <= {gate} + 3'd1;",
                     f"  assign {name} = {gate}[{rng.randrange(3)}];"]  # fmt: skip
            self._signals.append((gate, 3))
        elif form in ("and", "or"):
            edge, operator = ("negedge", "&") if form == "and" else ("posedge", "|")
            lines = [f"  reg {gate}; always @({edge} clk) {gate} <= {bit};",
                     f"  assign {name} = clk {operator} {gate};"]  # fmt: skip
        elif form == "chosen":
            lines = [f"  reg {gate}; always @(negedge clk) {gate} <= {bit};",
                     f"  assign {name} = {gate} ? other : clk;"]  # fmt: skip
            self._signals.append((gate, 1))
        elif form == "gate":
            lines = [f"  assign {name} = {rng.choice(('clk', 'other', '!clk'))} & {bit};"]
        else:
            lines = [f"  reg {gate}; always @({source} or posedge rst)",
                     f"    if (rst) {gate} <= 0; else {gate} <= {bit} ^ {gate};",
                     f"  assign {name} = {gate} & {bit};"]  # fmt: skip
            self._resets.append(name)
        self._clocks += [f"posedge {name}"] * 2 + [f"negedge {name}"]
        kind = "reg" if form == "blocking" else "wire"
        return Part(name, 1, f"  {kind} {name};", "\n".join(lines))

    def _update(self, name: str, width: int, depth: int) -> list[str]:
        """Statements that give a register its next value, perhaps."""
        rng = self._rng
        form = rng.randint(0, 4) if depth else 0
        if form == 1:
            return [f"if ({self._bit()})", *_in(self._update(name, width, depth - 1))]
        if form == 2:
            then, other = (self._update(name, width, depth - 1) for _ in range(2))
            return [f"if ({self._bit()}) begin", *_in(then), "end else begin", *_in(other), "end"]
        if form == 3:
            arms = [f"{n}: {name} <= {self._value(width)};" for n in rng.sample(range(8), 3)]
            last = [f"default: {name} <= {self._value(width)};"] if rng.random() < 0.6 else []
            return [f"case ({self._value(3)})", *_in([*arms, *last]), "endcase"]
        if form == 4 and width in (2, 4, 8):  # one bit, chosen
            bits = width.bit_length() - 1
            return [f"{name}[{self._value(bits)}] <= {self._bit()};"]
        return [f"{name} <= {self._value(width)};"]

    def _wire(self, name: str) -> Part:
        width = self._rng.choice(_WIDTHS)
        declared, text = (
            f"  logic [{width - 1}:0] {name};",
            f"  assign {name} = {self._value(width)};",
        )
        if self._rng.random() < 0.4:
            arms = " ".join(f"{n}: {name} = {self._value(width)};" for n in range(3))
            text = (f"  always_comb case ({self._value(2)}) "
                    f"{arms} default: {name} = {self._value(width)}; endcase")  # fmt: skip
        return Part(name, width, declared, text)

    def _memory(self, name: str) -> Part:
        rng = self._rng
        bits, width = rng.randint(1, 4), rng.choice((1, 4, 8, 16, 40))
        edge = rng.choice(self._clocks)
        lines = [
            f"  reg [{width - 1}:0] {name}_ram [{1 << bits}];",
            f"  wire [{bits - 1}:0] {name}_at = {self._value(bits)};",
            f"  wire [{bits - 1}:0] {name}_by = {self._value(bits)};",
        ]
        writes = [f"if ({self._bit()}) {name}_ram[{name}_at] <= {self._value(width)};"]
        if width > 1 and rng.random() < 0.3:
            half = width // 2
            writes = [f"if ({self._bit()}) {name}_ram[{name}_at][{half - 1}:0] <= "
                      f"{self._value(half)};",
                      f"if ({self._bit()}) {name}_ram[{name}_at][{width - 1}:{half}] <= "
                      f"{self._value(width - half)};"]  # fmt: skip
        lines += [f"  always @({edge}) begin", *(f"    {line}" for line in writes), "  end"]
        read = f"{name}_ram[{rng.choice((f'{name}_at', f'{name}_by'))}]"
        kind = rng.choice(("wire", "plain", "enabled"))
        if kind == "wire":
            lines.append(f"  assign {name} = {read};")
        else:
            when = f"if ({self._bit()} ^ en) " if kind == "enabled" else ""
            lines.append(f"  always @({rng.choice((edge, edge, rng.choice(self._clocks)))}) "
                         f"{when}{name} <= {read};")  # fmt: skip
        return Part(name, width, f"  logic [{width - 1}:0] {name};", "\n".join(lines))

    def _bit(self) -> str:
        return _part(1, self._expression(1, 1))

    def _value(self, width: int) -> str:
        return _part(width, self._expression(width, DEPTH))

    def _expression(self, width: int, depth: int) -> str:
        rng = self._rng
        if depth == 0 or rng.random() < 0.2:
            return self._leaf(width)
        left, right = (self._expression(width, depth - 1) for _ in range(2))
        form = rng.randint(0, 9)
        if form == 9 and self._casts:
            return rng.choice((f"{rng.randint(1, 40)}'({left})", f"$unsigned(signed'({left}))"))
        if form <= 2:
            return f"({left} {rng.choice('+-&|^+-*')} {right})"
        if form == 3:
            return f"({_part(1, left)} ? {right} : {self._leaf(width)})"
        if form == 4:
            return f"({left} {rng.choice(('<<', '>>'))} {_part(3, right)})"
        if form == 5:
            return f"({left} {rng.choice(('<', '==', '!=', '>='))} {right})"
        if form == 6:
            return f"({rng.choice('~-')}{left})"
        if form == 7:
            return f"({rng.choice('&|^!')}({left}))"
        return f"{{{self._leaf(width)}, {self._leaf(width)}}}"

    def _leaf(self, width: int) -> str:
        rng = self._rng
        if rng.random() < 0.15:
            return f"{width}'h{rng.getrandbits(width):x}"
        name, size = rng.choice(self._signals)
        if size > 2 and rng.random() < 0.4:
            low = rng.randrange(size - 1)
            return f"{name}[{rng.randrange(low, size)}:{low}]"
        return name


def _in(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _part(width: int, text: str) -> str:
    """The lowest bits of what `text` says."""
    return f"(({text}) & {width}'h{(1 << width) - 1:x})"
