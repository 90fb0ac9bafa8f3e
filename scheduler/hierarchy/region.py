"""The middle level: prices of slices in its clusters, who is dealt where, and what moves.

It holds no jobs. All it knows are summaries; what is old counts for less, and from `stale_s` on for
nothing. Nobody waits for it: the front deals by its last advice, clusters go on with what they
have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.hierarchy.messages import (
    OFFER,
    ClusterSummary,
    Floats,
    FrontSummary,
    Guide,
    Ints,
    Latest,
    Message,
    Moves,
    Offers,
    RegionSummary,
    Routes,
)
from scheduler.hierarchy.params import LevelParams, S
from scheduler.hierarchy.prices import settle
from scheduler.traces.packed import KINDS

Flags = NDArray[np.bool_]
GB = 1_000_000_000
NONE = np.empty(0, OFFER)
RATE_S = 1800.0  # over which it is averaged how fast slices come free
SLOWEST = 1e-6  # slices a second


class Region:
    """`clusters`, `kinds`, `speeds`: of its clusters. A cluster has devices of one kind and part;
    `speeds` are those parts' relative to each other, so a price is that of a slice of a kind and
    part in a cluster."""

    def __init__(
        self,
        region: int,
        clusters: Sequence[int],
        kinds: Sequence[int],
        speeds: Sequence[float],
        tenants: int,
        params: LevelParams,
    ) -> None:
        self.region = region
        self.prices = np.zeros(len(clusters))
        self._clusters = tuple(clusters)
        self._kinds = np.array(kinds)
        of = np.arange(len(KINDS))[:, None]
        self._worth = np.where(self._kinds == of, np.array(speeds, float), -np.inf)
        self._is = (self._kinds == of).astype(np.int64)
        self._tenants = tenants
        self._params = params
        self._summaries = Latest()
        self._front = Latest()
        self._guide: Guide | None = None
        self._rates = np.full(len(clusters), SLOWEST)
        self._ended = np.zeros(len(clusters), np.int64)
        self._ticked_us = 0
        self._told_us = -params.global_tick_s * S  # the global level
        self._seq = 0

    def hear(self, message: Message, now_us: int) -> list[Message]:
        match message:
            case ClusterSummary():
                self._summaries.keep(message.cluster, message)
            case FrontSummary():
                self._front.keep(message.region, message)
            case Guide() if self._guide is None or message.seq > self._guide.seq:
                self._guide = message
                if self._params.trust(now_us - message.at_us) > 0:
                    return self._send_away(message, now_us)
        return []

    def _send_away(self, guide: Guide, now_us: int) -> list[Message]:
        names = np.array([f"front-{region}" for region in guide.to.tolist()], object)
        return self._moves(now_us, guide.jobs, names)

    def _moves(self, now_us: int, offers: Offers, names: NDArray[np.object_]) -> list[Message]:
        found: list[Message] = []
        for cluster in np.unique(offers["at"]).tolist():
            mine = offers["at"] == cluster
            self._seq += 1
            found.append(Moves(cluster, self._seq, now_us, offers[mine], tuple(names[mine])))
        return found

    # ---- a tick

    def tick(self, now_us: int) -> list[Message]:
        """Routes for the front, moves for clusters; now and then a summary for the global level."""
        known = [self._summaries.of.get(cluster) for cluster in self._clusters]
        if not any(known):
            return []
        table = np.array(
            [
                (s.capacity, s.free, s.waiting, s.running, s.promisable, s.taken, s.ended, s.at_us)
                if s is not None
                else (0,) * 8
                for s in known
            ],
            np.int64,
        )
        capacity, free, waiting, running, promisable, taken, ended, at_us = table.T
        trust = np.array([self._params.trust(now_us - at) for at in at_us.tolist()])
        self._measure(now_us, ended)
        there = waiting + running
        room = np.floor(trust * np.maximum(0, free - waiting)).astype(np.int64)
        asked = (self._is @ there).astype(float)
        share = capacity * np.maximum(trust, 0.01)
        if waiting.any():
            shares = settle(asked, self._worth, capacity.astype(float), self.prices)
            missing = np.maximum(0.0, asked @ shares - there) * trust
            share = missing if missing.any() else share
        else:
            self.prices[:] = 0.0  # nobody would pay anything
        wait_s = waiting / self._rates
        offers = self._offered(known, trust)
        budget = np.floor(room * self._params.moves_share).astype(np.int64)
        moving: list[Message] = []
        if len(offers) and budget.any():
            chosen, to = self._choose(offers, budget, wait_s)
            names = np.array([f"cluster-{self._clusters[place]}" for place in to], object)
            moving = self._moves(now_us, offers[chosen], names)
            np.subtract.at(room, to, offers["count"][chosen])
            offers = offers[~chosen]
        by_tenant = self._by_tenant(known)
        self._seq += 1
        routes = Routes(
            self.region,
            self._seq,
            now_us,
            np.maximum(0, room),
            np.floor(trust * promisable).astype(np.int64),
            taken.copy(),
            share,
            self._open(by_tenant),
        )
        said: list[Message] = [routes, *moving]
        if now_us - self._told_us >= self._params.global_tick_s * S // 2:
            self._told_us = now_us
            said.append(self._summary(now_us, table, wait_s, by_tenant, offers))
        return said

    def _measure(self, now_us: int, ended: Ints) -> None:
        passed_s = (now_us - self._ticked_us) / S
        if passed_s > 0:
            weight = min(1.0, passed_s / RATE_S)
            seen = (ended - self._ended) / passed_s
            self._rates = np.maximum(SLOWEST, (1 - weight) * self._rates + weight * seen)
        self._ended, self._ticked_us = ended.copy(), now_us

    def _offered(self, known: Sequence[ClusterSummary | None], trust: Floats) -> Offers:
        fresh = [
            summary.offers
            for summary, sure in zip(known, trust.tolist(), strict=True)
            if summary is not None and len(summary.offers) and sure > 0
        ]
        return np.concatenate(fresh) if len(fresh) > 1 else fresh[0] if fresh else NONE

    def _choose(self, offers: Offers, budget: Ints, wait_s: Floats) -> tuple[Flags, Ints]:
        """Which of them move, and to which place: the cheapest to move first, into the largest
        room, if moving takes much less time than waiting."""
        chosen = np.zeros(len(offers), np.bool_)
        to = np.zeros(len(offers), np.int64)
        places = {cluster: place for place, cluster in enumerate(self._clusters)}
        source = np.array([places[cluster] for cluster in offers["at"].tolist()])
        takes_s = offers["bytes"] / (self._params.local_gb_s * GB)
        worth = wait_s[source] > self._params.worth_moving * takes_s
        able = np.flatnonzero(worth & (offers["count"] <= budget.max()))
        for index in able[np.argsort(offers["bytes"][able], kind="stable")].tolist():
            count = int(offers["count"][index])
            fits = (budget >= count) & (self._kinds == offers["kind"][index])
            fits[source[index]] = False
            if fits.any():
                place = int(np.argmax(np.where(fits, budget, -1)))
                budget[place] -= count
                chosen[index], to[index] = True, place
        return chosen, to[chosen]

    def _by_tenant(self, known: Sequence[ClusterSummary | None]) -> Ints:
        """Asked for in its clusters, by tenant and kind."""
        found = np.zeros((self._tenants, len(KINDS)), np.int64)
        for summary, kind in zip(known, self._kinds.tolist(), strict=True):
            if summary is not None:
                found[:, kind] += summary.by_tenant
        return found

    def _open(self, by_tenant: Ints) -> Floats | None:
        """By the last quotas that it knows, however old they are."""
        if self._guide is None or self._guide.entitled is None:
            return None
        return np.maximum(0.0, self._guide.entitled - by_tenant)

    def _summary(
        self, now_us: int, table: Ints, wait_s: Floats, by_tenant: Ints, offers: Offers
    ) -> RegionSummary:
        capacity, free, waiting = (self._is @ table[:, column] for column in range(3))
        lost = (capacity == 0)[:, None]  # all of a kind: what waits there says how long one waits
        weight = self._is * np.where(lost, table[:, 2], table[:, 0])
        weight = weight / np.maximum(1, weight.sum(axis=1, keepdims=True))
        held = [
            front.held_back
            for front in self._front.of.values()
            if self._params.trust(now_us - front.at_us) > 0
        ]
        self._seq += 1
        return RegionSummary(
            self.region,
            self._seq,
            now_us,
            capacity,
            free,
            waiting,
            weight @ self.prices,
            weight @ np.minimum(wait_s, 1e9),
            by_tenant + sum(held) if held else by_tenant,
            offers[: self._params.most_offers],
        )
