"""Jobs and parts of different speed: where a job starts, and who moves to another part.

Now and then all that run, and as many of those that wait as there is room for, are assigned to
parts anew (`prices`). Who would be on a faster part moves there, if slices are free or if those
who hold them would do nearly as well elsewhere, and if what that saves until the first of them is
expected to end is worth the halts several times over. A move is a halt and a restore; the slices
meant for it are kept. Jobs whose checkpoint goes on on its own part only stay where they are.
"""

from __future__ import annotations

from scheduler.core.jobs import JobState
from scheduler.core.speed import relative
from scheduler.policies.books import Entry, Pool, S
from scheduler.policies.expected import Expected
from scheduler.policies.prices import Want, assign, settle
from scheduler.policies.round import Round

CLOSE = 0.5  # a part of at least so much of the best one's speed is as good, if it is free
MOVES_SHARE = 0.25  # of a pool's slices: the most that may move onto it at one look


class Parts:
    def __init__(self, expected: Expected, aware: bool) -> None:
        self._expected = expected
        self._aware = aware
        self._prices: dict[Pool, float] = {}
        self._moving: dict[int, Pool] = {}

    def worth(self, entry: Entry, pool: Pool) -> float:
        return relative(entry.spec, pool[1]) if self._aware else 1.0

    def pools(self, this: Round, entry: Entry) -> list[Pool]:
        """Where it can run, the best at today's prices first."""
        spec, part = entry.spec, entry.job.part
        found = [
            (spec.device_kind, other)
            for other in this.view.free.parts(spec.device_kind)
            if spec.goes_on(part, other)
            and this.capacity(entry, (spec.device_kind, other)) >= spec.least
        ]
        if len(found) > 1:
            found.sort(key=lambda pool: self._prices.get(pool, 0.0) - self.worth(entry, pool))
        return found

    def close(self, entry: Entry, pool: Pool, best: Pool) -> bool:
        return self.worth(entry, pool) >= CLOSE * self.worth(entry, best)

    # ---- moves

    def is_moving(self, number: int) -> bool:
        return number in self._moving

    def send(self, this: Round, entry: Entry, pool: Pool, for_job: int) -> None:
        """There, as soon as it is halted; slices are to be kept for it now."""
        self._moving[entry.job.id] = pool
        this.evict(entry, for_job)

    def carry_on(self, this: Round) -> set[int]:
        """Place those that move, or keep slices for them. Returns those that wait for that."""
        waiting: set[int] = set()
        for number, pool in tuple(self._moving.items()):
            entry = this.books.entries.get(number)
            state = entry.job.state if entry is not None else None
            moves = state in (JobState.CHECKPOINTING, JobState.PREEMPTED)
            if entry is None or not moves or number in this.homes:
                del self._moving[number]
                continue
            need = entry.spec.count
            if state is JobState.PREEMPTED and entry.job.idle_until_us <= this.view.now_us:
                if this.room(entry, pool) >= need:
                    del self._moving[number]
                    waiting.add(number)
                    this.place(entry, pool, need)
                    continue
                if this.room(entry, pool) + this.soon(entry, pool) < need:
                    del self._moving[number]  # somebody else has them: it waits as all others do
                    continue
            waiting.add(number)
            this.keep(entry, pool, need)
        return waiting

    def look(self, this: Round) -> None:
        if not self._aware or len(this.view.free.pools()) < 2:
            return
        entries, room = self._concerned(this)
        if not any(entry.spec.speeds for entry in entries):
            return
        wants = [
            Want(
                entry.slices or entry.spec.count,
                {pool: self.worth(entry, pool) for pool in self.pools(this, entry)},
            )
            for entry in entries
        ]
        settle(wants, room, self._prices)
        better = {
            entry.job.id: pool
            for entry, pool in zip(entries, assign(wants, room, self._prices), strict=True)
            if pool is not None and entry.slices and pool != entry.pool
        }
        moves = sorted(
            (self.worth(this.books.entries[n], pool) / self._now(this.books.entries[n]), n)
            for n, pool in better.items()
        )
        budget = {pool: max(1, int(there * MOVES_SHARE)) for pool, there in room.items()}
        for gain, number in reversed(moves):
            if gain > 1:
                self._try(this, this.books.entries[number], better, budget)

    def _concerned(self, this: Round) -> tuple[list[Entry], dict[Pool, int]]:
        """Those that run and the first of those that wait; and the slices there are for them."""
        books = this.books
        room = {pool: this.free.capacity(*pool) for pool in this.view.free.pools()}
        running = [books.entries[n] for _, n in books.running.first_to_last()]
        entries = [e for e in running if e.job.id not in this.touched and self.pools(this, e)]
        held = dict.fromkeys(room, 0)
        for entry in entries:
            held[entry.pool] += entry.slices
        for pool in room:
            room[pool] = min(room[pool], held[pool] + this.free.count(*pool))
        left = sum(room.values()) - sum(held.values())
        for _, number in books.waiting.first_to_last():
            entry = books.entries[number]
            if entry.spec.count <= left and self.pools(this, entry):
                entries.append(entry)
                left -= entry.spec.count
        return entries, room

    def _now(self, entry: Entry) -> float:
        return self.worth(entry, entry.pool)

    def _try(
        self, this: Round, entry: Entry, better: dict[int, Pool], budget: dict[Pool, int]
    ) -> None:
        """Move it where it is better off, and those whose slices it needs out of there."""
        pool, need = better[entry.job.id], entry.spec.count
        if budget[pool] <= 0 or not self.may_move(this, entry):
            return
        out: list[Entry] = []
        short = need - this.free.count(*pool)
        gain = need * self.worth(entry, pool) - entry.slices * self._now(entry)
        if short > 0:
            others = sorted(
                (self._now(other) - self.worth(other, better[other.job.id]), other.job.id)
                for other in map(this.books.entries.__getitem__, better)
                if other.pool == pool and other.slices <= short and self.may_move(this, other)
            )
            for loss, number in others:
                other = this.books.entries[number]
                if other.slices <= short:
                    out.append(other)
                    short -= other.slices
                    gain -= other.slices * loss
            if short > 0:
                return
        moved = [entry, *out]
        horizon_s = min(self.left_s(this, each) for each in moved)
        cost = sum(this.move_s(each) * each.slices * self._now(each) for each in moved)
        if gain * horizon_s < this.params.move_gain * cost:
            return
        budget[pool] -= need
        freed = entry.slices
        for other in out:
            if other.spec.count <= freed:
                self._moving[other.job.id] = entry.pool
                freed -= other.spec.count
            this.evict(other, entry.job.id)
        self._moving[entry.job.id] = pool
        this.evict(entry, entry.job.id)
        this.keep(entry, pool, need)

    def may_move(self, this: Round, entry: Entry) -> bool:
        free_to = entry.spec.portable and not entry.spec.devices
        return free_to and this.rested(entry) and this.settled(entry)

    def left_s(self, this: Round, entry: Entry) -> float:
        return self._expected.left_us(this.view, entry) / S / self._now(entry)
