"""The clocks of a flat design: what clocks something, and what is refused.

The state port moves on one clock, the *primary* one. Anything else that clocks state (another port,
a falling edge, a net that logic or a flip-flop drives) is replaced by the primary clock while the
design is frozen and comes back at release (`domains.py`), with all clock ports low at both moments.
A clock that is low whenever the ports are comes back without an edge. One that may be high then
(a falling edge, a divider's output, a gate that idles high) needs a *switch*, which waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rtl_sim.capture import cells
from rtl_sim.capture.errors import Refusal
from rtl_sim.capture.netlist import Bit, Cell, Module

# Gates through which the level of an idle clock is followed, and how far.
_GATES: Final = frozenset(
    {"$not", "$logic_not", "$pos", "$buf", "$and", "$logic_and", "$or", "$logic_or", "$mux"}
)
_MAX_DEPTH: Final = 64
_CLOCK_PINS: Final = frozenset({"CLK", "WR_CLK", "RD_CLK"})


@dataclass(frozen=True, slots=True)
class Clock:
    """One net that clocks state, at one of its edges."""

    bit: Bit
    rising: bool
    switched: bool  # its level may be the active one while all clock ports are low


@dataclass(frozen=True, slots=True)
class Clocks:
    ports: tuple[str, ...]  # clock ports, the primary first; empty: nothing is clocked
    bits: Mapping[str, Bit]  # the net of each
    others: tuple[Clock, ...]  # all but the primary's rising edge

    @property
    def primary(self) -> str:
        return self.ports[0] if self.ports else ""


def edges(cell: Cell) -> Iterator[tuple[Bit, bool, int]]:
    """Every clock bit that `cell` uses, whether its rising edge, and for how many bits of state."""
    if cell.kind.removeprefix("$") in cells.SOUND_REGISTERS:
        yield cell.pins["CLK"][0], cell.flag("CLK_POLARITY"), len(cell.pins["Q"])
    elif cell.inside is not None:
        yield cell.pins[cell.inside.clock][0], True, len(cell.inside.chain)
    elif cell.kind == "$mem_v2":
        for side in ("WR", "RD"):
            enabled = cell.params[f"{side}_CLK_ENABLE"][::-1]
            polarity = cell.params[f"{side}_CLK_POLARITY"][::-1]
            for port in range(cell.number(f"{side}_PORTS")):
                if enabled[port] == "1":
                    yield cell.pins[f"{side}_CLK"][port], polarity[port] == "1", 1


def find(module: Module, declared: Sequence[str]) -> tuple[Clocks, list[Refusal]]:
    """The clocks of `module` and everything about them that cannot be held.

    declared  clock ports by name, the primary first; none: every input that clocks something
    """
    return _Finder(module, declared).find()


class _Finder:
    def __init__(self, module: Module, declared: Sequence[str]) -> None:
        self._module, self._declared = module, declared
        self._inputs: dict[Bit, str] = {
            port.bits[0]: port.name
            for port in module.ports
            if port.direction == "input" and len(port.bits) == 1
        }
        self._driven = {bit for p in module.ports if p.direction != "output" for bit in p.bits}
        self._idle: dict[Bit, str] = {}
        self._drivers: dict[Bit, tuple[Cell, str, int]] = {
            bit: (cell, pin, index)
            for cell in module.cells
            for pin in cell.outputs
            for index, bit in enumerate(cell.pins[pin])
        }
        self._used: dict[tuple[Bit, bool], tuple[int, Cell]] = {}
        for cell in module.cells:
            for bit, rising, width in edges(cell):
                count, first = self._used.get((bit, rising), (0, cell))
                self._used[bit, rising] = (count + width, first)
        self._found: list[Refusal] = []

    def find(self) -> tuple[Clocks, list[Refusal]]:
        bits = self._ports()
        self._clock_bits = {bit: name for name, bit in bits.items()}
        primary = next(iter(bits), "")
        others = []
        for (bit, rising), (_, cell) in sorted(
            self._used.items(), key=lambda item: (str(item[0][0]).zfill(12), item[0][1])
        ):
            if self._clock_bits.get(bit) == primary and rising:
                continue
            clock = self._classify(bit, rising, cell)
            if clock is not None:
                others.append(clock)
        self._refuse_clocks_as_data()
        return Clocks(tuple(bits), bits, tuple(others)), self._found

    def _ports(self) -> dict[str, Bit]:
        """Clock ports, the primary first: those declared, then by how much state they clock."""
        names = {name: bit for bit, name in self._inputs.items()}
        weights: dict[str, int] = {}
        for (bit, _), (width, _) in self._used.items():
            if bit in self._inputs:
                weights[self._inputs[bit]] = weights.get(self._inputs[bit], 0) + width
        for name in self._declared:
            if name not in names:
                why = "is declared as a clock, but is no 1-bit input of the design"
                self._found.append(Refusal("missing-clock", name, why))
        ranked = sorted(weights, key=lambda name: (-weights[name], name))
        ports = dict.fromkeys([*(name for name in self._declared if name in names), *ranked])
        return {name: names[name] for name in ports}

    def _classify(self, bit: Bit, rising: bool, cell: Cell) -> Clock | None:
        if isinstance(bit, str):
            self._refuse("constant-clock", cell, f"is clocked by the constant {bit}")
            return None
        if bit not in self._driven and bit not in self._drivers:
            self._refuse("undriven-clock", cell, "is clocked by a net that nothing drives")
            return None
        if not self._clock_bits:
            why = "has a clock that logic makes, and no clock port is known; declare it (clocks)"
            if bit in self._driven:
                why = "is clocked by a bit of a wider port; give the clock a port of its own"
            self._refuse("undeclared-clock", cell, why)
            return None
        return Clock(bit, rising, switched=self._low(bit) != ("0" if rising else "1"))

    def _low(self, bit: Bit, depth: int = 0) -> str:
        """The value of `bit` while all clock ports are low: "0", "1", or "x": not known."""
        if bit not in self._idle:
            self._idle[bit] = "x"  # for a loop, which is refused elsewhere
            self._idle[bit] = self._low_of_driver(bit, depth) if depth < _MAX_DEPTH else "x"
        return self._idle[bit]

    def _low_of_driver(self, bit: Bit, depth: int) -> str:
        if isinstance(bit, str):
            return bit
        if bit in self._clock_bits:
            return "0"
        if bit not in self._drivers:
            return "x"
        cell, _, index = self._drivers[bit]
        pins = [cell.pins[pin] for pin in ("A", "B") if pin in cell.pins]
        if cell.kind not in _GATES or any(len(bits) <= index for bits in pins):
            return "x"
        if "logic" in cell.kind and any(len(bits) > 1 for bits in pins):
            return "x"
        arms = [self._low(bits[index], depth + 1) for bits in pins]
        if cell.kind == "$mux":
            select = self._low(cell.pins["S"][0], depth + 1)
            if select in ("0", "1"):
                return arms[int(select)]
            return arms[0] if arms[0] == arms[1] else "x"
        if len(arms) == 1:
            inverts = "not" in cell.kind
            return {"0": "1", "1": "0"}.get(arms[0], "x") if inverts else arms[0]
        decides, other = ("0", "1") if "and" in cell.kind else ("1", "0")
        return decides if decides in arms else other if arms == [other, other] else "x"

    def _refuse_clocks_as_data(self) -> None:
        """Data that depends on a clock's level, at a register: which comes first is not decided."""
        readers: dict[Bit, list[tuple[Cell, str]]] = {}
        for cell in self._module.cells:
            for pin in cell.inputs:
                for bit in cell.pins[pin]:
                    readers.setdefault(bit, []).append((cell, pin))
        waiting: list[Bit] = list(self._clock_bits)
        seen: set[Bit] = set(waiting)
        while waiting:
            for cell, pin in readers.get(waiting.pop(), ()):
                if cell.kind in cells.REMEMBERING:
                    if pin not in _CLOCK_PINS:
                        self._refuse("clock-as-data", cell, f"reads a clock's level at its {pin}")
                    continue
                if cell.inside is not None and pin != cell.inside.clock:
                    self._refuse("clock-as-data", cell, f"reads a clock's level at its {pin}")
                for output in cell.outputs:
                    for bit in cell.pins[output]:
                        if bit not in seen and cell.passes(pin, output):
                            seen.add(bit)
                            waiting.append(bit)

    def _refuse(self, kind: str, cell: Cell, why: str) -> None:
        self._found.append(Refusal(kind, self._module.place(cell), why))
