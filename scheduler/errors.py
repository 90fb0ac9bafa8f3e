"""The exceptions of the scheduler. Same shape as hal.errors: `code`, `disposition`, picklable.

SchedulerError
 |- Infeasible          caller   no fleet of these devices can ever run the job
 |- UnknownJob          caller   a job id that was never given out
 |- UnknownDevice       caller   a device that was never added
 |- InvalidEvent        caller   an event that cannot be: its time goes back, a job comes twice, ...
 |- CannotDrain         caller   the device is drained already or not at all, or nobody would move
 |- NotALease           caller   a lease was asked of a job that runs a process, or of none
 |- PoolClosed          caller   the pool was never started, or has been closed
 |- StateInUse          caller   another pool runs on this state_dir
 |- StateDiffers        caller   a killed pool on this state_dir was set up otherwise
 |- StateDamaged        fatal    what a killed pool left behind cannot be read
 |- WaitExpired         retry    the job did not get there in the time given
 |- Busy                retry    a bounded queue is full
 |- InvalidTransition   fatal    a job was told something its state cannot hear
 |- InvalidPlan         fatal    a policy gave out what is not free
 |- JournalDamaged      fatal    a record in the middle of a journal does not match its CRC
 |- JournalTooNew       caller   the journal was written by a newer version
 |- TraceDamaged        caller   a row of a trace or of a cluster's description cannot be read
 `- JournalDiverged     fatal    replaying the events gave other commands than were recorded
"""

from __future__ import annotations

from typing import ClassVar


class SchedulerError(Exception):
    """Root of the family."""

    code: ClassVar[str] = "scheduler_error"
    disposition: ClassVar[str] = "fatal"


class Infeasible(SchedulerError):
    code = "infeasible"
    disposition = "caller"


class UnknownJob(SchedulerError):
    code = "unknown_job"
    disposition = "caller"


class UnknownDevice(SchedulerError):
    code = "unknown_device"
    disposition = "caller"


class InvalidEvent(SchedulerError):
    code = "invalid_event"
    disposition = "caller"


class CannotDrain(SchedulerError):
    code = "cannot_drain"
    disposition = "caller"


class NotALease(SchedulerError):
    code = "not_a_lease"
    disposition = "caller"


class PoolClosed(SchedulerError):
    code = "pool_closed"
    disposition = "caller"


class WaitExpired(SchedulerError):
    code = "wait_expired"
    disposition = "retry"


class StateInUse(SchedulerError):
    code = "state_in_use"
    disposition = "caller"


class StateDiffers(SchedulerError):
    code = "state_differs"
    disposition = "caller"


class StateDamaged(SchedulerError):
    code = "state_damaged"


class Busy(SchedulerError):
    code = "busy"
    disposition = "retry"


class NotConnected(SchedulerError):
    code = "not_connected"
    disposition = "retry"


class HalfSuspended(SchedulerError):
    code = "half_suspended"


class InvalidTransition(SchedulerError):
    code = "invalid_transition"


class InvalidPlan(SchedulerError):
    code = "invalid_plan"


class TraceDamaged(SchedulerError):
    code = "trace_damaged"
    disposition = "caller"


class JournalDamaged(SchedulerError):
    code = "journal_damaged"


class JournalTooNew(SchedulerError):
    code = "journal_too_new"
    disposition = "caller"


class JournalDiverged(SchedulerError):
    code = "journal_diverged"
