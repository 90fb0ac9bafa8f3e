"""THE TABLE: what a job does in each state when told something. A missing pair is an error.

A transition is a pure function from a job record and what it was told (a cluster event, or a
policy's decision) to a new record and the commands that follow. It touches no other job and no
slice table: the machine derives who holds what from `Job.slices` and the commands, in one place.

    queued ----Place----> starting --JobStarted--> running --Evict--> checkpointing
      ^                      |                      ^   |                  |
      '----StartFailed-------'                      |   '<-CheckpointFailed'
                                                    |                      |
    preempted --Place--> migrating ---JobStarted----'                      |
      ^   ^                  |                                             |
      |   '--StartFailed-----'                                             |
      '--------------------------- JobCheckpointed ------------------------'

    running --Resize--> resizing --JobResized | ResizeFailed--> running

    any but the terminal ones --JobExited--> succeeded | failed,  --CancelRequested--> cancelled
    running --Save--> running, `Job.saving_us` set --JobSaved | SaveFailed--> running

    running --DeviceLost--> preempted | queued | failed, as Job.spec.recovery says
    any that holds slices --GiveWay--> the same, at once
    starting, migrating, resizing, checkpointing, running while it is saved --DeviceLost--> stay and
        note it (`Job.lost`): the answer to the command in flight decides (it is certain to come,
        and a checkpoint may have been committed in time)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scheduler.core import commands
from scheduler.core.commands import Checkpoint, Command, Release, Start
from scheduler.core.events import (
    CancelRequested,
    CheckpointFailed,
    DeviceLost,
    JobCheckpointed,
    JobExited,
    JobResized,
    JobSaved,
    JobStarted,
    PaceMeasured,
    ResizeFailed,
    SaveFailed,
    StartFailed,
)
from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Admit, Evict, GiveWay, Place, Resize, Save
from scheduler.core.values import Recovery


@dataclass(frozen=True, slots=True)
class Params:
    """Bounds on trying again."""

    backoff_us: int = 500_000  # before the second try; doubles with each failure in a row
    max_backoff_us: int = 30_000_000
    max_start_failures: int = 5  # in a row; then the job fails
    max_restarts: int = 3  # after a lost device, without a new checkpoint in between

    def backoff(self, failures: int) -> int:
        return int(min(self.backoff_us << min(failures, 30), self.max_backoff_us))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a transition may know besides its job."""

    now_us: int
    params: Params
    part: str = ""  # of the slices being placed


NEVER_US = 1 << 62
TRIED_AGAIN = ("retry", "migrate")  # starts that fail so
Outcome = tuple[Job, tuple[Command, ...]]
Transition = Callable[[Job, Any, Surroundings], Outcome]


def _admit(job: Job, decision: Admit, around: Surroundings) -> Outcome:
    return job.but(admitted_us=around.now_us), ()


def _place(job: Job, decision: Place, around: Surroundings) -> Outcome:
    going_on = job.state is JobState.PREEMPTED
    job = job.but(
        state=JobState.MIGRATING if going_on else JobState.STARTING,
        epoch=job.epoch + 1,
        listening=True,
        slices=decision.slices,
        part=around.part,
        home=(),
    )
    return job, (Start(job.id, job.epoch, job.slices, job.checkpoint, job.spec),)


def _started(job: Job, event: JobStarted, around: Surroundings) -> Outcome:
    job = job.but(
        state=JobState.RUNNING, started_us=around.now_us, start_failures=0, evicted_for=0, avoid=()
    )
    return _recover(job, around) if job.lost else (job, ())


def _start_failed(job: Job, event: StartFailed, around: Surroundings) -> Outcome:
    failures = job.start_failures + 1
    if event.disposition not in TRIED_AGAIN:
        return _fail(job, f"start refused ({event.code}): {event.message}", around)
    if failures >= around.params.max_start_failures:
        reason = f"start failed {failures} times, last {event.code}: {event.message}"
        return _fail(job, reason, around)
    went_on = job.state is JobState.MIGRATING
    shun = {s.device for s in job.slices} if event.disposition == "migrate" else set()
    job = job.but(
        state=JobState.PREEMPTED if went_on else JobState.QUEUED,
        slices=(),
        lost=(),
        part=job.part if went_on else "",
        start_failures=failures,
        idle_until_us=around.now_us + around.params.backoff(failures - 1),
        avoid=tuple(sorted({*job.avoid, *shun})),
    )
    return job, ()


def _resize(job: Job, decision: Resize, around: Surroundings) -> Outcome:
    """Until it is answered the job holds both: its old slices, then those that are new."""
    held = (*job.slices, *(item for item in decision.slices if item not in job.slices))
    job = job.but(
        state=JobState.RESIZING,
        slices=held,
        target=decision.slices,
        evicted_for=decision.for_job or job.evicted_for,
        kept=job.slices,
    )
    return job, (commands.Resize(job.id, job.epoch, decision.slices),)


def _resized(job: Job, event: JobResized, around: Surroundings) -> Outcome:
    job = job.but(
        state=JobState.RUNNING,
        slices=job.target,
        target=(),
        kept=(),
        evicted_for=job.evicted_for if len(job.target) < job.spec.count else 0,
        resize_failures=0,
        resizes=job.resizes + 1,
    )
    return _recover(job, around) if _fell(job) else (job.but(lost=()), ())


def _resize_failed(job: Job, event: ResizeFailed, around: Surroundings) -> Outcome:
    failures = job.resize_failures + 1
    job = job.but(
        state=JobState.RUNNING,
        slices=job.kept,
        target=(),
        kept=(),
        evicted_for=0,
        resize_failures=failures,
        keep_until_us=around.now_us + around.params.backoff(failures - 1),
    )
    return _recover(job, around) if _fell(job) else (job.but(lost=()), ())


def _fell(job: Job) -> bool:
    """A device was lost while it was resized: was it one of those it has now?"""
    return any(item.device in job.lost for item in job.slices)


def _evict(job: Job, decision: Evict, around: Surroundings) -> Outcome:
    job = job.but(state=JobState.CHECKPOINTING, evicted_for=decision.for_job)
    return job, (Checkpoint(job.id, job.epoch),)


def _checkpointed(job: Job, event: JobCheckpointed, around: Surroundings) -> Outcome:
    job = job.but(
        state=JobState.PREEMPTED,
        checkpoint=event.checkpoint,
        saved_us=around.now_us,
        slices=(),
        lost=(),
        checkpoint_failures=0,
        setbacks=0,
        preemptions=job.preemptions + 1,
    )
    return job, ()


def _checkpoint_failed(job: Job, event: CheckpointFailed, around: Surroundings) -> Outcome:
    failures = job.checkpoint_failures + 1
    job = job.but(
        state=JobState.RUNNING,
        checkpoint_failures=failures,
        keep_until_us=around.now_us + around.params.backoff(failures - 1),
        pinned=event.disposition in ("caller", "fatal"),
        evicted_for=0,
    )
    return _recover(job, around) if job.lost else (job, ())


def _save(job: Job, decision: Save, around: Surroundings) -> Outcome:
    return job.but(saving_us=around.now_us), (commands.Save(job.id, job.epoch),)


def _saved(job: Job, event: JobSaved, around: Surroundings) -> Outcome:
    job = job.but(
        checkpoint=event.checkpoint,
        saved_us=around.now_us,
        save_took_us=around.now_us - (job.saving_us or 0),
        saving_us=None,
        save_failures=0,
        setbacks=0,
    )
    return _recover(job, around) if job.lost else (job, ())


def _save_failed(job: Job, event: SaveFailed, around: Surroundings) -> Outcome:
    """It is tried again later; never, if that is of no use."""
    failures = job.save_failures + 1
    after_us = around.now_us + around.params.backoff(failures - 1)
    job = job.but(
        saving_us=None,
        save_failures=failures,
        save_after_us=NEVER_US if event.disposition in ("caller", "fatal") else after_us,
    )
    return _recover(job, around) if job.lost else (job, ())


def _paced(job: Job, event: PaceMeasured, around: Surroundings) -> Outcome:
    return job.but(paces=event.paces, paced_us=around.now_us), ()


def _exited(job: Job, event: JobExited, around: Surroundings) -> Outcome:
    if event.exit_code == 0:
        return _end(job, JobState.SUCCEEDED, "", around)
    if job.lost:  # it fell with its device, which is no fault of its own
        return _recover(job, around)
    reason = f"worker exited with code {event.exit_code}"
    return _fail(job, f"{reason}: {event.message}" if event.message else reason, around)


def _cancel_waiting(job: Job, event: CancelRequested, around: Surroundings) -> Outcome:
    """A queued job has nothing out there to release."""
    job = job.but(state=JobState.CANCELLED, listening=False, home=(), ended_us=around.now_us)
    return job, ()


def _cancel(job: Job, event: CancelRequested, around: Surroundings) -> Outcome:
    return _end(job, JobState.CANCELLED, "", around)


def _stay(job: Job, event: object, around: Surroundings) -> Outcome:
    return job, ()


def _note_loss(job: Job, event: DeviceLost, around: Surroundings) -> Outcome:
    return job.but(lost=(*job.lost, event.device)), ()


def _lost(job: Job, event: DeviceLost, around: Surroundings) -> Outcome:
    if job.saving_us is not None:
        return _note_loss(job, event, around)
    return _recover(job.but(lost=(*job.lost, event.device)), around)


def _recover(job: Job, around: Surroundings) -> Outcome:
    """End an attempt whose device is gone, and go back as far as the job allows: to its checkpoint
    if its program can be started again on that. What a gang has left is noted as its home."""
    how = job.running_lost_with_device
    if how is Recovery.FAIL:
        return _fail(job, f"device {_named(job)} was lost while the job ran on it", around)
    if job.setbacks >= around.params.max_restarts:
        return _fail(
            job,
            f"device {_named(job)} was lost; already started again {job.setbacks} times",
            around,
        )
    home = tuple(item for item in job.slices if item.device not in job.lost)
    return _go_back(job.but(home=home, setbacks=job.setbacks + 1))


def _give_way(job: Job, decision: GiveWay, around: Surroundings) -> Outcome:
    """No fault of its own, so it counts as no setback; and it has no home: its slices are
    another's."""
    if job.running_lost_with_device is Recovery.FAIL:
        reason = f"it could not be halted before job {decision.for_job} was to have its device"
        job, _ = _fail(job, reason, around)
        return job, (Release(job.id, job.epoch, final=True, due=True),)
    job, _ = _go_back(job.but(evicted_for=decision.for_job, gave_way=job.epoch))
    return job, (Release(job.id, job.epoch, due=True),)


def _go_back(job: Job) -> Outcome:
    how, release = job.running_lost_with_device, Release(job.id, job.epoch)
    job = job.but(
        listening=False,
        slices=(),
        target=(),
        kept=(),
        lost=(),
        saving_us=None,
        restarts=job.restarts + 1,
    )
    if how is Recovery.CHECKPOINT:
        return job.but(state=JobState.PREEMPTED), (release,)
    return job.but(state=JobState.QUEUED, checkpoint="", saved_us=0, part="", pinned=False), (
        release,
    )


def _named(job: Job) -> str:
    return ", ".join(job.lost)


def _fail(job: Job, reason: str, around: Surroundings) -> Outcome:
    return _end(job, JobState.FAILED, reason, around)


def _end(job: Job, state: JobState, reason: str, around: Surroundings) -> Outcome:
    release = Release(job.id, job.epoch, final=True)
    job = job.but(
        state=state,
        listening=False,
        slices=(),
        target=(),
        kept=(),
        lost=(),
        home=(),
        saving_us=None,
        reason=reason,
        ended_us=around.now_us,
    )
    return job, (release,)


_S = JobState
TRANSITIONS: dict[tuple[JobState, type], Transition] = {
    (_S.QUEUED, Admit): _admit,
    (_S.QUEUED, Place): _place,
    (_S.QUEUED, CancelRequested): _cancel_waiting,
    (_S.STARTING, JobStarted): _started,
    (_S.STARTING, StartFailed): _start_failed,
    (_S.STARTING, GiveWay): _give_way,
    (_S.STARTING, PaceMeasured): _stay,
    (_S.STARTING, JobExited): _exited,
    (_S.STARTING, CancelRequested): _cancel,
    (_S.STARTING, DeviceLost): _note_loss,
    (_S.RUNNING, Evict): _evict,
    (_S.RUNNING, JobExited): _exited,
    (_S.RUNNING, CancelRequested): _cancel,
    (_S.RUNNING, DeviceLost): _lost,
    (_S.RUNNING, GiveWay): _give_way,
    (_S.RUNNING, Resize): _resize,
    (_S.RUNNING, Save): _save,
    (_S.RUNNING, JobSaved): _saved,
    (_S.RUNNING, SaveFailed): _save_failed,
    (_S.RUNNING, PaceMeasured): _paced,
    (_S.RESIZING, JobResized): _resized,
    (_S.RESIZING, ResizeFailed): _resize_failed,
    (_S.RESIZING, GiveWay): _give_way,
    (_S.RESIZING, PaceMeasured): _stay,
    (_S.RESIZING, JobExited): _exited,
    (_S.RESIZING, CancelRequested): _cancel,
    (_S.RESIZING, DeviceLost): _note_loss,
    (_S.CHECKPOINTING, JobCheckpointed): _checkpointed,
    (_S.CHECKPOINTING, CheckpointFailed): _checkpoint_failed,
    (_S.CHECKPOINTING, GiveWay): _give_way,
    (_S.CHECKPOINTING, PaceMeasured): _stay,
    (_S.CHECKPOINTING, JobExited): _exited,
    (_S.CHECKPOINTING, CancelRequested): _cancel,
    (_S.CHECKPOINTING, DeviceLost): _note_loss,
    (_S.PREEMPTED, Place): _place,
    (_S.PREEMPTED, PaceMeasured): _stay,
    (_S.PREEMPTED, JobExited): _exited,
    (_S.PREEMPTED, CancelRequested): _cancel,
    (_S.MIGRATING, JobStarted): _started,
    (_S.MIGRATING, StartFailed): _start_failed,
    (_S.MIGRATING, GiveWay): _give_way,
    (_S.MIGRATING, PaceMeasured): _stay,
    (_S.MIGRATING, JobExited): _exited,
    (_S.MIGRATING, CancelRequested): _cancel,
    (_S.MIGRATING, DeviceLost): _note_loss,
    (_S.SUCCEEDED, CancelRequested): _stay,
    (_S.FAILED, CancelRequested): _stay,
    (_S.CANCELLED, CancelRequested): _stay,
}
