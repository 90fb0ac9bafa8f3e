"""A served model that doubles its input, and the application over it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.gateway import Gateway
from service.settings import Settings
from service.tensors import Answer, TensorSpec

FP32 = np.dtype("<f4")


class Doubler:
    """y = 2 x, as long as `go` is set."""

    inputs = (TensorSpec("x", FP32, (1, 3)),)
    outputs = (TensorSpec("y", FP32, (1, 3)),)
    platform = "test"
    withdrawn = ""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.calls = 0
        self.closed = False

    def infer(self, inputs):  # type: ignore[no-untyped-def]
        assert self.go.wait(30)
        self.calls += 1
        return Answer({"y": inputs["x"] * 2}, {"cycles": 5})

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def client(doubler: Doubler) -> Iterator[TestClient]:
    gateway = Gateway(max_pending=2)
    gateway.add("twice", doubler)
    with TestClient(create_app(Settings(max_body_bytes=4096), gateway)) as client:
        yield client
