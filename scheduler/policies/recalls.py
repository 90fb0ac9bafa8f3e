"""Recalls: whoever was promised slices by a time (`JobSpec.recall_us`) has them then, from basic
jobs that borrowed them.

Policies have borrowers halted as soon as such a job waits. That may fail: a checkpoint hangs, or is
slow; or the borrower is just being started, moved or saved and cannot be halted at all. When the
time is nearly over, one gives way without a checkpoint, as if its device were lost. For each slice
that is missing: first of those that are being halted for that very job, then whoever loses least.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import GiveWay
from scheduler.core.values import Slice, Tier
from scheduler.core.view import View

CLEARING = 5  # this part of the time is left for the release of what a borrower held
LEAST_LOST = (
    JobState.STARTING,
    JobState.CHECKPOINTING,
    JobState.MIGRATING,
    JobState.RESIZING,
    JobState.RUNNING,
)


def due_us(job: Job) -> int:
    """When borrowers give way to a waiting job: counted from when it could first be given slices,
    and so much before it is to have them that they can be cleared."""
    since_us = max(job.submitted_us, job.admitted_us or 0, job.saved_us, job.idle_until_us)
    return since_us + job.spec.recall_us - job.spec.recall_us // CLEARING


def overdue(
    view: View, waiting: Iterable[Job], touched: Collection[int]
) -> tuple[list[GiveWay], list[int]]:
    """Who gives way, and when to look again. `waiting`: what the plan leaves waiting, those that
    are promised slices, first to last; `touched`: running jobs that it halts or changes."""
    found: dict[int, GiveWay] = {}
    wakes: list[int] = []
    spoken: set[Slice] = set()
    for job in waiting:
        if not job.spec.recall_us:
            continue
        if due_us(job) > view.now_us:
            wakes.append(due_us(job))
            continue
        ways: list[tuple[list[Job], list[Slice]]] = []
        for slices in view.acceptable(job).values():
            left = [item for item in slices if item not in spoken]
            borrowers = _borrowers(view, job, left, {*touched, *found})
            if borrowers is not None:
                ways.append((borrowers, left))
        if ways:
            borrowers, left = min(ways, key=lambda way: len(way[0]))
            found.update({borrower.id: GiveWay(borrower.id, job.id) for borrower in borrowers})
            given = {item for borrower in borrowers for item in borrower.slices}
            ready = [item for item in left if item in given or _comes(view, item)]
            spoken.update(sorted(ready, key=lambda item: item not in given)[: job.spec.count])
    return list(found.values()), wakes


def _comes(view: View, item: Slice) -> bool:
    lease = view.leases.get(item)
    return lease is None or lease.releasing


def _borrowers(view: View, job: Job, slices: list[Slice], others: set[int]) -> list[Job] | None:
    """As few as complete it within these slices; None if not even all would do."""
    short = job.spec.count - sum(_comes(view, item) for item in slices)
    gains: dict[int, int] = {}
    for item in slices:
        lease = view.leases.get(item)
        if lease is None or lease.releasing or lease.job in others:
            continue
        if view.jobs[lease.job].spec.tier is Tier.BASIC:
            gains[lease.job] = gains.get(lease.job, 0) + 1
    chosen: list[Job] = []
    for borrower in sorted((view.jobs[number] for number in gains), key=lambda b: _loses(b, job)):
        if short <= 0:
            break
        chosen.append(borrower)
        short -= gains[borrower.id]
    return chosen if short <= 0 else None


def _loses(borrower: Job, job: Job) -> tuple[bool, int, int]:
    """Those that were told to stop for it first, then in the order of what is lost."""
    return borrower.evicted_for != job.id, LEAST_LOST.index(borrower.state), -borrower.id
