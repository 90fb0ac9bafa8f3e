"""Audit of what `Elastic` tells waiting jobs: is it true of the cluster?

Written against the view and an account of service of its own; it sees none of the policy's books,
so that it can contradict them. It also objects when a job that nobody stands before could have
been served and was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Blocker, Why
from scheduler.core.values import Tier
from scheduler.core.view import View
from scheduler.policies.explain import idle_talk
from scheduler.policies.guarantee import FULL_PPM, PROMISES, promisable_ppm
from scheduler.policies.quotas import Quotas
from scheduler.policies.usage import Usage

S = 1_000_000
LOOK_US = 60 * S
AT_HAND = (Why.RELEASING, Why.RESERVED, Why.SHORT)
ALONE = (Why.NO_DEVICE, Why.TOO_FEW, Why.BACKING_OFF, Why.UNADMITTED, Why.OVER_QUOTA)


class Attained:
    """Service that jobs had, in slice-microseconds, and so their levels. Show it every view that a
    plan is made of: what a plan gives counts from the next one on."""

    def __init__(
        self,
        first_level_s: int,
        level_ratio: int,
        first_run_s: int,
        quotas: Quotas | None = None,
    ) -> None:
        self.quotas = quotas
        self._usage = Usage(quotas) if quotas is not None else None
        self._used: dict[str, int] = {}
        self._owed: dict[int, int] = {}
        self._looked_us = 0
        self._first_us, self._ratio, self._run_us = first_level_s * S, level_ratio, first_run_s * S
        self._service: dict[int, int] = {}
        self._holds: dict[int, int] = {}
        self._tenants: dict[int, str] = {}
        self._now_us = 0

    def follow(self, view: View) -> None:
        passed, self._now_us = view.now_us - self._now_us, view.now_us
        for number, slices in self._holds.items():
            self._service[number] = self._service.get(number, 0) + passed * slices
        before = self._holds
        self._holds = {job.id: len(job.target or job.slices) for job in view.jobs.values()}
        if self._usage is None or self.quotas is None:
            return
        self._usage.until(view.now_us)
        for job in view.jobs.values():
            self._tenants[job.id] = job.spec.tenant
        for number in {**before, **self._holds}:
            more = self._holds.get(number, 0) - before.get(number, 0)
            self._usage.holds(self._tenants[number], more)
        if view.now_us >= self._looked_us + LOOK_US:
            self._looked_us = view.now_us
            self._used = {t: self._usage.octave(t) for t in set(self._tenants.values())}
        self._owed = owed(
            self.quotas,
            [
                (self._order(job), job.spec.tenant, job.spec.device_kind, job.spec.count)
                for job in view.jobs.values()
                if job.spec.tier is Tier.BASIC or job.admitted_us is not None
            ],
        )

    def _order(self, job: Job) -> tuple[int, int, int, int]:
        basic = job.spec.tier is Tier.BASIC
        return job.rank, self.level(job), basic and self._used.get(job.spec.tenant, 0), job.id

    def key(self, job: Job) -> tuple[int, int, int, int]:
        if job.spec.tier is not Tier.BASIC:
            return job.rank, 0, 0, 0
        used = self._used.get(job.spec.tenant, 0)
        return job.rank, self._owed.get(job.id, 0), self.level(job), used

    def level(self, job: Job) -> int:
        service = self._service.get(job.id, 0)
        if job.spec.tier is not Tier.BASIC or service < job.spec.count * self._run_us:
            return 0
        level, rises_us = 0, self._first_us
        while rises_us <= service:
            level, rises_us = level + 1, rises_us * self._ratio
        return level


def audit(
    view: View,
    waiting: Mapping[int, tuple[Blocker, ...]],
    attained: Attained,
    reserve_share: float,
) -> list[str]:
    """Complaints, one line each; empty when every waiting job has true and complete reasons."""
    complaints = idle_talk(view, waiting)
    for job in view.waiting:
        blockers = waiting.get(job.id, ())
        if not blockers:
            complaints.append(f"job {job.id} waits and was given no reason")
        found = _Audit(view, attained, reserve_share, job, blockers).complaints()
        complaints += [f"job {job.id}: {text}" for text in found]
    return complaints


class _Audit:
    def __init__(
        self,
        view: View,
        attained: Attained,
        reserve_share: float,
        job: Job,
        blockers: tuple[Blocker, ...],
    ) -> None:
        self.view, self.attained, self.reserve_share = view, attained, reserve_share
        self.job, self.blockers = job, blockers
        self.parts = view.acceptable(job)

    def complaints(self) -> Iterator[str]:
        if len(self.blockers) == 1 and (
            (self.blockers[0].why in ALONE and self.blockers[0].why is not Why.OVER_QUOTA)
            or not self.blockers[0].slices
        ):
            if not self._alone_is_true(self.blockers[0]):
                yield f"'{self.blockers[0]}' is not so"
            return
        total = sum(map(len, self.parts.values()))
        accounted = sum(blocker.slices for blocker in self.blockers)
        if accounted != total:
            yield f"{accounted} slices have a reason, of {total} acceptable"
        free = sum(item not in self.view.leases for items in self.parts.values() for item in items)
        idle = (Why.AHEAD, Why.RESERVED, Why.SHORT, Why.AVOIDED)
        if free != sum(blocker.slices for blocker in self.blockers if blocker.why in idle):
            yield f"{free} slices are free, and others count as that"
        for blocker in self.blockers:
            for named in blocker.jobs:
                if not self._is_true(blocker, named):
                    yield f"'{blocker}' is not so of job {named}"
        if self._could_be_served():
            yield "it could be served by halting others, and is not"

    def _alone_is_true(self, blocker: Blocker) -> bool:
        job, largest = self.job, max(map(len, self.parts.values()), default=0)
        match blocker.why:
            case Why.NO_DEVICE:
                return not self.parts
            case Why.TOO_FEW:
                return 0 < largest < job.spec.least
            case Why.BACKING_OFF:
                return blocker.until_us == job.idle_until_us > self.view.now_us
            case Why.UNADMITTED if job.spec.tier is Tier.BASIC:
                return False  # it is promised nothing
            case Why.UNADMITTED:
                return any(
                    blocker.ppm == found and found[0] + found[1] > found[2]
                    for found in (self._promised(), self._promised_on_named())
                )
            case Why.OVER_QUOTA:
                own, asked = self._of_tenant(), job.spec.count * FULL_PPM
                return blocker.ppm == (own[0], asked, own[1]) and own[0] + asked > own[1]
            case Why.AHEAD:
                return self._is_ahead(blocker.jobs[0])
        return False

    def _promised(self) -> tuple[int, int, int]:
        kind = self.job.spec.device_kind
        devices = (d for d in self.view.devices.values() if d.kind == kind and self.view.stays(d))
        slices = sum(device.slice_count for device in devices)
        admitted = [
            _share_ppm(job)
            for job in self.view.jobs.values()
            if job.admitted_us is not None and job.spec.device_kind == kind
        ]
        limit = promisable_ppm(slices, self.reserve_share)
        return sum(admitted), _share_ppm(self.job), limit

    def _promised_on_named(self) -> tuple[int, int, int]:
        """On the devices that it names, if it names any."""
        named = set(self.job.spec.devices)
        there = sum(d.slice_count for d in self.view.devices.values() if d.up and d.uri in named)
        admitted = [
            _share_ppm(job)
            for job in self.view.jobs.values()
            if job.admitted_us is not None and job.spec.devices and named >= set(job.spec.devices)
        ]
        return sum(admitted), _share_ppm(self.job), there * FULL_PPM

    def _of_tenant(self) -> tuple[int, int]:
        """Promised to its tenant's jobs, and its tenant's own quota."""
        spec, quotas = self.job.spec, self.attained.quotas
        promised = sum(
            _share_ppm(job)
            for job in self.view.jobs.values()
            if job.admitted_us is not None
            and (job.spec.tenant, job.spec.device_kind) == (spec.tenant, spec.device_kind)
        )
        own = quotas.own(spec.tenant, spec.device_kind) if quotas is not None else 0
        return promised, own * FULL_PPM

    def _key(self, job: Job) -> tuple[int, ...]:
        return self.attained.key(job)

    def _stands_before(self, other: Job) -> bool:
        own, its = self._key(self.job), self._key(other)
        if own != its:
            return its < own
        guaranteed = self.job.spec.tier is not Tier.BASIC
        return other.id < self.job.id or (
            guaranteed and other is not self.job and other.admitted_us is not None
        )

    def _is_ahead(self, named: int) -> bool:
        """It waits, or is being moved, and stands before."""
        other = self.view.jobs.get(named)
        if other is None or not self._stands_before(other):
            return False
        moved = other.state is JobState.CHECKPOINTING and other.evicted_for == other.id
        return other.state.waiting or moved

    def _is_true(self, blocker: Blocker, named: int) -> bool:
        other = self.view.jobs.get(named)
        if blocker.why is Why.AHEAD:
            return self._is_ahead(named)
        held = {
            item: lease
            for items in self.parts.values()
            for item in items
            if (lease := self.view.leases.get(item)) is not None and lease.job == named
        }
        if not held:
            return False
        if blocker.why is Why.RELEASING:
            return any(
                lease.releasing
                or (other is not None and other.state is JobState.CHECKPOINTING)
                or (other is not None and bool(other.target) and item not in other.target)
                for item, lease in held.items()
            )
        return other is not None and self._holds(blocker, other)

    def _holds(self, blocker: Blocker, other: Job) -> bool:
        own, its = self._key(self.job), self._key(other)
        if blocker.why is Why.OVER_QUOTA:
            return own[0] == its[0] and its[1] < own[1]
        if blocker.why is Why.HELD:
            return (
                its < own
                or (its == own and self.job.admitted_us is None)
                or (its == own and other.state is not JobState.RUNNING)
            )
        extra = len(other.slices) > other.spec.count
        if its < own and not extra:
            return False  # nobody takes from those that stand before
        running = other.state is JobState.RUNNING
        match blocker.why:
            case Why.STARTING:
                return not running
            case Why.PINNED:
                return running and other.pinned
            case Why.SAVING:
                return running and other.saving_us is not None
            case Why.PROTECTED:
                return running and (blocker.until_us or 0) > self.view.now_us
            case Why.PROMISED:
                return running and other.admitted_us is not None
            case Why.EVICTABLE | Why.SPARED:
                return running and not other.pinned
        return False

    def _could_be_served(self) -> bool:
        """Nobody waits before it, what is free or about to be will not do, and what could be taken
        for it would, by itself."""
        if len(self.parts) != 1 or any(self._stands_before(job) for job in self.view.waiting):
            return False
        takable = [blocker for blocker in self.blockers if blocker.why is Why.EVICTABLE]
        named = [self.view.jobs[number] for blocker in takable for number in blocker.jobs]
        grown = any(len(job.slices) > job.spec.count for job in named)  # gives up only the excess
        at_hand = sum(blocker.slices for blocker in self.blockers if blocker.why in AT_HAND)
        enough = sum(blocker.slices for blocker in takable) >= self.job.spec.least
        return enough and at_hand < self.job.spec.least and not grown


def owed(quotas: Quotas, jobs: Sequence[tuple[tuple[int, ...], str, str, int]]) -> dict[int, int]:
    """By job, of all at once: (place in line that ends with its number, tenant, kind, slices)."""
    debts: dict[int, int] = {}
    for kind in {kind for _, _, kind, _ in jobs}:
        lines: dict[int, list[tuple[tuple[int, ...], str, int]]] = {}
        for place, tenant, its, slices in jobs:
            chain = quotas.chain(tenant)
            debts.setdefault(place[-1], quotas.depth)
            if its == kind and chain:
                lines.setdefault(chain[0], []).append((place, tenant, slices))
        taken = dict.fromkeys(range(-1, len(quotas.nodes)), 0)
        for node in sorted(
            range(len(quotas.nodes)), key=lambda n: -quotas.nodes[n].name.count("/")
        ):
            line = sorted(lines.get(node, ()))
            left = quotas.slices(node, kind) - taken[node]
            while line and line[0][2] <= left:
                place, tenant, slices = line.pop(0)
                debts[place[-1]] = quotas.chain(tenant).index(node)
                left -= slices
            taken[quotas.parents[node]] += quotas.slices(node, kind) - left
            lines.setdefault(quotas.parents[node], []).extend(line)
    return debts


def _share_ppm(job: Job) -> int:
    return job.spec.count * PROMISES[Tier(job.spec.tier)].share_ppm
