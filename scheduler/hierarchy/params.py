"""Bounds and rates of the levels."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.errors import Infeasible

S = 1_000_000


@dataclass(frozen=True, slots=True)
class LevelParams:
    """stale_s        what is older says nothing: it counts the less, the nearer it comes to that
    region_tick_s, global_tick_s  how often these levels decide
    local_gb_s, wide_gb_s         how fast state goes within a region, and between two; one move
                                  after another, out of each cluster
    worth_moving   a job moves if it would wait so many times as long as its move takes
    moves_share    of what is free somewhere: the most that moves there at a time
    most_offers    jobs that a cluster names as movable at a time
    price_s        seconds of waiting that the price of a whole slice counts for, between regions
    backlog        of a cluster's slices: quotas are shared as if there were so many more, so that
                   clusters have work waiting
    """

    stale_s: int = 300
    region_tick_s: int = 30
    global_tick_s: int = 300
    local_gb_s: float = 10.0
    wide_gb_s: float = 1.0
    worth_moving: float = 2.0
    moves_share: float = 0.5
    most_offers: int = 256
    price_s: float = 600.0
    backlog: float = 0.25

    def __post_init__(self) -> None:
        rates = (self.local_gb_s, self.wide_gb_s, self.region_tick_s)
        if min(rates) <= 0 or self.global_tick_s < self.region_tick_s:
            raise Infeasible(f"{self}: ticks and rates above 0, the global tick not the shorter")
        if self.stale_s < 2 * self.region_tick_s:
            raise Infeasible(
                f"stale_s {self.stale_s} with a region_tick_s of {self.region_tick_s}: nothing "
                "would be believed; it takes two ticks at least"
            )

    def trust(self, age_us: int) -> float:
        """How much a summary counts: 1 when it is new, 0 from `stale_s` on."""
        return min(1.0, max(0.0, 1.0 - age_us / (self.stale_s * S)))
