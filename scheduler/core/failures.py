"""How often devices were lost, by kind: what a policy's failure rates are measured by. And on which
of them jobs fail to start.

A start that fails may be the device's fault or the job's own. A device is *blamed* for the failures
of a job in a row that were all there, wherever else it was tried; one that failed elsewhere, too,
tells of itself. So of a gang's devices all are blamed, until it fails without one of them. The
first start that succeeds on a device ends all that is held against it.
"""

from __future__ import annotations

from collections.abc import Iterable


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
        self._on: dict[str, dict[int, int]] = {}  # device -> job -> starts that failed there
        self._of: dict[int, int] = {}  # job -> starts that failed in a row, of those in `_on`

    # ---- kept by the machine

    def start_failed(self, job: int, devices: Iterable[str]) -> None:
        self._of[job] = self._of.get(job, 0) + 1
        for uri in devices:
            jobs = self._on.setdefault(uri, {})
            jobs[job] = jobs.get(job, 0) + 1

    def is_well(self, devices: Iterable[str]) -> None:
        """Somebody started there, or they are others now."""
        cleared = [job for uri in devices for job in self._on.pop(uri, ())]
        for job in cleared:
            if not any(job in jobs for jobs in self._on.values()):
                self._of.pop(job, None)

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

    def blamed(self) -> dict[str, int]:
        """Devices -> starts that failed there in a row and that they are blamed for; 1 or more."""
        found = {
            uri: sum(count for job, count in jobs.items() if count == self._of[job])
            for uri, jobs in self._on.items()
        }
        return {uri: count for uri, count in found.items() if count}

    def of(self, kind: str, now_us: int) -> tuple[int, int]:
        """Devices lost unplanned so far, and the time that devices were up, in microseconds."""
        found = self._kinds.get(kind)
        if found is None:
            return 0, 0
        return found.lost, found.up_us + found.up * (now_us - found.since_us)
