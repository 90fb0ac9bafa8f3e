"""A cluster of the hierarchy on the native engine: `site` step for step, a hundred times as fast.

What the engine does not have is refused by name: quotas within a cluster (the fronts keep those of
the planet all the same).
"""

from __future__ import annotations

import numpy as np

from scheduler.core.speed import FULL_PPM
from scheduler.errors import Infeasible, UnknownJob
from scheduler.hierarchy.cluster import Fallen, Standing
from scheduler.hierarchy.messages import Ints
from scheduler.native import cluster as native
from scheduler.policies.guarantee import promisable_ppm
from scheduler.policies.quotas import Quotas
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import Cluster
from scheduler.sim.costs import Costs
from scheduler.sim.native import Broken, opened
from scheduler.sim.planet_faults import SiteFaults
from scheduler.traces.packed import Jobs, curve_of

NONE = np.empty(0, np.int64)
AHEAD_US = 86_400_000_000  # so far is the engine told what will go wrong


class NativeSite:
    """An `Engine`; arguments as of `PythonSite`."""

    def __init__(
        self,
        cluster: Cluster,
        costs: Costs,
        params: ElasticParams,
        exponent: float,
        quotas: Quotas | None = None,
        faults: SiteFaults | None = None,
    ) -> None:
        if quotas is not None:
            raise Infeasible("the native engine has no quotas within a cluster; Python has")
        if faults is not None and any(p.notice_s is not None for p in faults.faults.planned):
            raise Infeasible("drains are not in the native engine yet; Python has them")
        self._exponent = exponent
        self._engine = opened(cluster, params, costs)
        self._broken = Broken(self._engine, [name for name, _, _ in cluster.each()])
        if faults is not None:
            faults.begin(cluster, self._broken)
        self._foreseen_us = -1
        self._reserve_share = params.reserve_share
        self._curves: dict[tuple[int, int], int] = {}

    def submit(self, jobs: Jobs) -> None:
        packed = np.zeros(len(jobs), native.JOB)
        packed["submitted_us"] = jobs["at_us"]
        packed["carried"] = jobs["halted"]
        for name in ("work_us", "count", "least", "most", "tier"):
            packed[name] = jobs[name]
        grows = np.flatnonzero(jobs["most"] > jobs["count"])
        if len(grows):
            sizes = jobs["count"][grows].astype(np.int64) << 32 | jobs["most"][grows]
            sizes, which = np.unique(sizes, return_inverse=True)
            curves = [self._curve(size >> 32, size & 0xFFFFFFFF) for size in sizes.tolist()]
            packed["curve"][grows] = np.array(curves)[which]
        self._engine.submit(packed)

    def _curve(self, count: int, most: int) -> int:
        number = self._curves.get((count, most))
        if number is None:
            curve = curve_of(count, most, self._exponent)
            points = [(slices, round(speed * FULL_PPM)) for slices, speed in curve]
            number = self._curves[count, most] = self._engine.curve(points)
        return number

    def advance(self, until_us: int) -> None:
        if until_us > self._foreseen_us:
            self._foreseen_us = until_us + AHEAD_US
            self._broken.foresee(self._foreseen_us)
        self._engine.advance(until_us)

    def ended(self) -> tuple[Ints, Ints]:
        done = self._engine.done()
        if not len(done):
            return NONE, NONE
        kept = done["state"] != native.CANCELLED
        return done["job"][kept].astype(np.int64), done["ended_us"][kept]

    def standing(self) -> Standing:
        its = self._engine.standing()
        limit_ppm = promisable_ppm(its.capacity, self._reserve_share)
        promisable = max(0, limit_ppm - its.promised_ppm) // FULL_PPM
        return Standing(its.capacity, its.free, its.waiting, its.capacity - its.free, promisable)

    def movable(self, most: int) -> Ints:
        return self._engine.movable(most).astype(np.int64)

    def withdraw(self, number: int) -> tuple[int, bool] | None:
        try:
            return self._engine.withdraw(number)
        except UnknownJob:
            return None

    def fallen(self) -> Fallen:
        found = self._engine.summary()
        losses, restarts, saves = (int(found[name]) for name in ("losses", "restarts", "saves"))
        return Fallen(losses, restarts, saves, float(found["lost_h"]))

    @property
    def events(self) -> int:
        """That its cluster was told so far."""
        return int(self._engine.summary()["events"])

    def digest(self) -> str:
        return self._engine.digest()
