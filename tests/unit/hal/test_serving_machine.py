"""Any order of calls, cancellations, completions and a close: the queue stays bounded, and a
session is the sum of exactly the calls that happened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hal.errors import Busy, UsageError
from hal.serving import AsyncModel
from hal.serving.seam import Outcome, StateSpec, TensorSpec

LIMIT = 3
BOUND_S = 60.0


class Stepped:
    """Adds up what it is given; each call begins when it is its turn and ends when it is let go."""

    name, digest, kind, device, stateless = "stepped", "d", "k", "test:0", ""
    inputs = (TensorSpec("x", ()),)
    outputs = (TensorSpec("y", ()),)
    states = (StateSpec("sum", np.zeros((), np.float32)),)

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.closed = 0

    def run(self, arrays: Mapping[str, Any], timeout_s: float) -> Outcome:
        self.begun.release()
        assert self.go.acquire(timeout=BOUND_S)
        total = np.asarray(arrays["sum"] + arrays["x"], np.float32)
        return Outcome({"y": total}, {"sum": total}, None)

    def close(self) -> None:
        self.closed += 1


@dataclass
class Call:
    value: int
    task: asyncio.Task[Any]
    wanted: bool = True


class Conversations(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.runner = Stepped()
        self.model = AsyncModel(self.runner, BOUND_S, LIMIT)
        self.session = self.model.session()
        self.queue: list[Call] = []  # the first one runs
        self.total = self.count = 0

    def until(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, BOUND_S))

    def next_begins(self) -> None:
        if self.queue:
            assert self.runner.begun.acquire(timeout=BOUND_S)

    @rule(value=st.integers(1, 1000))
    def call(self, value: int) -> None:
        if len(self.queue) == LIMIT:
            with pytest.raises(Busy):
                self.until(self.session(value))
            return
        self.queue.append(Call(value, self.loop.create_task(self.session(value))))
        self.until(asyncio.sleep(0))
        if len(self.queue) == 1:
            self.next_begins()

    @precondition(lambda self: self.queue)
    @rule()
    def finish(self) -> None:
        done = self.queue.pop(0)
        self.runner.go.release()
        if done.wanted:
            self.total, self.count = self.total + done.value, self.count + 1
            assert self.until(done.task) == self.total
        self.until(self.pending_is(len(self.queue)))
        self.next_begins()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.queue) - 1))
        call = self.queue[index]
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            self.until(call.task)
        call.wanted = False
        if index:
            del self.queue[index]

    @invariant()
    def only_what_happened_counts(self) -> None:
        assert self.model.pending == len(self.queue)
        assert self.session.calls == self.count
        assert float(self.session.state().arrays["sum"]) == self.total

    def teardown(self) -> None:
        closing = self.loop.create_task(self.model.close())
        if self.queue:
            while not self.model._turns._closed:
                self.until(asyncio.sleep(0.001))
            self.runner.go.release()
        self.until(closing)
        for index, call in enumerate(self.queue):
            if index:
                with pytest.raises(UsageError, match="closed"):
                    self.until(call.task)
            elif call.wanted:
                assert self.until(call.task) == self.total + call.value
        assert self.runner.closed == 1
        self.until(self.loop.shutdown_default_executor())
        self.loop.close()

    async def pending_is(self, count: int) -> None:
        """A call's place is free shortly after its answer is there."""
        while self.model.pending != count:
            await asyncio.sleep(0.0005)


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
