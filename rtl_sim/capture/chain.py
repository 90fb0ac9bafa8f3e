"""Where each flip-flop stands on the chain.

Row 0 is what `sp_so` shows before the first shift; a shift moves row i + 1 to row i and `sp_si` to
the last row. Which flip-flop follows which is free, for the state map names them all; so one
follows another that it takes its data from anyway where the design has such a pair (`links.py`),
and the bits of a register follow each other elsewhere. All paths made of that, end to end, are one
line, which is cut into lanes of one length.

The line is filled up with padding flip-flops: without them, lanes would have different lengths and
a full turn of the chain would not end where it began. They stand in the last row, at the upper
lanes. Padding is no state of the design and is not in the state map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rtl_sim.capture.links import Link, Spot
from rtl_sim.capture.state import BitName, Register


@dataclass(frozen=True, slots=True)
class Place:
    name: BitName
    row: int
    lane: int


@dataclass(frozen=True, slots=True)
class Chain:
    lanes: tuple[tuple[Spot, ...], ...]  # each from row 0 up; upper lanes may be one shorter
    rows: int
    padding: int  # flip-flops at the upper lanes of the last row

    def places(self, registers: Sequence[Register]) -> Iterator[Place]:
        for lane, spots in enumerate(self.lanes):
            for row, spot in enumerate(spots):
                yield Place(registers[spot.register].bits[spot.bit], row, lane)


def place(registers: Sequence[Register], lane_count: int, links: Sequence[Link] = ()) -> Chain:
    """`links` in order of preference; those that would fork or close a path are passed over."""
    line = list(_line(registers, links))
    rows = -(-len(line) // lane_count)
    padding = rows * lane_count - len(line)
    lanes, start = [], 0
    for lane in range(lane_count):
        end = start + rows - (lane >= lane_count - padding)
        lanes.append(tuple(reversed(line[start:end])))
        start = end
    return Chain(tuple(lanes), rows, padding)


def _line(registers: Sequence[Register], links: Sequence[Link]) -> Iterator[Spot]:
    """All flip-flops, each behind the one that it takes its bit from."""
    after: dict[Spot, Spot] = {}
    before: dict[Spot, Spot] = {}
    ends: dict[Spot, Spot] = {}  # of a path by its first spot, and the other way round
    for link in links:
        if link.source in after or link.target in before:
            continue
        if ends.get(link.target, link.target) == link.source:  # would close a ring
            continue
        after[link.source], before[link.target] = link.target, link.source
        first, last = ends.get(link.source, link.source), ends.get(link.target, link.target)
        ends[first], ends[last] = last, first
    for index, register in enumerate(registers):
        for bit in range(register.width):
            spot: Spot | None = Spot(index, bit)
            if spot in before:
                continue
            while spot is not None:
                yield spot
                spot = after.get(spot)
