"""Work that would hold up the server's loop, done in threads while it goes on.

Whoever wants something done starts an errand and asks again and again until it is done; the
server is woken when it is. What a thread touches must stand still meanwhile: of a session it is
named, so that its end waits for the thread (`Tenant.errands`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Errand(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._result: list[T] = []
        self._error: Exception | None = None
        self._over = threading.Event()

    @property
    def done(self) -> bool:
        return self._over.is_set()

    def result(self) -> T:
        """Of one that is done. Raises what the work raised."""
        if self._error is not None:
            raise self._error
        return self._result[0]

    def wait(self, timeout_s: float) -> bool:
        return self._over.wait(timeout_s)

    def run(self) -> None:
        try:
            assert self._work is not None, "run once"
            self._result.append(self._work())
        except Exception as error:  # noqa: BLE001  # raised where the result is asked for
            self._error = error
        self._work = None  # and all that it holds
        self._over.set()


class Aside:
    """At most `most` errands at a time. `ring`: wakes the server."""

    def __init__(self, ring: Callable[[], None], most: int) -> None:
        self._ring = ring
        self._most = most
        self._running: list[Errand[object]] = []

    def start(self, work: Callable[[], T]) -> Errand[T] | None:
        """None: enough are under way, ask again."""
        self._running = [errand for errand in self._running if not errand.done]
        if len(self._running) >= self._most:
            return None
        errand = Errand(work)
        self._running.append(errand)  # type: ignore[arg-type]
        threading.Thread(target=self._do, args=(errand,), name="aside", daemon=True).start()
        return errand

    def close(self, timeout_s: float) -> bool:
        """Wait for what is under way; False if some of it is still."""
        until = time.monotonic() + timeout_s
        return all(errand.wait(max(until - time.monotonic(), 0)) for errand in self._running)

    def _do(self, errand: Errand[T]) -> None:
        errand.run()
        self._ring()


def at_once(work: Callable[[], T]) -> Errand[T]:
    """For what no thread may do: it is done when this returns."""
    errand = Errand(work)
    errand.run()
    return errand
