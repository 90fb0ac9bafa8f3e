"""A served model and batch jobs on one pool, in simulated time: the machine and its policy decide
on both. Requests go through the replicas whose jobs run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scheduler.core import events
from scheduler.core.commands import Checkpoint, Command, Release, Start
from scheduler.core.jobs import JobState
from scheduler.core.machine import Machine
from scheduler.core.values import JobSpec
from scheduler.loop import Loop
from scheduler.policies.policy import Policy
from scheduler.policies.served import Objective
from scheduler.services import Service
from scheduler.sim.cluster import Cluster
from scheduler.sim.costs import Costs
from scheduler.sim.executor import SimExecutor
from scheduler.sim.serving import Replica, Serving, Watched
from scheduler.traces.trace import Request, Trace, TraceJob, in_order

S = 1_000_000
ENDLESS_US = 10**15  # of work: a replica ends when it is cancelled


@dataclass(frozen=True, slots=True)
class Pooled:
    """recalls    seconds from the decision for a replica until it had its device, rising
    evictions  of batch jobs, in favour of replicas
    gave_way   batch jobs that were not halted by the time, and ended without a checkpoint
    lent       devices that the replicas did not hold, on average
    useful     of the lent devices' time: work of batch jobs that is done
    """

    serving: Serving
    recalls: tuple[float, ...]
    evictions: int
    gave_way: int
    lent: float
    useful: float


def made_up(devices: int, span_s: float, seed: int) -> Trace:
    """Batch jobs for a while, drawn: heavy-tailed, of 1 to 4 devices, half as much again as the
    pool could do."""
    jobs: list[TraceJob] = []
    drawn, at_s, work_s = random.Random(seed), 0.0, 0.0
    while work_s < 1.5 * devices * span_s:
        duration_s = min(60 * drawn.paretovariate(1.1), span_s)
        count = min(drawn.choice((1, 1, 2, 4)), devices)
        jobs.append(TraceJob(f"batch {len(jobs)}", at_s, duration_s, count, "batch"))
        work_s += duration_s * count
        at_s = span_s * work_s / (1.5 * devices * span_s)
    return in_order(f"drawn from seed {seed}", jobs)


def pooled(
    requests: Sequence[Request],
    replica: Replica,
    objective: Objective,
    service: Service,
    step_s: float,
    first: int,
    batch: tuple[Trace, Sequence[JobSpec]],
    cluster: Cluster,
    policy: Policy,
    costs: Costs,
) -> Pooled:
    """`replica.start_s`: from the moment at which its job runs; how long that takes depends on who
    is to be halted for it. `first` replicas are there at the beginning. Raises Infeasible where the
    replicas do not get what they need."""
    nodes = cluster.each()
    shared = _Shared(Watched(requests, replica, objective), service, step_s, replica.start_s)
    executor = SimExecutor(costs, {uri: part for uri, _, part in nodes}, shared.work_us)
    executor.feed(
        events.DeviceAdded(0, uri, cluster.kind, part, devices) for uri, devices, part in nodes
    )
    shared.begin(executor, first)
    trace, specs = batch
    for item, spec in zip(trace.jobs, specs, strict=True):
        executor.at(round(item.submitted_s * S), shared.batch_job(spec, round(item.duration_s * S)))
    machine = Machine()
    loop = Loop(machine, policy, executor, [shared])
    while not shared.over and loop.step():
        pass
    serving = shared.watched.result()
    lent_s = cluster.devices * serving.span_s - serving.device_s
    done_us = sum(
        machine.jobs[number].spec.count
        * (
            work_us
            if machine.jobs[number].state is JobState.SUCCEEDED
            else executor.progress_us(number)
        )
        for number, work_us in shared.batch.items()
    )
    return Pooled(
        serving,
        tuple(sorted(shared.recalls)),
        shared.evictions,
        shared.gave_way,
        lent_s / serving.span_s,
        done_us / S / lent_s if lent_s else 0.0,
    )


class _Shared:
    """Makes the events of both, and follows the steps (a Recorder of the loop). Jobs are numbered
    as they come."""

    def __init__(self, watched: Watched, service: Service, step_s: float, load_s: float) -> None:
        self.watched = watched
        self.batch: dict[int, int] = {}  # job -> its work
        self.recalls: list[float] = []
        self.evictions = self.gave_way = 0
        self.over = False
        self._service, self._step_us, self._load_s = service, round(step_s * S), load_s
        self._newest = 0
        self._asked_us: dict[int, int] = {}  # job -> when, until it runs
        self._begun_us: dict[int, int] = {}  # job -> since when it holds its device
        self._serving: dict[int, int] = {}  # job -> the replica that it is

    def work_us(self, number: int) -> int:
        return self.batch.get(number, ENDLESS_US)

    def begin(self, executor: SimExecutor, first: int) -> None:
        self._executor = executor
        for _ in range(first):
            executor.at(0, self._replica_job)
        self.watched.wanted.append(first)
        executor.at(self._step_us, self._tick)

    def batch_job(self, spec: JobSpec, work_us: int) -> Callable[[int], events.Event]:
        def submit(at_us: int) -> events.Event:
            self._newest += 1
            self.batch[self._newest] = max(1, work_us)
            return events.JobSubmitted(at_us, self._newest, spec)

        return submit

    def _replica_job(self, at_us: int) -> events.Event:
        self._newest += 1
        self._service.replicas[self._newest] = None
        self._asked_us[self._newest] = at_us
        return events.JobSubmitted(at_us, self._newest, self._service.spec)

    def _tick(self, at_us: int) -> None:
        now_s, watched, queue = at_us / S, self.watched, self.watched.queue
        watched.until(now_s)
        if watched.done:
            queue.drop(now_s, list(queue.open))
            self.over = True
            return
        jobs = {number: job for job, number in self._serving.items()}
        emptiest = [jobs[number] for number in queue.emptiest(len(queue.open))]
        seen = watched.seen(now_s, len(self._service.replicas))
        more, gone = self._service.change(seen, emptiest)
        watched.wanted.append(len(self._service.replicas) + more)
        for _ in range(more):
            self._executor.at(at_us, self._replica_job)
        for job in gone:
            self._dismiss(at_us, job)
        self._executor.at(at_us + self._step_us, self._tick)

    def _dismiss(self, at_us: int, job: int) -> None:
        """It gives its device back when its last answer is written."""
        self._asked_us.pop(job, None)
        number = self._serving.pop(job, None)
        if number is not None:
            queue = self.watched.queue
            queue.drop(at_us / S, [number])
            at_us = max(at_us, round((queue.closed[-1].end_s or 0) * S))
        self._executor.at(at_us, lambda at: events.CancelRequested(at, job))

    def record(self, happened: Sequence[events.Event], commands: Sequence[Command]) -> None:
        for event in happened:
            if isinstance(event, events.JobStarted) and event.job in self._service.replicas:
                self._started(event.at_us, event.job)
        now_us = happened[-1].at_us
        for command in commands:
            if isinstance(command, Start) and command.job not in self.batch:
                self._begun_us[command.job] = now_us
            elif isinstance(command, Checkpoint):
                number = self._serving.pop(command.job, None)
                if number is not None:  # it takes requests again when it is back
                    self.watched.queue.drop(now_us / S, [number])
                self.evictions += command.job in self.batch
            elif isinstance(command, Release):
                self.gave_way += command.due

    def _started(self, at_us: int, job: int) -> None:
        asked_us = self._asked_us.pop(job, None)
        load_s = self._load_s
        if asked_us == 0:
            load_s = 0.0  # it was there before the first request
        elif asked_us is not None:
            self.recalls.append((at_us - asked_us) / S)
        begun_s, now_s = self._begun_us[job] / S, at_us / S
        self._serving[job] = self.watched.queue.add(begun_s, now_s + load_s)
