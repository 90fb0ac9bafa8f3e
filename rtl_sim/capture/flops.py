"""The flip-flops of an emitted top, and the chain through them. The rewrite itself.

Each flip-flop's `q <= d` becomes

    if (sp_run)        what the RTL says: reset, enable, d
    else if (sp_scan)  q <= the flip-flop one row up the chain

which in hardware is the clock enable ANDed with `sp_run` and one multiplexer before D. Enables and
synchronous resets (multiplexers here, `dffunmap` made them so) need no masking of their own: they
stand under `sp_run`. An asynchronous set or reset does, since it waits for no clock: it is held off
for the whole frozen interval, and a level that is still there afterwards acts then. Which clock a
flip-flop has is for `domains.py` to say.

`sp_run` is read by clocked processes only. No combinational logic depends on it, so a simulator
evaluates nothing more for it while the design runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Final, NamedTuple

from rtl_sim.capture.banks import Banks
from rtl_sim.capture.chain import Chain
from rtl_sim.capture.domains import Domains
from rtl_sim.capture.links import Spot
from rtl_sim.capture.netlist import Bit, Bits, Cell
from rtl_sim.capture.scope import Scope, constant, identifier, slice_of, span
from rtl_sim.capture.state import State
from rtl_sim.capture.sums import Sum
from rtl_sim.capture.updates import Choices, Updates, cascade, under

PADDING: Final = "sp_padding"
# A reset pin is shared by the flip-flops of a slice; for fewer bits it is one more input of a LUT.
_WORTH_A_RESET: Final = 8


class _Control(NamedTuple):
    """What the flip-flops of one process share, as text, and their bank; -1: the chain.

    `events`: what Verilator waits for instead of `edge`.
    `owner`: the instance that they are in. `alone`: of a process that assigns by `=`, its one
    register, whose edge comes before all that others assign; -1: it assigns by `<=`.
    """

    owner: str
    alone: int
    bank: int
    edge: str
    events: str
    reset: str
    set: str


class _Guard(NamedTuple):
    """A synchronous reset and the enable that it waits for; "" is none."""

    enable: str
    reset: str


class _Wish(NamedTuple):
    """What a register takes: `reset` under its group's reset, else what `data` says."""

    register: int
    reset: Bits
    data: Bits


class Flops:
    def __init__(
        self,
        state: State,
        choices: Choices,
        chain: Chain,
        sums: Mapping[int, Sequence[Sum]],
        scope: Scope,
        domains: Domains,
        banks: Banks,
        late: frozenset[str] = frozenset(),
        inputs: Collection[str] = (),
    ) -> None:
        """`inputs`: input ports of the design, as they are written."""
        registers, runs = state.every_register, state.runs
        self._banks, self._chained, self._late = banks, len(state.registers), late
        self._registers, self._scope, self._domains = registers, scope, domains
        self._runs, self._padding = runs, chain.padding
        self._variables = [scope.declare(register.q, register.label) for register in registers]
        self._written: dict[int, str] = {}  # filled when all nets have names
        self._updates = Updates(
            choices,
            scope,
            [identifier(variable) for variable in self._variables],
            [register.q for register in registers],
            self._written,
        )
        self._chain = chain
        self._inputs = frozenset(inputs)
        self.still = ""  # what is 1 from the idle edge on; "" while there is no such register
        self._ends = [scope.reserve(f"{run.cell.name}.sp_so") for run in runs]
        self._pads = [
            (lane, row)
            for lane, spots in enumerate(chain.lanes)
            for row in range(len(spots), chain.rows)
        ]
        self._pad_index = {pad: index for index, pad in enumerate(self._pads)}
        self._widths = {
            "sp_si": len(chain.lanes),
            PADDING: chain.padding,
            **dict.fromkeys(self._ends, 1),
            **{
                variable: register.width
                for variable, register in zip(self._variables, registers, strict=True)
            },
        }
        copied = [*self._variables[: self._chained], *([PADDING] if self._padding else [])]
        self._was = {variable: scope.reserve(f"{variable}$was") for variable in copied}
        self._sources = {
            spot: self._at(lane, row + 1)
            for lane, spots in enumerate(chain.lanes)
            for row, spot in enumerate(spots)
        }
        self._homes = {
            bit: (variable, position)
            for variable, register in zip(self._variables, registers, strict=True)
            for position, bit in enumerate(register.q)
        }
        self._sums: dict[int, Sum] = {}
        for index, ways in sums.items():
            best = max(ways, key=lambda found: sum(self._linked(index, found)), default=None)
            if best is not None and any(self._linked(index, best)):
                self._sums[index] = best
        self.absorbed: Final = frozenset(
            name for found in self._sums.values() for name in found.cells
        )

    def declare(self) -> Iterator[str]:
        for register, variable in zip(self._registers, self._variables, strict=True):
            value = f" = {constant(register.initial)}" if register.initial else ""
            yield f"  reg {span(register.width)}{identifier(variable)}{value};"
        if self._padding:
            yield f"  reg {span(self._padding)}{PADDING};"
        for variable, was in self._was.items():
            yield f"  reg {span(self._widths[variable])}{identifier(was)};"
        for run, end in zip(self._runs, self._ends, strict=True):
            yield f"  wire {identifier(end)};"
            owners = self._scope.owners
            yield from owners.mark(owners.of(run.cell.name), [identifier(end)])
        yield from self._cut_registers()

    def _cut_registers(self) -> Iterator[str]:
        """The RTL's own name for a register that stands in parts: for waveforms and for proofs."""
        parts: dict[str, list[tuple[int, int, str]]] = {}
        for register, variable in zip(self._registers, self._variables, strict=True):
            first = register.bits[0]
            parts.setdefault(first.name, []).append((first.bit, register.width, variable))
        for name, pieces in parts.items():
            pieces.sort()
            ends = [low + width for low, width, _ in pieces]
            if len(pieces) > 1 and [low for low, _, _ in pieces] == [0, *ends[:-1]]:
                texts = [identifier(variable) for _, _, variable in pieces]
                label = identifier(self._scope.reserve(name))
                yield from self._scope.mark(name)
                yield f"  wire {span(ends[-1])}{label} = {_joined(texts)};"

    def pins(self) -> dict[str, list[str]]:
        """Instance with state -> the pins of its own part of the chain, as text."""
        return {
            run.cell.name: [
                ".sp_run(sp_run)",
                ".sp_scan(sp_scan)",
                f".sp_si({self._joined([self._sources[Spot(number, len(run.bits) - 1)]])})",
                f".sp_so({identifier(end)})",
            ]
            for number, (run, end) in enumerate(
                zip(self._runs, self._ends, strict=True), self._chained
            )
        }

    def emit(self) -> Iterator[str]:
        self._written.update((index, self._sum(index)) for index in self._sums)
        for index in range(self._chained, len(self._registers)):
            self._written[index] = self._banks.given(index, self._registers[index].width)
        groups: dict[_Control, list[int]] = {}
        for index, register in enumerate(self._registers):
            if not register.idle:
                groups.setdefault(self._control(index, register.cell), []).append(index)
        for control in sorted(groups):
            for guard, wishes in self._by_reset(groups[control]).items():
                yield from self._process(control, guard, wishes)
        yield from self._copies([n for n, register in enumerate(self._registers) if register.idle])
        yield from self._scope.mark("")
        if self._padding:
            source = self._old([self._at(lane, row + 1) for lane, row in self._pads])
            yield f"  always @(posedge {self._domains.primary})"
            yield f"    if (!sp_run && sp_scan) {PADDING} <= {source};"
        yield from self._copied()

    def _copied(self) -> Iterator[str]:
        """Every register as the chain takes it: itself, in hardware.

        A simulator that finds all registers read by each other at one edge can put no update before
        another: all are made aside and moved into place afterwards, at every edge of a running
        design. So there they are copied, and only while frozen; the idle edge comes first.
        """
        owners: dict[str, list[str]] = {}
        for index, variable in enumerate(self._variables[: self._chained]):
            owners.setdefault(self._owner(index), []).append(variable)
        if self._padding:
            owners.setdefault("", []).append(PADDING)
        for owner, variables in owners.items():
            yield from self._scope.owners.mark(owner)
            yield from self._copied_of(variables)

    def _copied_of(self, variables: Sequence[str]) -> Iterator[str]:
        yield "`ifdef SYNTHESIS"
        yield "  always @* begin"
        yield "`else"
        still = self._scope.reserve("sp_still")
        if not self._scope.owners.paths:
            self.still = still
        yield f"  reg {still};"
        yield f"  always @(posedge {self._domains.primary}) {still} <= !sp_run;"
        yield "  /* verilator lint_off LATCH */"
        yield f"  always @* if ({still}) begin"
        yield "`endif"
        early = {self._variables[n] for n in range(self._chained) if self._is_late(n)}
        for variable in variables:
            if variable not in early:
                yield f"    {identifier(self._was[variable])} = {identifier(variable)};"
        yield "  end"
        yield "  /* verilator lint_on LATCH */"
        # Changed by `=`: at the edge, such a copy would be new.
        for variable in sorted(early.intersection(variables)):
            yield "`ifdef SYNTHESIS"
            yield "  always @*"
            yield "`else"
            yield f"  always @(negedge {self._domains.primary})"
            yield "`endif"
            yield f"    {identifier(self._was[variable])} = {identifier(variable)};"

    def _owner(self, register: int) -> str:
        return self._scope.owners.of(self._registers[register].bits[0].name)

    def _is_late(self, register: int) -> bool:
        return self._registers[register].cell.name in self._late

    def _control(self, index: int, cell: Cell) -> _Control:
        bank = self._banks.of(index)
        # Words of a bank are written while the clock of other flip-flops may stand.
        edge = self._domains.flop_edge if bank < 0 else self._domains.edge
        clock = cell.pins["CLK"][0], cell.flag("CLK_POLARITY")
        plain = bank >= 0 or self._domains.gated or self._is_late(index) or self._scope.owners.paths
        return _Control(
            self._owner(index),
            index if self._is_late(index) else -1,
            bank,
            edge(*clock),
            edge(*clock) if plain else self._domains.events(*clock),
            self._condition(cell, "CLR") or self._condition(cell, "ARST"),
            self._condition(cell, "SET"),
        )

    def _by_reset(self, members: Sequence[int]) -> dict[_Guard, list[_Wish]]:
        """The registers under each synchronous reset that stands before all else."""
        groups: dict[_Guard, list[_Wish]] = {}
        plain = [_Wish(index, (), self._registers[index].cell.pins["D"]) for index in members]
        for wish in plain:
            found = self._updates.reset(wish.register, wish.data)
            if found is not None:
                guard = _Guard(*map(self._all_of, (found.enables, (found.condition,))))
                groups.setdefault(guard, []).append(_Wish(wish.register, found.value, found.rest))
        worth = {
            guard: wishes
            for guard, wishes in groups.items()
            if sum(len(wish.data) for wish in wishes) >= _WORTH_A_RESET
        }
        done = {wish.register for wishes in worth.values() for wish in wishes}
        rest = [wish for wish in plain if wish.register not in done]
        return {**({_Guard("", ""): rest} if rest else {}), **worth}

    def _all_of(self, conditions: Sequence[tuple[Bit, bool]]) -> str:
        return " && ".join(
            f"{'' if level else '!'}{self._scope.render((select,))}" for select, level in conditions
        )

    def _process(self, control: _Control, guard: _Guard, wishes: Sequence[_Wish]) -> Iterator[str]:
        members = [wish.register for wish in wishes]
        yield from self._scope.owners.mark(control.owner)
        events, arms = [control.edge], []
        for text, label, value in ((control.reset, "sp_arst", "0"), (control.set, "sp_aset", "1")):
            if text:
                name = identifier(self._scope.reserve(label))
                yield f"  wire {name} = sp_run && {text};"
                events.append(f"posedge {name}")
                arms.append((name, list(self._constants(members, value))))
        asynchronous = bool(arms)
        if guard.reset:
            acts = " && ".join(filter(None, ("sp_run", guard.enable, guard.reset)))
            values = [
                f"{identifier(self._variables[wish.register])} <= {self._scope.render(wish.reset)};"
                for wish in wishes
            ]
            arms.append((acts, values))
        updates = list(self._updates.emit([(wish.register, wish.data) for wish in wishes]))
        if guard.enable:
            updates = list(under(f"if ({guard.enable})", updates))
        if control.bank >= 0:
            words = {index: (identifier(self._variables[index]), self._registers[index].width)
                     for index in members}  # fmt: skip
            written = list(self._banks.writes(words))
            arms += [("sp_run", updates), (self._banks.selected(control.bank), written)]
        elif self._domains.gated:  # the clock stands still unless sp_run or sp_scan, never both
            arms += [("sp_scan", list(self._shift(members))), ("", updates)]
        else:
            arms += [("sp_run", updates), ("sp_scan", list(self._shift(members)))]
            if asynchronous and [self._registers[index].width for index in members] == [1]:
                # Said in full, all of it is one expression (`under`): jumps on set and reset of
                # single bits cost a simulator more than what they spare.
                name = identifier(self._variables[members[0]])
                arms.append(("", [f"{name} <= {name};"]))
        head, *body = cascade(arms)
        written = [f"  always @({' or '.join(events)})", f"    {head}"]
        quick = self._for_verilator(control, head, events)
        if quick:
            yield from ("`ifdef SYNTHESIS", *written, "`elsif VERILATOR", *quick, "`else")
        yield from written
        if quick:
            yield "`endif"
        for line in body:
            yield f"    {self._at_once(line, members[0]) if control.alone >= 0 else line}"

    def _for_verilator(self, control: _Control, head: str, events: Sequence[str]) -> list[str]:
        """The head of a process that no wire made of inputs stands before, if that differs.

        Verilator works such wires out at every change of any input; what a process waits for, only
        where it looks for edges.
        """
        if control.alone >= 0 or control.events == control.edge:
            return []
        simple = len(events) == 2 and control.reset.lstrip("!") in self._inputs
        reset = control.reset if simple else ""
        waits = [control.events, *events[1:]]
        if reset:
            head = head.replace(events[1].removeprefix("posedge "), f"sp_run && {reset}", 1)
            waits[1] = f"posedge (sp_run && {reset})"
        return [f"  always @({' or '.join(waits)})", f"    {head}"]

    def _at_once(self, line: str, register: int) -> str:
        """The line with its register assigned by `=`, if that is what it does."""
        name = identifier(self._variables[register])
        assigned = line.lstrip()
        return line.replace(" <= ", " = ", 1) if assigned.startswith(f"{name} <= ") else line

    def _constants(self, members: Sequence[int], value: str) -> Iterator[str]:
        """All members to their ARST_VALUE, or to `value` in every bit where they have none."""
        for index in members:
            cell = self._registers[index].cell
            bits = cell.params.get("ARST_VALUE", value * len(cell.pins["Q"]))
            yield f"{identifier(self._variables[index])} <= {constant(bits)};"

    def _copies(self, members: Sequence[int]) -> Iterator[str]:
        """Flip-flops that do nothing until the design is frozen, and take a copy then.

        Their clock is never gated: they take it while all others stand.
        """
        for owner, own in groupby(sorted(members, key=self._owner), self._owner):
            given = list(own)
            yield from self._scope.owners.mark(owner)
            yield f"  always @(posedge {self._domains.primary})"
            taken = [
                f"{identifier(self._variables[index])} <= "
                f"{self._scope.render(self._registers[index].idle)};"
                for index in given
            ]
            arms = [("!sp_run && sp_scan", list(self._shift(given))), ("!sp_run", taken)]
            yield from (f"    {line}" for line in cascade(arms))

    def _condition(self, cell: Cell, pin: str) -> str:
        """The text that is true while `pin` acts; "" where the cell has no such pin."""
        if pin not in cell.pins:
            return ""
        invert = "" if cell.flag(f"{pin}_POLARITY") else "!"
        return f"{invert}{self._scope.render(cell.pins[pin])}"

    def _shift(self, members: Sequence[int]) -> Iterator[str]:
        """Every register whole, from the bits that stand one row up."""
        for index in members:
            text = self._written.get(index) or self._old(self._above(index))
            yield f"{identifier(self._variables[index])} <= {text};"

    def _above(self, index: int) -> list[tuple[str, int]]:
        """(variable, index) of what stands one row up, for each bit of a register."""
        return [self._sources[Spot(index, bit)] for bit in range(self._registers[index].width)]

    def _linked(self, index: int, found: Sum) -> list[bool]:
        """Where an operand of the sum is what comes down the chain anyway."""
        above = self._above(index)
        return [self._homes.get(bit) == up for bit, up in zip(found.passed, above, strict=True)]

    def _sum(self, index: int) -> str:
        """The sum while running, what comes down the chain while not: one adder for both."""
        found, above = self._sums[index], self._above(index)
        parts, start = [], 0
        for linked, run in groupby(self._linked(index, found)):
            end = start + len(list(run))
            text = self._scope.render(found.passed[start:end])
            if not linked:
                text = f"(sp_run ? {text} : {self._old(above[start:end])})"
            parts.append(text)
            start = end
        mask = f"{{{len(above)}{{sp_run}}}}" if len(above) > 1 else "sp_run"
        terms = [
            f" {operator} ({mask} & {self._scope.render(masked)})"
            for operator, masked in found.terms
        ]
        return _joined(parts) + "".join(terms)

    def shown(self) -> str:
        """Row 0."""
        if not self._chain.rows:
            return "0"
        return self._joined([self._at(lane, 0) for lane in range(len(self._chain.lanes))])

    def _at(self, lane: int, row: int) -> tuple[str, int]:
        """(variable, index) of what stands there; after the last row comes `sp_si`."""
        spots = self._chain.lanes[lane]
        if row < len(spots):
            spot = spots[row]
            if spot.register < self._chained:
                return self._variables[spot.register], spot.bit
            # Of a run only the first bit is ever taken.
            return self._ends[spot.register - self._chained], 0
        if (lane, row) in self._pad_index:
            return PADDING, self._pad_index[lane, row]
        return "sp_si", lane

    def _old(self, bits: Sequence[tuple[str, int]]) -> str:
        """What stood there before this edge, as one operand."""
        return self._joined(bits, self._was)

    def _joined(
        self, bits: Sequence[tuple[str, int]], names: Mapping[str, str] = MappingProxyType({})
    ) -> str:
        """`bits`, the lowest first, as one operand: runs of a variable as slices of it."""
        parts, start = [], 0
        for end in range(1, len(bits) + 1):
            name, low = bits[start]
            if end == len(bits) or bits[end] != (name, low + end - start):
                text = slice_of(names.get(name, name), self._widths[name], low, end - start)
                parts.append(text)
                start = end
        return _joined(parts)


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else "{" + ", ".join(parts[::-1]) + "}"
