"""How often devices were lost, by kind: what a policy's failure rates are measured by."""

from __future__ import annotations


class _Kind:
    __slots__ = ("lost", "since_us", "up", "up_us")

    def __init__(self) -> None:
        self.up = 0  # devices
        self.lost = 0
        self.up_us = 0  # of all of them together, counted up to `since_us`
        self.since_us = 0

    def count(self, now_us: int) -> None:
        self.up_us += self.up * (now_us - self.since_us)
        self.since_us = now_us


class Failures:
    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    # ---- kept by the machine

    def added(self, kind: str, now_us: int) -> None:
        found = self._kinds.setdefault(kind, _Kind())
        found.count(now_us)
        found.up += 1

    def lost(self, kind: str, now_us: int, *, planned: bool) -> None:
        """`planned`: it was drained, which is no failure."""
        found = self._kinds[kind]
        found.count(now_us)
        found.up -= 1
        found.lost += not planned

    # ---- for policies

    def of(self, kind: str, now_us: int) -> tuple[int, int]:
        """Devices lost unplanned so far, and the time that devices were up, in microseconds."""
        found = self._kinds.get(kind)
        if found is None:
            return 0, 0
        return found.lost, found.up_us + found.up * (now_us - found.since_us)
