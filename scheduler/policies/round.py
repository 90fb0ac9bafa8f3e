"""One plan of the elastic policy in the making: what has been decided so far, and what is left."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

from scheduler.core.free import Trial
from scheduler.core.plan import Decision, Evict, Place, Resize
from scheduler.core.transitions import NEVER_US
from scheduler.core.values import Slice
from scheduler.core.view import View
from scheduler.policies import reach
from scheduler.policies.books import Books, Entry, Pool, S
from scheduler.policies.guarantee import HOUR_S


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
    reserve_share  of all slices that are never promised: for what fails; to the nearest slice
    turn_s         by how much more lost time a job must have left to be halted for its equal
    patience_s     a job that would have an FPGA reconfigured lets others of its level go first for
                   so long, who would not
    floor_s        an admitted job that can bear less lost time than this is halted for nobody
    young_s        nor is one that was admitted less than so long ago
    bear_s         an admitted job halts others only when no more lost time than this is left to it
    hard_s         and only such as fit, until no more than this is left (`victims.py`)
    halts_a_level  after so many halts, a job is halted for basic ones only if one level more lies
                   between
    look_s         how often idle slices are looked at
    move_s         what a move to another part costs a job
    move_gain      how much more than that it must be expected to save
    gather         jobs move to other parts so that one fits that waits since free slices are
                   scattered over parts (`scattered.py`): by whose choice, "cp-sat" or "greedy"; "":
                   they do not
    type_aware     False: all parts are taken to be alike (to compare with)
    halts_an_hour  a job is halted or resized at most so often in an hour, unless a guarantee or a
                   device to be removed needs it; 0: no bound
    saves          running jobs are saved now and then (`saves.py`)
    save_cost_s    what that is taken to cost before it was measured
    mtbf_s         mean time between failures of a device, counted as one failure seen in that time
    home_s         how long slices are kept for a job that is on its way back to them (`homes.py`)
    drain_lead_s   so long before a device is removed, those that are still there are halted
    measured       what halting costs is what it has cost (`core.halting`), once that was measured:
                   move_s and drain_lead_s only until then
    stragglers     devices that jobs find slower than their peers are avoided (`stragglers.py`)
    slow_share     that is: at less than this share of their pace
    avoid_s        for so long at first
    shun_s         a device on which jobs fail to start is avoided for so long at first (`shuns.py`)
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
    turn_s: int = 60
    look_s: int = 60
    floor_s: int = 330
    young_s: int = 900
    bear_s: int = 360
    hard_s: int = 310
    patience_s: int = 300
    halts_a_level: int = 2
    move_s: float = 50
    move_gain: float = 4.0
    gather: str = ""
    type_aware: bool = True
    halts_an_hour: int = 0
    saves: bool = False
    save_cost_s: float = 20
    mtbf_s: int = 30 * 24 * 3600
    home_s: int = 600
    drain_lead_s: float = 120
    measured: bool = False
    stragglers: bool = False
    slow_share: float = 0.8
    avoid_s: int = 3600
    shun_s: int = 300


@dataclass(frozen=True, slots=True)
class Kept:
    """Slices of a job on its way back to them. `free`: taken for it; `pending`: so many more it is
    still about to let go of itself."""

    pool: Pool
    free: tuple[Slice, ...]
    pending: int


class Round:
    """`coming`: slices about to be free that are not yet spoken for, by pool. `touched`: running
    jobs that are halted, resized or saved by this plan; `let_go`: what they hold and will not.
    `clearing`: slices of jobs that have ended or gave way, free in a moment.
    `claims`: by kind, slices for admitted jobs of the tier being served whose turn is to come.
    `pending`: slices on their way, by the job for whom they are let go.
    `homes`: slices kept, by job; `yielded`: those for whom they are kept no longer. `avoided`:
    devices that nobody is placed on. `slow`: of those, the ones that are slower than their peers ->
    millionths of their pace. `leaving`: devices that jobs are to move off -> until when; slow ones
    for ever."""

    def __init__(
        self,
        books: Books,
        params: ElasticParams,
        view: View,
        free: Trial,
        slow: Mapping[str, int] = MappingProxyType({}),
        avoided: Set[str] = frozenset(),
    ) -> None:
        self.slow = slow
        self.avoided = avoided
        self.leaving = {**dict.fromkeys(slow, NEVER_US), **view.draining} if slow else view.draining
        self.books = books
        self.params = params
        self.view = view
        self.free = free
        self.decisions: list[Decision] = []
        self.wakes: list[int] = []
        self.touched: set[int] = set()
        self.homes: dict[int, Kept] = {}
        self.yielded: list[int] = []
        self.let_go: list[Slice] = []
        self.claims: dict[str, int] = {}
        self.coming: dict[Pool, int] = {}
        self.pending: dict[int, int] = {}
        for number, slices in books.leaving.items():
            entry = books.entries[number]
            asker = entry.job.evicted_for
            self.pending[asker] = self.pending.get(asker, 0) + slices
            if self.leaving:
                let_go = set(entry.job.slices).difference(entry.job.target)
                slices = sum(item.device not in self.leaving for item in let_go)
            self.coming[entry.pool] = self.coming.get(entry.pool, 0) + slices
        self.clearing = [item for item in _clearing(view) if item.device not in self.avoided]
        for item in self.clearing:
            device = view.devices[item.device]
            pool = device.kind, device.part
            self.coming[pool] = self.coming.get(pool, 0) + 1

    # ---- what may be done

    def rested(self, entry: Entry, taker: Entry | None = None) -> bool:
        """Whether it may be halted or resized now, perhaps for another."""
        job = entry.job
        if job.id in self.touched or job.pinned or job.saving_us is not None:
            return False
        return self.rests_until_us(entry, taker) <= self.view.now_us

    def rests_until_us(self, entry: Entry, taker: Entry | None) -> int:
        if taker is not None and taker.spec.recall_us:  # which was lent what the other holds
            return entry.job.keep_until_us
        rested_us = max(entry.changed_us + self.params.min_run_s * S, entry.job.keep_until_us)
        if taker is not None and taker.allowance is not None:
            return rested_us
        return max(rested_us, self._bound_us(entry))

    def _bound_us(self, entry: Entry) -> int:
        """Until then it has had all the halts of an hour."""
        limit = self.params.halts_an_hour
        if not limit or len(entry.halts_us) < limit:
            return 0
        return entry.halts_us[-limit] + HOUR_S * S

    def leaves(self, entry: Entry) -> bool:
        """Whether it is to be moved off a device, so that what it holds is no good to others."""
        leaving = self.leaving
        return bool(leaving) and any(item.device in leaving for item in entry.job.slices)

    def settled(self, entry: Entry) -> bool:
        settled_us = entry.changed_us + self.params.settle_s * S
        return max(settled_us, self._bound_us(entry)) <= self.view.now_us

    def left_us(self, entry: Entry) -> int:
        """Lost time that an admitted job can bear."""
        self.books.count(self.view.now_us, entry)
        return entry.allowance.left_us if entry.allowance is not None else 0

    # ---- what a job can have of a pool: all of it, or what is on the devices that it names

    def room(self, entry: Entry, pool: Pool) -> int:
        """Free slices."""
        return reach.room(self, entry, pool) if entry.spec.devices else self.free.count(*pool)

    def capacity(self, entry: Entry, pool: Pool) -> int:
        """Slices of devices that are up."""
        if entry.spec.devices:
            return reach.capacity(self.view, entry.spec, pool)
        return self.free.capacity(*pool)

    def soon(self, entry: Entry, pool: Pool) -> int:
        """Slices about to be free that are not yet spoken for."""
        there = self.coming.get(pool, 0)
        return min(there, reach.coming(self, entry)) if entry.spec.devices else there

    def pick(self, entry: Entry, pool: Pool, slices: int) -> tuple[Slice, ...]:
        if entry.spec.devices:
            return reach.pick(self, entry, pool, slices)
        return self.free.pick(*pool, slices, entry.spec.overlay)

    # ---- what halting costs a job: as given, or as measured

    def took_s(self, entry: Entry, *operations: str) -> float | None:
        """What these took on devices of its kind; None: it is not known, or not gone by."""
        if not self.params.measured:
            return None
        return self.view.halting.median_s(entry.spec.device_kind, *operations)

    def move_s(self, entry: Entry) -> float:
        """To be halted, and to go on elsewhere."""
        found = self.took_s(entry, "checkpoint_us", "restore_us")
        return self.params.move_s if found is None else found

    # ---- decisions

    def place(self, entry: Entry, pool: Pool, slices: int) -> None:
        home = self.homes.pop(entry.job.id, None)
        mine = _together(home.free, slices) if home is not None and home.pool == pool else ()
        self.free.take(mine)
        chosen = self.pick(entry, pool, slices - len(mine))
        self.free.take(chosen)
        self.decisions.append(Place(entry.job.id, (*mine, *chosen)))

    def yield_homes(self, entry: Entry, pool: Pool) -> None:
        """Of slices kept for jobs that stand behind it, as many as it lacks, if they will do or if
        it is promised something: those of the last one first."""
        standing = (
            (self.books.entries[number].key, number)
            for number, home in self.homes.items()
            if home.pool == pool and home.free
        )
        behind = sorted(
            (each for each in standing if each > (entry.key, entry.job.id)), reverse=True
        )
        kept = sum(len(self.homes[number].free) for _, number in behind)
        if self.free.count(*pool) + kept < entry.spec.least and entry.allowance is None:
            return
        for _, number in behind:
            if self.free.count(*pool) >= entry.spec.count:
                return
            self.free.give(self.homes.pop(number).free)
            self.yielded.append(number)

    def keep(self, entry: Entry, pool: Pool, slices: int) -> None:
        """What is free of so many slices, and else what comes, is for nobody else."""
        kept = min(self.room(entry, pool), slices)
        self.free.take(self.pick(entry, pool, kept))
        self.coming[pool] = max(0, self.coming.get(pool, 0) - (slices - kept))

    def evict(self, entry: Entry, for_job: int) -> None:
        self.decisions.append(Evict(entry.job.id, for_job))
        self._lets_go(entry, entry.job.slices)

    def shrink(self, entry: Entry, keep: int, taker: Entry) -> None:
        slices = _together(entry.job.slices, keep)
        if taker.spec.devices:
            slices = reach.others_first(taker.spec, entry.job.slices)[:keep]
        self.resize(entry, slices, taker.job.id)

    def resize(self, entry: Entry, slices: tuple[Slice, ...], for_job: int) -> None:
        """What is new of the slices is free."""
        self.free.take(item for item in slices if item not in entry.job.slices)
        self.decisions.append(Resize(entry.job.id, slices, for_job))
        self._lets_go(entry, tuple(i for i in entry.job.slices if i not in slices))

    def _lets_go(self, entry: Entry, slices: tuple[Slice, ...]) -> None:
        self.touched.add(entry.job.id)
        self.let_go += slices
        self.coming[entry.pool] = self.coming.get(entry.pool, 0) + len(slices)

    def extend(self, entry: Entry, most: int, spare: int = 0) -> None:
        """Up to `most`, but leave `spare`; and not for little."""
        if entry.job.id in self.touched or entry.job.saving_us is not None or self.leaves(entry):
            return
        more = min(most - entry.slices, self.room(entry, entry.pool) - spare)
        little = entry.slices + more < most and more < entry.slices * self.params.grow_share
        if more < 1 or little:
            return
        chosen = self.pick(entry, entry.pool, more)
        self.resize(entry, (*entry.job.slices, *chosen), 0)


def _clearing(view: View) -> list[Slice]:
    """Of jobs that have ended, or gave way. What others let go that way is kept for them
    (`homes.py`)."""
    over = [
        lease
        for lease in view.releasing.values()
        if lease.job not in view.jobs or view.jobs[lease.job].gave_way == lease.epoch
    ]
    slices = (item for lease in over for item in lease.slices)
    return [item for item in slices if view.stays(view.devices[item.device])]


def _together(slices: tuple[Slice, ...], keep: int) -> tuple[Slice, ...]:
    """`keep` of the slices, on as few devices as possible."""
    on: dict[str, list[Slice]] = {}
    for item in slices:
        on.setdefault(item.device, []).append(item)
    ordered = sorted(map(sorted, on.values()), key=lambda items: -len(items))
    return tuple(item for items in ordered for item in items)[:keep]
