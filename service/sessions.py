"""Sessions of served models by id: what a recurrent model remembers between a client's requests.

A session is a value (`hal.serving.State`) and costs no device anything; how many there are is
bounded all the same, and one that nobody uses for `idle_s` is forgotten. Who cares for it keeps
its state.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hal.errors import Busy
from hal.serving import State
from service.errors import NotFound
from service.tensors import Answer, Tensors, TensorSpec


class ServedSession(Protocol):
    """Inferences that follow one another, on one replica. One thread at a time calls `infer`."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    def infer(self, inputs: Tensors) -> Answer: ...

    def state(self) -> State: ...


S = TypeVar("S")


@dataclass(slots=True)
class _Entry(Generic[S]):
    model: str
    session: S
    used_s: float
    running: int = 0


class Sessions(Generic[S]):
    """For one thread, the event loop's."""

    def __init__(
        self, limit: int, idle_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._idle_s, self._clock = limit, idle_s, clock
        self._entries: dict[str, _Entry[S]] = {}

    def open(self, model: str, session: S) -> str:
        """Its id. Raises Busy where there are too many."""
        self._forget_idle()
        if len(self._entries) >= self._limit:
            raise Busy(
                f"{self._limit} sessions are open and no more may: delete one, or wait until one "
                f"is idle for {self._idle_s:g} s"
            )
        key = secrets.token_hex(16)
        self._entries[key] = _Entry(model, session, self._clock())
        return key

    @contextmanager
    def using(self, model: str, key: str) -> Iterator[S]:
        """While this lasts it is not idle. Raises NotFound."""
        entry = self._find(model, key)
        entry.running += 1
        try:
            yield entry.session
        finally:
            entry.running -= 1
            entry.used_s = self._clock()

    def close(self, model: str, key: str) -> None:
        """Raises NotFound."""
        self._find(model, key)
        del self._entries[key]

    def close_all(self, model: str) -> None:
        for key in [key for key, entry in self._entries.items() if entry.model == model]:
            del self._entries[key]

    def _find(self, model: str, key: str) -> _Entry[S]:
        self._forget_idle()
        entry = self._entries.get(key)
        if entry is None or entry.model != model:
            raise NotFound(
                f"model {model!r} has no session {key[:40]!r}: it was deleted, idle for more than "
                f"{self._idle_s:g} s, or of a service before this one; begin one from the state "
                "that you kept"
            )
        return entry

    def _forget_idle(self) -> None:
        oldest = self._clock() - self._idle_s
        for key, entry in list(self._entries.items()):
            if not entry.running and entry.used_s < oldest:
                del self._entries[key]
