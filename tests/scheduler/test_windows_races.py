"""A window of maintenance when a drain that it orders and something else come at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from scheduler.core import events
from scheduler.core.machine import Machine
from scheduler.live.board import Board
from scheduler.live.inbox import Inbox
from scheduler.live.windows import Windows

NOTICE_US, LASTS_US, CLOSES_US = 1_000_000, 1_000_000, 10_000_000


class Asked:
    """What a window asks of removals."""

    def __init__(self) -> None:
        self.ordered: list[str] = []
        self.called_back: list[str] = []
        self.stay_: list[str] = []

    def order(self, uri: str, after_us: int) -> None:
        self.ordered.append(uri)

    def call_back(self, uri: str) -> None:
        self.called_back.append(uri)

    def stay(self, uri: str) -> None:
        self.stay_.append(uri)


class Stage:
    def __init__(self) -> None:
        self.machine, self.asked, self.inbox = Machine(), Asked(), Inbox()
        board = Board(self.machine, lambda _: "", lambda _: "", dict)
        removals: Any = self.asked
        self.windows = Windows(self.machine, board, removals, self.inbox, self.until)
        self.happens(*(events.DeviceAdded(1, uri, "cpu", "numpy", 1) for uri in ("cpu:0", "cpu:1")))

    def until(self, done: object) -> None:
        """What was asked is in a step by now."""
        self.happens(*self.inbox.poll(0))

    def happens(self, *happened: events.Event) -> None:
        for event in happened:
            self.machine.handle(event)
        self.windows.record(happened, ())

    def open(self, *devices: str) -> None:
        self.happens(events.WindowOpened(2, devices, CLOSES_US, NOTICE_US, LASTS_US))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def states(windows: Windows) -> Sequence[Sequence[str]]:
    found = windows.status()
    assert found is not None
    return found.waits, found.out, found.back


def test_a_device_that_is_to_stay_just_before_its_ordered_drain_comes_is_called_back(
    stage: Stage,
) -> None:
    stage.open("cpu:0")
    assert stage.asked.ordered == ["cpu:0"]
    stage.happens(events.DrainCancelled(3, "cpu:0"))
    assert states(stage.windows) == ((), (), ())
    stage.happens(events.DrainRequested(4, "cpu:0", 4 + NOTICE_US))
    assert stage.asked.called_back == ["cpu:0"]
    stage.happens(events.DrainCancelled(5, "cpu:0"))
    assert states(stage.windows) == ((), (), ()) and not stage.machine.draining


def test_a_device_whose_drain_is_ordered_just_before_it_is_to_stay_is_kept_by_the_fleet(
    stage: Stage,
) -> None:
    stage.open("cpu:0")
    stage.inbox.post(lambda at: events.DrainRequested(at, "cpu:0", at + NOTICE_US))
    assert stage.windows.take_out("cpu:0")
    assert stage.asked.stay_ == ["cpu:0"] and not stage.machine.draining
    assert states(stage.windows) == ((), (), ("cpu:0",))


def test_a_device_that_is_lost_just_before_it_is_to_go_does_not_keep_the_window_open(
    stage: Stage,
) -> None:
    stage.open("cpu:0")
    stage.happens(events.DeviceLost(3, "cpu:0", "it was removed"))
    stage.happens(events.DrainRequested(4, "cpu:0", 4 + NOTICE_US))
    assert stage.asked.called_back == ["cpu:0"]
    stage.happens(events.DrainCancelled(5, "cpu:0"))
    assert states(stage.windows) == ((), (), ("cpu:0",))
