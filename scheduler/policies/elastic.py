"""Elastic: least attained service, shrinking before evicting, growing into what is idle.

*Order.* Jobs stand by tier, then by level, then first come, first served. A job's level rises with
the device time it has had (attained service in slice-seconds, after Tiresias' 2D-LAS): durations
are heavy-tailed, so whoever has had little is likely to need little. Jobs of a guaranteed tier have
no level; they are served before all others and are not halted for each other.

*Guarantees.* A premium or standard job is admitted, first come first served within its tier, as
soon as what is promised to all fits the slices there are less a reserve. From then on it has an
allowance of lost time (`guarantee.py`). Admitted jobs take from basic ones; if that is not enough,
standard jobs take turns: who has less left takes from who has clearly more.

*Quotas.* Where tenants have some, basic jobs stand by what they owe before they stand by level
(`quotas.py`), then by what their tenants used of late; who owes less takes from who owes more. No
tenant is promised more than its own quota.

*Room.* For each waiting job in turn: free slices; else what jobs hold beyond what they asked
for; else from jobs that stand behind it (`victims.py`). Slices about to be free are counted, and
kept for those they were meant for. A job that can run on less than it asks for takes what is left.

*Idle slices* go to jobs that can use them (`idle.py`); where parts differ in speed, `parts.py` says
which one a job is to have, and who moves.

*Faults.* Jobs are saved now and then (`saves.py`); what a gang has left after a loss is kept for it
(`homes.py`); those on a device to be removed move (`drains.py`), and so do those on one that is
found to be slower than its peers (`stragglers.py`). Nobody is placed on those, nor where starts
fail again and again (`shuns.py`).

All of it is kept in books that follow the view's changes: a plan costs little more than what
changed, however many jobs and devices there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from scheduler.core.plan import Admit, Blocker, Place, Plan
from scheduler.core.speed import FULL_PPM
from scheduler.core.values import RANKS, Tier
from scheduler.core.view import View
from scheduler.policies import idle, reach, recalls, scattered
from scheduler.policies.avoided import Avoided
from scheduler.policies.books import Books, Entry, Key, Pool, S, set_aside_ppm
from scheduler.policies.drains import Drains
from scheduler.policies.elastic_reasons import ElasticReasons
from scheduler.policies.expected import Expected
from scheduler.policies.guarantee import promisable_ppm
from scheduler.policies.homes import Homes
from scheduler.policies.parts import Parts
from scheduler.policies.quotas import Quotas
from scheduler.policies.round import ElasticParams, Kept, Round
from scheduler.policies.saves import Saves
from scheduler.policies.shuns import Shuns
from scheduler.policies.stragglers import Stragglers
from scheduler.policies.victims import reclaim


class Elastic:
    def __init__(self, params: ElasticParams | None = None, quotas: Quotas | None = None) -> None:
        self.params = params or ElasticParams()
        self.quotas = quotas
        self._books = Books(
            self.params.first_level_s, self.params.level_ratio, self.params.first_run_s, quotas
        )
        self._expected = Expected()
        self._parts = Parts(self._expected, self.params.type_aware)
        self._homes = Homes(self.params.home_s)
        self._drains = Drains(self._homes, self._parts)
        self._saves = Saves(self.params)
        self._avoided = Avoided()
        self._stragglers = Stragglers(self.params, self._avoided)
        self._shuns = Shuns(self.params, self._avoided)
        self._looked_us = 0  # at idle slices, and at who might be better off elsewhere

    def plan(self, view: View) -> Plan:
        self._expected.follow(view, self._books)
        self._books.follow(view)
        self._homes.follow(view)
        self._saves.follow(view)
        self._stragglers.hear(view)
        self._shuns.follow(view)
        self._avoided.follow(view)
        slow = self._stragglers.follow(view)
        with view.free.trial() as free:
            this = Round(self._books, self.params, view, free, slow, self._avoided.devices)
            self._homes.keep(this)
            self._avoided.take(this)
            serving = _Serving(this, self._parts)
            self._drains.move_away(this, guaranteed=True)
            serving.serve_guaranteed()
            self._drains.move_away(this, guaranteed=False)
            serving.serve()
            self._recall(this)
            self._homes.forget(this.yielded)
            if view.now_us >= self._looked_us + self.params.look_s * S:
                self._looked_us = view.now_us
                self._parts.look(this)
                if self.params.gather:
                    scattered.gather(this, self._parts)
                if free.any():
                    idle.give_back(this)
                    if not self._books.waiting.keys:
                        idle.grow(this)
            self._saves.decide(this)
        return Plan(tuple(this.decisions), (), self._wake(view, this.wakes))

    def _recall(self, this: Round) -> None:
        """Of those that were promised slices by a time."""
        keys = (Key(RANKS[tier]) for tier in (Tier.PREMIUM, Tier.STANDARD))
        waiting = (n for key in keys for n in self._books.waiting.by_key.get(key, ()))
        entries = [e for n in waiting if (e := self._books.entries[n]).spec.recall_us]
        if not entries:
            return
        placed = {each.job for each in this.decisions if isinstance(each, Place)}
        left = [e.job for e in entries if e.allowance is not None and e.job.id not in placed]
        overdue, wakes = recalls.overdue(this.view, left, this.touched)
        this.touched.update(each.job for each in overdue)
        this.decisions += overdue
        this.wakes += wakes

    def queue(self) -> Iterator[int]:
        """Jobs that waited before the last plan, first to last."""
        for _, number in self._books.waiting.first_to_last():
            yield number

    def promised_ppm(self, kind: str) -> int:
        """Millionths of a slice that are set aside for admitted jobs."""
        return self._books.promised_ppm.get(kind, 0)

    def debts(self) -> dict[int, int]:
        """What jobs owe (`quotas`), as of the last plan; those to be admitted are not in it."""
        return self._books.owing.debts() if self._books.owing is not None else {}

    def explain(self, view: View) -> dict[int, tuple[Blocker, ...]]:
        """What each waiting job waits for, after the last plan was carried out."""
        with view.free.trial() as free:
            slow, avoided = self._stragglers.slow, self._avoided.devices
            this = Round(self._books, self.params, view, free, slow, avoided)
            self._homes.keep(this)
            self._avoided.take(this)
            return ElasticReasons(view, this).all()

    def _wake(self, view: View, wakes: list[int]) -> int | None:
        """The next rise of a level; and a look now and then, while somebody waits or runs."""
        rise_us = self._books.next_rise_us()
        if rise_us is not None:
            wakes.append(rise_us)
        if self._books.waiting.keys or self._books.running.keys:
            wakes.append(view.now_us + self.params.look_s * S)
        return min(wakes, default=None)


class _Serving:
    """Those that wait, in order, in one plan."""

    def __init__(self, this: Round, parts: Parts) -> None:
        self.this = this
        self.books = this.books
        self.parts = parts
        self.moving = parts.carry_on(this)

    def serve_guaranteed(self) -> None:
        this = self.this
        ranks = (Tier.PREMIUM, Tier.STANDARD)
        served = {number for rank in ranks for number in self._hand_over(Key(RANKS[rank]))}
        for rank in ranks:
            key = Key(RANKS[rank])
            waiting = [
                self.books.entries[number]
                for number in self.books.waiting.by_key.get(key, ())
                if number not in served
            ]
            this.claims = {}
            for entry in waiting:
                self._claim(entry, entry.spec.count if entry.allowance is not None else 0)
            self._restore(key)
            full = set()  # kinds of devices of which nobody behind is admitted
            for entry in waiting:
                if entry.spec.device_kind in full:
                    continue
                self.books.count(this.view.now_us, entry)
                if entry.allowance is None and not self._within_quota(entry):
                    continue  # it waits for its own tenant's jobs, others need not wait for it
                if entry.allowance is None and not self._admit(entry) and not entry.spec.devices:
                    full.add(entry.spec.device_kind)  # but if it names some: others may do
            admitted = [e for e in waiting if e.allowance is not None]
            for entry in sorted(admitted, key=lambda e: e.turn):
                self._claim(entry, -entry.spec.count)
                if self._ready(entry):
                    self._serve_one(key, entry)

    def _hand_over(self, key: Key) -> Iterator[int]:
        """What was let go for an admitted job is its own: who comes after has others halted for
        itself. Whoever is served."""
        this = self.this
        able = []
        for number in self.books.waiting.by_key.get(key, ()):
            entry = self.books.entries[number]
            if entry.allowance is None or entry.given < entry.spec.count or number in this.homes:
                continue
            self.books.count(this.view.now_us, entry)
            able.append((entry.allowance.left, number, entry))
        for _, _, entry in sorted(able):
            if not self._ready(entry):
                continue
            count = entry.spec.count
            pending = min(this.pending.get(entry.job.id, 0), count)
            for pool in self.parts.pools(this, entry):
                if this.room(entry, pool) < count - pending or this.soon(entry, pool) < pending:
                    continue
                if pending:
                    this.keep(entry, pool, count - pending)
                    this.coming[pool] -= pending
                else:
                    this.place(entry, pool, count)
                yield entry.job.id
                break

    def _ready(self, entry: Entry) -> bool:
        if entry.job.id in self.moving:
            return False
        if entry.job.idle_until_us > self.this.view.now_us:
            self.this.wakes.append(entry.job.idle_until_us)
            return False
        return True

    def _within_quota(self, entry: Entry) -> bool:
        owing = self.books.owing
        return owing is None or owing.may_promise(entry.spec)

    def _admit(self, entry: Entry) -> bool:
        free, kind = self.this.free, entry.spec.device_kind
        there = sum(free.capacity(*pool) for pool in free.pools() if pool[0] == kind)
        promised_ppm, need_ppm = self.books.promised_ppm.get(kind, 0), set_aside_ppm(entry.spec)
        limit_ppm = promisable_ppm(there, self.this.params.reserve_share)
        if not promised_ppm:  # or who asks for all there is would wait for ever
            limit_ppm = there * FULL_PPM
        if promised_ppm + need_ppm > limit_ppm:
            return False
        if entry.spec.devices and not reach.can_promise(self.this, entry):
            return False
        self.books.admit(entry)
        self.this.decisions.append(Admit(entry.job.id))
        self._claim(entry, entry.spec.count)
        return True

    def _claim(self, entry: Entry, slices: int) -> None:
        claims, kind = self.this.claims, entry.spec.device_kind
        claims[kind] = claims.get(kind, 0) + slices

    def _restore(self, key: Key) -> None:
        """Admitted jobs that run on less than they asked for."""
        this = self.this
        for number in tuple(self.books.shrunk.by_key.get(key, ())):
            entry = self.books.entries[number]
            if not this.rested(entry, entry) or this.leaves(entry):
                continue
            missing = entry.spec.count - entry.slices
            short = missing - this.room(entry, entry.pool) - this.soon(entry, entry.pool)
            if short > 0:
                this.touched.add(number)  # it is not to be its own victim
                reclaim(this, key, entry, entry.pool, short, short)
                this.touched.discard(number)
            if this.room(entry, entry.pool) >= missing:
                this.extend(entry, entry.spec.count)
            elif entry.given:  # what was let go for it
                this.keep(entry, entry.pool, missing)

    def serve(self) -> None:
        # by kind, the least that somebody needed and could not have: nobody behind can
        stuck = dict.fromkeys((kind for kind, _ in self.this.free.pools()), 1 << 30)
        for key, number in self._in_order():
            entry = self.books.entries[number]
            kind, least = entry.spec.device_kind, entry.spec.least
            if least >= stuck.get(kind, 0) or not self._ready(entry):
                continue
            if not self._serve_one(key, entry) and not entry.spec.devices:
                stuck[kind] = least
                if max(stuck.values()) == 1:
                    return

    def _in_order(self) -> Iterator[tuple[Key, int]]:
        """Basic jobs; within a level, those that would have an FPGA reconfigured come last, until
        they have waited for long."""
        for key in tuple(self.books.waiting.keys):
            if key.rank < RANKS[Tier.BASIC]:
                continue
            last = []
            for number in tuple(self.books.waiting.by_key[key]):
                if self._reconfigures(self.books.entries[number]):
                    last.append(number)
                else:
                    yield key, number
            for number in last:
                yield key, number

    def _reconfigures(self, entry: Entry) -> bool:
        overlay, this = entry.spec.overlay, self.this
        if not overlay:
            return False
        waited_us = this.view.now_us - max(entry.job.submitted_us, entry.changed_us)
        if waited_us >= this.params.patience_s * S:
            return False
        pools = self.parts.pools(this, entry)
        return not any(this.free.holds(*pool, overlay) for pool in pools)

    def _serve_one(self, key: Key, entry: Entry) -> bool:
        """False if it can have nothing, now or soon."""
        this, home = self.this, self.this.homes.get(entry.job.id)
        if home is None:
            return self._serve_from(key, entry, self.parts.pools(this, entry))
        if home.pending:
            self._await(key, entry, home)
            return True
        this.free.give(home.free)
        served = self._serve_from(key, entry, [home.pool])
        if entry.job.id in this.homes:  # it was not placed
            left = tuple(item for item in home.free if this.free.has(item))
            this.free.take(left)
            this.homes[entry.job.id] = Kept(home.pool, left, 0)
        return served

    def _await(self, key: Key, entry: Entry, home: Kept) -> None:
        """What it left itself is still being cleared; what it lacks besides is made ready."""
        this, pool = self.this, home.pool
        lacks = entry.spec.count - len(home.free) - home.pending
        short = lacks - this.room(entry, pool) - this.soon(entry, pool)
        if short > 0:
            enough = short - (entry.spec.count - entry.spec.least)
            reclaim(this, key, entry, pool, short, enough)
        if lacks > 0:
            this.keep(entry, pool, lacks)

    def _serve_from(self, key: Key, entry: Entry, pools: list[Pool]) -> bool:
        near = [pool for pool in pools if self.parts.close(entry, pool, pools[0])]
        far = [pool for pool in pools if pool not in near]
        for some in (near, far):
            for pool in some:
                if self.this.homes and self.this.room(entry, pool) < entry.spec.count:
                    self.this.yield_homes(entry, pool)
                if self.this.room(entry, pool) >= entry.spec.count:
                    self.this.place(entry, pool, entry.spec.count)
                    return True
            if any(self._make_room(key, entry, pool) for pool in some):
                return True
        return False

    def _make_room(self, key: Key, entry: Entry, pool: Pool) -> bool:
        this, spec = self.this, entry.spec
        if spec.devices:
            reach.have_others_move_over(this, entry, pool)
        at_hand = this.room(entry, pool) + this.soon(entry, pool)
        if at_hand < spec.count:
            # what is found counts as coming
            reclaim(this, key, entry, pool, spec.count - at_hand, spec.least - at_hand)
            at_hand = this.room(entry, pool) + this.soon(entry, pool)
        free = this.room(entry, pool)
        if at_hand < spec.count and spec.least <= free:
            this.place(entry, pool, free)
            return True
        if at_hand < spec.least:
            return False
        this.keep(entry, pool, spec.count)
        return True
