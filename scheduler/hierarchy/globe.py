"""The highest level: quotas of tenants over all regions, and which jobs should be elsewhere.

It holds no jobs, promises nothing, and may begin anew at any time: all it knows are summaries of
regions, but for what tenants used of late. While it is lost, regions go on by the last quotas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduler.hierarchy.messages import (
    Floats,
    Guide,
    Ints,
    Latest,
    Message,
    Offers,
    RegionSummary,
)
from scheduler.hierarchy.params import LevelParams, S
from scheduler.policies.quotas import Quotas, entitle
from scheduler.traces.packed import KINDS

GB = 1_000_000_000


class Globe:
    def __init__(
        self, regions: int, tenants: Sequence[str], quotas: Quotas | None, params: LevelParams
    ) -> None:
        self.used = np.zeros((len(tenants), len(KINDS)))  # slice-seconds, decayed
        self._regions = regions
        self._tenants = tuple(tenants)
        self._quotas = quotas
        self._params = params
        self._summaries = Latest()
        self._ticked_us = 0
        self._seq = 0

    def hear(self, message: Message, now_us: int) -> list[Message]:
        if isinstance(message, RegionSummary):
            self._summaries.keep(message.region, message)
        return []

    def tick(self, now_us: int) -> list[Message]:
        """A guide for each region that was heard of lately."""
        known = {
            region: summary
            for region, summary in sorted(self._summaries.of.items())
            if self._params.trust(now_us - summary.at_us) > 0
        }
        if not known:
            return []
        entitled = self._entitled(now_us, known)
        offers = np.concatenate([summary.offers for summary in known.values()])
        source = np.repeat(list(known), [len(summary.offers) for summary in known.values()])
        to = self._choose(now_us, known, offers, source)
        guides: list[Message] = []
        for region in known:
            mine = (source == region) & (to >= 0)
            self._seq += 1
            guides.append(
                Guide(region, self._seq, now_us, entitled[region], offers[mine], to[mine])
            )
        return guides

    # ---- quotas

    def _entitled(self, now_us: int, known: dict[int, RegionSummary]) -> dict[int, Floats | None]:
        """By region, tenant and kind. Who may have all that he asks for is not bounded; the others
        have their share where they ask for it."""
        asked = {region: summary.by_tenant.astype(float) for region, summary in known.items()}
        total = np.sum(list(asked.values()), axis=0)
        if self._quotas is None:
            return dict.fromkeys(known, None)
        capacity = np.sum([summary.capacity for summary in known.values()], axis=0)
        passed_s = (now_us - self._ticked_us) / S
        self._ticked_us = now_us
        scale = np.minimum(1.0, capacity / np.maximum(1, total.sum(axis=0)))
        self.used *= 0.5 ** (passed_s / self._quotas.half_life_s)
        self.used += total * scale * passed_s
        mine = np.full(total.shape, np.inf)
        for kind, name in enumerate(KINDS):
            if not capacity[kind]:
                continue
            with_backlog = float(capacity[kind]) * (1 + self._params.backlog)
            shares = entitle(
                self._quotas,
                name,
                with_backlog,
                {t: float(total[n, kind]) for n, t in enumerate(self._tenants)},
                {t: self._used(n, kind) for n, t in enumerate(self._tenants)},
            )
            share = np.array([shares[tenant] for tenant in self._tenants])
            mine[:, kind] = np.where(share < total[:, kind] * (1 - 1e-9), share, np.inf)
        bounded = np.isfinite(mine)
        part = np.where(bounded, mine, 0.0) / np.maximum(1e-9, total)
        return {region: np.where(bounded, part * here, np.inf) for region, here in asked.items()}

    def _used(self, tenant: int, kind: int) -> float:
        """Of late, against holding its quota all the time."""
        assert self._quotas is not None
        own = max(1, self._quotas.own(self._tenants[tenant], KINDS[kind]))
        return float(self.used[tenant, kind] / (own * self._quotas.half_life_s / np.log(2)))

    # ---- regions

    def _choose(
        self, now_us: int, known: dict[int, RegionSummary], offers: Offers, source: Ints
    ) -> Ints:
        """Where each should go, -1: nowhere. What counts is how soon it could run there: the time
        to get there with its state and data (which need not go home), the wait, and the price."""
        to = np.full(len(offers), -1)
        if not len(offers) or len(known) < 2:
            return to
        regions = np.array(list(known))
        trust = [self._params.trust(now_us - summary.at_us) for summary in known.values()]
        free = np.array([s.free - s.waiting for s in known.values()]) * np.array(trust)[:, None]
        budget = np.floor(np.maximum(0, free) * self._params.moves_share).astype(np.int64)
        if not budget.any():
            return to
        cost_s = np.array([s.wait_s + self._params.price_s * s.price for s in known.values()])
        row = {region: index for index, region in enumerate(known)}
        at = np.array([row[region] for region in source.tolist()])
        away = offers["home"][:, None] != regions
        size = offers["bytes"][:, None] + away * offers["data_bytes"][:, None]
        takes_s = size / (self._params.wide_gb_s * GB)
        kind = offers["kind"]
        there_s = cost_s[:, kind].T + self._params.worth_moving * takes_s
        stays_s = cost_s[at, kind]
        nearer = (there_s < stays_s[:, None]) & (budget.T[kind] >= offers["count"][:, None])
        sensible = np.flatnonzero(nearer.any(axis=1))
        for index in sensible[np.argsort(takes_s[sensible].min(axis=1), kind="stable")].tolist():
            count = int(offers["count"][index])
            able = (budget[:, kind[index]] >= count) & (there_s[index] < stays_s[index])
            able[at[index]] = False
            if able.any():
                best = int(np.argmin(np.where(able, there_s[index], np.inf)))
                budget[best, kind[index]] -= count
                to[index] = regions[best]
        return to
