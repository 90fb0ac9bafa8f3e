"""What a synthetic stream needs to know of a trace, as a small JSON; never the trace itself.

Arrivals: the gaps between jobs, in a time from which the daily cycle was taken out, by quantiles,
and the cycle by hour. Sizes by their shares. Durations by size class, by quantiles that get finer
towards the tail. Tenants by the exponent of a Zipf law.

Jobs come in runs: many at a time, and much alike (somebody tries a hundred variants). So gaps and
durations resemble those of the jobs before. Of the normal scores of each (where it stands among
all, as a normal variable), one share is common to runs of 16 jobs on average, another to runs of
256; the shares are fitted to how the scores of jobs k apart are correlated.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import TraceDamaged
from scheduler.traces.trace import Trace

Floats = NDArray[np.float64]

FORMAT, VERSION = "haltere-workload", 1
HOUR_S = 3600.0
SHARES = np.concatenate(  # at which quantiles are kept
    [np.linspace(0, 0.98, 99), 1 - np.geomspace(0.01, 0.0001, 9), [1.0]]
)
RUNS = (16, 256)  # jobs, on average
LAGS = 2 ** np.arange(9)
ENOUGH = 50  # jobs of a size class for durations of its own; else those of the class below


@dataclass(frozen=True, slots=True)
class Workload:
    """`gaps_s`: quantiles at SHARES, their mean is `gap_s`. `cycle`: 24 weights of mean 1 from the
    trace's first hour on. `sizes`: (devices, share). `durations_s`: (from so many devices on,
    quantiles). `gaps_alike`, `durations_alike`: shares of RUNS. `tenants`: how many."""

    origin: str
    gap_s: float
    gaps_s: tuple[float, ...]
    cycle: tuple[float, ...]
    sizes: tuple[tuple[int, float], ...]
    durations_s: tuple[tuple[int, tuple[float, ...]], ...]
    gaps_alike: tuple[float, ...]
    durations_alike: tuple[float, ...]
    tenants: int
    zipf: float

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=None)


def read_workload(path: Path) -> Workload:
    """Raises TraceDamaged, which names what is wrong."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("format") != FORMAT or raw.pop("version") != VERSION:
            raise ValueError(f"it is no {FORMAT} of version {VERSION}")
        found = Workload(
            str(raw["origin"]),
            float(raw["gap_s"]),
            tuple(map(float, raw["gaps_s"])),
            tuple(map(float, raw["cycle"])),
            tuple((int(size), float(share)) for size, share in raw["sizes"]),
            tuple((int(size), tuple(map(float, q))) for size, q in raw["durations_s"]),
            tuple(map(float, raw["gaps_alike"])),
            tuple(map(float, raw["durations_alike"])),
            int(raw["tenants"]),
            float(raw["zipf"]),
        )
        _check(found)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceDamaged(f"{path}: no parameters of a workload: {error!r}") from error
    return found


NORMAL_SCORES = np.linspace(-6, 6, 2401)
NORMAL_SHARES = np.array([NormalDist().cdf(score) for score in NORMAL_SCORES])


def _check(found: Workload) -> None:
    for quantiles in (found.gaps_s, *(q for _, q in found.durations_s)):
        if len(quantiles) != len(SHARES) or np.any(np.diff(quantiles) < 0) or quantiles[0] < 0:
            raise ValueError(f"quantiles are {len(SHARES)} numbers from 0 on that do not fall")
    if len(found.cycle) != 24 or min(found.cycle) <= 0:
        raise ValueError("cycle has a weight above 0 for each of 24 hours")
    if not found.sizes or not found.durations_s or min(s for s, _ in found.sizes) < 1:
        raise ValueError("sizes and durations_s name devices from 1 on")
    if abs(sum(share for _, share in found.sizes) - 1) > 1e-6 or found.tenants < 1:
        raise ValueError("shares of sizes sum to 1, and there is a tenant at least")
    for alike in (found.gaps_alike, found.durations_alike):
        if len(alike) != len(RUNS) or min(alike) < 0 or sum(alike) > 1:
            raise ValueError(f"gaps_alike and durations_alike are {len(RUNS)} shares, 1 in all")
    if not (found.gap_s > 0 and 0 <= found.zipf <= 10):
        raise ValueError("gap_s is above 0, zipf from 0 to 10")


def calibrate(trace: Trace) -> Workload:
    """Raises TraceDamaged if there are fewer than 100 jobs."""
    if len(trace.jobs) < 100:
        raise TraceDamaged(f"{trace.name}: {len(trace.jobs)} jobs are too few to calibrate on")
    at_s = np.array([job.submitted_s for job in trace.jobs])
    lasted_s = np.array([job.duration_s for job in trace.jobs])
    counts = np.array([job.count for job in trace.jobs])
    cycle = _cycle(at_s)
    gaps_s = np.diff(steady(at_s, cycle))
    by_tenant: dict[str, int] = {}
    for job in trace.jobs:
        by_tenant[job.tenant] = by_tenant.get(job.tenant, 0) + 1
    sizes, shares = np.unique(counts, return_counts=True)
    return Workload(
        trace.name,
        round(float(gaps_s.mean()), 3),
        _quantiles(gaps_s),
        tuple(np.round(cycle, 3).tolist()),
        tuple((int(n), float(k / len(counts))) for n, k in zip(sizes, shares, strict=True)),
        _durations(counts, lasted_s),
        _alike(gaps_s),
        _alike(lasted_s),
        len(by_tenant),
        _zipf(sorted(by_tenant.values(), reverse=True)),
    )


def steady(at_s: Floats, cycle: Floats) -> Floats:
    """Times from which the daily cycle was taken out: it runs faster while more jobs come."""
    hours = np.arange(25) * HOUR_S
    passed = np.concatenate([[0.0], np.cumsum(cycle) * HOUR_S])
    days, rest = np.divmod(at_s, 24 * HOUR_S)
    return np.asarray(days * passed[-1] + np.interp(rest, hours, passed), np.float64)


def cyclic(steady_s: Floats, cycle: Floats) -> Floats:
    """The inverse."""
    hours = np.arange(25) * HOUR_S
    passed = np.concatenate([[0.0], np.cumsum(cycle) * HOUR_S])
    days, rest = np.divmod(steady_s, passed[-1])
    return np.asarray(days * 24 * HOUR_S + np.interp(rest, passed, hours), np.float64)


def _cycle(at_s: Floats) -> Floats:
    """By the hours in which jobs came rather than by jobs: a burst of a thousand is one hour's
    chance, not a habit. Flat where the trace is shorter than a week."""
    if at_s[-1] < 7 * 24 * HOUR_S:
        return np.ones(24)
    per_hour = np.bincount((at_s // HOUR_S).astype(int))
    whole = per_hour[: len(per_hour) // 24 * 24].reshape(-1, 24)
    typical = np.sqrt(whole).mean(axis=0) ** 2
    smooth = np.stack([np.roll(typical, shift) for shift in (-1, 0, 1)]).sum(axis=0)
    return np.asarray(np.maximum(smooth / np.mean(smooth), 0.05), np.float64)


def _quantiles(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{q:.4g}") for q in np.quantile(values, SHARES))


def _durations(
    counts: NDArray[np.int64], lasted_s: Floats
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    found: list[tuple[int, tuple[float, ...]]] = []
    octaves = np.maximum(counts, 1).astype(np.uint64)
    octaves = np.frexp(octaves.astype(float))[1]  # 1, 2-3, 4-7, ...
    for octave in np.unique(octaves):
        chosen = lasted_s[octaves == octave]
        if len(chosen) >= ENOUGH or not found:
            found.append((1 << (int(octave) - 1), _quantiles(chosen)))
    return tuple(found)


def _alike(values: Floats) -> tuple[float, ...]:
    """Shares of RUNS, none negative, by least squares over LAGS."""
    scores = _scores(values)
    lags = np.array([lag for lag in LAGS if 4 * lag < len(scores)])
    seen = np.array([np.mean(scores[:-lag] * scores[lag:]) for lag in lags])
    shape = np.stack([(1 - 1 / run) ** lags for run in RUNS], axis=1)
    fits = [np.zeros(len(RUNS))]
    for some in ([0], [1], [0, 1]):
        fit = np.zeros(len(RUNS))
        fit[some] = np.linalg.lstsq(shape[:, some], seen, rcond=None)[0]
        fits.append(np.clip(fit, 0, 1) / max(1.0, float(np.clip(fit, 0, 1).sum())))
    best = min(fits, key=lambda fit: float(((shape @ fit - seen) ** 2).sum()))
    return tuple(round(float(share), 3) for share in best)


def _scores(values: Floats) -> Floats:
    """Equal values get the scores of their places in a fixed order that has nothing to do with
    time: else a trace that counts whole seconds would seem to repeat itself."""
    mixed = np.random.Generator(np.random.PCG64(0)).random(len(values))
    order = np.lexsort((mixed, values))
    places = np.empty(len(values))
    places[order] = (np.arange(len(values)) + 0.5) / len(values)
    return np.interp(places, NORMAL_SHARES, NORMAL_SCORES)


def _zipf(counts: list[int]) -> float:
    """The exponent under which these ranks are most likely (0 for a single tenant)."""
    if len(counts) < 2:
        return 0.0
    ranks, weights = np.log(np.arange(1, len(counts) + 1)), np.array(counts, float)
    exponents = np.linspace(0, 4, 401)
    logs = -np.outer(exponents, ranks)
    likely = (logs * weights).sum(axis=1) - weights.sum() * np.log(np.exp(logs).sum(axis=1))
    return float(exponents[np.argmax(likely)])


def distance(values: Floats, others: Floats) -> float:
    """Kolmogorov and Smirnov's: the greatest difference between the two distributions."""
    values, others = np.sort(values), np.sort(others)
    at = np.concatenate([values, others])
    one = np.searchsorted(values, at, side="right") / len(values)
    two = np.searchsorted(others, at, side="right") / len(others)
    return float(np.abs(one - two).max())
