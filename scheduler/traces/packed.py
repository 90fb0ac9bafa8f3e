"""Many jobs as one numpy array of records: what streams of a million are made of and carried in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.core.values import JobSpec, Tier

Jobs = NDArray[np.void]  # of dtype JOB

TIERS = (Tier.PREMIUM, Tier.STANDARD, Tier.BASIC)  # by rank
KINDS = ("gpu", "fpga")

JOB = np.dtype(
    [
        ("job", np.int64),  # its number, the same wherever it goes
        ("at_us", np.int64),  # submitted; or, of one that moves, not to be there before
        ("work_us", np.int64),  # left to be done, at full speed
        ("state_bytes", np.int64),  # of a checkpoint
        ("data_bytes", np.int64),  # what it reads; has to go with it to another region
        ("tenant", np.int32),
        ("count", np.int32),
        ("least", np.int32),
        ("most", np.int32),
        ("token", np.int32),  # how often it was handed over; its holder's is the newest
        ("tier", np.uint8),  # index in TIERS
        ("kind", np.uint8),  # index in KINDS
        ("halted", np.uint8),  # 1: it goes on from a checkpoint
        ("home", np.uint8),  # region it was submitted in, where its data is
    ]
)


def no_jobs() -> Jobs:
    return np.empty(0, JOB)


def joined(some: Jobs, more: Jobs) -> Jobs:
    """Joining records is slow, and mostly there is nothing to join."""
    if not len(some) or not len(more):
        return more if len(more) else some
    return np.concatenate([some, more])


def specs_of(jobs: Jobs, tenants: Sequence[str], exponent: float) -> list[JobSpec]:
    """One JobSpec each. Beyond `count` its speed grows as (slices / count) ** exponent."""
    return [_spec(row, tenants, exponent) for row in jobs]


def curve_of(count: int, most: int, exponent: float) -> tuple[tuple[int, float], ...]:
    """Of a job that can use up to `most`: points at each doubling, and the last."""
    points = [count << n for n in range(1, (max(1, most // count) - 1).bit_length())]
    if most > count:
        points.append(most)
    return tuple((point, (point / count) ** exponent) for point in points)


def _spec(row: Any, tenants: Sequence[str], exponent: float) -> JobSpec:
    count, most = int(row["count"]), int(row["most"])
    return JobSpec(
        f"job-{row['job']}",
        tenants[row["tenant"]],
        TIERS[row["tier"]],
        KINDS[row["kind"]],
        argv=("simulated",),
        count=count,
        least=int(row["least"]),
        most=most,
        curve=curve_of(count, most, exponent),
        recovery="checkpoint",
    )
