"""Devices that run slower than their peers, by what jobs report of their pace there.

A gang's ranks do the same work, so of several devices the fastest tells what the others could do.
A job on one device has its own past only: the best pace that it had on devices of that part. (Its
steps may have become longer, which looks the same; so may a job that was never elsewhere not know.)

A device that two reports in a row find slow is *avoided* for a while (`avoided`), and jobs move off
it (`drains`) where there is room. A report that finds it as fast as others ends that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.core.jobs import Job
from scheduler.core.speed import FULL_PPM
from scheduler.core.view import View
from scheduler.policies.avoided import Avoided
from scheduler.policies.round import ElasticParams

CONFIRMED = 2  # reports in a row


@dataclass(slots=True)
class _Told:
    """By a job: when last, and the best pace it had on devices of that part."""

    at_us: int = 0
    part: str = ""
    best: int = 0


@dataclass(slots=True)
class Stragglers:
    """`slow`: devices that are avoided -> millionths of their peers' pace."""

    params: ElasticParams
    avoided: Avoided
    slow: dict[str, int] = field(default_factory=dict)
    _suspect: dict[str, int] = field(default_factory=dict)  # device -> reports in a row
    _told: dict[int, _Told] = field(default_factory=dict)

    def hear(self, view: View) -> None:
        if not self.params.stragglers:
            return
        for number in view.changed:
            job = view.jobs.get(number)
            if job is None:
                self._told.pop(number, None)
            elif job.paced_us > self._told.get(number, _NEVER).at_us:
                self._hear(view, job)

    def follow(self, view: View) -> Mapping[str, int]:
        """`slow`, as it is now that the time of some is over."""
        for uri in [*self.slow, *self._suspect]:
            over = uri in self.slow and uri not in self.avoided.devices
            if over or not view.devices[uri].up:
                self._try_again(uri)
        return self.slow

    def _hear(self, view: View, job: Job) -> None:
        told = self._told.setdefault(job.id, _Told())
        told.at_us = job.paced_us
        if told.part != job.part:
            told.part, told.best = job.part, 0
        held = {item.device for item in job.slices}
        paces = {uri: pace for uri, pace in job.paces if uri in held}
        if not paces:
            return
        now = max(paces.values())
        told.best = max(told.best, now)
        could = told.best if len(paces) == 1 else now
        for uri, pace in paces.items():
            ppm = pace * FULL_PPM // could
            if ppm >= self.params.slow_share * FULL_PPM:
                self._is_well(uri)
                continue
            self._suspect[uri] = self._suspect.get(uri, 0) + 1
            if uri in self.slow or (
                self._suspect[uri] >= CONFIRMED and self.avoided.add(view, uri, self.params.avoid_s)
            ):
                self.slow[uri] = ppm

    def _try_again(self, uri: str) -> None:
        self.slow.pop(uri, None)
        self._suspect.pop(uri, None)

    def _is_well(self, uri: str) -> None:
        self._try_again(uri)
        self.avoided.is_well(uri)


_NEVER = _Told(at_us=-1)
