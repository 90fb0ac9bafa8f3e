"""Policies that are an order: the jobs that stand first get what they ask for, the others nothing.

These are what the literature compares with. Gangs are rigid here: a job has all that it asked for,
or nothing. They know no part that is faster than another. A job that names devices stands in the
queue while these are free; as long as they are not it is passed, and nobody is halted for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from scheduler.core.jobs import JobState
from scheduler.core.plan import Blocker, Decision, Evict, Place, Plan
from scheduler.core.values import Slice
from scheduler.core.view import View
from scheduler.policies.books import Books, Entry, Pool, S
from scheduler.policies.expected import Expected
from scheduler.policies.slice_reasons import account


class Room(dict[Pool, int]):
    """Slices that nobody was promised. `own`: of waiting jobs that name devices, slices of these
    that are free, with their pool."""

    def __init__(self, counts: dict[Pool, int]) -> None:
        super().__init__(counts)
        self.own: dict[int, tuple[Pool, tuple[Slice, ...]]] = {}


class Ordered:
    """A subclass says in which order, and whether running jobs are halted for those before them."""

    halts = False
    look_s = 0  # how often the order changes by itself; 0: when something happens

    def __init__(self) -> None:
        self.books = Books(first_level_s=480, level_ratio=4)
        self._queue: list[int] = []  # those that waited when the last plan was made, in order

    def order(self, view: View) -> Iterable[Entry]:
        """Everybody; the default is by tier, then first come, first served."""
        return sorted(self.books.entries.values(), key=lambda entry: entry.job.order)

    def choose(self, view: View, entries: Iterable[Entry], room: Room) -> dict[int, Pool]:
        """Of those that wait (and may be halted), in order: who is to hold slices of which pool.
        The default stops at the first that does not fit, so that no gang is passed."""
        chosen: dict[int, Pool] = {}
        for entry in entries:
            pool = fitting(entry, room)
            if pool is None:
                break
            room[pool] -= entry.spec.count
            chosen[entry.job.id] = pool
        return chosen

    def plan(self, view: View) -> Plan:
        self.books.follow(view)
        ordered = list(self.order(view))
        self._queue = [entry.job.id for entry in ordered if entry.job.state.waiting]
        decisions: list[Decision] = []
        with view.free.trial() as free:
            room = self._room(view)
            chosen = self.choose(view, self._in_line(view, ordered, room), room)
            waiting = [n for n in chosen if self.books.entries[n].job.state.waiting]
            for number in sorted(waiting, key=lambda n: n not in room.own):
                need = self.books.entries[number].spec.count
                if number in room.own:
                    slices = tuple(item for item in room.own[number][1] if free.has(item))[:need]
                else:
                    slices = free.pick(*chosen[number], need)
                if len(slices) == need:
                    free.take(slices)
                    decisions.append(Place(number, slices))
            if self.halts and waiting:
                decisions += (
                    Evict(entry.job.id, waiting[0])
                    for entry in self.books.entries.values()
                    if self._may_be_halted(view, entry) and entry.job.id not in chosen
                )
        return Plan(tuple(decisions), (), self._wake(view))

    def explain(self, view: View) -> dict[int, tuple[Blocker, ...]]:
        """What is free, and would do, is kept for the first that waits."""
        waiting = [view.jobs[n] for n in self._queue if n in view.jobs]
        waiting = [job for job in waiting if job.state.waiting]
        found = {}
        for job in waiting:
            before = waiting[0].id
            kept: dict[Slice, int] = {}
            for slices in view.acceptable(job).values():
                free = [item for item in slices if view.free.has(item)]
                if before != job.id and len(free) >= job.spec.count:
                    kept |= dict.fromkeys(free, before)
            found[job.id] = account(view, job, kept)
        return found

    def _room(self, view: View) -> Room:
        room = Room({pool: view.free.capacity(*pool) for pool in view.free.pools()})
        for entry in self.books.entries.values():
            if not entry.job.state.waiting and not self._may_be_halted(view, entry):
                if entry.job.slices:
                    room[entry.pool] -= len(entry.job.slices)  # what is held stays held
            elif entry.spec.devices and entry.job.state.waiting:
                for part, slices in view.acceptable(entry.job).items():
                    own = tuple(item for item in slices if view.free.has(item))
                    if len(own) >= entry.spec.count:
                        room.own[entry.job.id] = (entry.spec.device_kind, part), own
                        break
        return room

    def _in_line(self, view: View, ordered: Iterable[Entry], room: Room) -> Iterator[Entry]:
        for entry in ordered:
            if self._may_be_halted(view, entry) or (
                self._may_be_placed(view, entry)
                and (not entry.spec.devices or entry.job.id in room.own)
            ):
                yield entry

    def _may_be_placed(self, view: View, entry: Entry) -> bool:
        return entry.job.state.waiting and entry.job.idle_until_us <= view.now_us

    def _may_be_halted(self, view: View, entry: Entry) -> bool:
        job = entry.job
        return (
            self.halts
            and job.state is JobState.RUNNING
            and not job.pinned
            and job.keep_until_us <= view.now_us
        )

    def _wake(self, view: View) -> int | None:
        waiting = [e.job for e in self.books.entries.values() if e.job.state.waiting]
        wakes = [job.idle_until_us for job in waiting if job.idle_until_us > view.now_us]
        rise_us = self.books.next_rise_us()
        if self.halts and rise_us is not None:
            wakes.append(rise_us)
        if self.look_s and waiting:
            wakes.append(view.now_us + self.look_s * S)
        return min(wakes, default=None)


class Fifo(Ordered):
    """First come, first served. Nobody is passed, nobody is halted."""


class Priority(Ordered):
    """Plain priorities: by tier, then first come first served; lower tiers are halted for higher
    ones. What most clusters run."""

    halts = True

    def choose(self, view: View, entries: Iterable[Entry], room: Room) -> dict[int, Pool]:
        return passing(entries, room)


class LeastAttained(Ordered):
    """Tiresias' discretized 2D-LAS: by level of attained service, then first come, first served."""

    halts = True

    def order(self, view: View) -> Sequence[Entry]:
        return sorted(
            self.books.entries.values(),
            key=lambda entry: (*entry.key, entry.job.state.waiting, entry.job.id),
        )

    def choose(self, view: View, entries: Iterable[Entry], room: Room) -> dict[int, Pool]:
        return passing(entries, room)


class Backfill(Ordered):
    """EASY: jobs may pass a gang that waits if, by what is expected of them, that does not make it
    wait longer."""

    def __init__(self) -> None:
        super().__init__()
        self.history = Expected()

    def plan(self, view: View) -> Plan:
        self.history.follow(view, self.books)
        return super().plan(view)

    def choose(self, view: View, entries: Iterable[Entry], room: Room) -> dict[int, Pool]:
        entries = list(entries)
        chosen = super().choose(view, entries, room)
        behind = entries[len(chosen) :]
        if not behind:
            return chosen
        head, pool, at_us = behind[0], None, 0
        for candidate in pools_of(head, room):
            found_us = self._free_at(view, candidate, head.spec.count - room[candidate], chosen)
            if found_us is not None and (pool is None or found_us < at_us):
                pool, at_us = candidate, found_us
        spare = dict(room)  # what is left of each pool when the head starts
        if pool is not None:
            spare[pool] = self._free_until(view, pool, at_us, chosen) + room[pool]
            spare[pool] -= head.spec.count
        for entry in behind[1:]:
            found = fitting(entry, room)
            if found is None:
                continue
            ends_us = view.now_us + self.history.left_us(view, entry)
            if found == pool and ends_us > at_us:
                if spare[found] < entry.spec.count:
                    continue
                spare[found] -= entry.spec.count
            room[found] -= entry.spec.count
            chosen[entry.job.id] = found
        return chosen

    def _ends(self, view: View, pool: Pool, chosen: dict[int, Pool]) -> list[tuple[int, int]]:
        """When whoever holds slices of the pool, or is about to, is expected to let them go."""
        holders = [
            entry
            for entry in self.books.entries.values()
            if (entry.pool if entry.job.slices else chosen.get(entry.job.id)) == pool
        ]
        return sorted(
            (view.now_us + self.history.left_us(view, entry), entry.slices or entry.spec.count)
            for entry in holders
        )

    def _free_at(self, view: View, pool: Pool, short: int, chosen: dict[int, Pool]) -> int | None:
        for at_us, slices in self._ends(view, pool, chosen):
            short -= slices
            if short <= 0:
                return at_us
        return None

    def _free_until(self, view: View, pool: Pool, at_us: int, chosen: dict[int, Pool]) -> int:
        return sum(n for end_us, n in self._ends(view, pool, chosen) if end_us <= at_us)


class FinishTimeFairness(Ordered):
    """Themis: whoever is worst off comes first, by the completion time to be expected over what an
    equal share of the pool would give."""

    halts = True
    look_s = 360  # as Gavel's rounds

    def __init__(self) -> None:
        super().__init__()
        self.history = Expected()
        self._ordered_us = -1
        self._rank: dict[int, float] = {}

    def plan(self, view: View) -> Plan:
        self.history.follow(view, self.books)
        return super().plan(view)

    def order(self, view: View) -> Sequence[Entry]:
        if self._ordered_us < 0 or view.now_us >= self._ordered_us + self.look_s * S:
            self._ordered_us, self._rank = view.now_us, {}
        for entry in self.books.entries.values():
            if entry.job.id not in self._rank:
                self._rank[entry.job.id] = self._rho(view, entry)
        return sorted(
            self.books.entries.values(),
            key=lambda e: (e.job.rank, -self._rank[e.job.id], e.job.id),
        )

    def choose(self, view: View, entries: Iterable[Entry], room: Room) -> dict[int, Pool]:
        return passing(entries, room)

    def _rho(self, view: View, entry: Entry) -> float:
        left_us = self.history.left_us(view, entry)
        had_us = self.history.had_us(view, entry)
        present_us = view.now_us - entry.job.submitted_us
        demand = sum(found.spec.count for found in self.books.entries.values())
        capacity = sum(view.free.capacity(*pool) for pool in view.free.pools())
        contention = max(1.0, demand / max(1, capacity))
        return (present_us + left_us * contention) / ((had_us + left_us) * contention or 1)


def pools_of(entry: Entry, room: Room) -> list[Pool]:
    """Pools that can ever hold it; with a checkpoint, those of its part."""
    if entry.job.id in room.own:
        return [room.own[entry.job.id][0]]
    return [
        pool
        for pool in room
        if pool[0] == entry.spec.device_kind and entry.spec.goes_on(entry.job.part, pool[1])
    ]


def fitting(entry: Entry, room: Room) -> Pool | None:
    found = (pool for pool in pools_of(entry, room) if room[pool] >= entry.spec.count)
    return next(found, None)


def passing(entries: Iterable[Entry], room: Room) -> dict[int, Pool]:
    """In order, but those that fit pass those that do not."""
    chosen: dict[int, Pool] = {}
    for entry in entries:
        pool = fitting(entry, room)
        if pool is not None:
            room[pool] -= entry.spec.count
            chosen[entry.job.id] = pool
    return chosen
