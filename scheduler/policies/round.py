"""One plan of the elastic policy in the making: what has been decided so far, and what is left."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.core.free import Trial
from scheduler.core.plan import Decision, Evict, Place, Resize
from scheduler.core.values import Slice
from scheduler.core.view import View
from scheduler.policies.books import Books, Entry, Pool, S


@dataclass(frozen=True, slots=True)
class ElasticParams:
    """first_level_s  slice-seconds of service after which a job's level rises for the first time
    level_ratio    by how much more it takes for each next level
    first_run_s    but it does not rise before the job has had what it asked for so long
    min_run_s      a job is left alone for so long after it was started or resized
    settle_s       a job is given slices back, or more than it asked for, not before so long after
                   its last change
    grow_after_s   and has run for so long: until then it is likely to end soon
    grow_share     the least that growing must bring, of what the job holds
    spare_share    of a pool's slices that nobody grows into, so that those who come start at once
    reserve_share  of all slices that are never promised: for what fails
    turn_s         by how much more lost time a job must have left to be halted for its equal
    bear_s         an admitted job halts others only when no more lost time than this is left to it
    halts_a_level  after so many halts, a job is halted for basic ones only if one level more lies
                   between
    look_s         how often idle slices are looked at
    move_s         what a move to another part costs a job
    move_gain      how much more than that it must be expected to save
    type_aware     False: all parts are taken to be alike (to compare with)
    """

    first_level_s: int = 480
    level_ratio: int = 4
    first_run_s: int = 300
    min_run_s: int = 20
    settle_s: int = 300
    grow_after_s: int = 900
    grow_share: float = 0.25
    spare_share: float = 0.0625
    reserve_share: float = 0.02
    turn_s: int = 180
    look_s: int = 60
    bear_s: int = 360
    halts_a_level: int = 2
    move_s: int = 50
    move_gain: float = 4.0
    type_aware: bool = True


class Round:
    """`coming`: slices about to be free that are not yet spoken for, by pool. `touched`: running
    jobs that are halted or resized by this plan."""

    def __init__(self, books: Books, params: ElasticParams, view: View, free: Trial) -> None:
        self.books = books
        self.params = params
        self.view = view
        self.free = free
        self.decisions: list[Decision] = []
        self.wakes: list[int] = []
        self.touched: set[int] = set()
        self.coming: dict[Pool, int] = {}
        for number, slices in books.leaving.items():
            pool = books.entries[number].pool
            self.coming[pool] = self.coming.get(pool, 0) + slices

    # ---- what may be done

    def rested(self, entry: Entry) -> bool:
        """Whether it may be halted or resized now."""
        job = entry.job
        rested_us = entry.changed_us + self.params.min_run_s * S
        if job.id in self.touched or job.pinned:
            return False
        return max(rested_us, job.keep_until_us) <= self.view.now_us

    def settled(self, entry: Entry) -> bool:
        return entry.changed_us + self.params.settle_s * S <= self.view.now_us

    def left_us(self, entry: Entry) -> int:
        """Lost time that an admitted job can bear."""
        self.books.count(self.view.now_us, entry)
        return entry.allowance.left_us if entry.allowance is not None else 0

    # ---- decisions

    def place(self, entry: Entry, pool: Pool, slices: int) -> None:
        chosen = self.free.pick(*pool, slices)
        self.free.take(chosen)
        self.decisions.append(Place(entry.job.id, chosen))

    def keep(self, pool: Pool, slices: int) -> None:
        """What is free of so many slices, and else what comes, is for nobody else."""
        kept = min(self.free.count(*pool), slices)
        self.free.take(self.free.pick(*pool, kept))
        self.coming[pool] = max(0, self.coming.get(pool, 0) - (slices - kept))

    def evict(self, entry: Entry, for_job: int) -> None:
        self.touched.add(entry.job.id)
        self.decisions.append(Evict(entry.job.id, for_job))
        self._comes(entry.pool, entry.slices)

    def shrink(self, entry: Entry, keep: int, for_job: int) -> None:
        self.touched.add(entry.job.id)
        self.decisions.append(Resize(entry.job.id, _together(entry.job.slices, keep), for_job))
        self._comes(entry.pool, entry.slices - keep)

    def _comes(self, pool: Pool, slices: int) -> None:
        self.coming[pool] = self.coming.get(pool, 0) + slices

    def extend(self, entry: Entry, most: int, spare: int = 0) -> None:
        """Up to `most`, but leave `spare`; and not for little."""
        if entry.job.id in self.touched:
            return
        more = min(most - entry.slices, self.free.count(*entry.pool) - spare)
        little = entry.slices + more < most and more < entry.slices * self.params.grow_share
        if more < 1 or little:
            return
        chosen = self.free.pick(*entry.pool, more)
        self.free.take(chosen)
        self.touched.add(entry.job.id)
        self.decisions.append(Resize(entry.job.id, (*entry.job.slices, *chosen)))


def _together(slices: tuple[Slice, ...], keep: int) -> tuple[Slice, ...]:
    """`keep` of the slices, on as few devices as possible."""
    on: dict[str, list[Slice]] = {}
    for item in slices:
        on.setdefault(item.device, []).append(item)
    ordered = sorted(map(sorted, on.values()), key=lambda items: -len(items))
    return tuple(item for items in ordered for item in items)[:keep]
