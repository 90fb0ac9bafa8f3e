"""Commands: what the machine wants done, in the imperative. The only way out.

An executor runs the commands of one job in the order given; those of different jobs in any
order. Each is answered by exactly one of the events named at it.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.core.values import JobSpec, Slice


@dataclass(frozen=True, slots=True)
class Start:
    """Run the job on `slices`: from the beginning when `checkpoint` is empty, else from there.
    Answer: JobStarted or StartFailed."""

    job: int
    epoch: int
    slices: tuple[Slice, ...]
    checkpoint: str
    spec: JobSpec


@dataclass(frozen=True, slots=True)
class Resize:
    """Let the running job go on with `slices` instead of those it has; what it loses is free when
    this is answered. Its ranks stay as many as they are.
    Answer: JobResized, or ResizeFailed: it goes on as it was."""

    job: int
    epoch: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Halt the job, commit a checkpoint, release its slices.
    Answer: JobCheckpointed or CheckpointFailed."""

    job: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Save:
    """Commit a checkpoint of the running job, which goes on.
    Answer: JobSaved or SaveFailed."""

    job: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Release:
    """End the attempt: stop the worker if it lives, drop what it holds. Committed checkpoints
    stay, unless it is `final`: then the job has ended, and needs nothing any more. `due`: another
    is to have its slices by now, so whatever keeps them busy is ended, a server that hangs too.
    Answer: LeaseReleased, in any case."""

    job: int
    epoch: int
    final: bool = False
    due: bool = False


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Answer: TimePassed, not before `at_us`. A later WakeAt replaces an earlier one."""

    at_us: int


Command = Start | Resize | Checkpoint | Save | Release | WakeAt
