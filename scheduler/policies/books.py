"""The books of a policy that follows changes: who waits, who runs, at what level, since when.

They are brought up to date by what changed since the last plan, so a plan costs little more than
that, however many jobs there are.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.core.jobs import Job, JobState
from scheduler.core.speed import speed_ppm
from scheduler.core.values import JobSpec, Tier
from scheduler.core.view import View
from scheduler.policies.guarantee import HOUR_S, PROMISES, Allowance
from scheduler.policies.owing import Owing
from scheduler.policies.quotas import Quotas

S = 1_000_000
HALTED = (JobState.CHECKPOINTING, JobState.RESIZING)
Pool = tuple[str, str]  # kind, part


class Key(NamedTuple):
    """Where a job stands: the least first. `rank` is its tier's. Without quotas nobody owes
    anything, and use of late is not counted; basic jobs only have a level."""

    rank: int
    debt: int = 0
    level: int = 0
    used: int = 0


@dataclass(slots=True, eq=False)
class Entry:
    """One job in the books. Times in microseconds, service in slice-microseconds."""

    job: Job
    key: Key
    seen: JobState | None = None  # under which it is entered; None: not at all
    slices: int = 0
    since_us: int = 0
    service_us: int = 0
    ran_us: int = 0
    ran_since_us: int = 0  # it is counted up to here
    changed_us: int = 0
    given: int = 0  # slices that others let go for it, since it last ran
    stamp: int = 0  # of its next rise of level
    halts_us: tuple[int, ...] = ()  # when it was halted or resized, in the last hour
    allowance: Allowance | None = None  # once it is admitted to a guaranteed tier

    @property
    def spec(self) -> JobSpec:
        return self.job.spec

    @property
    def turn(self) -> tuple[bool, int, int]:
        """Among admitted jobs of a tier that wait: who is to have slices by a time, then who can
        bear the least."""
        left = self.allowance.left if self.allowance is not None else 0
        return not self.job.spec.recall_us, left, self.job.id

    @property
    def speed_ppm(self) -> int:
        """Of what it asked for; 0 while it is started, halted, resized or saved."""
        if self.seen is not JobState.RUNNING or self.job.saving_us is not None:
            return 0
        return speed_ppm(self.job.spec, self.slices, self.job.part)

    @property
    def pool(self) -> Pool:
        """Of the slices it holds."""
        return self.job.spec.device_kind, self.job.part


@dataclass(slots=True)
class Queues:
    """Jobs by tier and level, and within by number: the order in which they came."""

    by_key: dict[Key, list[int]] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)

    def add(self, key: Key, number: int) -> None:
        queue = self.by_key.get(key)
        if queue is None:
            queue = self.by_key[key] = []
            insort(self.keys, key)
        insort(queue, number)

    def remove(self, key: Key, number: int) -> None:
        queue = self.by_key[key]
        del queue[bisect_left(queue, number)]
        if not queue:
            del self.by_key[key]
            del self.keys[bisect_left(self.keys, key)]

    def first_to_last(self) -> Iterator[tuple[Key, int]]:
        for key in tuple(self.keys):
            for number in tuple(self.by_key[key]):
                yield key, number

    def last_to_first(self) -> Iterator[tuple[Key, int]]:
        for key in reversed(self.keys):
            for number in reversed(self.by_key[key]):
                yield key, number

    def last_to(self, key: Key) -> Iterator[tuple[Key, int]]:
        """Those that stand behind `key`, the last one first."""
        for behind in reversed(self.keys):
            if behind <= key:
                return
            for number in reversed(self.by_key[behind]):
                yield behind, number


class Books:
    """`first_level_s`, `level_ratio`: slice-seconds of service at which a level rises first, and
    by how much more it takes for each next. `first_run_s`: but no level rises before the job has
    had so long on what it asked for, or gangs would lose their place within moments. `owing` is
    None without quotas."""

    def __init__(
        self,
        first_level_s: int,
        level_ratio: int,
        first_run_s: int = 0,
        quotas: Quotas | None = None,
    ) -> None:
        self.entries: dict[int, Entry] = {}
        self.waiting = Queues()
        self.running = Queues()
        self.grown = Queues()  # those that run on more than they asked for
        self.shrunk = Queues()  # on less
        self.leaving: dict[int, int] = {}  # job -> slices it is about to let go
        self.promised_ppm: dict[str, int] = {}  # kind -> slices set aside for admitted jobs
        self.owing = Owing(quotas) if quotas is not None else None
        self._rises: list[tuple[int, int, int]] = []  # when, job, stamp
        self._thresholds = [first_level_s * S]
        self._ratio = level_ratio
        self._first_run_us = first_run_s * S

    def follow(self, view: View) -> None:
        for number in view.changed:
            self._follow(view, number)
        while self._rises and self._rises[0][0] <= view.now_us:
            _, number, stamp = heapq.heappop(self._rises)
            entry = self.entries.get(number)
            if entry is not None and entry.stamp == stamp:
                self._rise(view.now_us, entry)
        if self.owing is not None:
            for number in self.owing.moved(view.now_us):
                entry = self.entries[number]
                self._stand(entry, entry.key.level)

    def admit(self, entry: Entry) -> None:
        """From now on its tier's promise is kept."""
        entry.allowance = Allowance(PROMISES[Tier(entry.spec.tier)])
        kind = entry.spec.device_kind
        self.promised_ppm[kind] = self.promised_ppm.get(kind, 0) + set_aside_ppm(entry.spec)
        if self.owing is not None:
            self.owing.admitted(entry.job.id, entry.spec)

    def _release(self, entry: Entry) -> None:
        if entry.allowance is not None:
            self.promised_ppm[entry.spec.device_kind] -= set_aside_ppm(entry.spec)
        if self.owing is not None:
            self.owing.ended(entry.job.id)

    def next_rise_us(self) -> int | None:
        while self._rises:
            at_us, number, stamp = self._rises[0]
            entry = self.entries.get(number)
            if entry is not None and entry.stamp == stamp:
                return at_us
            heapq.heappop(self._rises)
        return None

    def _follow(self, view: View, number: int) -> None:
        job = view.jobs.get(number)
        entry = self.entries.get(number)
        if entry is None:
            if job is None:
                return
            entry = self.entries[number] = Entry(job, Key(job.rank))
            if self.owing is not None and job.spec.tier is Tier.BASIC:
                self.owing.basic(number, job.spec, 0)
        self._count_all(view.now_us, entry)
        self._take_out(entry)
        if job is None:
            self._hold(view.now_us, entry, 0)
            self._release(entry)
            del self.entries[number]
            return
        entry.key = entry.key._replace(level=self._level_of(entry))
        before, entry.job = entry.job, job
        if job.admitted_us is not None and entry.allowance is None:
            self.admit(entry)
        holds = len(job.target or job.slices)
        if job.state is JobState.RUNNING and (
            before.state is not JobState.RUNNING or holds != entry.slices
        ):
            entry.changed_us = view.now_us
            entry.given = 0
        if _halts(job) > _halts(before):
            recent = (at_us for at_us in entry.halts_us if at_us > view.now_us - HOUR_S * S)
            entry.halts_us = (*recent, view.now_us)
        self._hold(view.now_us, entry, holds)
        entry.seen = job.state
        if job.state.waiting:
            self.waiting.add(entry.key, number)
        elif job.state is JobState.RUNNING:
            for queue in self._running(entry):
                queue.add(entry.key, number)
        elif job.state is JobState.CHECKPOINTING:
            self.leaving[number] = len(job.slices)
        elif job.state is JobState.RESIZING:
            self.leaving[number] = len(job.slices) - len(job.target)
        self._foretell(view.now_us, entry)

    def _hold(self, now_us: int, entry: Entry, slices: int) -> None:
        if self.owing is not None:
            self.owing.holds(now_us, entry.spec.tenant, slices - entry.slices)
        entry.slices = slices

    def _take_out(self, entry: Entry) -> None:
        if entry.seen is None:
            return
        number = entry.job.id
        if entry.seen.waiting:
            self.waiting.remove(entry.key, number)
        elif entry.seen is JobState.RUNNING:
            for queue in self._running(entry):
                queue.remove(entry.key, number)
        self.leaving.pop(number, None)
        entry.seen = None

    def _running(self, entry: Entry) -> Iterator[Queues]:
        """Where it stands while it runs."""
        yield self.running
        if entry.slices > entry.spec.count:
            yield self.grown
        elif entry.slices < entry.spec.count:
            yield self.shrunk

    def count(self, now_us: int, entry: Entry) -> None:
        """Bring what it had and what it lost up to date."""
        passed = now_us - entry.since_us
        if entry.allowance is not None:
            entry.allowance.spend(passed, entry.speed_ppm)
        entry.service_us += passed * entry.slices
        entry.since_us = now_us

    def _count_all(self, now_us: int, entry: Entry) -> None:
        """Also how long it has run: as far as its level last rose, or it was last changed. One that
        has just shown that it is longer than others is less likely to end soon."""
        self.count(now_us, entry)
        entry.ran_us += now_us - entry.ran_since_us if entry.slices else 0
        entry.ran_since_us = now_us

    def _level(self, entry: Entry) -> tuple[int, int]:
        """Its level, and the service at which that rises."""
        level, rises_us = 0, self._thresholds[0]
        if entry.service_us < entry.spec.count * self._first_run_us:
            return 0, max(rises_us, entry.spec.count * self._first_run_us)
        while rises_us <= entry.service_us:
            level += 1
            if level == len(self._thresholds):
                self._thresholds.append(rises_us * self._ratio)
            rises_us = self._thresholds[level]
        return level, rises_us

    def _foretell(self, now_us: int, entry: Entry) -> None:
        """When the level rises next, if it goes on as now."""
        entry.stamp += 1
        if entry.slices and entry.spec.tier is Tier.BASIC:
            _, rises_us = self._level(entry)
            at_us = now_us + -(-(rises_us - entry.service_us) // entry.slices)
            heapq.heappush(self._rises, (at_us, entry.job.id, entry.stamp))

    def _rise(self, now_us: int, entry: Entry) -> None:
        self._count_all(now_us, entry)
        level = self._level_of(entry)
        if level != entry.key.level:
            self._stand(entry, level)
        self._foretell(now_us, entry)

    def _level_of(self, entry: Entry) -> int:
        """Its level now; whoever counts by it is told."""
        if entry.spec.tier is not Tier.BASIC:
            return 0
        level = self._level(entry)[0]
        if level != entry.key.level and self.owing is not None:
            self.owing.basic(entry.job.id, entry.spec, level)
        return level

    def _stand(self, entry: Entry, level: int) -> None:
        """Of a basic job: let it stand where it belongs."""
        key = Key(entry.job.rank, level=level)
        if self.owing is not None:
            debt, used = self.owing.debt(entry.job.id), self.owing.used(entry.spec.tenant)
            key = key._replace(debt=debt, used=used)
        if key != entry.key:
            seen = entry.seen
            if seen is not None and seen.waiting:
                self.waiting.remove(entry.key, entry.job.id)
                self.waiting.add(key, entry.job.id)
            elif seen is JobState.RUNNING:
                for queue in self._running(entry):
                    queue.remove(entry.key, entry.job.id)
                    queue.add(key, entry.job.id)
            entry.key = key


def _halts(job: Job) -> int:
    """So far, the one that is under way included."""
    return job.preemptions + job.resizes + (job.state in HALTED)


def set_aside_ppm(spec: JobSpec) -> int:
    """Millionths of a slice that an admitted job takes out of what can be promised."""
    return spec.count * PROMISES[Tier(spec.tier)].share_ppm
