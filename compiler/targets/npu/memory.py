"""Places in the NPU's on-chip memories, by first fit over lifetimes.

A lifetime is a closed interval of item numbers: two things share a place only if no item sees
both, so that a chain never overwrites what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compiler.errors import DoesNotFit
from rtl_sim.spec.npu import Config, Mem

RESOURCES = {
    Mem.MATRIX: "MatrixRf tiles",
    Mem.IVRF: "InitialVrf vectors",
    Mem.AVRF: "AddSubVrf vectors",
    Mem.MVRF: "MultiplyVrf vectors",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Vectors in a memory or buffer: consecutive ones, or lines a pitch apart."""

    mem: Mem
    base: int
    lines: int = 1
    pitch: int = 0  # vectors from line to line, if there are several

    def shifted(self, vectors: int) -> Place:
        return Place(self.mem, self.base + vectors, self.lines, self.pitch)


@dataclass(frozen=True, slots=True)
class Tiles:
    """Where a matrix lies: row r in engine (engine + r) mod ENGINES, see docs/npu.md."""

    engine: int
    line: int


@dataclass
class _Bank:
    depth: int
    taken: list[tuple[int, int, int, int]] = field(default_factory=list)  # base, end, first, last
    peak: int = 0

    def _live(self, first: int, last: int) -> list[tuple[int, int]]:
        """(base, end) of what is taken at some time from `first` to `last`, in order."""
        return sorted(
            (start, end) for start, end, born, dies in self.taken if dies >= first and born <= last
        )

    def find(self, size: int, first: int, last: int) -> int | None:
        """The lowest base where `size` entries are free from item `first` to `last`."""
        base = 0
        for start, end in self._live(first, last):
            if start - base >= size:
                break
            base = max(base, end)
        return base if base + size <= self.depth else None

    def free(self, base: int, size: int, first: int, last: int) -> bool:
        return all(end <= base or start >= base + size for start, end in self._live(first, last))

    def take(self, base: int, size: int, first: int, last: int) -> None:
        self.taken.append((base, base + size, first, last))
        self.peak = max(self.peak, base + size)

    def demand(self, size: int, first: int, last: int) -> int:
        """Entries needed at the busiest item, were `size` more taken."""
        live = [
            sum(end - start for start, end, born, dies in self.taken if born <= at <= dies)
            for at in range(first, last + 1)
        ]
        return size + max(live)


class Memories:
    """The allocator of one program."""

    def __init__(self, config: Config, target: str) -> None:
        self.config = config
        self._vrfs: dict[Mem, _Bank] = {
            mem: _Bank(config.depth(mem)) for mem in RESOURCES if mem != Mem.MATRIX
        }
        self._engines = [_Bank(config.tiles) for _ in range(config.engines)]
        self._next_engine = 0
        self._target = target

    def place(self, mems: Sequence[Mem], size: int, first: int, last: int) -> Place:
        """`size` consecutive entries in the first of `mems` that has room. Raises DoesNotFit."""
        for mem in mems:
            base = self._vrfs[mem].find(size, first, last)
            if base is not None:
                self._vrfs[mem].take(base, size, first, last)
                return Place(mem, base)
        depth = sum(self._vrfs[mem].depth for mem in mems)
        need = sum(
            self._vrfs[mem].demand(size if mem == mems[0] else 0, first, last) for mem in mems
        )
        resource = " or ".join(RESOURCES[mem] for mem in mems)
        # what is free may lie in pieces: then one more than there is would be needed
        raise DoesNotFit(resource, max(need, depth + 1), depth, self._target)

    def place_tiles(self, rows: int, cols: int, first: int, last: int) -> Tiles | None:
        """Room for a matrix of rows x cols tiles, as low as possible; of equally low places the
        one whose first row follows in turn, so that all engines have work. None: there is none."""
        engines = self.config.engines
        best: tuple[int, int, Tiles] | None = None
        for turn in range(engines):
            engine = (self._next_engine + turn) % engines
            height = self.config.lines(engine, rows, cols)
            for line in range(self.config.tiles - height + 1):
                if best is not None and line + height >= best[0]:
                    break
                parts = self._parts(Tiles(engine, line), rows, cols)
                if all(self._engines[at].free(base, size, first, last) for at, base, size in parts):
                    best = (line + height, turn, Tiles(engine, line))
                    break
        if best is None:
            return None
        tiles = best[2]
        for at, base, size in self._parts(tiles, rows, cols):
            self._engines[at].take(base, size, first, last)
        self._next_engine = (tiles.engine + rows) % engines
        return tiles

    def snapshot(self) -> object:
        """What is taken, to come back to with `restore` if the next things find no room."""
        banks = (*self._engines, *self._vrfs.values())
        return [(list(bank.taken), bank.peak) for bank in banks], self._next_engine

    def restore(self, snapshot: object) -> None:
        assert isinstance(snapshot, tuple)
        states, self._next_engine = snapshot
        for bank, (taken, peak) in zip((*self._engines, *self._vrfs.values()), states, strict=True):
            bank.taken, bank.peak = list(taken), peak

    def _parts(self, tiles: Tiles, rows: int, cols: int) -> list[tuple[int, int, int]]:
        """(engine, first line, lines) of a matrix, engine by engine."""
        engines = self.config.engines
        parts = []
        for at in range(min(engines, rows)):
            turn, engine = divmod(tiles.engine + at, engines)
            count = -(-(rows - at) // engines)
            parts.append((engine, tiles.line + turn * cols, count * cols))
        return parts

    def used(self) -> dict[str, tuple[int, int]]:
        """Resource -> (entries used, entries there are); of MatrixRf in all engines."""
        tiles = sum(bank.peak for bank in self._engines)
        have = self.config.tiles * self.config.engines
        return {RESOURCES[Mem.MATRIX]: (tiles, have)} | {
            RESOURCES[mem]: (bank.peak, bank.depth) for mem, bank in self._vrfs.items()
        }
