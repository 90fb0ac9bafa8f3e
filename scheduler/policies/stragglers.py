"""Devices that run slower than their peers, by what jobs report of their pace there.

A gang's ranks do the same work, so of several devices the fastest tells what the others could do.
A job on one device has its own past only: the best pace that it had on devices of that part. (Its
steps may have become longer, which looks the same; so may a job that was never elsewhere not know.)

A device that two reports in a row find slow is *avoided* for a while: nobody is placed there, and
jobs move off it (`drains`) where there is room. Then it is tried again; if it is slow still, it is
avoided for twice as long. A report that finds it as fast as others ends all that. Never more than
an eighth of a kind's devices are avoided, and those that a waiting job names are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.core.jobs import Job
from scheduler.core.speed import FULL_PPM
from scheduler.core.view import View
from scheduler.policies.books import S
from scheduler.policies.round import ElasticParams, Round

CONFIRMED = 2  # reports in a row
MOST = 8  # of so many devices one may be avoided
DOUBLINGS = 5  # of the time that one is avoided


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
    slow: dict[str, int] = field(default_factory=dict)
    _until_us: dict[str, int] = field(default_factory=dict)
    _suspect: dict[str, int] = field(default_factory=dict)  # device -> reports in a row
    _times: dict[str, int] = field(default_factory=dict)  # device -> that it was avoided in a row
    _told: dict[int, _Told] = field(default_factory=dict)

    def follow(self, view: View) -> Mapping[str, int]:
        """`slow`, as it is now."""
        if not self.params.stragglers:
            return self.slow
        for number in view.changed:
            job = view.jobs.get(number)
            if job is None:
                self._told.pop(number, None)
            elif job.paced_us > self._told.get(number, _NEVER).at_us:
                self._hear(view, job)
        for uri in tuple(self.slow):
            if self._until_us[uri] <= view.now_us:
                self._try_again(uri)
        for uri in [*self.slow, *self._suspect, *self._times]:
            if not view.devices[uri].up:  # whatever comes back is another
                self._is_well(uri)
        return self.slow

    def avoid(self, this: Round) -> None:
        """What is free of them is for nobody."""
        if not self.slow:
            return
        waiting = (this.books.entries[number] for _, number in this.books.waiting.first_to_last())
        named = {uri for entry in waiting for uri in entry.spec.devices}
        for uri in self.slow:
            if uri not in named:
                this.free.take(this.free.on(uri))

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
            if uri in self.slow:
                self.slow[uri] = ppm
            elif self._suspect[uri] >= CONFIRMED and self._may_avoid(view, uri):
                times = self._times[uri] = self._times.get(uri, 0) + 1
                self.slow[uri] = ppm
                avoided_us = self.params.avoid_s * S << min(times - 1, DOUBLINGS)
                self._until_us[uri] = view.now_us + avoided_us

    def _may_avoid(self, view: View, uri: str) -> bool:
        kind = view.devices[uri].kind
        there = sum(device.up and device.kind == kind for device in view.devices.values())
        avoided = sum(view.devices[other].kind == kind for other in self.slow)
        return (avoided + 1) * MOST <= max(there, MOST) and there > 1

    def _try_again(self, uri: str) -> None:
        for table in (self.slow, self._until_us, self._suspect):
            table.pop(uri, None)

    def _is_well(self, uri: str) -> None:
        self._try_again(uri)
        self._times.pop(uri, None)


_NEVER = _Told(at_us=-1)
