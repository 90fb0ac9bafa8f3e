"""What halting has cost: durations of commands, as the machine gave them and heard the answers.

A command's duration is from the moment that it was given to the event that answers it, so it holds
everything that the job had to wait for. The newest KEPT of each are remembered. A policy may go by
their medians: they follow from the steps alone, so a journal is decided again alike. As JSON it is
what `haltere simulate --costs FILE` reads:

    {"format": "haltere-costs", "version": 1,
     "costs": {"checkpoint_us": 41000, ...},               medians over all kinds of device
     "measured": {"opencl": {"checkpoint_us": {"count": 9, "median": 41000, "p95": 60000}}}}

`costs` names only what was measured, and no first starts: a trace's durations hold them already.
Of shrinking in a simulation steps tell when slices were free, not when the job ran again, so it is
named only when it was measured `live`, where a job is resized once it runs again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from scheduler.core.commands import Checkpoint, Command, Release, Resize, Save, Start, WakeAt
from scheduler.core.events import (
    CheckpointFailed,
    JobCheckpointed,
    JobEvent,
    JobResized,
    JobSaved,
    JobStarted,
    LeaseReleased,
    ResizeFailed,
    SaveFailed,
    StartFailed,
)
from scheduler.core.jobs import Job, JobState

FORMAT = "haltere-costs"
VERSION = 1
KEPT = 256  # durations of one operation on one kind of device
ENOUGH = 3  # durations, for their median to be gone by

ANSWERED: dict[type, type] = {
    JobStarted: Start,
    JobCheckpointed: Checkpoint,
    JobSaved: Save,
    JobResized: Resize,
    LeaseReleased: Release,
}
FAILED: dict[type, type] = {
    StartFailed: Start,
    CheckpointFailed: Checkpoint,
    SaveFailed: Save,
    ResizeFailed: Resize,
}
OVER = (JobCheckpointed, LeaseReleased, StartFailed)  # and so is that attempt, with all it was told


class Halting:
    def __init__(self) -> None:
        self._found: dict[tuple[str, str], deque[int]] = {}  # kind of device, operation
        self._given: dict[tuple[int, int], dict[type, int]] = {}  # job, epoch -> command -> when

    # ---- kept by the machine

    def given(self, commands: Sequence[Command], now_us: int) -> None:
        for command in commands:
            if not isinstance(command, WakeAt):
                attempt = self._given.setdefault((command.job, command.epoch), {})
                attempt[type(command)] = now_us

    def answered(self, job: Job, event: JobEvent | LeaseReleased) -> None:
        """`job`: as it was before."""
        attempt = self._given.get((event.job, event.epoch))
        if attempt is None:
            return
        kind = type(event)
        given_us = attempt.pop(ANSWERED.get(kind) or FAILED.get(kind, kind), None)
        if given_us is not None and kind in ANSWERED:
            key = job.spec.device_kind, _operation(job, event)
            self._found.setdefault(key, deque(maxlen=KEPT)).append(event.at_us - given_us)
        if not attempt or kind in OVER:
            del self._given[event.job, event.epoch]

    # ---- for policies

    def median_s(self, kind: str, *operations: str) -> float | None:
        """Seconds that these took together on that kind of device; None while one of them was not
        measured often enough."""
        found = [self._found.get((kind, name), ()) for name in operations]
        if any(len(durations) < ENOUGH for durations in found):
            return None
        return sum(median(durations) for durations in found) / 1e6

    # ---- for readers

    def to_json(self, *, live: bool = False) -> dict[str, Any]:
        """See the module."""
        not_charged = ("start_us",) if live else ("start_us", "shrink_us")
        measured: dict[str, dict[str, Any]] = {}
        by_name: dict[str, list[int]] = {}
        for (kind, name), durations in sorted(self._found.items()):
            measured.setdefault(kind, {})[name] = _summary(durations)
            by_name.setdefault(name, []).extend(durations)
        costs = {
            name: int(median(durations))
            for name, durations in by_name.items()
            if name not in not_charged
        }
        return {"format": FORMAT, "version": VERSION, "costs": costs, "measured": measured}


def _operation(job: Job, event: JobEvent | LeaseReleased) -> str:
    match event:
        case JobStarted():
            return "restore_us" if job.state is JobState.MIGRATING else "start_us"
        case JobCheckpointed():
            return "checkpoint_us"
        case JobSaved():
            return "save_us"
        case JobResized():
            return "grow_us" if len(job.target) > len(job.kept) else "shrink_us"
        case _:
            return "release_us"


def _summary(durations: Iterable[int]) -> dict[str, int]:
    ordered = sorted(durations)
    p95 = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
    return {"count": len(ordered), "median": int(median(ordered)), "p95": p95}
