"""Slices kept for a job that is on its way back to them.

When a device is lost, the others of the gang are its home (`Job.home`): they are kept for it, and
only what was lost is replaced. A job that is moved off a device to be removed has what it keeps and
what it will get instead kept for it, while it is halted. Both only so long, and not from those that
stand before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scheduler.core.jobs import JobState
from scheduler.core.values import Slice
from scheduler.core.view import View
from scheduler.policies.books import S
from scheduler.policies.round import Kept, Round


@dataclass(frozen=True, slots=True)
class _Home:
    slices: tuple[Slice, ...]
    until_us: int


class Homes:
    def __init__(self, keep_s: int) -> None:
        self._keep_us = keep_s * S
        self._homes: dict[int, _Home] = {}

    def follow(self, view: View) -> None:
        for number in view.changed:
            job = view.jobs.get(number)
            if job is not None and job.home:
                self.give(view, number, job.home)
        for number, home in tuple(self._homes.items()):
            if not _is_open(view, number, home):
                del self._homes[number]

    def give(self, view: View, number: int, slices: tuple[Slice, ...]) -> None:
        self._homes[number] = _Home(slices, view.now_us + self._keep_us)

    def forget(self, numbers: Iterable[int]) -> None:
        """Others that stand before them have taken what was kept."""
        for number in numbers:
            self._homes.pop(number, None)

    def keep(self, this: Round) -> None:
        """Take what is free of them out of what others can have."""
        view = this.view
        for number, home in self._homes.items():
            mine = [item for item in home.slices if _is_left(view, number, item)]
            if not mine or not _is_open(view, number, home):
                continue
            free = tuple(item for item in mine if this.free.has(item))
            this.free.take(free)
            device = view.devices[mine[0].device]
            pending = sum(item in view.leases for item in mine)
            kept = Kept((device.kind, device.part), free, pending)
            this.homes[number] = kept
            if pending and number in this.books.leaving:  # what comes of it is its own
                this.coming[kept.pool] -= kept.pending


def _is_open(view: View, number: int, home: _Home) -> bool:
    """Whether the job is still on its way, and not for too long."""
    job = view.jobs.get(number)
    if job is None or home.until_us <= view.now_us:
        return False
    moved = job.state is JobState.CHECKPOINTING and job.evicted_for == job.id
    return moved or job.state.waiting


def _is_left(view: View, number: int, item: Slice) -> bool:
    """Still there, and nobody else's."""
    lease = view.leases.get(item)
    return view.stays(view.devices[item.device]) and (lease is None or lease.job == number)
