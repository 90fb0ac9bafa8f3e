"""Devices and data for the demo's tests. The kernels are OpenCL C: they need such a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from hal import Context, list_devices, open_device
from service.demo.data import Digits, load_digits

OpenContext = Callable[[int], Context]


def opencl_uris() -> tuple[str, ...]:
    return tuple(info.uri for info in list_devices() if "opencl-c" in info.caps.formats)


@pytest.fixture
def open_context() -> Iterator[OpenContext]:
    """A fresh context on the n-th device that takes OpenCL C; closed at the end."""
    uris = [uri for uri in opencl_uris() if not uri.startswith("proxy:")]
    with ExitStack() as stack:

        def open_one(index: int) -> Context:
            if index >= len(uris):
                pytest.skip(f"needs {index + 1} devices that take opencl-c, found {len(uris)}")
            device = stack.enter_context(open_device(uris[index]))
            return stack.enter_context(device.open_context())

        yield open_one


@pytest.fixture(scope="session")
def digits() -> Digits:
    return load_digits()
