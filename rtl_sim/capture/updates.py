"""What registers do at an edge, as nested ifs instead of multiplexers.

In the netlist every register is loaded at every edge, with its own value where the RTL says
nothing; resets, enables and cases have all become multiplexers before D. Written like that, a
simulator computes all of them always. Here the multiplexers that serve registers alone are turned
back into the `if` they came from, and registers under one select bit share it: what is not chosen
is not computed. It is the largest single gain in simulation speed, and costs hardware nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rtl_sim.capture.netlist import Bit, Bits, Cell, Module
from rtl_sim.capture.scope import Scope

_CHOICES: Final = ("$mux", "$pmux")

# (register's number, the bits it would take)
_Wish = tuple[int, Bits]


class Choices:
    """The multiplexers of a module that do nothing but choose what registers take."""

    def __init__(self, module: Module, register_kinds: frozenset[str]) -> None:
        candidates = {cell.name: cell for cell in module.cells if cell.kind in _CHOICES}
        drivers = {bit: cell.name for cell in candidates.values() for bit in cell.pins["Y"]}
        readers: dict[str, set[str]] = {name: set() for name in candidates}
        for port in module.ports:
            if port.direction != "input":
                _note(readers, drivers, port.bits, "")
        for cell in module.cells:
            for pin in cell.inputs:
                if cell.kind in register_kinds and pin == "D":
                    reader = "D"
                else:
                    reader = cell.name if cell.name in candidates and pin in "AB" else ""
                _note(readers, drivers, cell.pins[pin], reader)
        chosen = _serving_registers_alone(readers)
        self.names: Final = frozenset(chosen)
        self._drivers: Final[Mapping[Bit, tuple[Cell, int]]] = {
            bit: (candidates[name], position)
            for name in chosen
            for position, bit in enumerate(candidates[name].pins["Y"])
        }

    def driver(self, bit: Bit) -> Cell | None:
        found = self._drivers.get(bit)
        return found[0] if found else None

    def choice(self, bits: Bits) -> Cell | None:
        """The one multiplexer that drives all of `bits`, if there is one."""
        first = self.driver(bits[0])
        if first is None or any(self.driver(bit) is not first for bit in bits):
            return None
        return first

    def arms(self, cell: Cell, bits: Bits) -> list[Bits]:
        """What `bits` are under each select bit of `cell`, and last, under none."""
        places = [self._drivers[bit][1] for bit in bits]
        width = len(cell.pins["A"])
        return [
            *(
                tuple(cell.pins["B"][number * width + place] for place in places)
                for number in range(len(cell.pins["S"]))
            ),
            tuple(cell.pins["A"][place] for place in places),
        ]

    def leaves(self, bits: Bits, held: Bits) -> Iterator[Bits]:
        """What `bits` are besides constants and `held`, under any selects."""
        waiting = [bits]
        while waiting:
            bits = waiting.pop()
            if bits == held or all(isinstance(bit, str) for bit in bits):
                continue
            cell = self.choice(bits)
            if cell is None:
                yield bits
            else:
                waiting += self.arms(cell, bits)


def _note(
    readers: dict[str, set[str]], drivers: Mapping[Bit, str], bits: Bits, reader: str
) -> None:
    for bit in bits:
        if bit in drivers:
            readers[drivers[bit]].add(reader)


def _serving_registers_alone(readers: Mapping[str, set[str]]) -> set[str]:
    """Those read by D pins only, or by one such multiplexer: written out, none is repeated."""
    chosen = {name for name, who in readers.items() if who == {"D"}}
    above: dict[str, list[str]] = {}
    for name, who in readers.items():
        if len(who) == 1:
            above.setdefault(next(iter(who)), []).append(name)
    waiting = list(chosen)
    while waiting:
        for name in above.get(waiting.pop(), ()):
            if name not in chosen:
                chosen.add(name)
                waiting.append(name)
    return chosen


class Reset(NamedTuple):
    """`value` under all `enables` and `condition` (select bits and their levels), else `rest`."""

    enables: tuple[tuple[Bit, bool], ...]
    condition: tuple[Bit, bool]
    value: Bits
    rest: Bits  # under the enables


class Updates:
    """Writes the functional update of registers. `variables[i]` holds the bits `q[i]`."""

    def __init__(
        self,
        choices: Choices,
        scope: Scope,
        variables: Sequence[str],
        q: Sequence[Bits],
        written: Mapping[int, str],
    ) -> None:
        """`written`: expressions for registers that take but one thing, where it is not a net."""
        self._choices, self._scope, self._variables, self._q = choices, scope, variables, q
        self._written = written

    def reset(self, register: int, data: Bits) -> Reset | None:
        """The constant that a register takes before all else, if need be under enables."""
        enables: list[tuple[Bit, bool]] = []
        while True:  # ends: each turn goes one multiplexer down
            cell = self._choices.choice(data)
            if cell is None or len(cell.pins["S"]) != 1:
                return None
            select = cell.pins["S"][0]
            under, otherwise = self._choices.arms(cell, data)
            for level, value, rest in ((True, under, otherwise), (False, otherwise, under)):
                if all(isinstance(bit, str) for bit in value):
                    return Reset(tuple(enables), (select, level), value, rest)
            if self._q[register] not in (under, otherwise):
                return None
            holds = under == self._q[register]
            enables.append((select, not holds))
            data = otherwise if holds else under

    def emit(self, wishes: Sequence[_Wish]) -> Iterator[str]:
        """Plain updates first, then one `if` per select that several registers may share."""
        shared: dict[Bits, list[tuple[int, list[Bits]]]] = {}
        for register, bits in wishes:
            cell = self._choices.choice(bits)
            if cell is not None:
                arms = self._choices.arms(cell, bits)
                shared.setdefault(cell.pins["S"], []).append((register, arms))
                continue
            # Registers have been cut where multiplexers meet: nothing here was left unwritten.
            assert not any(map(self._choices.driver, bits)), self._variables[register]
            if bits != self._q[register]:
                constant = all(isinstance(bit, str) for bit in bits)
                text = None if constant else self._written.get(register)
                yield f"{self._variables[register]} <= {text or self._scope.render(bits)};"
        for selects, members in shared.items():
            bodies = [
                list(self.emit([(register, arms[number]) for register, arms in members]))
                for number in range(len(selects) + 1)
            ]
            yield from self._cases(selects, bodies)

    def _cases(self, selects: Bits, bodies: list[list[str]]) -> Iterator[str]:
        """A branch for each select bit, of which at most one is set: no order among them."""
        if not any(bodies):
            return
        conditions = [self._scope.render((select,)) for select in selects]
        if len(selects) == 1 and not bodies[0]:
            yield from under(f"if (!{conditions[0]})", bodies[1])
            return
        while len(bodies) > 1 and not bodies[-1] and not bodies[-2]:
            del bodies[-2], conditions[-1]
        if len(conditions) < 2:
            yield from under(f"if ({conditions[0]})", bodies[0])
            if bodies[1:] and bodies[1]:
                yield from under("else", bodies[1])
            return
        yield "(* parallel_case *) case (1'b1)"
        for condition, body in zip((*conditions, "default"), bodies, strict=False):
            yield from (f"  {line}" for line in under(f"{condition}:", body))
        yield "endcase"


def under(head: str, body: Sequence[str]) -> Iterator[str]:
    """`body` under a condition, in a block only where it needs one.

    Of branches that give one register its value Verilator makes one expression, without a jump to
    guess, but not of branches in blocks: those are still there when it looks.
    """
    if len(body) == 1 and not body[0].startswith("if "):
        yield head
        yield f"  {body[0]}"
        return
    yield f"{head} begin"
    yield from (f"  {line}" for line in body)
    yield "end"


def cascade(arms: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """The first of `arms` whose condition holds; "" always does."""
    for number, (condition, body) in enumerate(arms):
        words = ("else" if number else "", f"if ({condition})" if condition else "")
        yield from under(" ".join(filter(None, words)), body)
