"""Tiered preemption: a higher tier takes devices from a lower one, by halting it.

The queue is served in order: by tier, then first come, first served. Jobs that are being halted
stand in it too, at their own place, so that a slice on which a victim can go on at once is kept
for it and not handed to somebody later. For each job in turn:

1. free slices, if there are enough of one part (spread over the least used devices);
2. else slices that are about to be free, if they complete the job: it waits for them;
3. else victims: running jobs of a lower tier that have had their minimum run time. Among them
   the lowest tier goes first, then those that can move at once to another free slice, then the
   least lost work; the part that costs the fewest slices is taken, and no victim more than
   needed. If even all of them would not do, nobody is halted;
4. else it waits, and keeps the free slices it could use from everybody behind it (a gang is
   never starved by small jobs; nothing is back-filled).

A premium job is never halted, since nothing stands above it. What a job waits for is returned
as blockers, which `explain.audit` can check.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Blocker, Evict, Place, Plan, Why
from scheduler.core.values import Slice
from scheduler.core.view import View


class Tiered:
    """min_run_us: a job that was (re)started is left alone this long, so that halting and moving
    cannot eat up the work."""

    def __init__(self, min_run_us: int = 0) -> None:
        self.min_run_us = min_run_us

    def plan(self, view: View) -> Plan:
        return _Round(view, self.min_run_us).plan()


def protected_until_us(job: Job, min_run_us: int) -> int:
    """The first moment at which a running job may be halted."""
    return max(job.started_us + min_run_us, job.keep_until_us)


class _Round:
    """One planning round. `free` and `coming` shrink as jobs in turn claim them."""

    def __init__(self, view: View, min_run_us: int) -> None:
        self.view = view
        self.min_run_us = min_run_us
        self.free: dict[Slice, None] = {}
        self.coming: dict[Slice, int] = {}  # about to be free -> the job that holds it still
        self.claims: dict[Slice, int] = {}  # -> the job it is kept for
        self.used: dict[str, int] = {}  # device -> slices taken, to spread over the least used
        self.placed: dict[Slice, Job] = {}
        self.evicted: set[int] = set()
        self.blocked: list[Job] = []
        self.decisions: list[Place | Evict] = []
        self.waiting: dict[int, tuple[Blocker, ...]] = {}
        self.wakes: list[int] = []
        for device in view.devices.values():
            for item in device.slices if device.up else ():
                self._sort_in(item)

    def _sort_in(self, item: Slice) -> None:
        lease = self.view.leases.get(item)
        if lease is None:
            self.free[item] = None
            return
        self.used[item.device] = self.used.get(item.device, 0) + 1
        holder = self.view.jobs.get(lease.job)
        if lease.releasing or (holder and holder.state is JobState.CHECKPOINTING):
            self.coming[item] = lease.job

    def plan(self) -> Plan:
        queue = [
            (*job.order, job)
            for job in self.view.jobs.values()
            if job.state.waiting or job.state is JobState.CHECKPOINTING
        ]
        heapq.heapify(queue)
        while queue:
            *_, job = heapq.heappop(queue)
            victims = self._serve(job)
            for victim in victims:  # of lower tiers, so their turns are still to come
                heapq.heappush(queue, (*victim.order, victim))
        for job in self.blocked:  # told at the end, when all that was decided is known
            self.waiting[job.id] = self._blockers(job, self.view.acceptable(job))
        wake = min(self.wakes, default=None)
        return Plan(tuple(self.decisions), tuple(sorted(self.waiting.items())), wake)

    def _serve(self, job: Job) -> tuple[Job, ...]:
        """Place the job, or find out what it waits for. Returns the jobs halted for it."""
        parts = self.view.acceptable(job)
        need = job.spec.count
        if not job.state.waiting or job.id in self.evicted:
            self._keep_for_move(job, parts)
            return ()
        if job.idle_until_us > self.view.now_us:
            self.wakes.append(job.idle_until_us)
            self.waiting[job.id] = (Blocker(Why.BACKING_OFF, until_us=job.idle_until_us),)
            return ()
        if max(map(len, parts.values()), default=0) < need:
            why = Why.TOO_FEW if parts else Why.NO_DEVICE
            self.waiting[job.id] = (Blocker(why, sum(map(len, parts.values()))),)
            return ()
        for slices in parts.values():
            chosen = self._pick_free(slices, need)
            if len(chosen) == need:
                self._take(job, chosen)
                return ()
        victims = self._find_victims(job, parts)
        for victim in victims:
            self.evicted.add(victim.id)
            self.coming.update((item, victim.id) for item in victim.slices)
            self.decisions.append(Evict(victim.id, job.id))
        self._claim(job, parts)
        self.blocked.append(job)
        return victims

    # ---- free slices

    def _pick_free(self, slices: Iterable[Slice], need: int) -> tuple[Slice, ...]:
        """Up to `need` unclaimed free ones, from the devices least used at each choice."""
        usable = [item for item in slices if item in self.free]
        used = dict(self.used)
        chosen: list[Slice] = []
        for _ in range(min(need, len(usable))):
            best = min(usable, key=lambda item: (used.get(item.device, 0), item))
            usable.remove(best)
            used[best.device] = used.get(best.device, 0) + 1
            chosen.append(best)
        return tuple(sorted(chosen))

    def _take(self, job: Job, slices: tuple[Slice, ...]) -> None:
        self.decisions.append(Place(job.id, slices))
        self.placed.update(dict.fromkeys(slices, job))
        self._keep(job, slices)

    def _keep(self, job: Job, slices: Iterable[Slice]) -> None:
        for item in slices:
            self.free.pop(item, None)
            self.coming.pop(item, None)
            self.claims[item] = job.id
            self.used[item.device] = self.used.get(item.device, 0) + 1

    def _keep_for_move(self, job: Job, parts: dict[str, tuple[Slice, ...]]) -> None:
        """A job that is being halted goes on at once, if somewhere there is room for all of it."""
        for slices in parts.values():
            chosen = self._pick_free(slices, job.spec.count)
            if len(chosen) == job.spec.count:
                self._keep(job, chosen)
                return

    def _claim(self, job: Job, parts: dict[str, tuple[Slice, ...]]) -> None:
        """Keep for the job what it will use: in the part where most of it is at hand."""

        best: list[Slice] = []
        for slices in parts.values():
            coming = [item for item in slices if item in self.coming]
            at_hand = [*self._pick_free(slices, job.spec.count), *coming][: job.spec.count]
            if len(at_hand) > len(best):
                best = at_hand
        self._keep(job, best)

    # ---- victims

    def _find_victims(self, job: Job, parts: dict[str, tuple[Slice, ...]]) -> tuple[Job, ...]:
        """The cheapest set of victims that completes the job within one part; none if waiting
        for what is about to be free will do, or if nothing would."""
        best: tuple[Job, ...] = ()
        for slices in parts.values():
            short = job.spec.count - sum(
                item in self.free or item in self.coming for item in slices
            )
            if short <= 0:
                return ()
            victims = self._victims_in(job, slices, short)
            if victims and (not best or _size(victims) < _size(best)):
                best = victims
        return best

    def _victims_in(self, job: Job, slices: tuple[Slice, ...], short: int) -> tuple[Job, ...]:
        gains: dict[int, int] = {}
        for item in slices:
            lease = self.view.leases.get(item)
            if lease and self._standing(job, lease.job) is Why.EVICTABLE:
                gains[lease.job] = gains.get(lease.job, 0) + 1
        candidates = sorted((self.view.jobs[job_id] for job_id in gains), key=self._victim_key)
        chosen: list[Job] = []
        for victim in candidates:
            if short <= 0:
                break
            chosen.append(victim)
            short -= gains[victim.id]
        if short > 0:
            return ()
        for victim in tuple(chosen):  # a later, larger one may have made earlier ones needless
            if short + gains[victim.id] <= 0:
                chosen.remove(victim)
                short += gains[victim.id]
        return tuple(chosen)

    def _victim_key(self, job: Job) -> tuple[int, bool, int, int]:
        room = max(
            (sum(item in self.free for item in s) for s in self.view.acceptable(job).values()),
            default=0,
        )
        at_risk_us = (self.view.now_us - job.started_us) * job.spec.count
        return (-job.rank, room < job.spec.count, at_risk_us, -job.id)

    def _standing(self, job: Job, holder_id: int) -> Why:
        """What stands between the job and a slice that `holder_id` holds."""
        holder = self.view.jobs.get(holder_id)
        if holder is None or holder.state is JobState.CHECKPOINTING or holder_id in self.evicted:
            return Why.RELEASING
        if holder.rank <= job.rank:
            return Why.HELD
        if holder.state is not JobState.RUNNING:
            return Why.STARTING
        if holder.pinned:
            return Why.PINNED
        if protected_until_us(holder, self.min_run_us) > self.view.now_us:
            return Why.PROTECTED
        return Why.EVICTABLE

    # ---- reasons

    def _blockers(self, job: Job, parts: dict[str, tuple[Slice, ...]]) -> tuple[Blocker, ...]:
        """Every acceptable slice counted once, grouped by what stands in the way."""
        groups: dict[tuple[Why, int | None], list[int]] = {}
        for item in (item for slices in parts.values() for item in slices):
            why, named, until_us = self._blocker(job, item)
            groups.setdefault((why, until_us), []).append(named)
            if until_us is not None:
                self.wakes.append(until_us)
        return tuple(
            Blocker(
                why, len(named), tuple(sorted({job_id for job_id in named if job_id})), until_us
            )
            for (why, until_us), named in groups.items()
        )

    def _blocker(self, job: Job, item: Slice) -> tuple[Why, int, int | None]:
        if item in self.placed:
            taker = self.placed[item]
            return (Why.HELD if taker.rank <= job.rank else Why.STARTING), taker.id, None
        keeper = self.view.jobs[self.claims.get(item, job.id)]
        if keeper.order < job.order:
            return Why.AHEAD, keeper.id, None
        lease = self.view.leases.get(item)
        if lease is None:
            return (Why.RESERVED if self.claims.get(item) == job.id else Why.SHORT), 0, None
        why = Why.RELEASING if lease.releasing else self._standing(job, lease.job)
        if why is Why.PROTECTED:
            holder = self.view.jobs[lease.job]
            return why, lease.job, protected_until_us(holder, self.min_run_us)
        return why, lease.job, None


def _size(victims: tuple[Job, ...]) -> int:
    return sum(len(victim.slices) for victim in victims)
