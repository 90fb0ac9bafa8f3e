"""The flip-flops of an emitted top, and the chain through them. The rewrite itself.

Each flip-flop's `q <= d` becomes

    if (sp_run)        what the RTL says: reset, enable, d
    else if (sp_scan)  q <= the flip-flop one row up the chain

which in hardware is the clock enable ANDed with `sp_run` and one multiplexer before D. Enables and
synchronous resets (multiplexers here, `dffunmap` made them so) need no masking of their own: they
stand under `sp_run`. An asynchronous reset does, since it waits for no clock: it is held off for
the whole frozen interval, and a level that is still there afterwards acts then.

`sp_run` is read by clocked processes only. No combinational logic depends on it, so a simulator
evaluates nothing more for it while the design runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rtl_sim.capture.chain import Chain
from rtl_sim.capture.netlist import Cell
from rtl_sim.capture.scope import Scope, constant, identifier, span
from rtl_sim.capture.state import Register
from rtl_sim.capture.updates import Choices, Updates

PADDING: Final = "sp_padding"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of flip-flops in one row: bits `low` and up of a variable that has `of` bits."""

    variable: str
    of: int
    low: int
    width: int
    register: int  # -1: padding

    def text(self, skip: int = 0, width: int | None = None) -> str:
        width = self.width - skip if width is None else width
        return _slice(self.variable, self.of, self.low + skip, width)


class Flops:
    def __init__(
        self,
        registers: Sequence[Register],
        choices: Choices,
        chain: Chain,
        scope: Scope,
        clock: str,
    ) -> None:
        self._registers, self._scope, self._clock = registers, scope, identifier(clock)
        self._lanes, self._padding = chain.lanes, chain.padding
        self._variables = [scope.declare(register.q, register.label) for register in registers]
        self._updates = Updates(
            choices,
            scope,
            [identifier(variable) for variable in self._variables],
            [register.q for register in registers],
        )
        self._rows = [
            [
                _Piece(
                    self._variables[piece.register],
                    registers[piece.register].width,
                    piece.low,
                    piece.width,
                    piece.register,
                )
                for piece in row
            ]
            for row in chain.rows
        ]
        if chain.padding:
            self._rows[-1].append(_Piece(PADDING, chain.padding, 0, chain.padding, -1))

    def declare(self) -> Iterator[str]:
        for register, variable in zip(self._registers, self._variables, strict=True):
            value = f" = {constant(register.initial)}" if register.initial else ""
            yield f"  reg {span(register.width)}{identifier(variable)}{value};"
        if self._padding:
            yield f"  reg {span(self._padding)}{PADDING};"

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
                yield f"  wire {span(ends[-1])}{label} = {_joined(texts)};"

    def emit(self) -> Iterator[str]:
        yield f"  assign sp_so = {self._part(0, 0, self._lanes) if self._rows else '0'};"
        domains: dict[str, list[int]] = {}
        for index, register in enumerate(self._registers):
            domains.setdefault(self._condition(register.cell, "ARST"), []).append(index)
        for reset in sorted(domains):
            yield from self._process(reset, domains[reset])
        if self._padding:
            used = self._lanes - self._padding
            source = self._part(len(self._rows), used, self._padding)
            yield f"  always @(posedge {self._clock})"
            yield f"    if (!sp_run && sp_scan) {PADDING} <= {source};"

    def _process(self, reset: str, members: Sequence[int]) -> Iterator[str]:
        if not reset:
            yield f"  always @(posedge {self._clock})"
        else:
            name = identifier(self._scope.reserve("sp_arst"))
            yield f"  wire {name} = sp_run && {reset};"
            yield f"  always @(posedge {self._clock} or posedge {name})"
            yield f"    if ({name}) begin"
            yield from (f"      {line}" for line in self._constants(members, "ARST_VALUE"))
            yield "    end else"
        yield "    if (sp_run) begin"
        wishes = [(index, self._registers[index].cell.pins["D"]) for index in members]
        yield from (f"      {line}" for line in self._updates.emit(wishes))
        yield "    end else if (sp_scan) begin"
        yield from (f"      {line}" for line in self._shift(frozenset(members)))
        yield "    end"

    def _constants(self, members: Sequence[int], param: str) -> list[str]:
        return [
            f"{identifier(self._variables[index])} <= "
            f"{constant(self._registers[index].cell.params[param])};"
            for index in members
        ]

    def _condition(self, cell: Cell, pin: str) -> str:
        """The text that is true while `pin` acts; "" where the cell has no such pin."""
        if pin not in cell.pins:
            return ""
        invert = "" if cell.flag(f"{pin}_POLARITY") else "!"
        return f"{invert}{self._scope.render(cell.pins[pin])}"

    def _shift(self, members: frozenset[int]) -> Iterator[str]:
        """Row r takes row r + 1: in one assignment where the whole row is in this process."""
        for number, row in enumerate(self._rows):
            own = [piece for piece in row if piece.register >= 0]
            if all(piece.register in members for piece in own):
                width = sum(piece.width for piece in own)
                source = self._part(number + 1, 0, width)
                yield f"{_joined([piece.text() for piece in own])} <= {source};"
                continue
            lane = 0
            for piece in own:
                if piece.register in members:
                    yield f"{piece.text()} <= {self._part(number + 1, lane, piece.width)};"
                lane += piece.width

    def _part(self, number: int, lane: int, width: int) -> str:
        """Lanes `lane` and up of a row; the row after the last is what comes in from outside."""
        if number == len(self._rows):
            return _slice("sp_si", self._lanes, lane, width)
        parts, start = [], 0
        for piece in self._rows[number]:
            low, high = max(lane, start), min(lane + width, start + piece.width)
            if low < high:
                parts.append(piece.text(low - start, high - low))
            start += piece.width
        return _joined(parts)


def _slice(variable: str, of: int, low: int, width: int) -> str:
    text = identifier(variable)
    if width == of:
        return text
    return f"{text}[{low}]" if width == 1 else f"{text}[{low + width - 1}:{low}]"


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else "{" + ", ".join(parts[::-1]) + "}"
