"""Why a job waits under a policy that halts nobody for it: every slice it accepts, counted once."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Blocker, Why
from scheduler.core.values import Slice
from scheduler.core.view import View


def account(view: View, job: Job, kept: Mapping[Slice, int]) -> tuple[Blocker, ...]:
    """`kept`: free slices that are spoken for -> the job they are kept for."""
    if job.idle_until_us > view.now_us:
        return (Blocker(Why.BACKING_OFF, until_us=job.idle_until_us),)
    parts = view.acceptable(job).values()
    if max(map(len, parts), default=0) < job.spec.count:
        return (Blocker(Why.TOO_FEW if parts else Why.NO_DEVICE, sum(map(len, parts))),)
    groups: dict[Why, list[int]] = {}
    for item in (item for slices in parts for item in slices):
        why, other = _in_the_way(view, job, item, kept)
        groups.setdefault(why, []).append(other)
    return tuple(
        Blocker(why, len(others), tuple(sorted(set(others) - {0})))
        for why, others in groups.items()
    )


def _in_the_way(view: View, job: Job, item: Slice, kept: Mapping[Slice, int]) -> tuple[Why, int]:
    lease = view.leases.get(item)
    if lease is None:
        keeper = kept.get(item, 0)
        if keeper == job.id:
            return Why.RESERVED, 0
        return (Why.AHEAD, keeper) if keeper else (Why.SHORT, 0)
    holder = view.jobs.get(lease.job)
    leaves = lease.releasing or holder is None or holder.state is JobState.CHECKPOINTING
    return Why.RELEASING if leaves else Why.HELD, lease.job
