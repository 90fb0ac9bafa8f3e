"""Where each flip-flop stands on the chain.

Row 0 is what `sp_so` shows before the first shift; a shift moves row i + 1 to row i and `sp_si` to
the last row. Rows are filled with whole registers and whole-row slices of wide ones, so that the
emitted shift is made of wide concatenations. The last row is filled up with padding flip-flops:
without them, lanes would have different lengths and a full turn of the chain would not end where
it began. Padding is no state of the design and is not in the state map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rtl_sim.capture.state import BitName, Register


@dataclass(frozen=True, slots=True)
class Piece:
    """Bits `low` and up of one register (its index), `width` of them."""

    register: int
    low: int
    width: int


@dataclass(frozen=True, slots=True)
class Place:
    name: BitName
    row: int
    lane: int


@dataclass(frozen=True, slots=True)
class Chain:
    lanes: int
    rows: tuple[tuple[Piece, ...], ...]  # pieces of a row from lane 0 up
    padding: int  # flip-flops at the upper lanes of the last row

    def places(self, registers: Sequence[Register]) -> Iterator[Place]:
        for row, pieces in enumerate(self.rows):
            lane = 0
            for piece in pieces:
                for bit in registers[piece.register].bits[piece.low : piece.low + piece.width]:
                    yield Place(bit, row, lane)
                    lane += 1


def place(registers: Sequence[Register], lanes: int) -> Chain:
    full: list[tuple[Piece, ...]] = []
    rest: list[Piece] = []
    for index, register in enumerate(registers):
        whole = register.width - register.width % lanes
        full += [(Piece(index, low, lanes),) for low in range(0, whole, lanes)]
        if whole < register.width:
            rest.append(Piece(index, whole, register.width - whole))
    packed: list[tuple[Piece, ...]] = []
    row: list[Piece] = []
    room = lanes
    for piece in rest:
        fits = min(room, piece.width)
        row.append(Piece(piece.register, piece.low, fits))
        room -= fits
        if room == 0:
            packed.append(tuple(row))
            over = piece.width - fits
            row = [Piece(piece.register, piece.low + fits, over)] if over else []
            room = lanes - over
    if row:
        packed.append(tuple(row))
    padding = room if row else 0
    return Chain(lanes, (*full, *packed), padding)
