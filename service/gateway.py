"""Inference, protocol-neutral: from a model's name and tensors to a replica and back.

A replica is one thread that owns one served model (a device context is not thread-safe), behind
a bounded queue (hal.serving.turns): one request more than `max_pending` is refused, never parked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from hal.serving.turns import Turns
from service.errors import BadRequest, DeadlineExceeded, NotFound

Tensors = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A model's input or output; no dimension is dynamic."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's outputs, and what it says about them (e.g. the cycles they took)."""

    outputs: Tensors
    parameters: Mapping[str, int] = field(default_factory=dict)


class ServedModel(Protocol):
    """What a replica runs. One thread calls it."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def platform(self) -> str: ...

    def infer(self, inputs: Tensors) -> Answer: ...

    def close(self) -> None: ...


class Replica:
    def __init__(self, name: str, model: ServedModel, max_pending: int) -> None:
        self.model = model
        self._turns = Turns(f"model {name!r}", max_pending, closed=NotFound)

    @property
    def pending(self) -> int:
        return self._turns.pending

    async def infer(self, inputs: Tensors, deadline_s: float | None) -> Answer:
        return await self._turns.take(lambda: self._run(inputs, deadline_s))

    def _run(self, inputs: Tensors, deadline_s: float | None) -> Answer:
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise DeadlineExceeded("the request's timeout passed before its work began")
        return self.model.infer(inputs)

    def close(self) -> None:
        self._turns.close(self.model.close)


class Gateway:
    """Routing table of model name to replica. One version, "1", of each model."""

    version = "1"

    def __init__(self, max_pending: int = 64) -> None:
        self._max_pending = max_pending
        self._replicas: dict[str, Replica] = {}

    def add(self, name: str, model: ServedModel) -> None:
        if name in self._replicas:
            raise BadRequest(f"a model {name!r} is served already")
        self._replicas[name] = Replica(name, model, self._max_pending)

    def remove(self, name: str) -> None:
        """Serve a model no more: what it is running finishes, what waits is refused."""
        replica = self._replica(name, "")
        del self._replicas[name]
        replica.close()

    def names(self) -> tuple[str, ...]:
        return tuple(self._replicas)

    def model(self, name: str, version: str = "") -> ServedModel:
        return self._replica(name, version).model

    def pending(self, name: str) -> int:
        """Requests accepted for a model and not yet answered."""
        return self._replica(name, "").pending

    def _replica(self, name: str, version: str) -> Replica:
        replica = self._replicas.get(name)
        if replica is None:
            raise NotFound(f"no model {name!r}; served are {', '.join(self._replicas) or 'none'}")
        if version not in ("", self.version):
            raise NotFound(f"model {name!r} has no version {version!r}, only {self.version!r}")
        return replica

    async def infer(
        self, name: str, version: str, inputs: Tensors, timeout_us: int | None = None
    ) -> Answer:
        """Raises NotFound, BadRequest (tensors that do not fit), Busy, DeadlineExceeded."""
        replica = self._replica(name, version)
        deadline_s = None if timeout_us is None else time.monotonic() + timeout_us / 1e6
        return await replica.infer(_checked(replica.model, inputs), deadline_s)

    def close(self) -> None:
        for replica in self._replicas.values():
            replica.close()
        self._replicas.clear()


def _checked(model: ServedModel, inputs: Tensors) -> Tensors:
    wanted = {spec.name: spec for spec in model.inputs}
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
