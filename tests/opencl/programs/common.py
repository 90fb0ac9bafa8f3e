"""What the programs share: the first platform's device, a line for each thing that happened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pyopencl as cl


def setup(queue_properties: int = 0) -> tuple[cl.Context, cl.CommandQueue]:
    context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
    return context, cl.CommandQueue(context, properties=queue_properties)


def show(what: str, value: object) -> None:
    if isinstance(value, np.ndarray):
        value = hashlib.sha256(value.tobytes()).hexdigest()[:16]
    print(f"{what}: {value}", flush=True)  # noqa: T201


def code(what: str, call: Callable[[], object]) -> None:
    """The OpenCL code that `call` ends with."""
    try:
        call()
        show(what, "fine")
    except cl.Error as error:
        show(what, cl.status_code.to_string(error.code))


def numbers(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)
