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
as blockers (`reasons.py`), which `explain.audit` can check.
"""

from __future__ import annotations

import heapq

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Blocker, Evict, GiveWay, Place, Plan, Why
from scheduler.core.values import Slice
from scheduler.core.view import View
from scheduler.policies import recalls
from scheduler.policies.ledger import Ledger, Reach
from scheduler.policies.reasons import Reasons


class Tiered:
    """min_run_us: a job that was (re)started is left alone this long, so that halting and moving
    cannot eat up the work."""

    def __init__(self, min_run_us: int = 0) -> None:
        self.min_run_us = min_run_us

    def plan(self, view: View) -> Plan:
        return _Round(view, self.min_run_us).plan()


class _Round:
    """One planning round: each job in turn takes from the ledger."""

    def __init__(self, view: View, min_run_us: int) -> None:
        self.view = view
        self.ledger = Ledger(view, min_run_us)
        self.decisions: list[Place | Evict | GiveWay] = []
        self.waiting: dict[int, tuple[Blocker, ...]] = {}
        self.blocked: list[Job] = []
        self.wakes: list[int] = []
        self._barren: set[tuple[int, int, bool]] = set()  # for whose like nobody can be halted

    def plan(self) -> Plan:
        queue = [
            (*job.order, job)
            for job in self.view.jobs.values()
            if job.state.waiting or job.state is JobState.CHECKPOINTING
        ]
        heapq.heapify(queue)
        while queue:
            *_, job = heapq.heappop(queue)
            for victim in self._serve(job):  # of lower tiers, so their turns are still to come
                heapq.heappush(queue, (*victim.order, victim))
        self._recall()
        reasons = Reasons(self.ledger)
        for job in self.blocked:
            self.waiting[job.id] = reasons.of(job)
        wake = min((*self.wakes, *reasons.wakes), default=None)
        return Plan(tuple(self.decisions), tuple(sorted(self.waiting.items())), wake)

    def _recall(self) -> None:
        overdue, wakes = recalls.overdue(self.view, self.blocked, self.ledger.evicted)
        self.decisions += overdue
        self.wakes += wakes

    def _serve(self, job: Job) -> tuple[Job, ...]:
        """Place the job, or find out what it waits for. Returns the jobs halted for it."""
        reach, need = self.ledger.reach(job), job.spec.count
        if not job.state.waiting:
            self._keep_for_move(job, reach)
            return ()
        if job.idle_until_us > self.view.now_us:
            self.wakes.append(job.idle_until_us)
            self.waiting[job.id] = (Blocker(Why.BACKING_OFF, until_us=job.idle_until_us),)
            return ()
        if reach.largest < need:
            why = Why.TOO_FEW if reach.total else Why.NO_DEVICE
            self.waiting[job.id] = (Blocker(why, reach.total),)
            return ()
        if self._place(job, reach):
            return ()
        victims = self._find_victims(job, reach)
        for victim in victims:
            self.ledger.evict(victim)
            self.decisions.append(Evict(victim.id, job.id))
        if self.ledger.free or self.ledger.coming:
            at_hand: list[Slice] = []
            for wanted in reach.sets:
                at_hand = max(at_hand, self.ledger.at_hand(wanted, need), key=len)
            self.ledger.keep(job, at_hand)
        self.blocked.append(job)
        return victims

    def _place(self, job: Job, reach: Reach) -> bool:
        for wanted in reach.sets if self.ledger.free else ():
            chosen = self.ledger.pick(wanted, job.spec.count)
            if len(chosen) == job.spec.count:
                self.ledger.place(job, chosen)
                self.decisions.append(Place(job.id, chosen))
                return True
        return False

    def _keep_for_move(self, job: Job, reach: Reach) -> None:
        """A job that is being halted goes on at once, if somewhere there is room for all of it."""
        for wanted in reach.sets:
            chosen = self.ledger.pick(wanted, job.spec.count)
            if len(chosen) == job.spec.count:
                self.ledger.keep(job, chosen)
                return

    # ---- victims

    def _find_victims(self, job: Job, reach: Reach) -> tuple[Job, ...]:
        """The cheapest set of victims that completes the job within one part; none if waiting
        for what is about to be free will do, or if nothing would."""
        like = (id(reach), job.rank, bool(job.spec.recall_us))
        if like in self._barren:
            return ()
        best: tuple[Job, ...] = ()
        gains_by_part = [self._gains(job, slices) for slices in reach.parts.values()]
        if not any(gains_by_part):
            self._barren.add(like)
            return ()
        for wanted, gains in zip(reach.sets, gains_by_part, strict=True):
            short = job.spec.count - len(self.ledger.at_hand(wanted, job.spec.count))
            if short <= 0:
                return ()
            victims = self._cheapest(gains, short)
            if victims and (not best or _size(victims) < _size(best)):
                best = victims
        return best

    def _gains(self, job: Job, slices: tuple[Slice, ...]) -> dict[int, int]:
        """Jobs that may be halted -> how many of `slices` that would bring."""
        gains: dict[int, int] = {}
        for item in slices:
            lease = self.view.leases.get(item)
            if lease and self.ledger.standing(job, lease.job) is Why.EVICTABLE:
                gains[lease.job] = gains.get(lease.job, 0) + 1
        return gains

    def _cheapest(self, gains: dict[int, int], short: int) -> tuple[Job, ...]:
        chosen: list[Job] = []
        for victim in sorted((self.view.jobs[found] for found in gains), key=self._victim_key):
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
        sets = self.ledger.reach(job).sets
        room = max((len(wanted.intersection(self.ledger.free)) for wanted in sets), default=0)
        at_risk_us = (self.view.now_us - job.started_us) * job.spec.count
        return (-job.rank, room < job.spec.count, at_risk_us, -job.id)


def _size(victims: tuple[Job, ...]) -> int:
    return sum(len(victim.slices) for victim in victims)
