"""Devices to be removed: what runs there is moved before that, as a planned migration.

In order of standing, each job in turn: what it holds beyond what it asked for is let go of, if that
is what lies there; else it moves, once there is room for it elsewhere: made by others that stand
behind it, if need be. A gang moves only those of its slices that lie there. Shortly before the
deadline whoever is left shrinks to what stays, or is halted, and waits with its checkpoint at its
place in the queue.

Devices that run slower than their peers (`stragglers`) are left as well, but nobody is halted for
that, and nothing kept: a job moves if there is room, or shrinks to the rest of its devices if it is
faster on those alone.
"""

from __future__ import annotations

from scheduler.core.jobs import JobState
from scheduler.core.plan import Evict, Resize
from scheduler.core.speed import FULL_PPM
from scheduler.core.transitions import NEVER_US
from scheduler.core.values import RANKS, Slice, Tier
from scheduler.policies.books import Entry, Pool, S
from scheduler.policies.homes import Homes
from scheduler.policies.parts import Parts
from scheduler.policies.round import Round
from scheduler.policies.victims import reclaim

LEAD_HALTS = 6  # before a device is removed there is time for so many halts,
LEAST_LEAD_S = 10.0  # and for one that takes far longer than most
WORTH = 1.1  # times faster must a gang be without its slow devices to shrink to the others


class Drains:
    def __init__(self, homes: Homes, parts: Parts) -> None:
        self._homes = homes
        self._parts = parts

    def move_away(self, this: Round, *, guaranteed: bool) -> None:
        """Jobs of the guaranteed tiers, or the basic ones."""
        if not this.leaving:
            return
        entries = (this.books.entries[number] for number in _on_draining(this))
        chosen = [e for e in entries if (e.key.rank < RANKS[Tier.BASIC]) == guaranteed]
        for entry in sorted(chosen, key=lambda e: (e.key, e.job.id)):
            self._move(this, entry)

    def _move(self, this: Round, entry: Entry) -> None:
        job, view = entry.job, this.view
        if job.state is not JobState.RUNNING or job.pinned or job.saving_us is not None:
            return
        if job.id in this.touched:
            return
        leaving = [item.device for item in job.slices if item.device in this.leaving]
        leaves_us = min(this.leaving[uri] for uri in leaving)
        halt_s = this.took_s(entry, "checkpoint_us")
        last_s = this.params.drain_lead_s if halt_s is None else lead_s(halt_s)
        last_us = leaves_us - round(last_s * S)
        is_late = last_us <= view.now_us
        rests_us = job.keep_until_us if is_late else this.rests_until_us(entry, entry)
        if rests_us > view.now_us:
            this.wakes.append(rests_us if is_late else min(rests_us, last_us))
            return
        stay = tuple(item for item in job.slices if item.device not in this.leaving)
        missing = entry.spec.count - len(stay)
        if missing <= 0:
            self._resize(this, entry, stay)
        elif leaves_us == NEVER_US:
            slowest_ppm = min(this.slow[uri] for uri in leaving)
            if self._pays(this, entry, slowest_ppm):
                self._leave_slow(this, entry, stay, slowest_ppm)
        elif self._has_room(this, entry, entry.pool, missing):
            self._go(this, entry, (*stay, *this.pick(entry, entry.pool, missing)))
        elif (pool := self._elsewhere(this, entry)) is not None:
            self._go(this, entry, this.pick(entry, pool, entry.spec.count))
        elif not is_late:
            this.keep(entry, entry.pool, missing)
            this.wakes.append(last_us)
        elif len(stay) >= entry.spec.least:
            self._resize(this, entry, stay)
        else:
            self._halt(this, entry, stay)

    def _pays(self, this: Round, entry: Entry, slowest_ppm: int) -> bool:
        """Whether what is left of it is so much slower there that it is worth the move, if what
        that costs was measured."""
        resize_s = this.took_s(entry, "shrink_us")
        if resize_s is None:
            return True
        lost_s = self._parts.left_s(this, entry) * (FULL_PPM / max(1, slowest_ppm) - 1)
        return lost_s >= this.params.move_gain * resize_s

    def _leave_slow(
        self, this: Round, entry: Entry, stay: tuple[Slice, ...], slowest_ppm: int
    ) -> None:
        """A gang is as slow as the slowest of its devices."""
        spec, missing = entry.spec, entry.spec.count - len(stay)
        if this.room(entry, entry.pool) >= missing:
            self._go(this, entry, (*stay, *this.pick(entry, entry.pool, missing)))
        elif len(stay) >= spec.least and len(stay) * FULL_PPM > spec.count * slowest_ppm * WORTH:
            self._resize(this, entry, stay)

    def _has_room(self, this: Round, entry: Entry, pool: Pool, missing: int) -> bool:
        short = missing - this.room(entry, pool) - this.soon(entry, pool)
        if short > 0:
            this.touched.add(entry.job.id)  # it is not to be its own victim
            reclaim(this, entry.key, entry, pool, short, short)
            this.touched.discard(entry.job.id)
        return this.room(entry, pool) >= missing

    def _elsewhere(self, this: Round, entry: Entry) -> Pool | None:
        for pool in self._parts.pools(this, entry):
            if pool != entry.pool and this.room(entry, pool) >= entry.spec.count:
                return pool
        return None

    def _go(self, this: Round, entry: Entry, slices: tuple[Slice, ...]) -> None:
        this.free.take(item for item in slices if item not in entry.job.slices)
        if this.view.devices[slices[0].device].part == entry.job.part:  # it need not be halted
            self._resize(this, entry, slices)
        else:
            self._halt(this, entry, slices)

    def _resize(self, this: Round, entry: Entry, slices: tuple[Slice, ...]) -> None:
        this.touched.add(entry.job.id)
        this.decisions.append(Resize(entry.job.id, slices))

    def _halt(self, this: Round, entry: Entry, slices: tuple[Slice, ...]) -> None:
        this.touched.add(entry.job.id)
        if slices:
            self._homes.give(this.view, entry.job.id, slices)
        this.decisions.append(Evict(entry.job.id, entry.job.id))


def lead_s(halt_s: float) -> float:
    """So long before a device is removed, those that are still there are halted; `halt_s`: what
    that takes."""
    return max(LEAST_LEAD_S, LEAD_HALTS * halt_s)


def _on_draining(this: Round) -> set[int]:
    view = this.view
    leases = (
        view.leases.get(item) for device in this.leaving for item in view.devices[device].slices
    )
    return {lease.job for lease in leases if lease is not None and not lease.releasing}
