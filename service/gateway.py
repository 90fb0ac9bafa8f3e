"""Inference, protocol-neutral: from a model's name and tensors to a replica and back.

A replica is one thread that owns one served model (a device context is not thread-safe), behind
a bounded queue (hal.serving.turns): one request more than `max_pending` is refused, never parked.
"""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from hal.serving import State
from hal.serving.turns import Turns
from service.errors import BadRequest, DeadlineExceeded, NotFound
from service.sessions import ServedSession, Sessions
from service.tensors import Answer, Tensors, TensorSpec

MAX_SESSIONS = 256
SESSION_IDLE_S = 3600.0


class ServedModel(Protocol):
    """What a replica runs. One thread calls it."""

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

    def infer(self, inputs: Tensors) -> Answer: ...

    def session(self, state: State | None) -> ServedSession:
        """From the beginning, or from where another was. Raises Unsupported, StateError."""
        ...

    def close(self) -> None: ...


class Replica:
    def __init__(self, name: str, model: ServedModel, max_pending: int) -> None:
        self.model = model
        self._turns = Turns(f"model {name!r}", max_pending, closed=NotFound)

    @property
    def pending(self) -> int:
        return self._turns.pending

    async def infer(
        self, on: ServedModel | ServedSession, inputs: Tensors, timeout_us: int | None
    ) -> Answer:
        """On the model, or on a session of it; the inputs must fit."""
        checked = _checked(on, inputs)
        deadline_s = None if timeout_us is None else time.monotonic() + timeout_us / 1e6
        return await self._turns.take(lambda: self._run(on, checked, deadline_s))

    def _run(
        self, on: ServedModel | ServedSession, inputs: Tensors, deadline_s: float | None
    ) -> Answer:
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise DeadlineExceeded("the request's timeout passed before its work began")
        return on.infer(inputs)

    def close(self) -> None:
        self._turns.close(self.model.close)


class Gateway:
    """Routing table of model name to replica. One version, "1", of each model."""

    version = "1"

    def __init__(
        self,
        max_pending: int = 64,
        max_sessions: int = MAX_SESSIONS,
        session_idle_s: float = SESSION_IDLE_S,
    ) -> None:
        self._max_pending = max_pending
        self._sessions = Sessions(max_sessions, session_idle_s)
        self._replicas: dict[str, Replica] = {}

    def add(self, name: str, model: ServedModel) -> None:
        if name in self._replicas:
            raise BadRequest(f"a model {name!r} is served already")
        self._replicas[name] = Replica(name, model, self._max_pending)

    def remove(self, name: str) -> None:
        """Serve a model no more: what it is running finishes, what waits is refused."""
        replica = self._replica(name, "")
        del self._replicas[name]
        self._sessions.close_all(name)
        replica.close()

    def names(self) -> tuple[str, ...]:
        """Of the models that answer."""
        return tuple(name for name, held in self._replicas.items() if not held.model.withdrawn)

    def model(self, name: str, version: str = "") -> ServedModel:
        return self._answering(name, version).model

    def pending(self, name: str) -> int:
        """Requests accepted for a model and not yet answered."""
        return self._replica(name, "").pending

    def _replica(self, name: str, version: str) -> Replica:
        replica = self._replicas.get(name)
        if replica is None:
            raise NotFound(f"no model {name!r}; served are {', '.join(self.names()) or 'none'}")
        if version not in ("", self.version):
            raise NotFound(f"model {name!r} has no version {version!r}, only {self.version!r}")
        return replica

    def _answering(self, name: str, version: str) -> Replica:
        replica = self._replica(name, version)
        if why := replica.model.withdrawn:
            raise NotFound(f"model {name!r} is served no more: {why}; start `haltere serve` anew")
        return replica

    async def infer(
        self, name: str, version: str, inputs: Tensors, timeout_us: int | None = None
    ) -> Answer:
        """Raises NotFound, BadRequest (tensors that do not fit), Busy, DeadlineExceeded."""
        replica = self._answering(name, version)
        return await replica.infer(replica.model, inputs, timeout_us)

    # ---- sessions

    def open_session(self, name: str, version: str, state: bytes) -> tuple[str, int]:
        """Its id, and how many inferences it stands behind. `state`: the bytes of another
        session's, or none. Raises NotFound, Busy, StateError, Unsupported."""
        model = self._answering(name, version).model
        session = model.session(State.from_bytes(state) if state else None)
        return self._sessions.open(name, session), session.state().calls

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
        replica = self._answering(name, version)
        with self._sessions.using(name, key) as session:
            return await replica.infer(session, inputs, timeout_us)

    def session_state(self, name: str, version: str, key: str) -> bytes:
        """What it remembers now, as `open_session` takes it. Raises NotFound."""
        self._replica(name, version)
        with self._sessions.using(name, key) as session:
            return session.state().to_bytes()

    def close_session(self, name: str, version: str, key: str) -> None:
        """Raises NotFound."""
        self._replica(name, version)
        self._sessions.close(name, key)

    def close(self) -> None:
        for replica in self._replicas.values():
            replica.close()
        self._replicas.clear()


def _checked(on: ServedModel | ServedSession, inputs: Tensors) -> Tensors:
    wanted = {spec.name: spec for spec in on.inputs}
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
