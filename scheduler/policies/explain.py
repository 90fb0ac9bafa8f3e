"""Audit of reasons: is what a waiting job was told true of the cluster?

Written against the view alone and knowing no policy's inside, so that it can contradict one. It
is used by tests after every step, and may be run on any replayed journal. (`Elastic` says more, and
has `elastic_audit`.)
"""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Blocker, Why
from scheduler.core.view import View

_ALONE = (Why.NO_DEVICE, Why.TOO_FEW, Why.BACKING_OFF)  # these stand for the whole answer


def audit(
    view: View, waiting: Mapping[int, tuple[Blocker, ...]], *, tiered: bool = True
) -> list[str]:
    """Complaints, one line each; empty when every waiting job has true and complete reasons.
    `tiered`: the policy serves by tier, then first come, first served, and halts lower tiers for
    higher ones. Of another policy is checked what must be so in any order, and halting or not."""
    complaints = idle_talk(view, waiting)
    for job in view.waiting:
        blockers = waiting.get(job.id)
        if not blockers:
            complaints.append(f"job {job.id} waits and was given no reason")
            continue
        complaints += [f"job {job.id}: {text}" for text in _complaints(view, job, blockers, tiered)]
    return complaints


def idle_talk(view: View, waiting: Mapping[int, tuple[Blocker, ...]]) -> list[str]:
    """Complaints of reasons given to whoever does not wait."""
    return [
        f"job {number} does not wait, but was given a reason"
        for number in waiting
        if number not in view.jobs or not view.jobs[number].state.waiting
    ]


def _complaints(view: View, job: Job, blockers: tuple[Blocker, ...], tiered: bool) -> list[str]:
    parts = view.acceptable(job)
    total = sum(map(len, parts.values()))
    if blockers[0].why in _ALONE:
        wrong = len(blockers) > 1 or not _alone_is_true(view, job, blockers[0])
        return [f"'{blockers[0]}' is not so"] if wrong else []
    accounted = sum(blocker.slices for blocker in blockers)
    at_hand = sum(b.slices for b in blockers if b.why in (Why.RELEASING, Why.RESERVED))
    complaints = []
    if accounted != total:
        complaints.append(f"{accounted} slices have a reason, of {total} acceptable")
    for blocker in blockers:
        for named in blocker.jobs:
            if blocker.why is Why.EVICTABLE and job.spec.count == 1 and at_hand < 1:
                complaints.append(f"job {named} could be halted, and is not")
            if not _is_true(view, job, blocker, named, tiered):
                complaints.append(f"'{blocker}' is not so of job {named}")
    return complaints


def _alone_is_true(view: View, job: Job, blocker: Blocker) -> bool:
    parts = view.acceptable(job)
    if blocker.why is Why.NO_DEVICE:
        return not parts
    if blocker.why is Why.TOO_FEW:
        return bool(parts) and max(map(len, parts.values())) < job.spec.count
    return blocker.until_us == job.idle_until_us and job.idle_until_us > view.now_us


def _is_true(view: View, job: Job, blocker: Blocker, named: int, tiered: bool) -> bool:
    other = view.jobs.get(named)
    acceptable = {item for slices in view.acceptable(job).values() for item in slices}
    if blocker.why is Why.AHEAD:
        return (
            other is not None
            and (other.order < job.order if tiered else other is not job)
            and (other.state.waiting or other.slices != ())
        )
    held = [lease for item, lease in view.leases.items() if item in acceptable]
    leases = [lease for lease in held if lease.job == named]
    if not leases:
        return False
    if blocker.why is Why.RELEASING:
        checkpointing = other is not None and other.state is JobState.CHECKPOINTING
        return checkpointing or any(lease.releasing for lease in leases)
    if other is None:
        return False
    if blocker.why is Why.HELD:
        return other.rank <= job.rank or not tiered
    if other.rank <= job.rank:
        return False
    match blocker.why:
        case Why.STARTING:
            return other.state in (JobState.STARTING, JobState.MIGRATING)
        case Why.PINNED:
            return other.state is JobState.RUNNING and other.pinned
        case Why.PROTECTED:
            return other.state is JobState.RUNNING and (blocker.until_us or 0) > view.now_us
        case Why.EVICTABLE:
            return other.state is JobState.RUNNING and not other.pinned
    return False
