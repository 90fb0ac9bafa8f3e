"""Slices that several jobs share, and what jobs take of the hosts of devices.

A job with `JobSpec.needs` sits on a seat of each of its slices (`Slice.seat`, from 1 on), with a
lease of its own. What the seats of a slice take together is no more than the slice, and what jobs
take of a host is no more than that has; a job's first seat takes for it what it needs of the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.core.values import FULL_MILLI, Device, Needs, Slice


@dataclass(frozen=True, slots=True)
class Left:
    """Of a device: thousandths of each slice, and of its host."""

    share_milli: tuple[int, ...]
    cpu_milli: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class _Taken:
    share_milli: int
    cpu_milli: int
    memory_mib: int


class Shares:
    def __init__(self) -> None:
        self._taken: dict[str, dict[Slice, _Taken]] = {}  # by device

    # ---- kept by the machine

    def take(self, item: Slice, needs: Needs, *, first: bool) -> bool:
        """Whether the slice was whole before, and is not now. `first`: seat of its job."""
        was_whole = not self.is_shared(item)
        host = (needs.cpu_milli, needs.memory_mib) if first else (0, 0)
        self._taken.setdefault(item.device, {})[item] = _Taken(needs.share_milli, *host)
        return was_whole and needs.share_milli > 0

    def give(self, item: Slice) -> bool:
        """Whether the slice is whole again by that."""
        share_milli = self._taken[item.device].pop(item).share_milli
        return share_milli > 0 and not self.is_shared(item)

    def has(self, item: Slice) -> bool:
        return item in self._taken.get(item.device, ())

    # ---- for everybody

    def is_shared(self, item: Slice) -> bool:
        """Whether somebody has a share of that slice, on whatever seat."""
        on = self._taken.get(item.device, {})
        return any(t.share_milli > 0 and seat.index == item.index for seat, t in on.items())

    def on(self, uri: str) -> Iterable[Slice]:
        """Seats that are taken of a device."""
        return tuple(self._taken.get(uri, ()))

    def left(self, device: Device, leases: Mapping[Slice, object]) -> Left:
        """Slices that a job has for itself, by the leases, have nothing left."""
        on = self._taken.get(device.uri, {})
        shares = [0 if item in leases else FULL_MILLI for item in device.slices]
        cpu_milli, memory_mib = device.cpu_milli, device.memory_mib
        for item, taken in on.items():
            if item.index < len(shares):
                shares[item.index] -= taken.share_milli
            cpu_milli -= taken.cpu_milli
            memory_mib -= taken.memory_mib
        return Left(tuple(shares), cpu_milli, memory_mib)
