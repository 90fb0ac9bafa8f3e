"""Places in the NPU's on-chip memories, by first fit over lifetimes.

A lifetime is a closed interval of block numbers: two things share a place only if no block sees
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
    mem: Mem
    base: int


@dataclass
class _Bank:
    depth: int
    taken: list[tuple[int, int, int, int]] = field(default_factory=list)  # base, end, first, last
    peak: int = 0

    def find(self, size: int, first: int, last: int) -> int | None:
        """The lowest base where `size` entries are free from block `first` to `last`."""
        base = 0
        for start, end, born, dies in sorted(self.taken):
            if dies < first or born > last or end <= base:
                continue
            if start - base >= size:
                break
            base = end
        return base if base + size <= self.depth else None

    def take(self, base: int, size: int, first: int, last: int) -> None:
        self.taken.append((base, base + size, first, last))
        self.peak = max(self.peak, base + size)

    def demand(self, size: int, first: int, last: int) -> int:
        """Entries needed at the busiest block, were `size` more taken."""
        live = [
            sum(end - start for start, end, born, dies in self.taken if born <= at <= dies)
            for at in range(first, last + 1)
        ]
        return size + max(live)


class Memories:
    """The allocator of one program."""

    def __init__(self, config: Config, target: str) -> None:
        self._banks = {mem: _Bank(config.depth(mem)) for mem in RESOURCES}
        self._target = target

    def place(self, mems: Sequence[Mem], size: int, first: int, last: int) -> Place:
        """`size` consecutive entries in the first of `mems` that has room. Raises DoesNotFit."""
        for mem in mems:
            base = self._banks[mem].find(size, first, last)
            if base is not None:
                self._banks[mem].take(base, size, first, last)
                return Place(mem, base)
        depth = sum(self._banks[mem].depth for mem in mems)
        need = sum(
            self._banks[mem].demand(size if mem == mems[0] else 0, first, last) for mem in mems
        )
        resource = " or ".join(RESOURCES[mem] for mem in mems)
        # what is free may lie in pieces: then one more than there is would be needed
        raise DoesNotFit(resource, max(need, depth + 1), depth, self._target)

    def used(self) -> dict[str, tuple[int, int]]:
        """Resource -> (entries used, entries there are)."""
        return {RESOURCES[mem]: (bank.peak, bank.depth) for mem, bank in self._banks.items()}
