"""Idle slices: what nobody waits for goes to jobs that were shrunk, then to jobs that can use
more than they asked for and have run for a while: growing costs a stop, and most jobs are short."""

from __future__ import annotations

from scheduler.core.values import Tier
from scheduler.policies.books import Pool, S
from scheduler.policies.round import Round


def give_back(this: Round) -> None:
    """To jobs on fewer slices than they asked for, those that stand first first."""
    for _, number in this.books.shrunk.first_to_last():
        entry = this.books.entries[number]
        if this.settled(entry):
            this.extend(entry, entry.spec.count)


def grow(this: Round) -> None:
    """To basic jobs that can use more than they asked for, the least grown first. To others a stop
    is time that they were promised, and it may soon be followed by another, when they are asked to
    give back what they got."""
    entries = [this.books.entries[n] for _, n in this.books.running.first_to_last()]
    able = [
        entry
        for entry in entries
        if entry.spec.tier is Tier.BASIC
        and entry.spec.count <= entry.slices < entry.spec.most
        and entry.ran_us >= this.params.grow_after_s * S
        and this.settled(entry)
    ]
    for entry in sorted(able, key=lambda e: (e.slices / e.spec.count, e.key, e.job.id)):
        this.extend(entry, entry.spec.most, _spare(this, entry.pool))


def _spare(this: Round, pool: Pool) -> int:
    """Slices that nobody grows into, so that those who come start at once."""
    return int(this.view.free.capacity(*pool) * this.params.spare_share)
