"""Logic that is looked at under conditions only, for simulators to leave alone otherwise.

The RTL computes a sum inside `if (valid)`; the netlist has an adder that always adds. Hardware does
not care, but a simulator does: where a register takes the sum only if `valid`, nobody looks at it
while `valid` is 0. So such gates are written as processes that a simulator enters under the
condition alone, and synthesis always. What they show at other times is old, and nobody sees it.

A gate's *look* is what is true whenever a register or a memory takes something that depends on
it: the conditions on the way from a register's D through its choices, in common to all who read the
gate. The gates on which a condition depends are read with or without it, so that they never stand
behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rtl_sim.capture import cells as kinds
from rtl_sim.capture.loops import topological, word_rings
from rtl_sim.capture.netlist import Bit, Bits, Cell, Module
from rtl_sim.capture.ports import is_fixed, read_ports, write_ports
from rtl_sim.capture.state import Register
from rtl_sim.capture.updates import Choices

PIN: Final = "sp_look"  # of a kept module: whether anybody looks at what it shows
# Conditions, all true: a bit, or the name of such a pin, and its level.
Look = frozenset[tuple[Bit, bool]]
_Key = tuple[Look, bool]  # with whether the gate follows an input
ALWAYS: Final[Look] = frozenset()
BY_PIN: Final[Look] = frozenset({(PIN, True)})

# A condition costs a jump, which may be guessed wrong: what it spares must be worth more.
_WORTH_A_JUMP: Final = 100  # machine words written
_WORD_BITS: Final = 64
_DEEP: Final = 4  # gates one after another, from which on it is worth not to make them
_MAX_TURNS: Final = 200  # until levels stand still; in fact a few


@dataclass(frozen=True, slots=True)
class Plan:
    """`blocks`: gates that stand in a process of their own, in order, and its look; `instances`:
    the look of instances of modules that have the pin."""

    blocks: tuple[tuple[Look, tuple[str, ...]], ...] = ()
    instances: Mapping[str, Look] = field(default_factory=dict)


NOTHING: Final = Plan()


def find(module: Module, registers: Iterable[Register], choices: Choices) -> dict[str, Look]:
    """The look of each cell that computes, by name."""
    finder = _Finder(module, choices)
    looks = finder.looks(module, registers)
    fed = _fed(module)
    # Under a condition made of inputs, a simulator would work it out whenever an input changes.
    return {
        cell.name: frozenset(
            one
            for one in finder.shortest(looks[cell.name])
            if one[0] not in fed or _is_fed(cell, fed)
        )
        for cell in module.cells
        if cell.name in looks
    }


def _fed(module: Module) -> set[Bit]:
    """The bits that follow an input in no time."""
    fed = {bit for port in module.ports if port.direction != "output" for bit in port.bits}
    for cell in topological(module):
        if cell.kind == "$mem_v2" or _computes(cell):
            for read, driven in _paths(cell):
                if not fed.isdisjoint(read):
                    fed.update(driven)
    return fed - {bit for bit in fed if isinstance(bit, str)}


def _is_fed(cell: Cell, fed: Collection[Bit]) -> bool:
    return any(bit in fed for pin in cell.outputs for bit in cell.pins[pin])


def by_pin(module: Module) -> dict[str, Look]:
    """The looks of a module that has the pin: nobody looks at any of it otherwise."""
    return dict.fromkeys((cell.name for cell in module.cells), BY_PIN)


def pinned(module: Module, looks: Mapping[str, Look], kept: Mapping[str, Module]) -> frozenset[str]:
    """The kept modules that have the pin: those worth it of which one is not always looked at."""
    found: set[str] = set()
    number = Counter(cell.kind for cell in module.cells if looks.get(cell.name))
    waiting = [cell.kind for cell in module.cells if cell.kind in kept and looks.get(cell.name)]
    while waiting:
        kind = waiting.pop()
        inner = kept[kind]
        if kind in found or any(net.name == PIN for net in inner.nets):
            continue
        inside = [cell.kind for cell in inner.cells if cell.kind in kept]
        if inside or number[kind] * sum(map(_cost, inner.cells)) >= _WORTH_A_JUMP:
            found.add(kind)
            waiting += inside
    return frozenset(found)


class _Finder:
    """Walks from what is kept to what it is made of."""

    def __init__(self, module: Module, choices: Choices) -> None:
        self._choices = choices
        self._ordered = topological(module)
        self._rings = {cell.name for cell in word_rings(module)}
        self._gates = {
            cell.pins["Y"][0]: cell
            for cell in self._ordered
            if cell.kind in _GATES and _single(cell)
        }
        self._depths: dict[Bit, int] = {}
        for cell in self._ordered:
            for read, driven in _paths(cell) if _computes(cell) else ():
                depth = max((self._depths.get(bit, 0) for bit in read), default=0)
                own = 1 if cell.kind.startswith("$") else _DEEP
                self._depths.update(dict.fromkeys(driven, depth + own))
        self._seen: dict[Bit, Look] = {}

    def looks(self, module: Module, registers: Iterable[Register]) -> dict[str, Look]:
        """The look of each cell that computes."""
        takers = set()
        for port in module.ports:
            if port.direction != "input":
                self._note(port.bits, ALWAYS)
        for register in registers:
            self._note(register.idle, ALWAYS)
            takers.add(register.cell.name)
            self._note_register(register)
        for cell in module.cells:
            if cell.kind == "$mem_v2":
                self._note_memory(cell)
            elif not _computes(cell) or cell.name in self._rings:
                for pin in cell.inputs:
                    if pin != "D" or cell.name not in takers:
                        self._note(cell.pins[pin], ALWAYS)
        found: dict[str, Look] = {}
        for cell in reversed(self._ordered):
            if cell.kind == "$mem_v2":
                for address, data in _asynchronous(cell):
                    ring = cell.name in self._rings
                    self._note(address, ALWAYS if ring else self._common(data))
            elif _computes(cell) and cell.name not in self._choices.names:
                look = self._common(bit for pin in cell.outputs for bit in cell.pins[pin])
                if cell.name not in self._rings:
                    found[cell.name] = look
                for pin in cell.inputs:
                    self._note(cell.pins[pin], look | self._masked(cell, pin))
        return found

    def _note(self, bits: Iterable[Bit], look: Look) -> None:
        for bit in bits:
            if isinstance(bit, int):
                self._seen[bit] = self._seen[bit] & look if bit in self._seen else look

    def _common(self, bits: Iterable[Bit]) -> Look:
        looks = [self._seen[bit] for bit in bits if bit in self._seen]
        return frozenset.intersection(*looks) if looks else ALWAYS

    def _note_register(self, register: Register) -> None:
        """What it may take, and the selects on the way, each under what stands before it."""
        waiting: list[tuple[Bits, Look, bool]] = [(register.cell.pins["D"], ALWAYS, True)]
        while waiting:
            bits, look, first = waiting.pop()
            if bits == register.q:
                continue
            cell = self._choices.choice(bits)
            if cell is None:
                self._note(bits, look)
                continue
            selects = cell.pins["S"]
            self._note(selects, look)
            *chosen, otherwise = self._choices.arms(cell, bits)
            if len(selects) > 1:
                waiting.append((otherwise, look, False))
                waiting += [
                    (arm, look | self._true(select, True), False)
                    for select, arm in zip(selects, chosen, strict=True)
                ]
                continue
            for level, arm, other in (True, chosen[0], otherwise), (False, otherwise, chosen[0]):
                # "Not in reset" is nearly always true and would be a jump for nothing.
                reset = first and is_fixed(other)
                more = ALWAYS if reset else self._true(selects[0], level)
                waiting.append((arm, look | more, False))

    def _note_memory(self, cell: Cell) -> None:
        for pin in cell.inputs:
            if pin not in ("RD_ADDR", "WR_ADDR", "WR_DATA"):
                self._note(cell.pins[pin], ALWAYS)
        for port in read_ports(cell):
            if port.clock:
                self._note(port.address, self._true(port.enable, True))
        for writer in write_ports(cell):
            for low, width, enable in writer.lanes():
                look = self._true(enable, True)
                self._note(writer.address, look)
                self._note(writer.data[low : low + width], look)

    def _masked(self, cell: Cell, pin: str) -> Look:
        """What is true, too, where the gate shows what the pin gives: of an AND of what is made
        soon and what is made late, the former."""
        if cell.kind not in ("$and", "$logic_and") or not _single(cell):
            return ALWAYS
        other = cell.pins["B" if pin == "A" else "A"][0]
        later = self._depths.get(cell.pins[pin][0], 0) - self._depths.get(other, 0)
        return self._true(other, True) if later >= _DEEP else ALWAYS

    def _true(self, bit: Bit, level: bool) -> Look:
        """All conditions that are true with this one, itself included."""
        found: set[tuple[Bit, bool]] = set()
        waiting = [(bit, level)]
        while waiting:
            bit, level = waiting.pop()
            if isinstance(bit, int) and (bit, level) not in found:
                found.add((bit, level))
                waiting += self._parts(bit, level)
        return frozenset(found)

    def _parts(self, bit: Bit, level: bool) -> list[tuple[Bit, bool]]:
        """What a condition comes down to, where it is made by a gate that says so."""
        cell = self._gates.get(bit)
        if cell is None or _GATES[cell.kind] not in (None, level):
            return []
        if _GATES[cell.kind] is None:
            return [(cell.pins["A"][0], not level)]
        return [(cell.pins[pin][0], level) for pin in "AB"]

    def shortest(self, look: Look) -> Look:
        """Without what others of them come down to."""
        return frozenset(one for one in look if not self._parts(*one))


# Gates of one bit -> the level of the output that tells all inputs; None: the other way round.
_GATES: Final[Mapping[str, bool | None]] = {
    "$and": True, "$logic_and": True, "$or": False, "$logic_or": False,
    "$not": None, "$logic_not": None,
}  # fmt: skip


def _single(cell: Cell) -> bool:
    return all(len(bits) == 1 for bits in cell.pins.values())


def _computes(cell: Cell) -> bool:
    return cell.kind not in kinds.REMEMBERING | kinds.SILENT and cell.inside is None


def _asynchronous(cell: Cell) -> Iterator[tuple[Bits, Bits]]:
    """(address, data) of a memory's ports without a clock."""
    yield from ((port.address, port.data) for port in read_ports(cell) if not port.clock)


def plan(
    module: Module,
    looks: Mapping[str, Look],
    whole: Callable[[Cell], bool],
    having: Collection[str],
) -> Plan:
    """How the cells of a module are written.

    whole   whether a cell may stand in a process
    having  kept modules that have the pin
    """
    cells = [c for c in topological(module) if c.kind == "$mem_v2" or _computes(c)]
    rings = {cell.name for cell in word_rings(module)}
    instances = {cell.name: looks.get(cell.name, ALWAYS) for cell in cells if cell.kind in having}
    fed = _fed(module)
    inside = {
        cell.name: (looks[cell.name], _is_fed(cell, fed))
        for cell in cells
        if cell.name not in rings and looks.get(cell.name) and whole(cell)
    }
    levels = _levels(cells, inside, instances)
    if levels is None:
        return Plan((), dict.fromkeys(instances, ALWAYS))
    groups: dict[tuple[int, _Key], list[Cell]] = {}
    for cell in cells:
        if cell.name in inside:
            groups.setdefault((levels[cell.name], inside[cell.name]), []).append(cell)
    return Plan(
        tuple(
            (look, tuple(cell.name for cell in members))
            for (_, (look, _fed_by_inputs)), members in groups.items()
            if look == BY_PIN or sum(map(_cost, members)) >= _WORTH_A_JUMP
        ),
        instances,
    )


def _cost(cell: Cell) -> int:
    return -(-len(cell.pins.get("Y", ())) // _WORD_BITS) + (cell.kind in _LONG)


_LONG: Final = frozenset({"$mul", "$shl", "$shr", "$sshl", "$sshr", "$shift", "$shiftx", "$pmux"})


def _levels(
    cells: Sequence[Cell], inside: Mapping[str, _Key], instances: Mapping[str, Look]
) -> dict[str, int] | None:
    """Numbers that never fall on the way of data or conditions, and rise where a process ends.

    Gates of one look and level are one process, which nothing that it feeds can feed.
    """
    paths = {cell.name: list(_paths(cell)) for cell in cells}
    drivers = {bit: name for name, own in paths.items() for _, data in own for bit in data}
    feeders: dict[str, set[tuple[str, bool]]] = {}
    for name, own in paths.items():
        read = {drivers[bit] for bits, _ in own for bit in bits if bit in drivers} - {name}
        look = inside[name][0] if name in inside else instances.get(name, ALWAYS)
        asked = {drivers[bit] for bit, _ in look if bit in drivers}
        # A process cannot make what it asks for before it begins.
        feeders[name] = {(source, inside.get(source) != inside.get(name)) for source in read}
        feeders[name] |= {(source, True) for source in asked}
    levels = dict.fromkeys(feeders, 0)
    for _ in range(_MAX_TURNS):
        changed = False
        for name, sources in feeders.items():
            level = max(
                (levels[source] + (ends and source in inside) for source, ends in sources),
                default=0,
            )
            if level > levels[name]:
                levels[name], changed = level, True
        if not changed:
            return levels
    return None


def _paths(cell: Cell) -> Iterator[tuple[Bits, Bits]]:
    if cell.kind == "$mem_v2":
        yield from _asynchronous(cell)
    else:
        read = tuple(bit for pin in cell.inputs for bit in cell.pins[pin])
        yield read, tuple(bit for pin in cell.outputs for bit in cell.pins[pin])
