"""Figures of a simulated run, by the definitions that the published comparisons use."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """One job that ended. Seconds. `count`: devices asked for."""

    submitted_s: float
    started_s: float
    ended_s: float
    duration_s: float
    count: int
    preemptions: int
    resizes: int

    @property
    def completion_s(self) -> float:
        """Job completion time: from submission to end."""
        return self.ended_s - self.submitted_s


@dataclass(frozen=True, slots=True)
class Figures:
    """average_h, p50_h, p99_h  of completion times
    makespan_h               from the first submission to the last end
    unfair                   share of jobs with rho > 1 (finish-time fairness): the completion time
                             over what an equal share of the cluster would have given
    worst_rho                the greatest
    """

    jobs: int
    average_h: float
    p50_h: float
    p99_h: float
    makespan_h: float
    unfair: float
    worst_rho: float
    preemptions_per_job: float
    resizes_per_job: float


def figures(done: Sequence[Done], devices: int) -> Figures:
    times = sorted(job.completion_s for job in done)
    rhos = finish_time_fairness(done, devices)
    count = len(done)
    return Figures(
        jobs=count,
        average_h=sum(times) / count / 3600,
        p50_h=percentile(times, 0.5) / 3600,
        p99_h=percentile(times, 0.99) / 3600,
        makespan_h=(max(j.ended_s for j in done) - min(j.submitted_s for j in done)) / 3600,
        unfair=sum(rho > 1 + 1e-6 for rho in rhos) / count,
        worst_rho=max(rhos),
        preemptions_per_job=sum(job.preemptions for job in done) / count,
        resizes_per_job=sum(job.resizes for job in done) / count,
    )


def percentile(rising: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return rising[min(len(rising) - 1, int(len(rising) * share))]


def finish_time_fairness(done: Sequence[Done], devices: int) -> list[float]:
    """rho of each job: completion time / (duration x the time average, while it was there, of
    max(1, devices asked for by all jobs there / devices)). Jobs of no duration have 1."""
    moments = sorted(
        [(job.submitted_s, job.count) for job in done] + [(job.ended_s, -job.count) for job in done]
    )
    at, integral = [moments[0][0]], [0.0]
    demand = 0
    for moment, change in moments:
        integral.append(integral[-1] + (moment - at[-1]) * max(1.0, demand / devices))
        at.append(moment)
        demand += change

    def until(moment: float) -> float:
        return integral[bisect_right(at, moment) - 1]

    rhos = []
    for job in done:
        contended_s = until(job.ended_s) - until(job.submitted_s)
        fair_s = job.duration_s * contended_s / job.completion_s if job.completion_s else 0.0
        rhos.append(job.completion_s / fair_s if fair_s else 1.0)
    return rhos
