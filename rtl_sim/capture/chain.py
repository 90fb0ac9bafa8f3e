"""Where each flip-flop stands on the chain.

Row 0 is what `sp_so` shows before the first shift; a shift moves row i + 1 to row i and `sp_si` to
the last row. Which flip-flop follows which is free, for the state map names them all; so one
follows another that it takes its data from anyway where the design has such a pair (`links.py`),
and the bits of a register follow each other elsewhere. All paths made of that, end to end, are one
line, which is cut into lanes of one length.

Chains inside instances (`Run`) are parts of lanes that cannot be cut; they come first, the line
fills what is left. In row 0 stand bits of as few registers as can be, where nothing prefers another
place for them.

The lanes are filled up with padding flip-flops: without them, lanes would have different lengths
and a full turn of the chain would not end where it began. They stand in the last rows, at the upper
lanes. Padding is no state of the design and is not in the state map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rtl_sim.capture.links import Link, Spot
from rtl_sim.capture.state import BitName, Register, Run


@dataclass(frozen=True, slots=True)
class Place:
    name: BitName
    row: int
    lane: int


@dataclass(frozen=True, slots=True)
class Chain:
    lanes: tuple[tuple[Spot, ...], ...]  # each from row 0 up; a run counts after all registers

    @property
    def rows(self) -> int:
        return max(map(len, self.lanes))

    @property
    def padding(self) -> int:
        """Flip-flops above the design's own."""
        return self.rows * len(self.lanes) - sum(map(len, self.lanes))

    def places(self, chained: Sequence[tuple[BitName, ...]]) -> Iterator[Place]:
        """`chained`: the bits of each register and run (`State.chained`)."""
        for lane, spots in enumerate(self.lanes):
            for row, spot in enumerate(spots):
                yield Place(chained[spot.register][spot.bit], row, lane)


def place(
    registers: Sequence[Register],
    lane_count: int,
    links: Sequence[Link] = (),
    runs: Sequence[Run] = (),
) -> Chain:
    """`links` in order of preference; those that would fork or close a path are passed over."""
    paths = list(_paths(registers, links))
    tails = _tails(paths, lane_count)
    line = [spot for path in paths for spot in path if spot not in tails]
    lanes: list[list[Spot]] = [[spot] for spot in sorted(tails)] or [[] for _ in range(lane_count)]
    for number in sorted(range(len(runs)), key=lambda n: -len(runs[n].bits)):
        lane = min(lanes, key=len)
        lane += (Spot(len(registers) + number, bit) for bit in range(len(runs[number].bits)))
    total = len(line) + sum(map(len, lanes))
    rows = max(-(-total // lane_count), *map(len, lanes))
    rooms = _rooms([rows - len(lane) for lane in lanes], rows * lane_count - total)
    start = 0
    for lane, room in zip(lanes, rooms, strict=True):
        lane += reversed(line[start : start + room])
        start += room
    return Chain(tuple(map(tuple, lanes)))


def _rooms(free: Sequence[int], padding: int) -> list[int]:
    """What of each lane's free places is left when `padding` take theirs, all lanes alike."""
    rooms = list(free)
    for depth in range(max(free)):
        able = [lane for lane, places in enumerate(free) if places > depth]
        for lane in able[-padding:] if padding else ():
            rooms[lane] -= 1
        padding -= min(padding, len(able))
    return rooms


def _tails(paths: Sequence[Sequence[Spot]], lane_count: int) -> frozenset[Spot]:
    """Flip-flops for row 0, from as few registers as there are: a simulator joins them to `sp_so`
    at every cycle. Only such as stand alone, and none in a design of hardly more than one row."""
    alone: dict[int, list[Spot]] = {}
    for path in paths:
        if len(path) == 1:
            alone.setdefault(path[0].register, []).append(path[0])
    widest = sorted(alone.values(), key=lambda spots: (-len(spots), spots))
    chosen = [spot for spots in widest for spot in spots][:lane_count]
    enough = len(chosen) == lane_count and sum(map(len, paths)) >= 2 * lane_count
    return frozenset(chosen) if enough else frozenset()


def _paths(registers: Sequence[Register], links: Sequence[Link]) -> Iterator[list[Spot]]:
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
            path = []
            while spot is not None:
                path.append(spot)
                spot = after.get(spot)
            yield path
