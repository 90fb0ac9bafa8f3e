"""Inference, protocol-neutral: from a model's name and tensors to a replica and back.

A model has one bounded queue (`line`): one request more than `max_pending` is refused, not parked.
A replica of it is a thread that owns one `ServedModel` (a device context is not thread-safe).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hal.errors import Busy
from hal.serving import State
from service.errors import BadRequest, DeadlineExceeded, NotFound
from service.line import Line
from service.sessions import ServedSession, Sessions
from service.tensors import Answer, Tensors, TensorSpec

MAX_SESSIONS = 256
SESSION_IDLE_S = 3600.0


class Described(Protocol):
    """What is said of a served model."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def platform(self) -> str: ...

    @property
    def withdrawn(self) -> str:
        """Why it will not answer any more; "" while it does."""
        ...


class ServedModel(Described, Protocol):
    """What a replica runs. One thread calls it."""

    def infer(self, inputs: Tensors) -> Answer: ...

    def session(self, state: State | None) -> ServedSession:
        """From the beginning, or from where another was. Raises Unsupported, StateError."""
        ...

    def close(self) -> None: ...


class Moving:
    """A session of a model that goes on wherever its model is served. One thread at a time calls
    `infer`."""

    def __init__(self, model: ServedModel, session: ServedSession) -> None:
        self._model, self._session = model, session
        self.inputs = session.inputs

    def infer(self, inputs: Tensors, on: ServedModel) -> Answer:
        """One that fails leaves it where it was."""
        session = self._session if on is self._model else on.session(self._session.state())
        answer = session.infer(inputs)
        self._model, self._session = on, session
        return answer

    def state(self) -> State:
        return self._session.state()


class Scaler(Protocol):
    """Who brings replicas to a model's line, and takes them away."""

    def shown(self) -> dict[str, Any]: ...

    def close(self) -> None:
        """No more of that."""
        ...


@dataclass(slots=True)
class _Served:
    face: Described
    line: Line
    scaler: Scaler | None = None

    def close(self) -> None:
        if self.scaler is not None:
            self.scaler.close()
        self.line.close()


class Gateway:
    """Routing table of model name to its line of requests. One version, "1", of each model."""

    version = "1"

    def __init__(
        self,
        max_pending: int = 64,
        max_sessions: int = MAX_SESSIONS,
        session_idle_s: float = SESSION_IDLE_S,
    ) -> None:
        """`max_pending`: requests to one model that may wait or run, on all its replicas."""
        self._max_pending = max_pending
        self._sessions = Sessions[Moving](max_sessions, session_idle_s)
        self._models: dict[str, _Served] = {}

    def line(self, name: str, within_s: float = float("inf")) -> Line:
        """For a model of that name. Raises BadRequest."""
        if name in self._models:
            raise BadRequest(f"a model {name!r} is served already")
        return Line(f"model {name!r}", self._max_pending, within_s)

    def add(self, name: str, model: ServedModel) -> None:
        """A model that is its only replica."""
        line = self.line(name)
        line.join(model, model.close)
        self.open(name, model, line)

    def open(self, name: str, face: Described, line: Line, scaler: Scaler | None = None) -> None:
        """Serve a model by whoever joins its line."""
        self._models[name] = _Served(face, line, scaler)

    def remove(self, name: str) -> None:
        """Serve a model no more: what it is running finishes, what waits is refused."""
        served = self._served(name, "")
        del self._models[name]
        self._sessions.close_all(name)
        served.close()

    def names(self) -> tuple[str, ...]:
        """Of the models that answer."""
        return tuple(name for name, held in self._models.items() if not held.face.withdrawn)

    def model(self, name: str, version: str = "") -> Described:
        return self._answering(name, version).face

    def pending(self, name: str) -> int:
        """Requests accepted for a model and not yet answered."""
        return self._served(name, "").line.pending

    def services(self) -> list[dict[str, Any]]:
        """What is served by how many replicas, and how well."""
        return [self._shown(name, served) for name, served in self._models.items()]

    def _shown(self, name: str, served: _Served) -> dict[str, Any]:
        line = served.line
        return {
            "model": name,
            "arrived": line.total,
            "answered": line.answered,
            "late": line.late,
            "pending": line.pending,
            "serving": len(line.models()),
            **(served.scaler.shown() if served.scaler else {}),
        }

    def _served(self, name: str, version: str) -> _Served:
        served = self._models.get(name)
        if served is None:
            raise NotFound(f"no model {name!r}; served are {', '.join(self.names()) or 'none'}")
        if version not in ("", self.version):
            raise NotFound(f"model {name!r} has no version {version!r}, only {self.version!r}")
        return served

    def _answering(self, name: str, version: str) -> _Served:
        served = self._served(name, version)
        if why := served.face.withdrawn:
            raise NotFound(f"model {name!r} is served no more: {why}; start `haltere serve` anew")
        return served

    async def infer(
        self, name: str, version: str, inputs: Tensors, timeout_us: int | None = None
    ) -> Answer:
        """Raises NotFound, BadRequest (tensors that do not fit), Busy, DeadlineExceeded."""
        served = self._answering(name, version)
        checked = _checked(served.face.inputs, inputs)
        return await _ask(served.line, lambda model: model.infer(checked), timeout_us)

    # ---- sessions

    def open_session(self, name: str, version: str, state: bytes) -> tuple[str, int]:
        """Its id, and how many inferences it stands behind. `state`: the bytes of another
        session's, or none. Raises NotFound, Busy, StateError, Unsupported."""
        served = self._answering(name, version)
        models: list[ServedModel] = served.line.models()
        if not models:
            raise Busy(f"no replica of model {name!r} serves at this moment: try again soon")
        session = models[0].session(State.from_bytes(state) if state else None)
        calls = session.state().calls
        return self._sessions.open(name, Moving(models[0], session)), calls

    async def infer_session(
        self,
        name: str,
        version: str,
        key: str,
        inputs: Tensors,
        timeout_us: int | None = None,
    ) -> Answer:
        """The next inference of a session, in the order of requests. Raises as `infer`; the
        session then stands where it stood."""
        line = self._answering(name, version).line
        with self._sessions.using(name, key) as session:
            checked = _checked(session.inputs, inputs)
            return await _ask(line, lambda model: session.infer(checked, model), timeout_us, key)

    def session_state(self, name: str, version: str, key: str) -> bytes:
        """What it remembers now, as `open_session` takes it. Raises NotFound."""
        self._served(name, version)
        with self._sessions.using(name, key) as session:
            return session.state().to_bytes()

    def close_session(self, name: str, version: str, key: str) -> None:
        """Raises NotFound."""
        self._served(name, version)
        self._sessions.close(name, key)

    def close(self) -> None:
        for served in self._models.values():
            served.close()
        self._models.clear()


async def _ask(
    line: Line, work: Callable[[ServedModel], Answer], timeout_us: int | None, lane: str = ""
) -> Answer:
    deadline_s = None if timeout_us is None else time.monotonic() + timeout_us / 1e6

    def in_time(model: ServedModel) -> Answer:
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise DeadlineExceeded("the request's timeout passed before its work began")
        return work(model)

    answer: Answer = await line.take(in_time, lane or None)
    return answer


def _checked(specs: Sequence[TensorSpec], inputs: Tensors) -> Tensors:
    wanted = {spec.name: spec for spec in specs}
    if set(inputs) != set(wanted):
        raise BadRequest(
            f"inputs are {', '.join(sorted(inputs)) or 'none'}; the model takes "
            f"{', '.join(sorted(wanted))}"
        )
    for name, spec in wanted.items():
        array = inputs[name]
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise BadRequest(
                f"input {name!r} is {array.dtype}{list(array.shape)}, the model takes "
                f"{spec.dtype}{list(spec.shape)}"
            )
        if not np.isfinite(array).all():
            raise BadRequest(f"input {name!r} holds NaN or infinity")
    return inputs
