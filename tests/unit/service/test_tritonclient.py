"""An unmodified client of another project."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as triton
import uvicorn

from service.app import create_app
from service.gateway import Gateway
from service.settings import Settings


@pytest.fixture
def url(doubler) -> Iterator[str]:  # type: ignore[no-untyped-def]
    gateway = Gateway()
    gateway.add("twice", doubler)
    config = uvicorn.Config(create_app(Settings(), gateway), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritonclient_works_unmodified(url: str, binary: bool, compression: str | None) -> None:
    with triton.InferenceServerClient(url) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("twice")
        assert client.get_model_metadata("twice")["name"] == "twice"
        assert client.get_model_repository_index()[0]["name"] == "twice"
        x = triton.InferInput("x", [1, 3], "FP32")
        x.set_data_from_numpy(np.array([[1, 2, 3]], np.float32), binary_data=binary)
        result = client.infer(
            "twice",
            [x],
            outputs=[triton.InferRequestedOutput("y", binary_data=binary)],
            request_compression_algorithm=compression,
        )
        assert result.as_numpy("y").tolist() == [[2, 4, 6]]


def test_tritonclient_is_told_what_was_wrong(url: str) -> None:
    with triton.InferenceServerClient(url) as client:
        x = triton.InferInput("x", [3], "FP32")
        x.set_data_from_numpy(np.zeros(3, np.float32))
        with pytest.raises(triton.InferenceServerException, match="takes float32"):
            client.infer("twice", [x])
