"""A bounded queue in front of one thread: how coroutines share what only one thread may call.

A device context is not thread-safe, and a call of it blocks. Work that waits can be cancelled, and
is then never begun; work that runs is finished, whoever still wants it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from hal.errors import Busy, UsageError

T = TypeVar("T")


class Turns:
    """`limit`: how many may wait or run at once; one more is refused, never parked. `closed`: what
    is raised for calls that come too late."""

    def __init__(self, what: str, limit: int, closed: type[Exception] = UsageError) -> None:
        self._what = what
        self._closed_error = closed
        self._limit = limit
        self.pending = 0
        self._closed = False
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="turns")

    async def take(self, work: Callable[[], T]) -> T:
        """What `work` returns, once it was its turn. Raises Busy, `closed`, what `work` raises."""
        with self._lock:
            self._check_open()
            if self.pending >= self._limit:
                raise Busy(
                    f"{self._what}: {self.pending} calls are waiting or running and no more may; "
                    "retry later, or serve it on another device too"
                )
            self.pending += 1
        future = self._thread.submit(self._run, work)
        future.add_done_callback(self._done)  # also when it is cancelled before it ran
        return await asyncio.wrap_future(future)

    def close(self, last: Callable[[], None]) -> None:
        """What runs is finished, what waits is refused, then `last` is called. Blocks until then.
        Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._thread.shutdown(wait=True)
        last()

    def _run(self, work: Callable[[], T]) -> T:
        self._check_open()
        return work()

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error(f"{self._what} is closed; serve it anew")

    def _done(self, _future: Future[T]) -> None:
        with self._lock:
            self.pending -= 1
