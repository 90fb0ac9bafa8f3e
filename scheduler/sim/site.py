"""A cluster of the hierarchy in simulated time: machine, elastic policy and executor in Python.

The reference for `native_site`, which has the same engine natively.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from scheduler.core import events
from scheduler.core.commands import Command, Release
from scheduler.core.jobs import Job
from scheduler.core.machine import Machine
from scheduler.core.speed import FULL_PPM
from scheduler.core.values import Tier
from scheduler.hierarchy.cluster import Fallen, Standing
from scheduler.hierarchy.messages import Ints
from scheduler.loop import Loop
from scheduler.policies.elastic import Elastic
from scheduler.policies.guarantee import promisable_ppm
from scheduler.policies.quotas import Quotas
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import Cluster
from scheduler.sim.costs import Costs
from scheduler.sim.digest import Digest
from scheduler.sim.executor import SimExecutor
from scheduler.sim.goodput import HOUR_US
from scheduler.sim.planet_faults import SiteFaults
from scheduler.sim.run import UNLUCKY
from scheduler.traces.packed import Jobs, specs_of


class PythonSite:
    """An `Engine`. `tenants`: names, by the number that jobs have."""

    def __init__(
        self,
        cluster: Cluster,
        costs: Costs,
        params: ElasticParams,
        tenants: Sequence[str],
        exponent: float,
        quotas: Quotas | None = None,
        faults: SiteFaults | None = None,
    ) -> None:
        self._tenants, self._exponent = tenants, exponent
        self._kind, self._params = cluster.kind, params
        self._work: list[int] = [0]
        self._advanced_us = 0
        nodes = cluster.each()
        parts = {uri: part for uri, _, part in nodes}
        self.executor = SimExecutor(costs, parts, lambda number: self._work[number])
        self.executor.feed(
            events.DeviceAdded(0, uri, cluster.kind, part, slices) for uri, slices, part in nodes
        )
        if faults is not None:
            faults.begin(cluster, self.executor)
        self.machine = Machine(UNLUCKY)
        self._seen, self._digest = _Seen(self.machine), Digest()
        self._policy = Elastic(params, quotas)
        self._loop = Loop(self.machine, self._policy, self.executor, [self._digest, self._seen])

    def submit(self, jobs: Jobs) -> None:
        first = len(self._work)
        self._work += jobs["work_us"].tolist()
        specs = specs_of(jobs, self._tenants, self._exponent)
        self.executor.feed(
            events.JobSubmitted(int(row["at_us"]), number, spec, "carried" if row["halted"] else "")
            for number, (row, spec) in enumerate(zip(jobs, specs, strict=True), first)
        )

    def advance(self, until_us: int) -> None:
        self.executor.until_us = self._advanced_us = until_us
        while self._loop.step():
            pass

    def ended(self) -> tuple[Ints, Ints]:
        found, self._seen.ended = self._seen.ended, []
        both = np.array(found, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def standing(self) -> Standing:
        view = self.machine.view()
        free = sum(view.free.count(*pool) for pool in view.free.pools())
        capacity = sum(view.free.capacity(*pool) for pool in view.free.pools())
        specs = [self.machine.jobs[number].spec for number in self._policy.queue()]
        waiting = sum(spec.count for spec in specs)
        promised_ppm = self._policy.promised_ppm(self._kind)
        promised_ppm += sum(s.count * FULL_PPM for s in specs if s.tier is not Tier.BASIC)
        limit_ppm = promisable_ppm(capacity, self._params.reserve_share)
        promisable = max(0, limit_ppm - promised_ppm) // FULL_PPM
        return Standing(capacity, free, waiting, capacity - free, promisable)

    def movable(self, most: int) -> Ints:
        jobs = self.machine.view().jobs
        waiting = (n for n in self._policy.queue() if n in jobs and _waits(jobs[n]))
        return np.fromiter(islice(waiting, most), np.int64)

    def withdraw(self, number: int) -> tuple[int, bool] | None:
        job = self.machine.jobs[number]
        if not _waits(job):
            return None
        left_us = self.executor.give_up(number, job.checkpoint)
        self.executor.feed([events.CancelRequested(self._advanced_us, number)])
        return left_us, bool(job.checkpoint)

    def fallen(self) -> Fallen:
        restarts = sum(job.restarts for job in self.machine.jobs.values())
        lost_h = self.executor.lost_us / HOUR_US
        return Fallen(self._seen.losses, restarts, self.executor.saves, lost_h)

    def digest(self) -> str:
        return self._digest.hexdigest()


def _waits(job: Job) -> bool:
    return job.state.waiting and job.admitted_us is None


class _Seen:
    """Records who ended, and how many nodes were lost."""

    def __init__(self, machine: Machine) -> None:
        self.ended: list[tuple[int, int]] = []
        self.losses = 0
        self._machine = machine

    def record(self, happened: Sequence[events.Event], commands: Sequence[Command]) -> None:
        self.losses += sum(isinstance(event, events.DeviceLost) for event in happened)
        for command in commands:
            if isinstance(command, Release) and command.final:
                ended_us = self._machine.jobs[command.job].ended_us
                assert ended_us is not None
                self.ended.append((command.job, ended_us))
