"""Virtual handles: the worker's names for what the server holds.

The worker mints them, so that creating needs no round trip; the server maps them to real objects
and believes none of them. Numbers are never used twice in a session, by either kind of object.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from hal.errors import UsageError
from proxy.errors import RemoteProtocolError

T = TypeVar("T")

MAX_HANDLES = 1 << 16  # live objects of one kind in one session: bounds what a worker can pin


class Mint:
    """New virtual handles, from 1."""

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def new(self) -> int:
        self.last += 1
        return self.last


class HandleTable(Generic[T]):
    """The server's side: virtual handle to object, for one kind of object of one session."""

    def __init__(self, what: str, highest: int = 0) -> None:
        self._what = what
        self._live: dict[int, T] = {}
        self._failed: set[int] = set()  # minted, but creating failed: freeing one is no offence
        self._highest = highest

    def check_new(self, handle: int) -> None:
        """Raises RemoteProtocolError unless `handle` may be given to a new object."""
        if handle <= self._highest:
            raise RemoteProtocolError(
                f"{self._what} {handle}: numbers rise, and {self._highest} was used already"
            )
        if len(self._live) + len(self._failed) >= MAX_HANDLES:
            raise RemoteProtocolError(f"more than {MAX_HANDLES} live {self._what}s")

    def add(self, handle: int, value: T) -> None:
        self._live[handle] = value
        self._highest = max(self._highest, handle)

    def add_failed(self, handle: int) -> None:
        self._failed.add(handle)
        self._highest = max(self._highest, handle)

    def get(self, handle: int) -> T:
        """Raises UsageError for a handle that names nothing now."""
        try:
            return self._live[handle]
        except KeyError:
            raise UsageError(
                f"{self._what} {handle} is not live in this session: it was freed, or creating it "
                "failed"
            ) from None

    def remove(self, handle: int) -> T | None:
        """The object, no longer named; None if creating it had failed."""
        if handle in self._failed:
            self._failed.discard(handle)
            return None
        value = self.get(handle)
        del self._live[handle]
        return value

    def raise_to(self, highest: int) -> None:
        """Numbers up to it were used, by objects that are no more."""
        self._highest = max(self._highest, highest)

    @property
    def highest(self) -> int:
        return self._highest

    def items(self) -> list[tuple[int, T]]:
        """Live objects in creation order."""
        return list(self._live.items())

    def __len__(self) -> int:
        return len(self._live)
