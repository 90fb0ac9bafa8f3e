"""Free slices, kept up to date slice by slice, so that nobody has to look at every device.

Devices of one kind and part stand in buckets by how many free slices they have, in the order in
which they were first seen. Choosing costs a look at a few buckets, however many devices there
are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush

from scheduler.core.values import Device, Slice


class _Part:
    def __init__(self) -> None:
        self.buckets: dict[int, list[int]] = {}  # free slices -> ordinals of devices, rising
        self.total = 0
        self.capacity = 0
        self.holding: dict[str, list[int]] | None = None  # overlay -> devices with free slices


class Free:
    def __init__(self) -> None:
        self._ordinals: dict[str, int] = {}
        self._devices: list[Device] = []
        self._indices: list[list[int]] = []  # of a device's free slices: a heap
        self._counts: list[int] = []
        self._parts: dict[tuple[str, str], _Part] = {}

    # ---- kept by the machine

    def add(self, device: Device, held: Collection[int]) -> None:
        """A device that came up; slices of it are perhaps held still, by index."""
        ordinal = self._ordinals.setdefault(device.uri, len(self._ordinals))
        if ordinal == len(self._devices):
            self._devices.append(device)
            self._indices.append([])
            self._counts.append(0)
        free = [index for index in range(device.slice_count) if index not in held]
        self._devices[ordinal], self._indices[ordinal] = device, free
        self._counts[ordinal] = len(free)
        part = self._part(device)
        part.capacity += device.slice_count
        self._enter(part, ordinal)

    def remove(self, device: Device) -> None:
        """A device that was lost, or is to be: what is let go on it is not free."""
        ordinal = self._ordinals[device.uri]
        part = self._part(device)
        part.capacity -= device.slice_count
        self._leave(part, ordinal)
        self._counts[ordinal] = -1
        self._indices[ordinal] = []

    def take(self, item: Slice) -> None:
        ordinal = self._ordinals[item.device]
        part = self._part(self._devices[ordinal])
        self._leave(part, ordinal)
        indices = self._indices[ordinal]
        if indices[0] == item.index:
            heappop(indices)
        else:
            indices.remove(item.index)
            indices.sort()
        self._counts[ordinal] -= 1
        self._enter(part, ordinal)

    def give(self, item: Slice) -> None:
        ordinal = self._ordinals[item.device]
        if self._counts[ordinal] < 0 or item.index >= self._devices[ordinal].slice_count:
            return  # lost meanwhile, or back with fewer slices
        part = self._part(self._devices[ordinal])
        self._leave(part, ordinal)
        heappush(self._indices[ordinal], item.index)
        self._counts[ordinal] += 1
        self._enter(part, ordinal)

    def load(self, device: Device) -> None:
        """It holds another overlay from now on."""
        part, ordinal = self._part(device), self._ordinals[device.uri]
        if part.holding is None:  # the first of its part: others hold nothing
            free = sorted(n for count, bucket in part.buckets.items() if count for n in bucket)
            part.holding = {"": free}
        there = self._counts[ordinal] >= 0
        if there:
            self._leave(part, ordinal)
        self._devices[ordinal] = device
        if there:
            self._enter(part, ordinal)

    def _part(self, device: Device) -> _Part:
        return self._parts.setdefault((device.kind, device.part), _Part())

    def _enter(self, part: _Part, ordinal: int) -> None:
        count = self._counts[ordinal]
        part.total += count
        insort(part.buckets.setdefault(count, []), ordinal)
        if part.holding is not None and count:
            insort(part.holding.setdefault(self._devices[ordinal].overlay, []), ordinal)

    def _leave(self, part: _Part, ordinal: int) -> None:
        count = self._counts[ordinal]
        part.total -= count
        bucket = part.buckets[count]
        del bucket[bisect_left(bucket, ordinal)]
        if not bucket:
            del part.buckets[count]
        if part.holding is not None and count:
            holds = part.holding[self._devices[ordinal].overlay]
            del holds[bisect_left(holds, ordinal)]

    # ---- for policies

    def has(self, item: Slice) -> bool:
        return item.index in self._indices[self._ordinals[item.device]]

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """What is taken in it counts as held until its end."""
        trial = Trial(self)
        try:
            yield trial
        finally:
            trial.undo()

    def any(self) -> bool:
        return any(part.total for part in self._parts.values())

    def pools(self) -> tuple[tuple[str, str], ...]:
        """Kinds and parts of which there are or were devices, in the order first seen."""
        return tuple(self._parts)

    def parts(self, kind: str) -> tuple[str, ...]:
        """Parts of which there are or were devices of that kind, in the order first seen."""
        return tuple(part for found, part in self._parts if found == kind)

    def count(self, kind: str, part: str) -> int:
        return self._parts[kind, part].total

    def capacity(self, kind: str, part: str) -> int:
        """Slices of devices that are up, held or not."""
        return self._parts[kind, part].capacity

    def holds(self, kind: str, part: str, overlay: str) -> bool:
        """Whether a device with a free slice holds it."""
        holding = self._parts[kind, part].holding
        return holding is not None and bool(holding.get(overlay))

    def of(self, kind: str, part: str) -> tuple[Slice, ...]:
        """All free slices."""
        return self.pick(kind, part, self.count(kind, part))

    def on(self, uri: str) -> tuple[Slice, ...]:
        """Free slices of one device."""
        ordinal = self._ordinals.get(uri)
        if ordinal is None:
            return ()
        return tuple(Slice(uri, index) for index in sorted(self._indices[ordinal]))

    def pick(self, kind: str, part: str, need: int, overlay: str = "") -> tuple[Slice, ...]:
        """`need` free slices on as few devices as possible: those that fit best, else the emptiest
        first. For an overlay: devices that hold it, then those that hold none. Shorter if there are
        fewer."""
        found: list[Slice] = []
        of = self._parts[kind, part]
        keyed = overlay and of.holding is not None
        chosen = self._keyed(of, need, overlay) if keyed else self._emptiest(of, need)
        for ordinal, count in chosen:
            wanted = min(count, need - len(found))
            uri = self._devices[ordinal].uri
            found += (Slice(uri, index) for index in sorted(self._indices[ordinal])[:wanted])
        return tuple(found)

    def _keyed(self, part: _Part, need: int, overlay: str) -> Iterator[tuple[int, int]]:
        """Devices and how many slices to take of each. Of those that hold another overlay, first
        those whose overlay is on most that are free."""
        holding, left = part.holding or {}, need
        others = sorted(holding, key=lambda name: (-len(holding[name]), name))
        for name in dict.fromkeys((overlay, "", *others)):
            for ordinal in holding.get(name, ()):
                if left == 0:
                    return
                taken = min(left, self._counts[ordinal])
                yield ordinal, taken
                left -= taken

    def _emptiest(self, part: _Part, need: int) -> Iterator[tuple[int, int]]:
        """Devices and how many slices to take of each."""
        left = need
        sizes = sorted((size for size in part.buckets if size), reverse=True)
        for size in sizes:
            bucket = part.buckets[size]
            whole = min(left // size, len(bucket))
            for ordinal in bucket[:whole]:
                yield ordinal, size
            left -= whole * size
            if left == 0:
                return
            if whole < len(bucket):  # the rest fits on one of these, or of those with less free
                best = min(fitting for fitting in sizes if fitting >= left)
                yield part.buckets[best][whole if best == size else 0], left
                return


class Trial:
    """Free slices as they would be if a plan were carried out."""

    def __init__(self, free: Free) -> None:
        self._free = free
        self._taken: dict[Slice, None] = {}
        self.any, self.count, self.pick, self.has = free.any, free.count, free.pick, free.has
        self.capacity, self.pools, self.on, self.of = free.capacity, free.pools, free.on, free.of
        self.holds = free.holds

    def take(self, slices: Iterable[Slice]) -> None:
        for item in slices:
            self._free.take(item)
            self._taken[item] = None

    def give(self, slices: Iterable[Slice]) -> None:
        """What was taken in this trial, back."""
        for item in slices:
            del self._taken[item]
            self._free.give(item)

    def undo(self) -> None:
        self.give(tuple(self._taken))
