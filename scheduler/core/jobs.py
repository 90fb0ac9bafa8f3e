"""The record of one job, and its lease. Frozen: a change is a new record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from scheduler.core.values import JobSpec, Recovery, Slice

STORY_LINES = 32  # of a job's past kept for error messages; the journal has all of it


class JobState(StrEnum):
    QUEUED = "queued"  # waits, and will start from the beginning
    STARTING = "starting"
    RUNNING = "running"
    RESIZING = "resizing"  # holds its old slices and its new ones
    CHECKPOINTING = "checkpointing"  # being halted; still holds its slices
    PREEMPTED = "preempted"  # waits, and will go on from its checkpoint
    MIGRATING = "migrating"  # starting with a checkpoint
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def waiting(self) -> bool:
        return self in (JobState.QUEUED, JobState.PREEMPTED)

    @property
    def terminal(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one attempt of a job to its slices. `releasing`: over, and being cleared."""

    job: int
    epoch: int
    slices: tuple[Slice, ...]
    releasing: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the machine knows it.

    epoch           number of the current or last attempt; only grows
    listening       False once that attempt was ended by Release: its late events are dropped
    slices          held now; first those it runs on
    target, kept    while it is being resized: slices that it will have, that it has had
    part            of its devices, or of those it had: its checkpoint goes on there, and elsewhere
                    only if it is portable; empty while it has no checkpoint
    admitted_us     since when its tier's promise counts; None: not yet, or nothing is promised
    started_us      when it last began to run
    idle_until_us   not to be placed before (its last start failed)
    keep_until_us   not to be evicted before (halting it failed)
    pinned          it cannot be halted at all
    avoid           devices where its last starts failed, unless they came back since
    evicted_for     the job it was last halted or shrunk for, until it has its slices again; 0 if
                    none
    lost            devices it holds that were lost while a command to it was under way
    home            slices that a gang goes back to if it can: those of it that were left when a
                    device was lost; until it is placed
    saving_us       since when it is being saved; None: it is not
    saved_us        when its checkpoint was complete; 0: it has none
    save_took_us    how long its last save took; 0: it had none
    save_after_us   not to be saved before (the last save failed)
    gave_way        the attempt that was last ended in favour of `evicted_for`, without a checkpoint
    paces           (device, how fast it worked there) when that was last measured, at `paced_us`
    restarts        attempts that ended with a lost device; `setbacks`: since its last checkpoint
    reason          why it failed
    """

    id: int
    spec: JobSpec
    submitted_us: int
    state: JobState = JobState.QUEUED
    epoch: int = 0
    listening: bool = False
    slices: tuple[Slice, ...] = ()
    target: tuple[Slice, ...] = ()
    kept: tuple[Slice, ...] = ()
    part: str = ""
    checkpoint: str = ""
    admitted_us: int | None = None
    started_us: int = 0
    ended_us: int | None = None
    idle_until_us: int = 0
    keep_until_us: int = 0
    pinned: bool = False
    avoid: tuple[str, ...] = ()
    start_failures: int = 0
    checkpoint_failures: int = 0
    resize_failures: int = 0
    resizes: int = 0
    preemptions: int = 0
    restarts: int = 0
    setbacks: int = 0
    evicted_for: int = 0
    lost: tuple[str, ...] = ()
    home: tuple[Slice, ...] = ()
    saving_us: int | None = None
    saved_us: int = 0
    save_took_us: int = 0
    save_failures: int = 0
    save_after_us: int = 0
    gave_way: int = 0
    paces: tuple[tuple[str, int], ...] = ()
    paced_us: int = 0
    reason: str = ""
    story: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        return self.spec.rank

    @property
    def order(self) -> tuple[int, int]:
        """Place in the queue: by tier, then first come, first served."""
        return (self.spec.rank, self.id)

    @property
    def running_lost_with_device(self) -> Recovery:
        """What to do when its device is lost while it runs."""
        recovery = Recovery(self.spec.recovery)  # JobSpec has filled the default in
        if recovery is Recovery.CHECKPOINT and not self.checkpoint:
            return Recovery.RESTART
        return recovery

    def but(self, **changes: Any) -> Job:
        return replace(self, **changes)

    def told(self, line: str) -> Job:
        return replace(self, story=(*self.story, line)[-STORY_LINES:])
