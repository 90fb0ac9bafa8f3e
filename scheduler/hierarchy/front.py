"""A region's front: where jobs come in, from users and other regions, and are dealt to clusters.

It follows the region's advice of the last tick, many jobs at a time: what finds room goes where
there is room, the rest where the region wants it to wait. It holds back jobs of tenants that have
had all that they may. While nothing is heard from the region it deals by size and holds nobody
back; a cluster that does not answer gets no jobs meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.core.values import Tier
from scheduler.hierarchy.channel import Custody
from scheduler.hierarchy.messages import FrontSummary, Handover, Ints, Message, Routes, Taken
from scheduler.hierarchy.params import LevelParams, S
from scheduler.traces.packed import KINDS, TIERS, Jobs, joined, no_jobs

BASIC = TIERS.index(Tier.BASIC)


class Front:
    """`clusters`: of its region, numbers; `kinds`, `sizes`: what they have (as far as is known)."""

    def __init__(
        self,
        region: int,
        clusters: Sequence[int],
        kinds: Sequence[int],
        sizes: Sequence[int],
        tenants: int,
        params: LevelParams,
        latency_us: int,
    ) -> None:
        self.region = region
        self.custody = Custody(f"front-{region}")
        self.waiting = no_jobs()
        self._clusters = tuple(clusters)
        self._names = tuple(f"cluster-{cluster}" for cluster in clusters)
        self._kinds = np.array(kinds)
        self._has = sorted(set(kinds))
        self._sizes = np.array(sizes, np.int64)
        self._params = params
        self._latency_us = latency_us
        self._tenants = tenants
        self._holds_back = False  # by its last summary
        self._routes: Routes | None = None
        self._given = np.zeros(len(clusters), np.int64)  # slices, ever
        self._room = np.zeros(len(clusters), np.int64)
        self._promisable = np.zeros(len(clusters), np.int64)
        self._open: NDArray[np.float64] | None = None
        self._seq = 0

    def hear(self, message: Message, now_us: int) -> list[Message]:
        match message:
            case Handover():
                jobs, answer = self.custody.take(message, now_us)
                if jobs is not None:
                    self.waiting = joined(self.waiting, jobs)
                return [answer]
            case Taken():
                self.custody.taken(message)
            case Routes() if self._routes is None or message.seq > self._routes.seq:
                self._routes = message
                on_its_way = self._given - message.taken
                self._room = np.maximum(0, message.room - on_its_way)
                self._promisable = np.maximum(0, message.promisable - on_its_way)
                self._open = None if message.open is None else message.open.copy()
        return []

    def submit(self, jobs: Jobs) -> None:
        """From users. They are this front's from now on."""
        self.waiting = joined(self.waiting, jobs)

    def deal(self, now_us: int) -> list[Message]:
        """Hand on all that may go."""
        if not len(self.waiting):
            return []
        silent_us = self._params.stale_s * S
        heard = [not self.custody.outbox(n).is_silent(now_us, silent_us) for n in self._names]
        able = np.array(heard) & (self._sizes > 0)
        routes = self._routes
        if routes is not None and now_us - routes.at_us > silent_us:
            routes = self._routes = self._open = None
            self._room[:] = self._promisable[:] = 0
        jobs = self.waiting
        may = self._may_go(jobs)
        to = np.full(len(jobs), -1)
        share = self._sizes.astype(float) if routes is None else routes.share
        promised = jobs["tier"] < BASIC
        for kind in self._has:
            places = np.flatnonzero(able & (self._kinds == kind))
            of_kind = may & (jobs["kind"] == kind)
            for rooms, chosen in (
                (self._promisable, of_kind & promised),
                (self._room, of_kind & ~promised),
            ):
                index = np.flatnonzero(chosen)
                if len(index) and len(places):
                    to[index] = self._deal(jobs["count"][index], places, rooms, share)
        self.waiting = jobs[to < 0]
        return self._give(now_us, jobs, to)

    def _may_go(self, jobs: Jobs) -> NDArray[np.bool_]:
        if self._open is None:
            return np.ones(len(jobs), np.bool_)
        group = jobs["tenant"].astype(np.int64) * len(KINDS) + jobs["kind"]
        order = np.argsort(group, kind="stable")
        asked = np.cumsum(jobs["count"][order].astype(np.int64))
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        before = np.repeat(
            asked[starts] - jobs["count"][order][starts], np.diff([*starts, len(jobs)])
        )
        may = np.empty(len(jobs), np.bool_)
        may[order] = asked - before <= self._open.ravel()[group[order]]
        np.subtract.at(self._open.ravel(), group[may], jobs["count"][may])
        return may

    def _deal(
        self, counts: NDArray[np.int32], places: Ints, rooms: Ints, share: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """A place for each, in turn: rooms are filled one after another, the largest first; what
        finds none is spread by share. A gang goes nowhere that could never hold it."""
        order = places[np.argsort(-rooms[places], kind="stable")]
        ends = np.cumsum(rooms[order])
        asked = np.cumsum(counts.astype(np.int64))
        at = np.searchsorted(ends, asked, side="left")
        found = order[np.minimum(at, len(order) - 1)]
        over = at == len(order)
        if over.any():
            weights = np.maximum(share[places], 0.0)
            if not weights.sum() > 0:
                weights = self._sizes[places].astype(float)
            edges = np.cumsum(weights / weights.sum())
            turn = (asked[over] - asked[over][0] + 0.5 * counts[over]) / max(
                1.0, float(counts[over].sum())
            )
            found[over] = places[np.minimum(np.searchsorted(edges, turn), len(places) - 1)]
        small = counts > self._sizes[found]
        if small.any():
            widest = places[np.argmax(self._sizes[places])]
            found[small] = np.where(counts[small] <= self._sizes[widest], widest, -1)
        dealt = found >= 0
        np.subtract.at(rooms, found[dealt], counts[dealt])
        np.maximum(rooms, 0, out=rooms)
        return np.asarray(found, np.int64)

    def _give(self, now_us: int, jobs: Jobs, to: NDArray[np.int64]) -> list[Message]:
        given: list[Message] = []
        for place, name in enumerate(self._names):
            mine = jobs[to == place]
            if len(mine):
                mine["at_us"] = np.maximum(mine["at_us"], now_us) + self._latency_us
                self._given[place] += int(mine["count"].sum())
                given.append(self.custody.give(now_us, name, mine))
        return given

    def summary(self, now_us: int) -> FrontSummary | None:
        """None as long as there is nothing to say."""
        if not len(self.waiting) and not self._holds_back:
            return None
        self._holds_back = len(self.waiting) > 0
        self._seq += 1
        held = np.zeros((self._tenants, len(KINDS)), np.int64)
        np.add.at(held, (self.waiting["tenant"], self.waiting["kind"]), self.waiting["count"])
        return FrontSummary(self.region, self._seq, now_us, held)

    def jobs(self) -> Ints:
        """All that it holds now."""
        return np.asarray(self.waiting["job"], np.int64)

    def again(self, now_us: int) -> Iterable[Message]:
        return self.custody.again(now_us)
