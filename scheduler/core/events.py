"""Cluster events: what happened, in the past tense, with the time it happened.

The only way in. Whoever makes them (a live executor, a simulator, a scenario file) stamps
`at_us`, which never goes back. Events about a job's attempt carry its epoch; an event of an
attempt that is over is dropped by the machine, so late speakers are harmless.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.core.values import JobSpec


@dataclass(frozen=True, slots=True)
class DeviceAdded:
    """A device came up: for the first time, or again after it was lost. `cpu_milli`, `memory_mib`:
    of its host, if jobs may need some."""

    at_us: int
    device: str
    kind: str
    part: str
    slice_count: int = 1
    cpu_milli: int = 0
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A device is gone, with all running state on it."""

    at_us: int
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The device is to be removed at `deadline_us`: nothing new is placed on it, and what runs
    there is to be gone by then. Whoever removes it says DeviceLost."""

    at_us: int
    device: str
    deadline_us: int


@dataclass(frozen=True, slots=True)
class DrainCancelled:
    """The device stays after all."""

    at_us: int
    device: str


@dataclass(frozen=True, slots=True)
class WindowOpened:
    """All of these devices are to be out once until `closes_us`: each drained for `notice_us`, then
    removed for `lasts_us`. Whoever keeps the window says so of each, by the events above."""

    at_us: int
    devices: tuple[str, ...]
    closes_us: int
    notice_us: int
    lasts_us: int


@dataclass(frozen=True, slots=True)
class WindowClosed:
    """All are back, or no more can go."""

    at_us: int


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    """`job` is a counter that the submitter keeps; it only grows. `checkpoint`: it goes on from
    there; it was halted elsewhere, and handed over."""

    at_us: int
    job: int
    spec: JobSpec
    checkpoint: str = ""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    at_us: int
    job: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Answer to WakeAt."""

    at_us: int


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The worker holds its device (again)."""

    at_us: int
    job: int
    epoch: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A Start did not succeed and has left everything as it was before: no worker, or a worker
    that is still blocked on its valid checkpoint."""

    at_us: int
    job: int
    epoch: int
    code: str
    disposition: str
    message: str


@dataclass(frozen=True, slots=True)
class JobCheckpointed:
    """The job is halted, `checkpoint` is committed, the device is released."""

    at_us: int
    job: int
    epoch: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class CheckpointFailed:
    """A Checkpoint did not succeed; the job goes on where it was."""

    at_us: int
    job: int
    epoch: int
    code: str
    disposition: str
    message: str


@dataclass(frozen=True, slots=True)
class JobSaved:
    """`checkpoint` is committed and the job runs on; the one before is not needed any more."""

    at_us: int
    job: int
    epoch: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class SaveFailed:
    """A Save did not succeed; the job runs on, and its checkpoint before this one is still good."""

    at_us: int
    job: int
    epoch: int
    code: str
    disposition: str
    message: str


@dataclass(frozen=True, slots=True)
class PaceMeasured:
    """How fast the running job has worked of late on each of its devices, waiting for others not
    counted: (device, pace), in a measure of the job's own, by which its devices compare."""

    at_us: int
    job: int
    epoch: int
    paces: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class JobResized:
    """The job runs on the slices that it was told; the others are released."""

    at_us: int
    job: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ResizeFailed:
    """A Resize did not succeed; the job goes on with the slices it had."""

    at_us: int
    job: int
    epoch: int
    code: str
    disposition: str
    message: str


@dataclass(frozen=True, slots=True)
class JobExited:
    """The worker ended. `message`: its last words, when the exit code is not 0."""

    at_us: int
    job: int
    epoch: int
    exit_code: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """Nothing of that attempt is left: answer to Release."""

    at_us: int
    job: int
    epoch: int


JobEvent = (
    JobStarted
    | StartFailed
    | JobResized
    | ResizeFailed
    | JobCheckpointed
    | CheckpointFailed
    | JobSaved
    | SaveFailed
    | PaceMeasured
    | JobExited
)
Event = (
    DeviceAdded
    | DeviceLost
    | DrainRequested
    | DrainCancelled
    | WindowOpened
    | WindowClosed
    | JobSubmitted
    | CancelRequested
    | TimePassed
    | LeaseReleased
    | JobEvent
)
