"""What jobs are told that wait under `Elastic`: every slice they accept, by what is in the way.

Worked out after a plan was carried out, and only where somebody asks: simulations do not pay for
it. `elastic_audit` checks it against the cluster.
"""

from __future__ import annotations

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Blocker, Why
from scheduler.core.speed import FULL_PPM
from scheduler.core.values import Slice, Tier
from scheduler.core.view import View
from scheduler.policies import reach, victims
from scheduler.policies.books import Entry, Key, set_aside_ppm
from scheduler.policies.guarantee import promisable_ppm
from scheduler.policies.round import Round

EXPLAINED = 256  # the first in the queue get all reasons; the rest are told who is before them
Found = tuple[Why, int, int | None]  # whose doing, until when


class ElasticReasons:
    """Of one moment, asked of a round in which nothing is decided. The books know what changed
    before the plan, the view what it changed."""

    def __init__(self, view: View, this: Round) -> None:
        self.view = view
        self._this = this
        self._books = this.books
        self._owners = {item: number for number, home in this.homes.items() for item in home.free}
        waiting = (self._books.entries[job.id] for job in view.jobs.values() if job.state.waiting)
        self._queue = sorted(waiting, key=self._place)

    def all(self) -> dict[int, tuple[Blocker, ...]]:
        """By job, of all that wait."""
        found = {entry.job.id: self._of(entry) for entry in self._queue[:EXPLAINED]}
        for entry in self._queue[EXPLAINED:]:
            found[entry.job.id] = (Blocker(Why.AHEAD, jobs=(self._queue[0].job.id,)),)
        return found

    def _place(self, entry: Entry) -> tuple[Key, bool, tuple[bool, int, int]]:
        """In the queue."""
        unadmitted = entry.spec.tier is not Tier.BASIC and entry.allowance is None
        return entry.key, unadmitted, entry.turn

    def _of(self, entry: Entry) -> tuple[Blocker, ...]:
        job = self.view.jobs[entry.job.id]
        parts = self.view.acceptable(job)
        total = sum(map(len, parts.values()))
        if max(map(len, parts.values()), default=0) < job.spec.least:
            return (Blocker(Why.TOO_FEW if total else Why.NO_DEVICE, total),)
        if job.idle_until_us > self.view.now_us:
            return (Blocker(Why.BACKING_OFF, until_us=job.idle_until_us),)
        if entry.spec.tier is not Tier.BASIC and entry.allowance is None:
            return (self._unadmitted(entry),)
        ahead = self._first_before(entry)
        groups: dict[tuple[Why, int | None], list[int]] = {}
        for slices in parts.values():
            free = (item for item in slices if item not in self.view.leases)
            enough = sum(not self._is_avoided(item) for item in free) >= job.spec.least
            for item in slices:
                why, named, until_us = self._why(entry, item, ahead, enough)
                groups.setdefault((why, until_us), []).append(named)
        return tuple(
            Blocker(why, len(named), tuple(sorted({found for found in named if found})), until_us)
            for (why, until_us), named in groups.items()
        )

    def _unadmitted(self, entry: Entry) -> Blocker:
        """Its tier's promise cannot be kept yet, or somebody asked before it."""
        if not self._within_quota(entry):
            assert self._books.owing is not None
            slices = self._books.owing.promised(entry.spec)
            promised, own = (count * FULL_PPM for count in slices)
            return Blocker(Why.OVER_QUOTA, ppm=(promised, entry.spec.count * FULL_PPM, own))
        earlier = [
            other.job.id
            for other in self._queue
            if other.key == entry.key and other.allowance is None and other.job.id < entry.job.id
            if self._within_quota(other)
        ]
        if earlier:
            return Blocker(Why.AHEAD, jobs=(min(earlier),))
        kind, free = entry.spec.device_kind, self.view.free
        there = sum(free.capacity(*pool) for pool in free.pools() if pool[0] == kind)
        promised = self._books.promised_ppm.get(kind, 0)
        asked = set_aside_ppm(entry.spec)
        limit = promisable_ppm(there, self._this.params.reserve_share)
        if promised + asked <= limit and entry.spec.devices:
            promised, asked, limit = reach.promised_on(self._this, entry)
        return Blocker(Why.UNADMITTED, ppm=(promised, asked, limit))

    def _within_quota(self, entry: Entry) -> bool:
        owing = self._books.owing
        return owing is None or owing.may_promise(entry.spec)

    def _first_before(self, entry: Entry) -> int:
        """A job that waits for slices, too, and stands before it; 0 if there is none."""
        for other in self._queue:
            if other is entry:
                return 0
            idle = self.view.jobs[other.job.id].idle_until_us > self.view.now_us
            named = set(other.spec.devices), set(entry.spec.devices)
            apart = all(named) and named[0].isdisjoint(named[1])
            if not idle and not apart and other.spec.device_kind == entry.spec.device_kind:
                return other.job.id
        return 0

    def _why(self, entry: Entry, item: Slice, ahead: int, enough: bool) -> Found:
        lease = self.view.leases.get(item)
        owner = self._owners.get(item, 0)
        if owner and (self._books.entries[owner].key, owner) < (entry.key, entry.job.id):
            return Why.AHEAD, owner, None
        if lease is None and self._is_avoided(item):
            return Why.AVOIDED, 0, None
        if lease is None and ahead:
            return Why.AHEAD, ahead, None
        if lease is None:
            return (Why.RESERVED if enough else Why.SHORT), 0, None
        if lease.releasing:
            return Why.RELEASING, lease.job, None
        return self._standing(entry, self.view.jobs[lease.job], item)

    def _is_avoided(self, item: Slice) -> bool:
        """Free, and taken out of what others can have; whoever owns it was asked before."""
        return item.device in self._this.avoided and not self._this.free.has(item)

    def _standing(self, entry: Entry, job: Job, item: Slice) -> Found:
        """Of the holder of a slice against the one who waits for it."""
        if job.state is JobState.CHECKPOINTING or (job.target and item not in job.target):
            return Why.RELEASING, job.id, None
        holder = self._books.entries[job.id]
        extra = len(job.slices) > job.spec.count
        behind = holder.key > entry.key or (entry.allowance and holder.key == entry.key) or extra
        if not behind:
            owes_more = holder.key.rank == entry.key.rank and holder.key.debt < entry.key.debt
            return (Why.OVER_QUOTA if owes_more else Why.HELD), job.id, None
        if job.state is not JobState.RUNNING:
            return Why.STARTING, job.id, None
        if job.pinned:
            return Why.PINNED, job.id, None
        if job.saving_us is not None:
            return Why.SAVING, job.id, None
        until_us = self._this.rests_until_us(holder, entry)
        if until_us > self.view.now_us:
            return Why.PROTECTED, job.id, until_us
        if extra:
            return Why.EVICTABLE, job.id, None
        if not victims.can_bear(self._this, holder, entry):
            return Why.PROMISED, job.id, None
        if self._is_spared(entry, holder):
            return Why.SPARED, job.id, None
        return Why.EVICTABLE, job.id, None

    def _is_spared(self, entry: Entry, holder: Entry) -> bool:
        """By the rules of `victims`."""
        this = self._this
        if this.leaves(holder):
            return True
        if not victims.may_halt(this, entry.key, entry):
            return True
        if holder.key == entry.key:
            return not victims.is_hard_up(this, entry)
        if victims.is_spared(this, entry.key, entry, holder):
            return True
        at_hand = this.room(entry, holder.pool) + this.soon(entry, holder.pool)
        short = entry.spec.count - at_hand
        is_large = holder.slices > victims.most_of(this, entry, short)
        return is_large and holder.slices - holder.spec.least < short
