"""Job specifications check themselves; transitions and errors tell their story."""

from __future__ import annotations

import pickle

import pytest

import scheduler.errors
from scheduler.core import events
from scheduler.core.jobs import JobState
from scheduler.core.machine import Machine
from scheduler.core.plan import Evict, Place, Plan
from scheduler.core.transitions import TRANSITIONS
from scheduler.core.values import JobSpec, Recovery, Slice, Tier
from scheduler.errors import (
    Infeasible,
    InvalidEvent,
    InvalidPlan,
    InvalidTransition,
    SchedulerError,
    UnknownJob,
)


def spec(**changes: object) -> JobSpec:
    base = {"name": "n", "tenant": "t", "tier": "basic", "device_kind": "g", "argv": ["x"]}
    return JobSpec(**{**base, **changes})  # type: ignore[arg-type]


def machine_with_a_running_job() -> Machine:
    machine = Machine()
    machine.handle(events.DeviceAdded(0, "g:0", "g", "p", 2))
    machine.handle(events.JobSubmitted(0, 1, spec()))
    machine.apply(Plan((Place(1, (Slice("g:0", 0),)),)))
    machine.handle(events.JobStarted(1, 1, 1))
    return machine


def test_plain_words_and_lists_become_their_one_form() -> None:
    made = spec(env=[("A", "b")], devices=["g:0"])
    assert (made.tier, made.argv, made.devices) == (Tier.BASIC, ("x",), ("g:0",))
    assert made.recovery is Recovery.RESTART
    assert spec(argv=None).recovery is Recovery.FAIL


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tier": "gold"}, "premium, standard, basic"),
        ({"count": 0}, "count 0"),
        ({"argv": []}, "asks for a lease"),
        ({"name": ""}, "name and tenant"),
        ({"argv": None, "recovery": "restart"}, "recovery must be 'fail'"),
        ({"recovery": "hope"}, "checkpoint, restart, fail"),
        ({"count": "1"}, "count 1"),
        ({"argv": ["x", "a\0b"]}, "argv holds"),
        ({"argv": ["x", 5]}, "argv holds 5, which is no string"),
        ({"argv": "ls -l"}, "sequences of strings"),
        ({"argv": 7}, "sequences of strings"),
        ({"argv": ["x\ud800"]}, "argv holds"),
        ({"env": [("A=B", "x")]}, "'A=B' cannot be"),
        ({"env": [("", "x")]}, "'' cannot be"),
        ({"env": [("A\0", "x")]}, "env holds"),
        ({"env": [("A", "x\0")]}, "env holds"),
        ({"env": [("A", None)]}, "env holds None"),
        ({"env": [(1, "x")]}, "env holds 1"),
        ({"env": [("A", "b", "c")]}, "pairs of strings"),
        ({"cwd": "/\0"}, "cwd holds"),
        ({"name": "x\ud800"}, "name holds"),
        ({"tenant": 3}, "tenant holds"),
        ({"tier": "premium", "recall_us": -1}, "a recall of -1 us"),
        ({"tier": "premium", "recall_us": 10**10}, "is not 0 to 3600000000"),
        ({"recall_us": 5}, "a basic job, which is promised nothing"),
    ],
)
def test_an_impossible_job_is_refused_with_the_reason(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(Infeasible, match=words):
        spec(**changes)


def test_a_missing_pair_of_the_table_tells_the_jobs_story() -> None:
    machine = machine_with_a_running_job()
    with pytest.raises(InvalidTransition) as caught:
        machine.handle(events.JobStarted(2, 1, 1))
    story = str(caught.value)
    assert "is running and cannot hear JobStarted" in story
    assert "0us Place: queued -> starting, epoch 1" in story
    assert "1us JobStarted: starting -> running, epoch 1" in story


def test_every_state_can_be_cancelled_and_every_state_can_be_left() -> None:
    for state in JobState:
        assert (state, events.CancelRequested) in TRANSITIONS
        assert state.terminal or len([pair for pair in TRANSITIONS if pair[0] is state]) >= 2


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ((Slice("g:0", 0),), "is held"),
        ((Slice("g:0", 7),), "does not exist"),
        ((Slice("g:9", 0),), "does not exist"),
        ((Slice("f:0", 0),), "another kind"),
        ((Slice("g:0", 1), Slice("g:0", 1)), "all its slices at once"),
        ((), "all its slices at once"),
    ],
)
def test_a_plan_that_gives_out_what_is_not_free_is_refused(
    slices: tuple[Slice, ...], words: str
) -> None:
    machine = machine_with_a_running_job()
    machine.handle(events.DeviceAdded(2, "f:0", "f", "p"))
    machine.handle(events.JobSubmitted(2, 2, spec()))
    with pytest.raises(InvalidPlan, match=words):
        machine.apply(Plan((Place(2, slices),)))


def test_a_plan_cannot_halt_what_does_not_run() -> None:
    machine = machine_with_a_running_job()
    machine.handle(events.JobSubmitted(2, 2, spec()))
    with pytest.raises(InvalidTransition, match="queued and cannot hear Evict"):
        machine.apply(Plan((Evict(2, 1),)))


def test_time_does_not_go_back() -> None:
    machine = machine_with_a_running_job()
    with pytest.raises(InvalidEvent, match="time went back"):
        machine.handle(events.TimePassed(0))


def test_an_unknown_job_cannot_be_cancelled() -> None:
    with pytest.raises(UnknownJob, match="job 5"):
        Machine().handle(events.CancelRequested(0, 5))


def test_every_error_has_a_code_a_disposition_and_survives_pickling() -> None:
    kinds = [
        kind
        for kind in vars(scheduler.errors).values()
        if isinstance(kind, type) and issubclass(kind, SchedulerError)
    ]
    assert len({kind.code for kind in kinds}) == len(kinds) > 8
    for kind in kinds:
        assert kind.disposition in ("caller", "retry", "migrate", "fatal")
        again = pickle.loads(pickle.dumps(kind("words")))
        assert type(again) is kind and str(again) == "words"
