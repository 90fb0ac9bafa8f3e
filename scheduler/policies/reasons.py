"""What waiting jobs are told: every slice that a job accepts, counted once, by what is in the way.

Worked out at the end of a round, when all that was decided is known. What a job is told depends on
its reach, its tier, and how many of the claims stand before it in the queue; so jobs that agree
in these share one answer, and a long queue costs little.
"""

from __future__ import annotations

from bisect import bisect_left

from scheduler.core.jobs import Job
from scheduler.core.plan import Blocker, Why
from scheduler.core.values import Slice
from scheduler.policies.ledger import Ledger


class Reasons:
    """`wakes`: moments named by the answers, at which something may change by itself."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._keepers = sorted(ledger.view.jobs[job].order for job in set(ledger.claims.values()))
        self._claimants = set(ledger.claims.values())
        self._answers: dict[object, tuple[Blocker, ...]] = {}
        self.wakes: list[int] = []

    def of(self, job: Job) -> tuple[Blocker, ...]:
        own = job.id if job.id in self._claimants else 0
        ahead = bisect_left(self._keepers, job.order)
        key = (id(self._ledger.reach(job)), job.rank, bool(job.spec.recall_us), own, ahead)
        if key not in self._answers:
            self._answers[key] = self._answer(job)
        return self._answers[key]

    def _answer(self, job: Job) -> tuple[Blocker, ...]:
        groups: dict[tuple[Why, int | None], list[int]] = {}
        parts = self._ledger.reach(job).parts
        for item in (item for slices in parts.values() for item in slices):
            why, named, until_us = self._why(job, item)
            groups.setdefault((why, until_us), []).append(named)
            if until_us is not None:
                self.wakes.append(until_us)
        return tuple(
            Blocker(why, len(named), tuple(sorted({found for found in named if found})), until_us)
            for (why, until_us), named in groups.items()
        )

    def _why(self, job: Job, item: Slice) -> tuple[Why, int, int | None]:
        """Why this slice cannot be had, whose doing it is, until when."""
        ledger = self._ledger
        if item in ledger.placed:
            taker = ledger.placed[item]
            return (Why.HELD if taker.rank <= job.rank else Why.STARTING), taker.id, None
        keeper = ledger.view.jobs[ledger.claims.get(item, job.id)]
        if keeper.order < job.order:
            return Why.AHEAD, keeper.id, None
        lease = ledger.view.leases.get(item)
        if lease is None:
            return (Why.RESERVED if ledger.claims.get(item) == job.id else Why.SHORT), 0, None
        why = Why.RELEASING if lease.releasing else ledger.standing(job, lease.job)
        if why is Why.PROTECTED:
            holder = ledger.view.jobs[lease.job]
            return why, lease.job, ledger.protected_until_us(job, holder)
        return why, lease.job, None
