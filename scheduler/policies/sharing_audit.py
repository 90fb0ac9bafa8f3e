"""Audit of what `Sharing` tells waiting jobs: is it true of the cluster?

Written against the view alone; it sees neither the policy's nodes nor its claims, so that it can
contradict them. It also objects when a job that nobody stands before could be placed, or could have
others halted for it, and is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from scheduler.core.jobs import Job, JobState, Lease
from scheduler.core.plan import Blocker, Why
from scheduler.core.values import FULL_MILLI, Device, Slice
from scheduler.core.view import View, suits
from scheduler.policies.explain import idle_talk

ALONE = (Why.NO_DEVICE, Why.BACKING_OFF)
LACKS = (Why.SHARE, Why.WHOLE, Why.CPU, Why.MEMORY)


def audit(view: View, waiting: Mapping[int, tuple[Blocker, ...]], min_run_us: int) -> list[str]:
    """Complaints, one line each; empty when every waiting job has true and complete reasons."""
    complaints = idle_talk(view, waiting)
    held: dict[str, list[tuple[Slice, Lease]]] = {}
    for item, lease in view.leases.items():
        held.setdefault(item.device, []).append((item, lease))
    for job in view.waiting:
        told = waiting.get(job.id, ())
        found = _Audit(view, held, min_run_us, job, told).complaints()
        complaints += [f"job {job.id}: {text}" for text in found]
    return complaints


class _Audit:
    def __init__(
        self,
        view: View,
        held: Mapping[str, list[tuple[Slice, Lease]]],
        min_run_us: int,
        job: Job,
        blockers: tuple[Blocker, ...],
    ) -> None:
        self.view, self.held, self.min_run_us = view, held, min_run_us
        self.job, self.blockers = job, blockers

    def complaints(self) -> Iterator[str]:
        view, job = self.view, self.job
        up = [d.uri for d in view.devices.values() if d.up and d.kind == job.spec.device_kind]
        if not self.blockers:
            yield "it waits and was given no reason"
            return
        first = self.blockers[0]
        if not first.devices:
            true = len(self.blockers) == 1 and self._alone_is_true(first, up)
            if not true:
                yield f"'{first}' is not so"
            return
        told = [uri for blocker in self.blockers for uri in blocker.devices]
        if sorted(told) != sorted(up):
            yield f"there are {up}, and a reason for {told}"
            return
        for blocker in self.blockers:
            for uri in blocker.devices:
                if not self._is_true(blocker, view.devices[uri]):
                    yield f"'{blocker}' is not so on {uri}"
        coming = any(blocker.why is Why.RELEASING for blocker in self.blockers)
        if not coming and any(blocker.why is Why.EVICTABLE for blocker in self.blockers):
            yield "others could be halted for it, and are not"

    def _alone_is_true(self, blocker: Blocker, up: list[str]) -> bool:
        match blocker.why:
            case Why.NO_DEVICE:
                return not up
            case Why.BACKING_OFF:
                return blocker.until_us == self.job.idle_until_us > self.view.now_us
            case Why.GATHERED:
                return self._is_gathered(blocker)
        return False

    def _is_gathered(self, blocker: Blocker) -> bool:
        """That one waits, and somebody was halted for it who has not gone on yet."""
        if len(blocker.jobs) != 1:
            return False
        number = blocker.jobs[0]
        movers = [job for job in self.view.jobs.values() if job.evicted_for == number]
        other = self.view.jobs.get(number)
        waits = other is None or other.state.waiting  # it may have been cancelled meanwhile
        return waits and any(job.state is JobState.CHECKPOINTING for job in movers)

    def _is_true(self, blocker: Blocker, device: Device) -> bool:
        view, job = self.view, self.job
        liked = {i.device for slices in view.acceptable(job).values() for i in slices}
        match blocker.why:
            case Why.DRAINING:
                return device.uri in view.draining
            case Why.UNSUITED:
                return device.uri not in (*liked, *view.draining) or not suits(job.spec, device)
            case _ if device.uri not in liked:
                return False
            case Why.TOO_SMALL:
                return not self._fits(device, self._named(device))
            case Why.GATHERED:
                return self._is_gathered(blocker)
        there = self._named(device)
        named = [number for number in blocker.jobs if number in there]
        leases = (lease for _, lease in self.held.get(device.uri, ()))
        cleared = {lease.job for lease in leases if lease.releasing}
        goes = {n for n, holder in there.items() if holder and _goes(holder)}
        lower = {n for n, holder in there.items() if holder and holder.rank > job.rank} - goes
        match blocker.why:
            case Why.RELEASING:
                gone = goes | cleared
                return bool(gone) and gone <= {*blocker.jobs} and self._fits(device, goes)
            case Why.AHEAD:
                waiting = (view.jobs.get(number) for number in blocker.jobs)
                return self._fits(device, goes | lower) and all(
                    other is not None and other.state.waiting and other.order < job.order
                    for other in waiting
                )
            case why if why in LACKS:
                return not self._fits(device, goes | lower) and all(
                    not _goes(holder) and holder.rank <= job.rank and self._takes(holder, why)
                    for number in named
                    if (holder := there[number]) is not None
                )
        holders = [there[number] for number in named]
        return (
            self._fits(device, goes | lower)
            and not goes.intersection(named)
            and all(h is not None and self._is_kept(blocker, h) for h in holders)
            and bool(holders)
        )

    def _is_kept(self, blocker: Blocker, holder: Job) -> bool:
        if holder.rank <= self.job.rank:
            return False
        running = holder.state is JobState.RUNNING
        rests_us = max(holder.started_us + self.min_run_us, holder.keep_until_us)
        match blocker.why:
            case Why.STARTING:
                return not running
            case Why.PINNED:
                return running and holder.pinned
            case Why.SAVING:
                return running and holder.saving_us is not None
            case Why.PROTECTED:
                return running and blocker.until_us == rests_us > self.view.now_us
            case Why.EVICTABLE:
                return running and rests_us <= self.view.now_us
        return False

    def _takes(self, holder: Job, why: Why) -> bool:
        needs = holder.spec.needs
        match why:
            case Why.CPU:
                return needs is not None and needs.cpu_milli > 0
            case Why.MEMORY:
                return needs is not None and needs.memory_mib > 0
        return needs is None or needs.share_milli > 0

    def _named(self, device: Device) -> dict[int, Job | None]:
        """Who holds something there; None: only what is being cleared."""
        found: dict[int, Job | None] = {}
        for _, lease in self.held.get(device.uri, ()):
            if not lease.releasing:
                found[lease.job] = self.view.jobs[lease.job]
            else:
                found.setdefault(lease.job, None)
        return found

    def _fits(self, device: Device, gone: Collection[int]) -> bool:
        """Whether there would be enough without those, and without all that is being cleared."""
        free = dict.fromkeys(range(device.slice_count), FULL_MILLI)
        cpu_milli, memory_mib = device.cpu_milli, device.memory_mib
        seen: set[int] = set()
        for item, lease in self.held.get(device.uri, ()):
            if lease.releasing or lease.job in gone:
                continue
            needs = self.view.jobs[lease.job].spec.needs
            free[item.index] -= needs.share_milli if needs else FULL_MILLI
            if needs is not None and lease.job not in seen:
                cpu_milli -= needs.cpu_milli
                memory_mib -= needs.memory_mib
            seen.add(lease.job)
        needs, count = self.job.spec.needs, self.job.spec.count
        share = needs.share_milli if needs else FULL_MILLI
        return (
            (not share or sum(left >= share for left in free.values()) >= count)
            and (needs.cpu_milli if needs else 0) <= cpu_milli
            and (needs.memory_mib if needs else 0) <= memory_mib
        )


def _goes(job: Job) -> bool:
    return job.state is JobState.CHECKPOINTING
