"""A simulated run on the native engine: from jobs, cluster and policy to its arrays, and back.

What the engine does not have is refused by name, never approximated: the Python engine runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scheduler.core.speed import FULL_PPM
from scheduler.core.values import RANKS, JobSpec, Tier
from scheduler.errors import Infeasible
from scheduler.native import cluster as native
from scheduler.policies.elastic import Elastic
from scheduler.policies.guarantee import PROMISES
from scheduler.policies.policy import Policy
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import Cluster
from scheduler.sim.costs import Costs
from scheduler.traces.trace import Trace

S = 1_000_000
CHUNK_STEPS = 1 << 14  # between two calls of `progress`
MAX_NODE = 64


@dataclass(frozen=True, slots=True)
class Run:
    """done  jobs that ended, as `native.DONE`, by number"""

    done: npt.NDArray[Any]
    steps: int
    digest: str


def simulate(
    trace: Trace,
    jobs: Sequence[JobSpec],
    cluster: Cluster,
    policy: Policy,
    costs: Costs,
    progress: Callable[[int], None],
) -> Run:
    """As `scheduler.sim.run.simulate` does it. Raises Infeasible for what only Python can do,
    OSError if the engine is not there."""
    check(jobs, cluster, policy)
    assert isinstance(policy, Elastic)
    with opened(cluster, policy.params, costs) as engine:
        submit(engine, trace, jobs)
        found: list[npt.NDArray[Any]] = []
        ended, there = 0, False
        while not there:
            there = engine.advance(most_steps=CHUNK_STEPS)
            found.append(engine.done())
            ended += len(found[-1])
            progress(ended)
        done = np.concatenate(found)
        return Run(done[np.argsort(done["job"])], int(engine.summary()["steps"]), engine.digest())


def check(jobs: Sequence[JobSpec], cluster: Cluster, policy: Policy) -> None:
    """Raises Infeasible if the engine cannot run it."""
    if type(policy) is not Elastic:
        raise Infeasible(f"the native engine has the elastic policy only, not {policy}")
    largest = max(group.devices for group in cluster.nodes)
    if largest > MAX_NODE:
        raise Infeasible(f"{largest} devices on a node; the native engine has at most {MAX_NODE}")
    for spec in jobs:
        for what, given in (("speeds by part", spec.speeds), ("devices by name", spec.devices)):
            if given:
                raise Infeasible(f"job {spec.name!r}: {what} are not in the native engine yet")
        if spec.device_kind != cluster.kind:
            raise Infeasible(f"job {spec.name!r}: {spec.device_kind!r} is not {cluster.kind!r}")


def opened(cluster: Cluster, params: ElasticParams, costs: Costs) -> native.Cluster:
    """The engine with that cluster's nodes, and no jobs yet."""
    known: dict[str, int] = {}
    parts: list[int] = []
    slices: list[int] = []
    for group in cluster.nodes:
        parts += [known.setdefault(group.type, len(known))] * group.count
        slices += [group.devices] * group.count
    return native.Cluster(packed_params(params), packed_costs(costs), parts, slices)


def packed_params(params: ElasticParams) -> npt.NDArray[Any]:
    packed = np.zeros(1, native.PARAMS)
    for name in native.PARAMS.names or ():
        if (seconds := getattr(params, f"{name.removesuffix('_us')}_s", None)) is not None:
            packed[name] = seconds * S
    for name in ("level_ratio", "halts_a_level", "grow_share", "spare_share"):
        packed[name] = getattr(params, name)
    packed["promised_share_ppm"] = round((1 - params.reserve_share) * FULL_PPM)
    for tier, promise in PROMISES.items():
        rank = RANKS[tier]
        packed["burst_us"][0, rank] = promise.burst_s * S
        packed["refill_ppm"][0, rank] = promise.refill_ppm
        packed["share_ppm"][0, rank] = promise.share_ppm
    return packed


def packed_costs(costs: Costs) -> npt.NDArray[Any]:
    packed = np.zeros(1, native.COSTS)
    for name in native.COSTS.names or ():
        packed[name] = getattr(costs, name)
    return packed


def submit(engine: native.Cluster, trace: Trace, jobs: Sequence[JobSpec]) -> None:
    """All jobs of a trace."""
    curves: dict[tuple[tuple[int, float], ...], int] = {(): 0}
    packed = np.zeros(len(jobs), native.JOB)
    for index, (item, spec) in enumerate(zip(trace.jobs, jobs, strict=True)):
        curve = tuple(spec.curve)
        if curve not in curves:
            points = [(slices, round(speed * FULL_PPM)) for slices, speed in curve]
            curves[curve] = engine.curve(points)
        submitted_us, work_us = round(item.submitted_s * S), max(1, round(item.duration_s * S))
        rank = RANKS[Tier(spec.tier)]
        packed[index] = (
            submitted_us, work_us, spec.count, spec.least, spec.most, rank, curves[curve], 0,
        )  # fmt: skip
    engine.submit(packed)
