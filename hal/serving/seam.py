"""What a compiler gives to the hal so that `hal.serve` works. A compiler's author writes these two.

A compiler announces itself in the entry point group `hal.compilers`, as a backend does in
`hal.backends`: the hal stands below every compiler and names none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Arrays = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A float32 input or output of a model. No dimension is dynamic."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StateSpec:
    """A recurrent state of a model: what one inference leaves for the next.

    initial   where a sequence begins; its shape is the state's
    declared  the model's file has it as an input of its own, so a call without a session gives it
    """

    name: str
    initial: Floats
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one inference gave: the model's outputs, and the states after it, each by name."""

    outputs: Arrays
    states: Arrays
    cycles: int | None  # of the device's clock; None where it does not count them


class Runner(Protocol):
    """A model on a device. One thread at a time calls it.

    digest     names the model by its weights, whatever it was compiled for
    kind       devices of one kind compute the same bits
    device     URI
    stateless  why the model's recurrent state cannot be had, if so; "" when it can
    """

    name: str
    digest: str
    kind: str
    device: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...]
    stateless: str

    def run(self, arrays: Mapping[str, Any], timeout_s: float) -> Outcome:
        """One inference. `arrays`: every input and every state, by name. Raises what its family
        has for wrong arrays and for a device that fails or is late; after each the runner can be
        called again, unless the device is gone."""
        ...

    def close(self) -> None:
        """Give the device back. Idempotent."""
        ...


class Compiler(Protocol):
    def __call__(
        self,
        model: bytes | Path,
        device: str,
        target: str | None,
        dims: Mapping[str, int] | None,
    ) -> Runner:
        """Compile the model and put it on the device named by URI. `target`: what to compile for,
        in the compiler's words, None for what it thinks best; `dims`: numbers for the model's
        symbolic dimensions. Raises the compiler's own family and HalError."""
        ...
