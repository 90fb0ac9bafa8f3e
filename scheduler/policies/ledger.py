"""The books of one planning round: who holds what, what is free, coming free, spoken for.

Shared by the policy's decisions and by its reasons. Jobs that accept the same slices are of one
`Reach`, whose slices are looked up once a round: a round costs little more than one look at each
waiting job, however many devices there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Why
from scheduler.core.values import Slice
from scheduler.core.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """The slices that jobs of a kind accept, by part: in order, and as sets for questions."""

    parts: Mapping[str, tuple[Slice, ...]]
    sets: tuple[frozenset[Slice], ...]
    total: int
    largest: int

    @classmethod
    def of(cls, parts: Mapping[str, tuple[Slice, ...]]) -> Reach:
        sizes = [len(slices) for slices in parts.values()]
        sets = tuple(frozenset(slices) for slices in parts.values())
        return cls(parts, sets, sum(sizes), max(sizes, default=0))


class Ledger:
    """free     not held and not spoken for, in order
    coming   about to be free and not spoken for -> the job that holds it still
    claims   kept for a job, free or coming -> that job
    placed   given out in this round -> the job that gets it
    evicted  jobs to be halted by this round"""

    def __init__(self, view: View, min_run_us: int) -> None:
        self.view = view
        self.min_run_us = min_run_us
        self.free: dict[Slice, None] = {}
        self.coming: dict[Slice, int] = {}
        self.claims: dict[Slice, int] = {}
        self.placed: dict[Slice, Job] = {}
        self.evicted: set[int] = set()
        self._used: dict[str, int] = {}  # device -> slices taken, to spread over the least used
        self._reaches: dict[object, Reach] = {}
        for device in view.devices.values():
            for item in device.slices if view.stays(device) else ():
                self._enter(item)

    def _enter(self, item: Slice) -> None:
        lease = self.view.leases.get(item)
        if lease is None:
            self.free[item] = None
            return
        self._used[item.device] = self._used.get(item.device, 0) + 1
        holder = self.view.jobs.get(lease.job)
        if lease.releasing or (holder and holder.state is JobState.CHECKPOINTING):
            self.coming[item] = lease.job

    def reach(self, job: Job) -> Reach:
        spec = job.spec
        others = spec.speeds if spec.portable else ()
        key = (spec.device_kind, spec.devices, others, job.part, job.avoid)
        found = self._reaches.get(key)
        if found is None:
            found = self._reaches[key] = Reach.of(self.view.acceptable(job))
        return found

    # ---- giving out

    def pick(self, wanted: frozenset[Slice], need: int) -> tuple[Slice, ...]:
        """Up to `need` free ones of `wanted`, from the devices least used at each choice."""
        usable = [item for item in self.free if item in wanted]
        used = {item.device: self._used.get(item.device, 0) for item in usable}
        chosen: list[Slice] = []
        for _ in range(min(need, len(usable))):
            best = min(usable, key=lambda item: (used[item.device], item))
            usable.remove(best)
            used[best.device] += 1
            chosen.append(best)
        return tuple(sorted(chosen))

    def at_hand(self, wanted: frozenset[Slice], need: int) -> list[Slice]:
        """Up to `need` of `wanted` that are free, or else coming."""
        coming = sorted(item for item in self.coming if item in wanted)
        return [*self.pick(wanted, need), *coming][:need]

    def keep(self, job: Job, slices: Iterable[Slice]) -> None:
        for item in slices:
            self.free.pop(item, None)
            self.coming.pop(item, None)
            self.claims[item] = job.id
            self._used[item.device] = self._used.get(item.device, 0) + 1

    def place(self, job: Job, slices: tuple[Slice, ...]) -> None:
        self.keep(job, slices)
        self.placed.update(dict.fromkeys(slices, job))

    def evict(self, victim: Job) -> None:
        self.evicted.add(victim.id)
        self.coming.update((item, victim.id) for item in victim.slices)

    # ---- looking at holders

    def standing(self, job: Job, holder_id: int) -> Why:
        """What stands between a job and a slice that `holder_id` holds: the same for all of its
        tier, or that have a recall."""
        holder = self.view.jobs.get(holder_id)
        if holder is None or holder.state is JobState.CHECKPOINTING or holder_id in self.evicted:
            return Why.RELEASING
        if holder.rank <= job.rank:
            return Why.HELD
        if holder.state is not JobState.RUNNING:
            return Why.STARTING
        if holder.pinned:
            return Why.PINNED
        if self.protected_until_us(job, holder) > self.view.now_us:
            return Why.PROTECTED
        return Why.EVICTABLE

    def protected_until_us(self, job: Job, holder: Job) -> int:
        """Whoever is to have its slices by a time does not wait for the others' minimum."""
        return protected_until_us(holder, 0 if job.spec.recall_us else self.min_run_us)


def protected_until_us(job: Job, min_run_us: int) -> int:
    """The first moment at which a running job may be halted."""
    return max(job.started_us + min_run_us, job.keep_until_us)
