"""One queue in front of a model's replicas: who takes what, and that nothing is lost or out of
order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.errors import Busy, DeviceLost
from service.errors import NotFound
from service.line import Line
from tests.waiting import until


class Model:
    """It answers its own name, while `go` is set; `lost`: with its device, in its next call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.go, self.called, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.go.set()
        self.lost = False

    def run(self) -> str:
        self.called.set()
        assert self.go.wait(30)
        if self.lost:
            raise DeviceLost("it is gone")
        return self.name

    def join(self, line: Line) -> Model:
        line.join(self, self.closed.set, (DeviceLost,))
        return self


def run(model: Model) -> str:
    return model.run()


async def started(line: Line, model: Model) -> asyncio.Task[Any]:
    """A request that the model runs, until it may go on."""
    model.called.clear()
    model.go.clear()
    task = asyncio.create_task(line.take(run))
    await asyncio.to_thread(until, model.called.is_set)
    return task


def go(test: Coroutine[Any, Any, None], line: Line) -> None:
    try:
        asyncio.run(asyncio.wait_for(test, 60))
    finally:
        line.close()


def test_a_replica_that_comes_takes_what_waits_already() -> None:
    line = Line("it", 8)
    slow = Model("slow").join(line)

    async def test() -> None:
        first = await started(line, slow)
        second = asyncio.create_task(line.take(run))
        await asyncio.to_thread(until, lambda: line.pending == 2)
        Model("new").join(line)
        assert await second == "new"
        slow.go.set()
        assert await first == "slow"

    go(test(), line)


def test_one_that_leaves_finishes_what_it_runs_and_leaves_the_rest_to_others() -> None:
    line = Line("it", 8)
    old = Model("old").join(line)

    async def test() -> None:
        first = await started(line, old)
        waiting = [asyncio.create_task(line.take(run)) for _ in range(3)]
        await asyncio.to_thread(until, lambda: line.pending == 4)
        line.leave(old)
        assert not old.closed.is_set() and line.models() == []
        old.go.set()
        assert await first == "old"
        assert old.closed.wait(30)
        Model("new").join(line)
        assert await asyncio.gather(*waiting) == ["new"] * 3

    go(test(), line)


def test_what_a_lost_replica_ran_another_does_again_and_a_second_loss_is_told() -> None:
    line = Line("it", 8)

    async def lose(name: str) -> None:
        model = Model(name)
        model.lost = True
        assert await asyncio.to_thread(model.join(line).closed.wait, 30)
        assert line.models() == []

    async def test() -> None:
        answer = asyncio.create_task(line.take(run))
        await lose("a")
        good = Model("good").join(line)
        assert await answer == "good"
        line.leave(good)
        answer = asyncio.create_task(line.take(run))
        await lose("b")
        await lose("c")
        with pytest.raises(DeviceLost):
            await answer

    go(test(), line)


def test_idle_replicas_are_given_back_first_and_of_them_the_newest() -> None:
    line = Line("it", 8)
    models = [Model(name).join(line) for name in "abc"]

    async def test() -> None:
        for model in models:
            model.go.clear()
        task = asyncio.create_task(line.take(run))
        await asyncio.to_thread(until, lambda: any(m.called.is_set() for m in models))
        busy = next(model for model in models if model.called.is_set())
        idle = [model for model in reversed(models) if model is not busy]
        assert line.models() == [*idle, busy]
        for model in models:
            model.go.set()
        await task

    go(test(), line)


def test_more_than_the_limit_is_refused_and_counts_as_late() -> None:
    line = Line("it", 2, within_s=30)
    model = Model("m").join(line)

    async def test() -> None:
        first = await started(line, model)
        second = asyncio.create_task(line.take(run))
        await asyncio.to_thread(until, lambda: line.pending == 2)
        with pytest.raises(Busy, match="2 calls are waiting or running"):
            await line.take(run)
        model.go.set()
        await asyncio.gather(first, second)
        seen = line.seen(1.0, 1)
        assert (seen.arrived, seen.answered, seen.late, seen.waiting) == (3, 3, 1, 0)
        assert len(seen.ended) == 2 and line.seen(2.0, 1).arrived == 0

    go(test(), line)


def test_what_waits_when_the_line_is_closed_is_refused_and_what_runs_is_answered() -> None:
    line = Line("it", 8)
    model = Model("m").join(line)

    async def test() -> None:
        first = await started(line, model)
        second = asyncio.create_task(line.take(run, "lane"))
        third = asyncio.create_task(line.take(run, "lane"))
        await asyncio.to_thread(until, lambda: line.pending == 3)
        closing = asyncio.create_task(asyncio.to_thread(line.close))
        for refused in (second, third):
            with pytest.raises(NotFound, match="closed"):
                await refused
        model.go.set()
        assert await first == "m"
        await closing
        with pytest.raises(NotFound):
            await line.take(run)

    go(test(), line)


@settings(max_examples=30, deadline=None)
@given(
    lanes=st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=1, max_size=40),
    replicas=st.integers(1, 4),
    cancelled=st.sets(st.integers(0, 39), max_size=8),
)
def test_requests_of_a_lane_follow_one_another_on_whatever_replicas(
    lanes: list[str], replicas: int, cancelled: set[int]
) -> None:
    """One at a time, in the order in which they came; cancelled ones are left out or done."""
    line = Line("it", 64)
    done: dict[str, list[int]] = {}
    inside: dict[str, int] = {}

    def work(number: int, lane: str) -> Any:
        def run(_model: object) -> int:
            if lane:
                inside[lane] = inside.get(lane, 0) + 1
                assert inside[lane] == 1
                done.setdefault(lane, []).append(number)
                np.dot(np.ones(500), np.ones(500))  # lets others in
                inside[lane] -= 1
            return number

        return run

    async def test() -> None:
        tasks = [
            asyncio.create_task(line.take(work(number, lane), lane or None))
            for number, lane in enumerate(lanes)
        ]
        await asyncio.sleep(0)
        for _ in range(replicas):
            line.join(object(), lambda: None)
        for number in cancelled:
            if number < len(tasks):
                tasks[number].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for number, answer in enumerate(answers):
            assert answer == number or (number in cancelled and isinstance(answer, BaseException))
        await asyncio.to_thread(until, lambda: line.pending == 0)
        assert not line._lanes and not line._ready

    go(test(), line)
    for lane, numbers in done.items():
        assert numbers == sorted(numbers)
        expected = {n for n, each in enumerate(lanes) if each == lane and n not in cancelled}
        assert expected <= set(numbers)
