"""A simulated run on the native engine: from jobs, cluster and policy to its arrays, and back.

What the engine does not have is refused by name, never approximated: the Python engine runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scheduler.core import events
from scheduler.core.speed import FULL_PPM
from scheduler.core.values import RANKS, JobSpec, Recovery, Tier
from scheduler.errors import Infeasible, TraceDamaged
from scheduler.native import cluster as native
from scheduler.policies.elastic import Elastic
from scheduler.policies.guarantee import PROMISES
from scheduler.policies.policy import Policy
from scheduler.policies.round import ElasticParams
from scheduler.sim.breaking import Breaking, Patience
from scheduler.sim.cluster import Cluster
from scheduler.sim.costs import Costs
from scheduler.sim.faults import Faults
from scheduler.traces.trace import Trace

S = 1_000_000
CHUNK_STEPS = 1 << 14  # between two calls of `progress`
MAX_NODE = 64


@dataclass(frozen=True, slots=True)
class Run:
    """done  jobs that ended, as `native.DONE`, by number; summary: a `native.SUMMARY`"""

    done: npt.NDArray[Any]
    summary: np.void
    digest: str


class Broken:
    """The executor as `Breaking` knows it, over a native cluster, which is told what goes wrong
    before it does."""

    def __init__(self, engine: native.Cluster, nodes: Sequence[str]) -> None:
        self._engine = engine
        self._nodes = {name: number for number, name in enumerate(nodes)}
        self._breaking: Breaking | None = None
        self._faults: list[tuple[int, int, int, int]] = []  # not handed on yet

    @property
    def over(self) -> int:
        return int(self._engine.summary()["over"])

    @property
    def now_us(self) -> int:
        """Of what the engine was told last."""
        return 0 if self._breaking is None else self._breaking.now_us

    def go_wrong(self, breaking: Breaking) -> None:
        self._breaking = breaking

    def feed(self, arrivals: Iterable[events.Event]) -> None:
        for event in arrivals:
            if isinstance(event, events.DeviceLost):
                self._faults.append((event.at_us, 0, self._nodes[event.device], native.LOST))
            elif isinstance(event, events.DeviceAdded):
                self._faults.append((event.at_us, 0, self._nodes[event.device], native.BACK))
            else:
                raise Infeasible(f"the native engine knows no {type(event).__name__} yet")

    def straggle(self, device: str, ppm: int) -> None:
        self._faults.append((self.now_us, ppm, self._nodes[device], native.STRAGGLES))

    def slow_store(self, ppm: int) -> None:
        self._faults.append((self.now_us, ppm, 0, native.SLOW_STORE))

    def next_us(self) -> int:
        """When something goes wrong next that the engine was not told."""
        return native.ALL_US if self._breaking is None else self._breaking.next_us

    def foresee(self, until_us: int) -> None:
        """Tell the engine all that goes wrong up to and at that moment."""
        if self._breaking is not None:
            self._breaking.happen(until_us)
        if self._faults:
            self._engine.foresee(np.array(self._faults, native.FAULT))
            self._faults.clear()


def check_times(trace: Trace) -> None:
    """Raises TraceDamaged: a job that comes, or lasts, beyond what clusters count."""
    for job in trace.jobs:
        if max(job.submitted_s, job.duration_s) * 1e6 > native.ALL_US:
            raise TraceDamaged(
                f"{trace.name}: job {job.name!r} comes after {job.submitted_s / 3600:.0f} h and "
                f"takes {job.duration_s / 3600:.0f} h; native clusters, and planets, count "
                f"{native.ALL_US / 3.6e9:.0f} h"
            )


def simulate(
    trace: Trace,
    jobs: Sequence[JobSpec],
    cluster: Cluster,
    policy: Policy,
    costs: Costs,
    progress: Callable[[int], None],
    faults: Faults | None = None,
    seed: int = 1,
) -> Run:
    """As `scheduler.sim.run.simulate` does it. Raises Infeasible for what only Python can do,
    OSError if the engine is not there."""
    check(jobs, cluster, policy, faults)
    check_times(trace)
    assert isinstance(policy, Elastic)
    with opened(cluster, policy.params, costs) as engine:
        submit(engine, trace, jobs)
        broken = Broken(engine, [name for name, _, _ in cluster.each()])
        if faults is not None:
            Breaking(faults, cluster, broken, seed, lambda: broken.over < len(jobs))
        found: list[npt.NDArray[Any]] = []
        ended = 0
        patience = Patience(len(jobs))
        for _ in drive(engine, broken):
            found.append(engine.done())
            ended += len(found[-1])
            progress(ended)
            if faults is not None:
                patience.check(int(engine.summary()["steps"]), ended, broken.now_us)
        done = np.concatenate(found)
        return Run(done[np.argsort(done["job"])], engine.summary(), engine.digest())


def drive(engine: native.Cluster, broken: Broken) -> Iterator[None]:
    """To the end, with what goes wrong; comes back now and then."""
    there = False
    while not there:
        until_us = min(broken.next_us(), native.ALL_US)
        there = engine.advance(until_us - 1, CHUNK_STEPS)
        if there and until_us < native.ALL_US:
            broken.foresee(until_us)
            there = False
        yield


def check(
    jobs: Sequence[JobSpec], cluster: Cluster, policy: Policy, faults: Faults | None = None
) -> None:
    """Raises Infeasible if the engine cannot run it."""
    if type(policy) is not Elastic:
        raise Infeasible(
            f"the native engine has the elastic policy only, not {type(policy).__name__}"
        )
    if any(spec.recall_us for spec in jobs):
        raise Infeasible("recalls by a time (recall_us) are not in the native engine yet")
    if policy.quotas is not None:
        raise Infeasible("quotas are not in the native engine yet")
    if policy.params.gather:
        raise Infeasible("gathering onto fewer parts is not in the native engine yet")
    if policy.params.halts_an_hour:
        raise Infeasible("halts_an_hour is not in the native engine yet")
    if policy.params.measured:
        raise Infeasible("going by measured costs is not in the native engine")
    if policy.params.stragglers:
        raise Infeasible("noticing stragglers is not in the native engine yet")
    if faults is not None and any(each.notice_s is not None for each in faults.planned):
        raise Infeasible("drains are not in the native engine yet")
    if faults is not None and faults.windows:
        raise Infeasible("windows of maintenance are not in the native engine yet")
    falls = faults is not None or policy.params.saves
    largest = max(group.devices for group in cluster.nodes)
    if largest > MAX_NODE:
        raise Infeasible(f"{largest} devices on a node; the native engine has at most {MAX_NODE}")
    for spec in jobs:
        for what, given in (
            ("speeds by part", spec.speeds),
            ("devices by name", spec.devices),
            ("overlays", spec.overlay),
            ("shares of slices, and needs of a host,", spec.needs),
        ):
            if given:
                raise Infeasible(f"job {spec.name!r}: {what} are not in the native engine yet")
        if falls and spec.recovery is not Recovery.CHECKPOINT:
            raise Infeasible(f"job {spec.name!r}: recovery {spec.recovery!r} is not in the engine")
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
    for name in ("saves", "level_ratio", "halts_a_level", "grow_share", "spare_share"):
        packed[name] = getattr(params, name)
    packed["reserve_ppm"] = round(params.reserve_share * FULL_PPM)
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
