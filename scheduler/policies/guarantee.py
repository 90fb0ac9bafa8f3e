"""What a tier is promised, as an allowance of lost time that fills up again.

The accelerator fraction of a job is the work it did over what it would have done on all that it
asked for. A tier promises a fraction of every sliding hour. A job that has lost at most `burst`
plus `refill` times the hour in any hour keeps it, whenever that hour began: so an allowance that
holds `burst` and fills up by `refill` tells at any moment how much longer it may be held up.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.core.values import Tier

S = 1_000_000
FULL_PPM = 1_000_000
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Promise:
    """`fraction` of every hour = 1 - (burst_s + refill_ppm of an hour) / an hour. `share_ppm`: of
    what a job asks for that is set aside for it when it is admitted: all of it, for taking turns
    halts jobs and does no more work."""

    fraction: float
    burst_s: int
    refill_ppm: int
    share_ppm: int


PROMISES: dict[Tier, Promise] = {
    Tier.PREMIUM: Promise(0.95, burst_s=120, refill_ppm=16_666, share_ppm=1_000_000),
    Tier.STANDARD: Promise(0.70, burst_s=480, refill_ppm=166_666, share_ppm=1_000_000),
}


def promisable_ppm(slices: int, reserve_share: float) -> int:
    """Of so many slices, in millionths: less a reserve of whole ones, to the nearest, since no job
    gets less than one; so a pool of a few keeps none."""
    kept = (slices * round(reserve_share * FULL_PPM) + FULL_PPM // 2) // FULL_PPM
    return (slices - kept) * FULL_PPM


class Allowance:
    """Of one admitted job. `left` is in millionths of a microsecond, so that it is the same at
    whichever moments between it was brought up to date."""

    __slots__ = ("left", "promise")

    def __init__(self, promise: Promise) -> None:
        self.promise = promise
        self.left = promise.burst_s * S * FULL_PPM

    @property
    def left_us(self) -> int:
        return self.left // FULL_PPM

    def spend(self, passed_us: int, speed_ppm: int) -> None:
        """`passed_us` went by at that speed."""
        lost_ppm = FULL_PPM - min(speed_ppm, FULL_PPM) - self.promise.refill_ppm
        self.left = min(self.left - passed_us * lost_ppm, self.promise.burst_s * S * FULL_PPM)
