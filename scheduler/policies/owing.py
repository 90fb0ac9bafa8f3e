"""Quotas kept in a policy's books: who owes, who used how much of late, what is promised to whom.

Basic jobs stand in the lines of `Debts` from their first moment on; those of a guaranteed tier
once they are admitted, before all basic ones: what is promised is within the tenant's own quota,
since it could not be recalled.
"""

from __future__ import annotations

from collections.abc import Iterator

from scheduler.core.values import JobSpec
from scheduler.policies.quotas import Debts, Quotas
from scheduler.policies.usage import Usage

S = 1_000_000
LOOK_US = 60 * S  # between two looks at what tenants used


class Owing:
    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self._debts = Debts(quotas)
        self._usage = Usage(quotas)
        self._octaves: dict[str, int] = {}  # of tenants that ever held a slice, at the last look
        self._basic: dict[str, dict[int, int]] = {}  # tenant -> job -> level
        self._specs: dict[int, JobSpec] = {}
        self._promised: dict[tuple[str, str], int] = {}
        self._looked_us = 0

    def basic(self, job: int, spec: JobSpec, level: int) -> None:
        """It is there, or its level rose."""
        if job in self._specs:
            self._debts.leave(job)
        self._specs[job] = spec
        self._basic.setdefault(spec.tenant, {})[job] = level
        self._enter(job)

    def admitted(self, job: int, spec: JobSpec) -> None:
        promise = spec.tenant, spec.device_kind
        self._promised[promise] = self._promised.get(promise, 0) + spec.count
        self._specs[job] = spec
        self._debts.enter(job, spec.tenant, spec.device_kind, (spec.rank, 0, 0, job), spec.count)

    def ended(self, job: int) -> None:
        spec = self._specs.pop(job, None)
        if spec is None:
            return  # it was never admitted
        self._debts.leave(job)
        if self._basic.get(spec.tenant, {}).pop(job, None) is None:
            self._promised[spec.tenant, spec.device_kind] -= spec.count

    def holds(self, now_us: int, tenant: str, more: int) -> None:
        if more:
            self._usage.until(now_us)
            self._usage.holds(tenant, more)
            self._octaves.setdefault(tenant, 0)

    def debt(self, job: int) -> int:
        return self._debts.of(job)

    def debts(self) -> dict[int, int]:
        """Of all jobs that are in a line."""
        return self._debts.all()

    def used(self, tenant: str) -> int:
        return self._octaves.get(tenant, 0)

    def promised(self, spec: JobSpec) -> tuple[int, int]:
        """Slices promised to its tenant, and how many may be."""
        kind = spec.device_kind
        return self._promised.get((spec.tenant, kind), 0), self.quotas.own(spec.tenant, kind)

    def may_promise(self, spec: JobSpec) -> bool:
        promised, own = self.promised(spec)
        return promised + spec.count <= own

    def moved(self, now_us: int) -> Iterator[int]:
        """Basic jobs that stand elsewhere than before."""
        if now_us >= self._looked_us + LOOK_US:
            self._looked_us = now_us
            self._usage.until(now_us)
            for tenant in tuple(self._octaves):
                self._look(tenant)
        changed, self._debts.changed = self._debts.changed, {}
        for job in changed:
            if job in self._basic.get(self._specs[job].tenant, ()):
                yield job

    def _look(self, tenant: str) -> None:
        octave = self._usage.octave(tenant)
        if octave == self._octaves[tenant]:
            return
        jobs = self._basic.get(tenant, {})
        for job in jobs:
            self._debts.leave(job)
        self._octaves[tenant] = octave
        for job in jobs:
            self._enter(job)

    def _enter(self, job: int) -> None:
        spec = self._specs[job]
        order = (spec.rank, self._basic[spec.tenant][job], self.used(spec.tenant), job)
        self._debts.enter(job, spec.tenant, spec.device_kind, order, spec.count)
        self._debts.changed[job] = None  # its level or its tenant's use may be another
