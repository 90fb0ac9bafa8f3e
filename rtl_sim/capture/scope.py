"""The names of one emitted module: every bit has one home, a variable driven whole by one cell.

That is what keeps the text fast to simulate: no variable is assigned in parts, so a simulator
never has to split one, and no ring through a word exists that is not in the design.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Final

from rtl_sim.capture.keywords import RESERVED
from rtl_sim.capture.netlist import Bit, Bits, Module
from rtl_sim.capture.owners import NOBODY, Owners

_SIMPLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*\Z")


def identifier(name: str) -> str:
    """`name` as Verilog writes it; an escaped one ends with its blank."""
    return name if _SIMPLE.match(name) and name not in RESERVED else f"\\{name} "


def span(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def slice_of(variable: str, of: int, low: int, width: int) -> str:
    """`width` bits from `low` on of a variable that is `of` wide: a scalar has no parts."""
    text = identifier(variable)
    if width == of:
        return text
    return f"{text}[{low}]" if width == 1 else f"{text}[{low + width - 1}:{low}]"


def constant(bits: str) -> str:
    """A constant from its bits, most significant first. Unknown bits become 0, always."""
    return f"{len(bits)}'b{''.join('1' if bit == '1' else '0' for bit in bits)}"


class Scope:
    def __init__(self, module: Module, owners: Owners = NOBODY) -> None:
        self.owners: Final = owners
        self._home: dict[int, tuple[str, int]] = {}
        self._width: dict[str, int] = {}
        self._taken: set[str] = set()
        self._labels: dict[Bits, str] = {}
        self._written: dict[str, Callable[[], str]] = {}
        self._fresh = 0
        self.undriven: set[int] = set()
        for net in sorted(module.nets, key=lambda net: (-net.name.count("."), net.name)):
            if net.public:
                self._labels.setdefault(net.bits, net.name)
        self._taken.update(port.name for port in module.ports)

    def mark(self, name: str, driven: Bits = ()) -> Iterator[str]:
        """What follows is of the instance in which `name` lies, and drives `driven` by a pin."""
        homes = dict.fromkeys(identifier(self._locate(bit)[0]) for bit in driven)
        yield from self.owners.mark(self.owners.of(name), list(homes))

    def adopt(self, name: str, bits: Bits) -> None:
        """Make the port `name` the home of `bits`."""
        self._taken.add(name)
        self._settle(name, bits)

    def reserve(self, label: str) -> str:
        """A free name, `label` itself if it can be, for something that holds no bits."""
        name = label
        while name in self._taken:
            name = f"{name}_"
        self._taken.add(name)
        return name

    def declare(self, bits: Bits, label: str | None = None) -> str:
        """A home for the whole output `bits`, under the RTL's name for them if it is free."""
        if label is None:
            label = self._labels.get(bits)
            if label is None or label in self._taken:
                label = f"n{self._fresh}"
                self._fresh += 1
        name = self.reserve(label)
        self._settle(name, bits)
        return name

    def write(self, bits: Bits, text: Callable[[], str]) -> None:
        """One bit that gets no variable: `text` stands wherever it is read."""
        self._written[self.declare(bits)] = text

    def labelled(self, bits: Bits) -> bool:
        """Whether the RTL has a name for them."""
        return bits in self._labels

    def knows(self, bits: Bits) -> bool:
        return all(isinstance(bit, str) or bit in self._home for bit in bits)

    def render(self, bits: Bits) -> str:
        """`bits` as an operand: a variable, a slice of one, a constant, or a concatenation."""
        parts = self._parts(bits)
        if len(parts) == 1:
            return parts[0]
        return "{" + ", ".join(_replicated(parts[::-1])) + "}"

    def _settle(self, name: str, bits: Bits) -> None:
        self._width[name] = len(bits)
        for index, bit in enumerate(bits):
            if isinstance(bit, int):
                self._home.setdefault(bit, (name, index))

    def _parts(self, bits: Bits) -> list[str]:
        """Pieces from the least significant end, each as wide as one home or constant allows."""
        parts: list[str] = []
        position = 0
        while position < len(bits):
            start = position
            name, index = self._locate(bits[position])
            position += 1
            while position < len(bits):
                following, next_index = self._locate(bits[position])
                if following != name or (name and next_index != index + position - start):
                    break
                position += 1
            run = bits[start:position]
            if name:
                parts.append(self._slice(name, index, len(run)))
            else:
                parts.append(constant("".join("1" if bit == "1" else "0" for bit in run[::-1])))
        return parts

    def _slice(self, name: str, low: int, width: int) -> str:
        if name in self._written:
            return f"({self._written[name]()})"
        text = identifier(name)
        if width == self._width[name]:
            return text
        return f"{text}[{low}]" if width == 1 else f"{text}[{low + width - 1}:{low}]"

    def _locate(self, bit: Bit) -> tuple[str, int]:
        """(variable, index), or ("", 0) for a constant; a bit nobody drives is a constant 0."""
        if isinstance(bit, str):
            return "", 0
        home = self._home.get(bit)
        if home is None:
            self.undriven.add(bit)
            return "", 0
        return home


def _replicated(parts: list[str]) -> list[str]:
    """Runs of one part as a replication: sign extensions stay short to read and to compile."""
    out: list[str] = []
    for part, run in groupby(parts):
        count = len(list(run))
        out.append(part if count == 1 else f"{{{count}{{{part}}}}}")
    return out
