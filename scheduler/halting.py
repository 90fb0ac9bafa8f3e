"""What halting has cost: durations of commands, from the steps alone, live or replayed.

A command's duration is from the step that gave it to the event that answers it, so it holds
everything that the job had to wait for. The newest KEPT of each are remembered. The result is what
`haltere simulate --costs FILE` reads:

    {"format": "haltere-costs", "version": 1,
     "costs": {"checkpoint_us": 41000, ...},               medians over all kinds of device
     "measured": {"opencl": {"checkpoint_us": {"count": 9, "median": 41000, "p95": 60000}}}}

`costs` names only what was measured, and no first starts: a trace's durations hold them already.
Of shrinking in a simulation steps tell when slices were free, not when the job ran again, so it is
named only when it was measured `live`, where a job is resized once it runs again.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from scheduler.core.commands import (
    Checkpoint,
    Command,
    Release,
    Resize,
    Save,
    Start,
    WakeAt,
)
from scheduler.core.events import (
    Event,
    JobCheckpointed,
    JobResized,
    JobSaved,
    JobStarted,
    LeaseReleased,
    ResizeFailed,
    StartFailed,
)

FORMAT = "haltere-costs"
VERSION = 1
KEPT = 256  # durations of one operation on one kind of device

ANSWERS: dict[type, tuple[str, ...]] = {
    JobStarted: ("start_us", "restore_us"),
    JobCheckpointed: ("checkpoint_us",),
    JobSaved: ("save_us",),
    JobResized: ("shrink_us", "grow_us"),
    LeaseReleased: ("release_us",),
}


class HaltingCosts:
    """Feed it every step (it is a Recorder of the loop)."""

    def __init__(self, live: bool = False) -> None:
        self._not_charged = ("start_us",) if live else ("start_us", "shrink_us")
        self._found: dict[tuple[str, str], deque[int]] = {}  # kind of device, operation
        self._given: dict[tuple[int, int, str], int] = {}  # job, epoch, operation -> when
        self._kinds: dict[int, str] = {}
        self._holds: dict[int, int] = {}  # slices of a job
        self._held: dict[int, int] = {}  # before it was last resized

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        for event in events:
            if isinstance(
                event, JobStarted | JobCheckpointed | JobSaved | JobResized | LeaseReleased
            ):
                self._answer(event.job, event.epoch, ANSWERS[type(event)], event.at_us)
            if isinstance(event, LeaseReleased | StartFailed):  # that attempt's commands are over
                self._forget(event.job, event.epoch)
            elif isinstance(event, ResizeFailed):
                self._holds[event.job] = self._held.get(event.job, 0)
                for name in ANSWERS[JobResized]:
                    self._given.pop((event.job, event.epoch, name), None)
        for command in commands:
            if not isinstance(command, WakeAt):
                name = self._operation(command)
                self._given[command.job, command.epoch, name] = events[-1].at_us

    def _answer(self, job: int, epoch: int, names: tuple[str, ...], at_us: int) -> None:
        for name in names:
            given_us = self._given.pop((job, epoch, name), None)
            if given_us is not None:
                kept = self._found.setdefault((self._kinds[job], name), deque(maxlen=KEPT))
                kept.append(at_us - given_us)

    def _operation(self, command: Start | Checkpoint | Save | Resize | Release) -> str:
        match command:
            case Start():
                self._kinds[command.job] = command.spec.device_kind
                self._holds[command.job] = len(command.slices)
                return "restore_us" if command.checkpoint else "start_us"
            case Checkpoint():
                return "checkpoint_us"
            case Save():
                return "save_us"
            case Resize():
                before = self._held[command.job] = self._holds[command.job]
                self._holds[command.job] = len(command.slices)
                return "grow_us" if len(command.slices) > before else "shrink_us"
            case Release():
                return "release_us"

    def _forget(self, job: int, epoch: int) -> None:
        for names in ANSWERS.values():
            for name in names:
                self._given.pop((job, epoch, name), None)

    def to_json(self) -> dict[str, Any]:
        """See the module."""
        measured: dict[str, dict[str, Any]] = {}
        by_name: dict[str, list[int]] = {}
        for (kind, name), durations in sorted(self._found.items()):
            measured.setdefault(kind, {})[name] = _summary(durations)
            by_name.setdefault(name, []).extend(durations)
        costs = {
            name: int(median(durations))
            for name, durations in by_name.items()
            if name not in self._not_charged
        }
        return {"format": FORMAT, "version": VERSION, "costs": costs, "measured": measured}


def measured_save_s(path: Path) -> float | None:
    """Seconds that a save took, by such a file; None: it says nothing of that, or is not there."""
    try:
        return float(json.loads(path.read_bytes())["costs"]["save_us"]) / 1e6
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _summary(durations: Iterable[int]) -> dict[str, int]:
    ordered = sorted(durations)
    p95 = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
    return {"count": len(ordered), "median": int(median(ordered)), "p95": p95}
