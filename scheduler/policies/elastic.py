"""Elastic: least attained service, shrinking before evicting, growing into what is idle.

*Order.* Jobs stand by tier, then by level, then first come, first served. A job's level rises with
the device time it has had (attained service in slice-seconds, after Tiresias' 2D-LAS): durations
are heavy-tailed, so whoever has had little is likely to need little. Jobs of a guaranteed tier have
no level; they are served before all others and are not halted for each other.

*Guarantees.* A premium or standard job is admitted, first come first served within its tier, as
soon as what is promised to all fits the slices there are less a reserve. From then on it has an
allowance of lost time (`guarantee.py`). Admitted jobs take from basic ones; if that is not enough,
standard jobs take turns: who has less left takes from who has clearly more.

*Room.* For each waiting job in turn: free slices; else what jobs hold beyond what they asked
for; else from jobs that stand behind it, from the last one on: it is shrunk if that will do,
else halted. Slices about to be free are counted, and kept for those they were meant for. A job that
can run on less than it asks for takes what is left.

*Idle slices.* What nobody waits for goes to jobs that were shrunk, then to jobs that can use more
than they asked for and have run for a while: growing costs a stop, and most jobs are short.

All of it is kept in books that follow the view's changes: a plan costs little more than what
changed, however many jobs and devices there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.core.free import Trial
from scheduler.core.plan import Admit, Blocker, Decision, Evict, Place, Plan, Resize
from scheduler.core.speed import FULL_PPM, relative
from scheduler.core.values import RANKS, Slice, Tier
from scheduler.core.view import View
from scheduler.policies.books import Books, Entry, Key, Pool, S, set_aside_ppm
from scheduler.policies.elastic_reasons import ElasticReasons


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
    look_s         how often idle slices are looked at
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


class Elastic:
    def __init__(self, params: ElasticParams | None = None) -> None:
        self.params = params or ElasticParams()
        self._books = Books(
            self.params.first_level_s, self.params.level_ratio, self.params.first_run_s
        )
        self._looked_us = 0  # at idle slices

    def plan(self, view: View) -> Plan:
        self._books.follow(view)
        with view.free.trial() as free:
            this = _Round(self._books, self.params, view, free)
            this.serve_guaranteed()
            this.serve()
            if view.now_us >= self._looked_us + self.params.look_s * S and this.idle():
                self._looked_us = view.now_us
                this.give_back()
                if not self._books.waiting.keys:
                    this.grow()
        return Plan(tuple(this.decisions), (), self._wake(view, this.wakes))

    def explain(self, view: View) -> dict[int, tuple[Blocker, ...]]:
        """What each waiting job waits for, after the last plan was carried out."""
        params = self.params
        return ElasticReasons(
            view, self._books, params.min_run_s, params.reserve_share, params.turn_s
        ).all()

    def _wake(self, view: View, wakes: list[int]) -> int | None:
        """The next rise of a level; and a look now and then, while somebody waits or runs."""
        rise_us = self._books.next_rise_us()
        if rise_us is not None:
            wakes.append(rise_us)
        if self._books.waiting.keys or self._books.running.keys:
            wakes.append(view.now_us + self.params.look_s * S)
        return min(wakes, default=None)


class _Round:
    """One plan. `coming`: slices about to be free that are not yet spoken for, by pool."""

    def __init__(self, books: Books, params: ElasticParams, view: View, free: Trial) -> None:
        self.books = books
        self.params = params
        self.view = view
        self.free = free
        self.decisions: list[Decision] = []
        self.wakes: list[int] = []
        self.touched: set[int] = set()  # running jobs that are halted or resized by this plan
        self.coming: dict[Pool, int] = {}
        for number, slices in books.leaving.items():
            pool = books.entries[number].pool
            self.coming[pool] = self.coming.get(pool, 0) + slices

    def idle(self) -> bool:
        return self.free.any()

    # ---- who waits

    def serve_guaranteed(self) -> None:
        for rank in (Tier.PREMIUM, Tier.STANDARD):
            key = (RANKS[rank], 0)
            self._restore(key)
            waiting = [self.books.entries[n] for n in self.books.waiting.by_key.get(key, ())]
            for entry in waiting:
                self.books.count(self.view.now_us, entry)
                if entry.allowance is None and not self._admit(entry):
                    break
            admitted = [entry for entry in waiting if entry.allowance is not None]
            for entry in sorted(admitted, key=lambda e: (_left_us(e), e.job.id)):
                if entry.job.idle_until_us > self.view.now_us:
                    self.wakes.append(entry.job.idle_until_us)
                else:
                    self._serve_one(key, entry)

    def _admit(self, entry: Entry) -> bool:
        kind = entry.spec.device_kind
        there = sum(self.free.capacity(*pool) for pool in self.free.pools() if pool[0] == kind)
        limit_ppm = there * round((1 - self.params.reserve_share) * FULL_PPM)
        if self.books.promised_ppm.get(kind, 0) + set_aside_ppm(entry.spec) > limit_ppm:
            return False
        self.books.admit(entry)
        self.decisions.append(Admit(entry.job.id))
        return True

    def _restore(self, key: Key) -> None:
        """Admitted jobs that run on less than they asked for."""
        for number in tuple(self.books.shrunk):
            entry = self.books.entries[number]
            if entry.key != key or number in self.touched or not self._may_be_taken(entry):
                continue
            missing = entry.spec.count - entry.slices
            short = missing - self.free.count(*entry.pool)
            if short > 0:
                short -= self.coming.get(entry.pool, 0)
                if short > 0:
                    self.touched.add(number)  # it is not to be its own victim
                    self._reclaim(key, entry, entry.pool, short, short)
                    self.touched.discard(number)
            if self.free.count(*entry.pool) >= missing:
                self._extend(entry, entry.spec.count)

    def serve(self) -> None:
        stuck = 1 << 30  # the least that somebody needed and could not have: nobody behind can
        for key, number in self.books.waiting.first_to_last():
            entry = self.books.entries[number]
            if key[0] < RANKS[Tier.BASIC] or entry.spec.least >= stuck:
                continue
            if entry.job.idle_until_us > self.view.now_us:
                self.wakes.append(entry.job.idle_until_us)
                continue
            if not self._serve_one(key, entry):
                stuck = entry.spec.least
                if stuck == 1:
                    return

    def _serve_one(self, key: Key, entry: Entry) -> bool:
        """False if it can have nothing, now or soon."""
        spec, pools = entry.spec, self._pools(entry)
        for pool in pools:
            if self.free.count(*pool) >= spec.count:
                self._place(entry, pool, spec.count)
                return True
        return any(self._make_room(key, entry, pool) for pool in pools)

    def _make_room(self, key: Key, entry: Entry, pool: Pool) -> bool:
        spec = entry.spec
        at_hand = self.free.count(*pool) + self.coming.get(pool, 0)
        if at_hand < spec.count:
            at_hand += self._reclaim(key, entry, pool, spec.count - at_hand, spec.least - at_hand)
        free = self.free.count(*pool)
        if at_hand < spec.count and spec.least <= free:
            self._place(entry, pool, free)
            return True
        if at_hand < spec.least:
            return False
        kept = min(free, spec.count)
        self.free.take(self.free.pick(*pool, kept))
        self.coming[pool] = max(0, self.coming.get(pool, 0) - (spec.count - kept))
        return True

    def _pools(self, entry: Entry) -> list[Pool]:
        """Where it can run, the fastest first; with a checkpoint, where that can be restored."""
        spec, part = entry.spec, entry.job.part
        parts = (part,) if part else self.view.free.parts(spec.device_kind)
        fastest = sorted(parts, key=lambda part: -relative(spec, part))
        return [
            (spec.device_kind, part)
            for part in fastest
            if self.view.free.capacity(spec.device_kind, part) >= spec.least
        ]

    def _place(self, entry: Entry, pool: Pool, slices: int) -> None:
        chosen = self.free.pick(*pool, slices)
        self.free.take(chosen)
        self.decisions.append(Place(entry.job.id, chosen))

    # ---- whose slices

    def _reclaim(self, key: Key, entry: Entry, pool: Pool, short: int, least: int) -> int:
        """Have others let go of up to `short` slices and perhaps some more, if that brings `least`
        or more. Returns how many."""
        found: list[tuple[Entry, int]] = []
        gained = 0
        for victim, slices in self._victims(key, entry, pool):
            rest = short - gained
            if slices == victim.slices and rest > slices - victim.spec.least:
                take = slices  # shrinking it will not do
            else:
                take = min(slices, rest)
            found.append((victim, take))
            gained += take
            if gained >= short:
                break
        if gained < max(least, 1):
            return 0
        for victim, take in found:
            self.touched.add(victim.job.id)
            keep = victim.slices - take
            if keep == 0:
                self.decisions.append(Evict(victim.job.id, entry.job.id))
            else:
                self._shrink(victim, keep, entry.job.id)
        self.coming[pool] = self.coming.get(pool, 0) + gained
        return gained

    def _victims(self, key: Key, taker: Entry, pool: Pool) -> Iterator[tuple[Entry, int]]:
        """Running jobs and how much of them may be taken: first what they hold beyond what they
        asked for; then from those that stand behind; then, for an admitted job, from its equals
        that can better bear it."""
        grown = [self.books.entries[number] for number in self.books.grown]
        for entry in sorted(grown, key=lambda e: (e.key, e.job.id), reverse=True):
            if entry.pool == pool and self._may_be_taken(entry):
                yield entry, entry.slices - entry.spec.count
        for _, number in self.books.running.last_to(key):
            entry = self.books.entries[number]
            fits = entry.pool == pool and number not in self.books.grown
            if fits and self._may_be_taken(entry) and self._can_bear(entry, taker):
                yield entry, entry.slices
        if taker.allowance is None:
            return
        equals = [self.books.entries[n] for n in self.books.running.by_key.get(key, ())]
        for entry in sorted(equals, key=lambda e: (-self._left_us(e), e.job.id)):
            if entry.pool == pool and self._may_be_taken(entry) and self._can_bear(entry, taker):
                yield entry, entry.slices

    def _left_us(self, entry: Entry) -> int:
        self.books.count(self.view.now_us, entry)
        return _left_us(entry)

    def _can_bear(self, entry: Entry, taker: Entry) -> bool:
        """An admitted job may be halted if that breaks no promise to it: for a higher tier as long
        as it has a turn's time left, for an equal if it has that much more left."""
        if entry.allowance is None:
            return True
        left_us = self._left_us(entry) - self.params.turn_s * S
        return left_us >= (self._left_us(taker) if taker.key == entry.key else 0)

    def _may_be_taken(self, entry: Entry) -> bool:
        job = entry.job
        rested_us = entry.changed_us + self.params.min_run_s * S
        if job.id in self.touched or job.pinned:
            return False
        return max(rested_us, job.keep_until_us) <= self.view.now_us

    def _shrink(self, entry: Entry, keep: int, for_job: int) -> None:
        self.decisions.append(Resize(entry.job.id, _together(entry.job.slices, keep), for_job))

    # ---- idle slices

    def give_back(self) -> None:
        """To jobs on fewer slices than they asked for, those that stand first first."""
        shrunk = [self.books.entries[number] for number in self.books.shrunk]
        for entry in sorted(shrunk, key=lambda e: (e.key, e.job.id)):
            if self._settled(entry):
                self._extend(entry, entry.spec.count)

    def grow(self) -> None:
        """To jobs that can use more than they asked for, the least grown first."""
        entries = [self.books.entries[n] for _, n in self.books.running.first_to_last()]
        able = [
            entry
            for entry in entries
            if entry.spec.count <= entry.slices < entry.spec.most
            and entry.ran_us >= self.params.grow_after_s * S
            and self._settled(entry)
        ]
        for entry in sorted(able, key=lambda e: (e.slices / e.spec.count, e.key, e.job.id)):
            self._extend(entry, entry.spec.most, self._spare(entry.pool))

    def _spare(self, pool: Pool) -> int:
        """Slices that nobody grows into, so that those who come start at once."""
        return int(self.view.free.capacity(*pool) * self.params.spare_share)

    def _settled(self, entry: Entry) -> bool:
        return entry.changed_us + self.params.settle_s * S <= self.view.now_us

    def _extend(self, entry: Entry, most: int, spare: int = 0) -> None:
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


def _left_us(entry: Entry) -> int:
    """Lost time that an admitted job can bear."""
    return entry.allowance.left_us if entry.allowance is not None else 0


def _together(slices: tuple[Slice, ...], keep: int) -> tuple[Slice, ...]:
    """`keep` of the slices, on as few devices as possible."""
    on: dict[str, list[Slice]] = {}
    for item in slices:
        on.setdefault(item.device, []).append(item)
    ordered = sorted(on.values(), key=lambda items: -len(items))
    return tuple(item for items in ordered for item in items)[:keep]
