"""One simulated run, from a trace and a cluster to figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scheduler.core import events
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec
from scheduler.errors import Infeasible
from scheduler.loop import Loop, Recorder, reasons
from scheduler.native.cluster import SUCCEEDED
from scheduler.policies.choices import CP_SAT
from scheduler.policies.elastic import Elastic
from scheduler.policies.maintenance import Schedule
from scheduler.policies.policy import Policy
from scheduler.sim import native
from scheduler.sim.breaking import Breaking, Patience
from scheduler.sim.cluster import Cluster
from scheduler.sim.costs import Costs
from scheduler.sim.executor import SimExecutor
from scheduler.sim.faults import Faults
from scheduler.sim.goodput import FaultFigures, Goodput
from scheduler.sim.maintenance import Maintenance
from scheduler.sim.measure import Done, Figures, figures
from scheduler.traces.trace import Trace

S = 1_000_000
REPORT_US = 300 * S  # between two measurements of a job's pace, if the policy goes by them
REPORT_STEPS = 512  # between two calls of `progress`
UNLUCKY = Params(max_restarts=1 << 30)  # no simulated job is the cause of its device's loss


@dataclass(frozen=True, slots=True)
class Result:
    figures: Figures
    done: tuple[Done, ...]
    failed: int  # jobs that did not succeed
    steps: int
    cpu_s: float
    machine: Machine | None  # None if the native engine ran it
    faults: FaultFigures | None = None
    schedules: tuple[Schedule, ...] = ()  # of windows of maintenance, one a turn
    digest: str = ""  # of every step (sim/digest.py); the Python engine has it for the asking


def simulate(
    trace: Trace,
    jobs: Sequence[JobSpec],
    cluster: Cluster,
    policy: Policy,
    costs: Costs,
    recorders: Callable[[Machine], Sequence[Recorder]] = lambda machine: (),
    progress: Callable[[int], None] = lambda ended: None,
    faults: Faults | None = None,
    seed: int = 1,
    engine: str = "python",
    solver: str = CP_SAT,
) -> Result:
    """`jobs`: one for each of the trace's. `progress` is told how many have ended. `seed`: of the
    faults. `engine`: python or native, whose steps are the same; the native one has no recorders,
    and raises Infeasible for what it does not have, OSError if it is not built. Both raise
    Infeasible if faults let no job end any more, or none ends. `solver`: of windows."""
    if engine == "native":
        return _natively(trace, jobs, cluster, policy, costs, progress, faults, seed)
    began = time.process_time()
    notices = isinstance(policy, Elastic) and policy.params.stragglers
    executor = executor_of(trace, jobs, cluster, costs, REPORT_US if notices else 0)
    machine = Machine(UNLUCKY if faults else None)
    goodput = Goodput(machine) if faults else None
    patience = Patience(len(jobs)) if faults else None
    kept: list[Maintenance] = []
    if faults:
        breaking = Breaking(faults, cluster, executor, seed, lambda: executor.over < len(jobs))
        for window in faults.windows:
            kept.append(Maintenance(window, cluster, machine, breaking, executor, solver))
            kept[-1].begin()
    watching = [goodput] if goodput else []
    loop = Loop(machine, policy, executor, [*recorders(machine), *watching])
    steps = 0
    while loop.step():
        steps += 1
        if steps % REPORT_STEPS == 0:
            progress(executor.ended)
            if patience:
                patience.check(steps, executor.over, executor.now_us)
    progress(executor.ended)
    done = tuple(
        _done(job, trace.jobs[job.id - 1].duration_s)
        for job in machine.jobs.values()
        if job.state is JobState.SUCCEEDED
    )
    if not done:
        raise Infeasible(_none_ended(machine, policy))
    return Result(
        figures(done, cluster.devices),
        done,
        len(machine.jobs) - len(done),
        steps,
        time.process_time() - began,
        machine,
        goodput.figures(done, executor) if goodput else None,
        tuple(schedule for each in kept for schedule in each.schedules),
    )


def _natively(
    trace: Trace,
    jobs: Sequence[JobSpec],
    cluster: Cluster,
    policy: Policy,
    costs: Costs,
    progress: Callable[[int], None],
    faults: Faults | None,
    seed: int,
) -> Result:
    began = time.process_time()
    found = native.simulate(trace, jobs, cluster, policy, costs, progress, faults, seed)
    done = tuple(
        Done(
            row["submitted_us"] / S,
            row["started_us"] / S,
            row["ended_us"] / S,
            trace.jobs[row["job"] - 1].duration_s,
            int(row["count"]),
            int(row["preemptions"]),
            int(row["resizes"]),
        )
        for row in found.done
        if row["state"] == SUCCEEDED
    )
    if not done:
        raise Infeasible("no job ended")
    return Result(
        figures(done, cluster.devices),
        done,
        len(jobs) - len(done),
        int(found.summary["steps"]),
        time.process_time() - began,
        None,
        digest=found.digest,
    )


def executor_of(
    trace: Trace, jobs: Sequence[JobSpec], cluster: Cluster, costs: Costs, report_us: int = 0
) -> SimExecutor:
    """Devices are there from the beginning; jobs come when the trace says."""
    nodes = cluster.each()
    executor = SimExecutor(
        costs,
        {uri: part for uri, _, part in nodes},
        lambda number: max(1, round(trace.jobs[number - 1].duration_s * S)),
        report_us,
    )
    hosts = cluster.hosts()
    executor.feed(
        events.DeviceAdded(0, uri, cluster.kind, part, devices, *hosts[uri])
        for uri, devices, part in nodes
    )
    executor.feed(
        events.JobSubmitted(round(item.submitted_s * S), number, spec)
        for number, (item, spec) in enumerate(zip(trace.jobs, jobs, strict=True), 1)
    )
    return executor


def _none_ended(machine: Machine, policy: Policy) -> str:
    job = next(iter(machine.jobs.values()))
    why = "; ".join(map(str, reasons(machine, policy).get(job.id, ()))) or job.reason
    needs = f" needs {job.spec.needs} and" if job.spec.needs else ""
    return (
        f"none of {len(machine.jobs)} jobs ended on this cluster; the first ({job.spec.name!r}, "
        f"{job.spec.count} slices){needs} is {job.state}" + (f": {why}" if why else "")
    )


def _done(job: Job, duration_s: float) -> Done:
    assert job.ended_us is not None
    return Done(
        job.submitted_us / S,
        job.started_us / S,
        job.ended_us / S,
        duration_s,
        job.spec.count,
        job.preemptions,
        job.resizes,
    )
