"""Events on their way to the loop, from any thread, stamped with the pool's clock.

Stamping and queueing happen under one lock, so that time never goes back. Also the alarm clock
behind WakeAt, and the place where a fault of a background thread is handed to the loop.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from scheduler.core.events import Event, TimePassed
from scheduler.errors import Busy

MAX_WAITING = 100_000  # events not handled yet; beyond it, submitters are told to come back
MAX_BATCH = 256  # events in one step, so that a step stays short


class Inbox:
    """Its clock starts at 0 when it is made; `go_on_from` lets it go on with another's."""

    def __init__(self) -> None:
        self.began_ns = time.monotonic_ns()
        self._events: deque[Event] = deque()
        self._news = threading.Condition()
        self._wake_at_us: int | None = None
        self._fault: BaseException | None = None

    def now_us(self) -> int:
        return (time.monotonic_ns() - self.began_ns) // 1000

    def go_on_from(self, began_ns: int, at_least_us: int) -> None:
        """Before the first event: the clock of an inbox that began at `began_ns` of this system's
        clock, put forward to `at_least_us` if it would go back."""
        self.began_ns = min(began_ns, time.monotonic_ns() - 1000 * at_least_us)

    def post(self, make: Callable[[int], Event]) -> None:
        """Queue the event that `make(at_us)` gives."""
        with self._news:
            self._events.append(make(self.now_us()))
            self._news.notify_all()

    def post_bounded(self, make: Callable[[int], Event]) -> None:
        """The same for strangers. Raises Busy when the loop does not keep up."""
        with self._news:
            if len(self._events) >= MAX_WAITING:
                raise Busy(f"{MAX_WAITING} events wait to be handled; try again later")
            self.post(make)

    def wake_at(self, at_us: int) -> None:
        with self._news:
            self._wake_at_us = at_us

    def wake(self) -> None:
        """Make a waiting poll return."""
        self.post(TimePassed)

    def fail(self, fault: BaseException) -> None:
        """The next poll raises it."""
        with self._news:
            self._fault = self._fault or fault
            self._news.notify_all()

    def poll(self, timeout_us: int) -> Sequence[Event]:
        give_up_us = self.now_us() + timeout_us
        with self._news:
            while True:
                if self._fault is not None:
                    raise self._fault
                now_us = self.now_us()
                if self._wake_at_us is not None and now_us >= self._wake_at_us:
                    self._wake_at_us = None
                    self._events.append(TimePassed(now_us))
                if self._events:
                    count = min(len(self._events), MAX_BATCH)
                    return tuple(self._events.popleft() for _ in range(count))
                if now_us >= give_up_us:
                    return ()
                until_us = min(give_up_us, self._wake_at_us or give_up_us)
                self._news.wait(max(until_us - now_us, 0) / 1e6)
