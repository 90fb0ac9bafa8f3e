"""The machine and what goes wrong: bad input, drains, saves, what a gang has left."""

from __future__ import annotations

import pytest

from scheduler.core import commands, events
from scheduler.core.failures import Failures
from scheduler.core.jobs import JobState
from scheduler.core.machine import Machine
from scheduler.core.plan import Evict, Place, Plan, Resize, Save
from scheduler.core.values import JobSpec, Slice
from scheduler.errors import (
    InvalidEvent,
    InvalidPlan,
    InvalidTransition,
    SchedulerError,
    UnknownDevice,
    UnknownJob,
)
from scheduler.testing.invariants import broken_tables

A, B, C = (Slice("g:0", index) for index in range(3))
D, E = Slice("g:1", 0), Slice("g:1", 1)


def spec(count: int = 2, recovery: str = "checkpoint") -> JobSpec:
    return JobSpec("j", "ann", "basic", "g", ("w",), count=count, least=1, recovery=recovery)


def running(*slices: Slice, recovery: str = "checkpoint") -> Machine:
    machine = Machine()
    machine.handle(events.DeviceAdded(0, "g:0", "g", "p", 3))
    machine.handle(events.DeviceAdded(0, "g:1", "g", "p", 2))
    machine.handle(events.JobSubmitted(0, 1, spec(max(1, len(slices)), recovery)))
    machine.apply(Plan((Place(1, slices or (A,)),)))
    machine.handle(events.JobStarted(1, 1, 1))
    return machine


@pytest.mark.parametrize(
    ("event", "error", "words"),
    [
        (events.TimePassed(0), InvalidEvent, "time went back"),
        (events.JobSubmitted(2, 1, spec()), InvalidEvent, "and it is there"),
        (events.JobSubmitted(2, 0, spec()), InvalidEvent, "it was never there"),
        (events.CancelRequested(2, 9), UnknownJob, "job 9 was never submitted"),
        (events.JobStarted(2, 9, 1), UnknownJob, "job 9 was never submitted"),
        (events.JobStarted(2, 1, 2), InvalidTransition, "never made"),
        (events.JobStarted(2, 1, 1), InvalidTransition, "cannot hear JobStarted"),
        (events.JobSaved(2, 1, 1, "x"), InvalidTransition, "is not being saved"),
        (events.LeaseReleased(2, 1, 1), InvalidTransition, "nobody asked"),
        (events.DeviceAdded(2, "g:0", "g", "p", 3), InvalidEvent, "while it is up"),
        (events.DeviceAdded(2, "g:9", "g", "p", 0), InvalidEvent, "0 slices"),
        (events.DeviceLost(2, "g:9", "x"), UnknownDevice, "g:9 was never added"),
        (events.DrainRequested(2, "g:9", 5), UnknownDevice, "g:9 was never added"),
        (events.DrainRequested(2, "g:0", 1), InvalidEvent, "deadline is over"),
        (events.DrainCancelled(2, "g:9"), UnknownDevice, "g:9 was never added"),
    ],
)
def test_bad_input_is_refused_by_name_and_changes_nothing(
    event: events.Event, error: type[SchedulerError], words: str
) -> None:
    machine = running(A, B)
    before = dict(machine.jobs), dict(machine.devices), dict(machine.leases)
    with pytest.raises(error, match=words):
        machine.handle(event)
    assert before == (dict(machine.jobs), dict(machine.devices), dict(machine.leases))
    assert broken_tables(machine) == [] and not machine.view().draining


def test_a_job_that_is_being_saved_is_left_alone_until_that_is_answered() -> None:
    machine = running(A, B)
    assert machine.apply(Plan((Save(1),))) == (commands.Save(1, 1),)
    for decision in (Save(1), Evict(1, 2), Resize(1, (A,))):
        with pytest.raises(InvalidPlan, match="is being saved"):
            machine.apply(Plan((decision,)))
    machine.handle(events.JobSaved(5, 1, 1, "cp"))
    job = machine.jobs[1]
    assert (job.state, job.checkpoint, job.saved_us, job.save_took_us) == ("running", "cp", 5, 4)
    assert machine.apply(Plan((Evict(1, 2),))) == (commands.Checkpoint(1, 1),)


@pytest.mark.parametrize("answer", ["saved", "failed", "exited"])
def test_a_device_lost_while_a_job_is_saved_waits_for_the_answer(answer: str) -> None:
    machine = running(A, D)
    machine.apply(Plan((Save(1),)))
    assert machine.handle(events.DeviceLost(2, "g:1", "x")) == ()
    told = {
        "saved": events.JobSaved(3, 1, 1, "cp"),
        "failed": events.SaveFailed(3, 1, 1, "c", "retry", "m"),
        "exited": events.JobExited(3, 1, 1, 1),
    }[answer]
    assert machine.handle(told) == (commands.Release(1, 1),)
    job = machine.jobs[1]
    assert job.checkpoint == ("cp" if answer == "saved" else "")
    assert job.state is (JobState.PREEMPTED if answer == "saved" else JobState.QUEUED)
    assert job.home == (A,) and job.saving_us is None
    assert broken_tables(machine) == []


def test_a_job_with_a_checkpoint_fails_only_after_losses_without_a_new_one() -> None:
    machine = running(A)
    for turn in range(12):
        now = 10 + 10 * turn
        if turn < 9:
            machine.apply(Plan((Save(1),)))
            machine.handle(events.JobSaved(now, 1, turn + 1, f"cp-{turn}"))
        machine.handle(events.DeviceLost(now, "g:0", "x"))
        if machine.jobs[1].state is JobState.FAILED:
            break
        machine.handle(events.LeaseReleased(now, 1, turn + 1))
        machine.handle(events.DeviceAdded(now, "g:0", "g", "p", 3))
        (start,) = machine.apply(Plan((Place(1, (A,)),)))
        assert start.checkpoint == f"cp-{min(turn, 8)}"
        machine.handle(events.JobStarted(now, 1, turn + 2))
    assert machine.jobs[1].restarts == 11 and "started again 3 times" in machine.jobs[1].reason


@pytest.mark.parametrize("recovery", ["restart", "fail"])
def test_what_a_program_cannot_be_started_on_is_not_gone_back_to(recovery: str) -> None:
    """Its checkpoint is for the worker that waits; that fell with the device."""
    machine = running(A, recovery=recovery)
    machine.apply(Plan((Save(1),)))
    machine.handle(events.JobSaved(2, 1, 1, "cp"))
    machine.handle(events.DeviceLost(3, "g:0", "x"))
    expected = {"restart": JobState.QUEUED, "fail": JobState.FAILED}[recovery]
    assert machine.jobs[1].state is expected


def test_nothing_is_placed_on_a_device_to_be_removed_but_what_runs_there_runs_on() -> None:
    machine = running(A, B)
    machine.handle(events.DrainRequested(2, "g:0", 100))
    machine.handle(events.JobSubmitted(2, 2, spec(1)))
    view = machine.view()
    assert view.free.pick("g", "p", 9) == (D, E) and view.free.capacity("g", "p") == 2
    assert view.acceptable(machine.jobs[2]) == {"p": (D, E)}
    for decision in (Place(2, (C,)), Resize(1, (A, B, C))):
        with pytest.raises(InvalidPlan):
            machine.apply(Plan((decision,)))
    machine.apply(Plan((Resize(1, (A, D)),)))  # what it keeps there it may keep
    machine.handle(events.JobResized(3, 1, 1))
    assert machine.jobs[1].slices == (A, D)
    machine.handle(events.DrainRequested(4, "g:0", 50))  # said again: the deadline changes
    assert dict(machine.view().draining) == {"g:0": 50}
    machine.handle(events.DrainCancelled(5, "g:0"))
    machine.handle(events.DrainCancelled(5, "g:0"))
    assert set(machine.view().free.pick("g", "p", 9)) == {B, C, E}
    assert broken_tables(machine) == []


def test_a_device_that_is_removed_and_comes_back_is_as_any_other() -> None:
    machine = running(A)
    machine.handle(events.DrainRequested(2, "g:0", 100))
    machine.handle(events.DeviceLost(100, "g:0", "removed"))
    machine.handle(events.DrainRequested(101, "g:0", 200))  # too late: it is gone
    machine.handle(events.DeviceAdded(102, "g:0", "g", "p", 1))  # with fewer slices
    machine.handle(events.LeaseReleased(103, 1, 1))
    assert not machine.view().draining and machine.view().free.count("g", "p") == 3
    assert broken_tables(machine) == []


def test_slices_that_are_gone_when_they_are_let_go_are_not_free() -> None:
    machine = running(A, B)
    machine.handle(events.DeviceLost(2, "g:0", "x"))
    machine.handle(events.DeviceAdded(3, "g:0", "g", "p", 1))
    machine.handle(events.LeaseReleased(4, 1, 1))
    assert set(machine.view().free.pick("g", "p", 9)) == {A, D, E}


def test_an_attempt_is_released_once_and_for_good_only_then() -> None:
    machine = running(A)
    machine.apply(Plan((Save(1),)))
    machine.handle(events.JobSaved(2, 1, 1, "cp"))
    assert machine.handle(events.DeviceLost(3, "g:0", "x")) == (commands.Release(1, 1),)
    assert machine.handle(events.CancelRequested(3, 1)) == ()
    assert A in machine.leases
    assert machine.handle(events.LeaseReleased(4, 1, 1)) == (commands.Release(1, 1, final=True),)
    assert A not in machine.leases and machine.releasing
    assert machine.handle(events.LeaseReleased(5, 1, 1)) == () and not machine.releasing


def test_failures_are_counted_by_kind_and_removals_are_none() -> None:
    found = Failures()
    for device in range(3):
        found.added("gpu", 10 * device)
    found.lost("gpu", 100, planned=False)
    found.lost("gpu", 200, planned=True)
    assert found.of("gpu", 300) == (1, 3 * 100 - 30 + 2 * 100 + 100)
    assert found.of("fpga", 300) == (0, 0)


def test_a_device_that_comes_back_is_not_avoided_for_what_failed_there_before() -> None:
    """Or a job waits for a busy device, beside an idle one on which it could go on."""
    machine = running(A)
    machine.apply(Plan((Evict(1, 1),)))
    machine.handle(events.JobCheckpointed(2, 1, 1, "cp"))
    machine.apply(Plan((Place(1, (D,)),)))
    machine.handle(events.StartFailed(3, 1, 2, "server_gone", "migrate", "it died"))
    assert machine.jobs[1].avoid == ("g:1",)
    assert machine.view().acceptable(machine.jobs[1])["p"] == (A, B, C)
    machine.apply(Plan())
    machine.handle(events.DeviceLost(4, "g:1", "its server died"))
    machine.handle(events.DeviceAdded(5, "g:1", "g", "p", 2))
    assert machine.jobs[1].avoid == () and 1 in machine.view().changed
    assert machine.view().acceptable(machine.jobs[1])["p"] == (A, B, C, D, E)
