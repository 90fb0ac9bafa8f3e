"""A planet in simulated time: fronts, clusters, regions and the global level, with messages between
them that take time, and outages.

Time goes in ticks. In each, messages are delivered, levels decide, the fronts deal what came in,
and every cluster goes on by itself; all events within a cluster happen at their own moments.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.errors import Infeasible
from scheduler.hierarchy.cluster import ClusterLevel, Engine, Fallen
from scheduler.hierarchy.front import Front
from scheduler.hierarchy.globe import Globe
from scheduler.hierarchy.messages import (
    ClusterSummary,
    Floats,
    FrontSummary,
    Guide,
    Handover,
    Ints,
    Message,
    Moves,
    RegionSummary,
    Routes,
    Taken,
)
from scheduler.hierarchy.params import LevelParams, S
from scheduler.hierarchy.region import Region
from scheduler.policies.quotas import Quotas
from scheduler.sim.network import Network, Outage, Weather
from scheduler.sim.planets import Planet
from scheduler.traces.packed import KINDS, Jobs

IDLE_TICK = 4  # ticks at a time while nobody waits: there is nothing to decide but rooms
LONG_TICK = 64  # when nobody comes any more and nobody moves
GARBAGE = 100_000  # objects that may be: some MiB
STUCK_TICKS = 200_000  # in which no job came or ended: 69 days of 30 s ticks at least


@dataclass(frozen=True, slots=True)
class PlanetResult:
    """completion_s  by job, in the order of the stream; nan: it did not end
    use           held slices over all, by cluster, averaged over the time until the last submission
    within, between  jobs moved within regions, between them
    messages      sent, by type; `lost`: not delivered
    let_in        by tenant, if there are quotas: the share of ticks at which it had its quota, of
                  those at which it asked for that much
    fallen        of all clusters
    """

    completion_s: Floats
    use: tuple[float, ...]
    within: int
    between: int
    messages: dict[str, int]
    lost: int
    let_in: dict[str, float]
    fallen: Fallen
    span_s: float
    end_s: float
    digest: str
    cpu_s: float


class PlanetRun:
    """One run, tick by tick. `open_engine` makes the engine of each site."""

    def __init__(
        self,
        planet: Planet,
        jobs: Jobs,
        tenants: Sequence[str],
        open_engine: Callable[[int], Engine],
        params: LevelParams | None = None,
        weather: Weather | None = None,
        outages: Sequence[Outage] = (),
        quotas: Quotas | None = None,
        seed: int = 1,
    ) -> None:
        self.params = params or LevelParams()
        self.planet, self.jobs, self.tenants, self.quotas = planet, jobs, tuple(tenants), quotas
        self.now_us = 0
        self.ended_us = np.full(len(jobs) + 1, -1, np.int64)  # by job
        self.ended = 0
        weather = weather or Weather()
        self.net = Network(weather, outages, seed)
        self._check()
        count, sites = len(self.tenants), planet.sites
        self.clusters = [
            ClusterLevel(index, site.region, count, open_engine(index), self.params)
            for index, site in enumerate(sites)
        ]
        self.fronts: list[Front] = []
        self.regions: list[Region] = []
        for region in range(len(planet.regions)):
            mine = [index for index, site in enumerate(sites) if site.region == region]
            kinds = [KINDS.index(sites[index].cluster.kind) for index in mine]
            sizes = [sites[index].cluster.devices for index in mine]
            speeds = [sites[index].speed for index in mine]
            near_us = round(weather.near_s * S)
            self.fronts.append(Front(region, mine, kinds, sizes, count, self.params, near_us))
            self.regions.append(Region(region, mine, kinds, speeds, count, self.params))
        self.globe = Globe(len(planet.regions), self.tenants, quotas, self.params)
        self._streams = [jobs[jobs["home"] == region] for region in range(len(planet.regions))]
        self._next = [0] * len(self._streams)
        holders: list[Front | ClusterLevel] = [*self.fronts, *self.clusters]
        self._holders = {level.custody.name: level for level in holders}
        self._names: dict[str, Front | ClusterLevel | Region | Globe] = {
            "global": self.globe,
            **{f"region-{level.region}": level for level in self.regions},
            **self._holders,
        }
        self._unknown(outages)
        self._held_s = np.zeros(len(sites))
        self._counted_us = 0
        self._asks = np.zeros(count)
        self._has = np.zeros(count)
        self.between = 0
        self._waits = self._expects = False  # any cluster: somebody waits, jobs are on their way
        self._moves = 0
        self._summaries_take_us = round(weather.middle_s * S) + 1
        self._guided = 0

    def _check(self) -> None:
        jobs, sites = self.jobs, self.planet.sites
        if len(jobs) == 0 or not np.array_equal(jobs["job"], np.arange(1, len(jobs) + 1)):
            raise Infeasible("jobs of a stream are numbered from 1 on")
        if np.any(np.diff(jobs["at_us"]) < 0) or jobs["home"].max() >= len(self.planet.regions):
            raise Infeasible("jobs of a stream come by time, each in one of the planet's regions")
        for region, name in enumerate(self.planet.regions):
            for kind, word in enumerate(KINDS):
                mine = [s.cluster for s in sites if s.region == region]
                largest = max((c.devices for c in mine if c.kind == word), default=0)
                asked = jobs["count"][(jobs["kind"] == kind) & (jobs["home"] == region)]
                if asked.max(initial=0) > largest:
                    raise Infeasible(
                        f"region {name!r}: a job asks for {asked.max()} {word}, its largest "
                        f"cluster of that kind has {largest}"
                    )

    def _unknown(self, outages: Sequence[Outage]) -> None:
        for outage in outages:
            if outage.level not in self._names:
                known = "global, region-N, front-N, cluster-N"
                raise Infeasible(f"outage of {outage.level!r}: there are {known}")

    # ---- a tick

    def step(self) -> bool:
        """One tick; False when all jobs have ended."""
        now_us, tick_us = self.now_us, self.params.region_tick_s * S
        until_us = now_us + tick_us * self._pace()
        self.net.deliver(now_us, self._hear)
        self._take_in(now_us, until_us)
        told_us = now_us + self._summaries_take_us  # when the summaries of this moment have come
        decided_us = told_us if told_us < until_us else now_us
        self.net.deliver(decided_us, self._hear)
        self._decide(decided_us)
        self.net.deliver(until_us, self._hear)
        self._go_on(until_us)
        self.now_us = until_us
        return self.ended < len(self.jobs)

    def _pace(self) -> int:
        """Ticks at a time."""
        coming = any(n < len(s) for n, s in zip(self._next, self._streams, strict=True))
        moves = self.net.counts.get("Moves", 0)
        before, self._moves = self._moves, moves
        if self._expects or moves > before or any(len(front.waiting) for front in self.fronts):
            return 1
        # never so long that the fronts, or the levels, take what they last heard for stale
        believed = max(1, min(IDLE_TICK, self.params.stale_s // self.params.region_tick_s - 1))
        if coming:
            return 1 if self._waits else believed
        return believed if self._waits else LONG_TICK

    def _hear(self, at_us: int, target: str, message: Message) -> None:
        for answer in self._names[target].hear(message, at_us):
            self._send(at_us, target, answer)

    def _send(self, at_us: int, source: str, message: Message) -> None:
        self.net.send(at_us, source, _target(message, self.planet), message)

    def _decide(self, now_us: int) -> None:
        for front in self.fronts:
            summary = front.summary(now_us)
            if summary is not None:
                self._say(now_us, f"front-{front.region}", [summary])
        for region in self.regions:
            if not self.net.is_out(name := f"region-{region.region}", now_us):
                self._say(now_us, name, region.tick(now_us))
        turn = now_us // (self.params.global_tick_s * S)
        if turn > self._guided:
            self._guided = turn
            if not self.net.is_out("global", now_us):
                guides = self.globe.tick(now_us)
                self._say(now_us, "global", guides)
            self._count_quotas()

    def _say(self, at_us: int, source: str, messages: Sequence[Message]) -> None:
        for message in messages:
            self._send(at_us, source, message)

    def _take_in(self, now_us: int, until_us: int) -> None:
        for front, stream in zip(self.fronts, self._streams, strict=True):
            name = f"front-{front.region}"
            if self.net.is_out(name, now_us):
                continue  # users try again when it is back
            first = self._next[front.region]
            last = int(np.searchsorted(stream["at_us"], until_us, side="right"))
            if last > first:
                front.submit(stream[first:last])
                self._next[front.region] = last
            self._say(now_us, name, front.deal(now_us))
            self._say(now_us, name, list(front.again(now_us)))

    def _go_on(self, until_us: int) -> None:
        counts = self._counted_us < self.jobs["at_us"][-1]
        self._waits = self._expects = False
        for level in self.clusters:
            level.advance(until_us)
            for jobs, when in level.ended:
                if np.any(self.ended_us[jobs] >= 0):
                    twice = jobs[self.ended_us[jobs] >= 0]
                    raise AssertionError(f"jobs {twice} ended twice, last in {level.cluster}")
                self.ended_us[jobs] = when
                self.ended += len(jobs)
            level.ended.clear()
            name = f"cluster-{level.cluster}"
            summary = level.summary(until_us)
            self._waits |= summary.waiting > 0
            self._expects |= level.is_expecting
            if counts:
                self._held_s[level.cluster] += summary.running * (until_us - self._counted_us) / S
            self._say(until_us, name, [summary, *level.again(until_us)])
        if counts:
            self._counted_us = until_us

    def _count_quotas(self) -> None:
        if self.quotas is None:
            return
        let_in = np.zeros((len(self.tenants), len(KINDS)))
        for level, site in zip(self.clusters, self.planet.sites, strict=True):
            let_in[:, KINDS.index(site.cluster.kind)] += level.by_tenant
        asked = let_in.copy()
        for front in self.fronts:
            waiting = front.waiting
            np.add.at(asked, (waiting["tenant"], waiting["kind"]), waiting["count"])
        for kind, word in enumerate(KINDS):
            own = np.array([self.quotas.own(tenant, word) for tenant in self.tenants])
            asks = (own > 0) & (asked[:, kind] >= own)
            self._asks += asks
            self._has += asks & (let_in[:, kind] >= 0.95 * own)

    # ---- all of it

    def run(self, progress: Callable[[int], None] = lambda ended: None) -> PlanetResult:
        began = time.process_time()
        threshold = gc.get_threshold()
        gc.freeze()  # all these sources of faults need not be looked through again and again
        gc.set_threshold(GARBAGE, *threshold[1:])  # there are hardly any cycles
        try:
            return self._all(progress, began)
        finally:
            gc.set_threshold(*threshold)
            gc.unfreeze()

    def _all(self, progress: Callable[[int], None], began: float) -> PlanetResult:
        moved, since, tick = (0, 0), 0, 0
        while self.step():
            tick += 1
            if tick % 256 == 0:
                progress(self.ended)
            if (now := (self.ended, sum(self._next))) != moved:
                moved, since = now, tick
            elif tick - since > STUCK_TICKS:
                raise Infeasible(
                    f"{self.ended} of {len(self.jobs)} jobs ended, then none came or ended in "
                    f"{STUCK_TICKS} ticks, up to day {self.now_us / S / 86_400:.1f}: if nodes fail "
                    "sooner than jobs end, or stay down, save jobs or make faults rarer or shorter"
                )
        progress(self.ended)
        return self._result(time.process_time() - began)

    def _result(self, cpu_s: float) -> PlanetResult:
        sizes = np.array([site.cluster.devices for site in self.planet.sites])
        span_s = max(self._counted_us / S, 1e-9)
        ended = self.ended_us[1:]
        digest = hashlib.blake2b(ended.tobytes(), digest_size=16)
        for level in self.clusters:
            digest.update(level.engine.digest().encode())
        moved = sum(level.moved_out for level in self.clusters)
        between = sum(level.moved_far for level in self.clusters)
        kept = {
            tenant: float(self._has[n] / self._asks[n])
            for n, tenant in enumerate(self.tenants)
            if self._asks[n]
        }
        return PlanetResult(
            np.where(ended >= 0, (ended - self.jobs["at_us"]) / S, np.nan),
            tuple((self._held_s / span_s / sizes).tolist()),
            moved - between,
            between,
            dict(sorted(self.net.counts.items())),
            self.net.lost,
            kept,
            Fallen.of(level.engine.fallen() for level in self.clusters),
            span_s,
            float(ended.max()) / S,
            digest.hexdigest(),
            cpu_s,
        )

    def holders(self) -> Ints:
        """How often each job is held or has ended, by number: once, always."""
        held = np.zeros(len(self.jobs) + 1, np.int64)
        for level in self._holders.values():
            np.add.at(held, level.jobs(), 1)
            for outbox in level.custody.outboxes():
                other = self._holders[outbox.target].custody
                np.add.at(held, outbox.held(other.took(outbox.source))["job"], 1)
        for front, stream in zip(self.fronts, self._streams, strict=True):
            held[stream["job"][self._next[front.region] :]] += 1
        held[1:] += self.ended_us[1:] >= 0
        return held[1:]


def _target(message: Message, planet: Planet) -> str:
    """Whom a message is for."""
    match message:
        case Guide():
            return f"region-{message.region}"
        case Routes():
            return f"front-{message.region}"
        case Moves():
            return f"cluster-{message.cluster}"
        case ClusterSummary():
            return f"region-{planet.sites[message.cluster].region}"
        case FrontSummary():
            return f"region-{message.region}"
        case RegionSummary():
            return "global"
        case Taken():
            return message.source
        case Handover():
            return message.target
