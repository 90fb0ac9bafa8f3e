"""Handing jobs over so that each is held by exactly one holder, whatever is lost or comes twice.

A holder keeps what it gave until it hears that it was taken, and gives it again meanwhile; the
other takes each handover once, in order. Both remember one number for each other, however many
jobs went through. Jobs given away are not withdrawn again: while the other is lost, they wait.

A job's token counts its handovers. Advice names job and token, so advice about a job that has been
elsewhere since is recognised and dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from scheduler.hierarchy.messages import Handover, Taken
from scheduler.traces.packed import Jobs, no_jobs

AGAIN_US = 5_000_000  # not taken for so long: given again
WINDOW = 64  # handovers given again at a time


class Outbox:
    """To one other holder."""

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        self._given = 0
        self._told_us = 0  # when something was given last, first time or again
        self._waiting: deque[Handover] = deque()

    def give(self, now_us: int, jobs: Jobs) -> Handover:
        jobs = jobs.copy()
        jobs["token"] += 1
        self._given += 1
        if not self._waiting:
            self._told_us = now_us
        handover = Handover(self.source, self.target, self._given, now_us, jobs)
        self._waiting.append(handover)
        return handover

    def taken(self, message: Taken) -> None:
        while self._waiting and self._waiting[0].seq <= message.seq:
            self._waiting.popleft()

    def again(self, now_us: int) -> Iterator[Handover]:
        if self._waiting and now_us - self._told_us >= AGAIN_US:
            self._told_us = now_us
            yield from list(self._waiting)[:WINDOW]

    def is_silent(self, now_us: int, bound_us: int) -> bool:
        """Whether the other has not taken what it was given so long ago."""
        return bool(self._waiting) and now_us - self._waiting[0].at_us > bound_us

    def held(self, taken: int) -> Jobs:
        """Jobs that are still here, if the other took handovers up to `taken`."""
        found = [handover.jobs for handover in self._waiting if handover.seq > taken]
        return np.concatenate(found) if found else no_jobs()


class Inbox:
    """From one other holder."""

    def __init__(self) -> None:
        self.seq = 0

    def take(self, handover: Handover) -> Jobs | None:
        """Its jobs, unless it was taken before or one before it is missing."""
        if handover.seq != self.seq + 1:
            return None
        self.seq += 1
        return handover.jobs


class Custody:
    """All of one holder's channels."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._out: dict[str, Outbox] = {}
        self._in: dict[str, Inbox] = {}

    def give(self, now_us: int, target: str, jobs: Jobs) -> Handover:
        return self.outbox(target).give(now_us, jobs)

    def outbox(self, target: str) -> Outbox:
        if target not in self._out:
            self._out[target] = Outbox(self.name, target)
        return self._out[target]

    def take(self, handover: Handover, now_us: int) -> tuple[Jobs | None, Taken]:
        inbox = self._in.setdefault(handover.source, Inbox())
        jobs = inbox.take(handover)
        return jobs, Taken(handover.source, self.name, inbox.seq, now_us)

    def taken(self, message: Taken) -> None:
        if message.target in self._out:
            self._out[message.target].taken(message)

    def again(self, now_us: int) -> list[Handover]:
        return [each for outbox in self._out.values() for each in outbox.again(now_us)]

    def took(self, source: str) -> int:
        """Handovers taken from there."""
        return self._in[source].seq if source in self._in else 0

    def outboxes(self) -> Iterator[Outbox]:
        yield from self._out.values()
