"""Which sessions make room on a device, and by which of their buffers. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seat(Generic[T]):
    """A session with something on the device."""

    tenant: T
    nbytes: int
    held: bool  # it was chosen before
    busy: bool
    since_s: float  # it is idle; of a busy one, since it came


def chosen(seats: Iterable[Seat[T]], short_bytes: int) -> list[Seat[T]]:
    """Who makes room for `short_bytes`: none if all of them have not so much."""
    found: list[Seat[T]] = []
    order = sorted(seats, key=lambda seat: (not seat.held, seat.busy, seat.since_s))
    for seat in order:
        found.append(seat)
        short_bytes -= seat.nbytes
        if short_bytes <= 0:
            return found
    return []


def parts(sizes: dict[int, int], short_bytes: int) -> list[int]:
    """Of a session's buffers those that make room for `short_bytes`, or all: few, and little more
    than is needed."""
    left = sorted(sizes, key=lambda handle: sizes[handle])
    found = []
    while left and short_bytes > 0:
        enough = (at for at, handle in enumerate(left) if sizes[handle] >= short_bytes)
        handle = left.pop(next(enough, len(left) - 1))
        found.append(handle)
        short_bytes -= sizes[handle]
    return found
