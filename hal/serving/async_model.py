"""The async twin: many coroutines await one model, behind a bounded queue.

A call that is cancelled happened wholly or not at all: cancelled while it waits, it is never begun;
cancelled while the device works, the device finishes it and a session stays where it was, unless it
was done already. `AsyncSession.calls` tells which.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from hal.serving.model import Input, Output, Served, next_state
from hal.serving.seam import Runner
from hal.serving.state import State
from hal.serving.turns import Turns


class AsyncModel(Served):
    def __init__(self, runner: Runner, timeout_s: float, max_pending: int) -> None:
        super().__init__(runner, timeout_s)
        self._turns = Turns(f"{runner.name} on {runner.device}", max_pending)

    @property
    def pending(self) -> int:
        """Calls that wait or run."""
        return self._turns.pending

    async def __call__(self, x: Input, timeout_s: float | None = None) -> Output:
        """As `Model.__call__`; Busy is raised at once when the queue is full. `timeout_s` bounds
        the device's work; to bound the wait as well, use `asyncio.timeout`."""
        arrays = self._plain_inputs(x)
        limit_s = self._limit(timeout_s)
        return self._took(await self._turns.take(lambda: self._runner.run(arrays, limit_s)))

    def session(self, state: State | Mapping[str, Any] | None = None) -> AsyncSession:
        """As `Model.session`."""
        return AsyncSession(self, self._first_state(state))

    async def close(self) -> None:
        """Give the device back, after the call that runs; those that wait raise UsageError.
        Idempotent."""
        await asyncio.to_thread(self._turns.close, self._runner.close)


class AsyncSession:
    """As `hal.serving.Session`. Calls take effect in the order in which they were made."""

    def __init__(self, model: AsyncModel, state: State) -> None:
        self._model = model
        self._state = state
        self._commit = threading.Lock()  # between the thread that runs and a cancellation

    async def __call__(self, x: Input, timeout_s: float | None = None) -> Output:
        model = self._model
        arrays = model._session_inputs(x)
        limit_s = model._limit(timeout_s)
        wanted = True

        def work() -> Output:
            outcome = model._runner.run(arrays | dict(self._state.arrays), limit_s)
            with self._commit:
                if wanted:
                    self._state = next_state(self._state, outcome)
            return model._took(outcome)

        try:
            return await model._turns.take(work)
        except asyncio.CancelledError:
            with self._commit:
                wanted = False
            raise

    @property
    def calls(self) -> int:
        return self._state.calls

    def state(self) -> State:
        """What it remembers now; calls that wait or run are not in it."""
        return self._state


class Opening:
    """`async with hal.serve_async(...) as m`: the model is compiled and put on its device in
    another thread, so that the event loop goes on."""

    def __init__(self, open_runner: Callable[[], Runner], timeout_s: float, pending: int) -> None:
        self._open_runner = open_runner
        self._timeout_s = timeout_s
        self._max_pending = pending
        self._model: AsyncModel | None = None

    async def __aenter__(self) -> AsyncModel:
        opening = asyncio.create_task(asyncio.to_thread(self._open_runner))
        try:
            runner = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)  # a thread cannot be stopped midway
            raise
        self._model = AsyncModel(runner, self._timeout_s, self._max_pending)
        return self._model

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._model is not None
        await asyncio.shield(self._model.close())


def _close_opened(opening: asyncio.Task[Runner]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
