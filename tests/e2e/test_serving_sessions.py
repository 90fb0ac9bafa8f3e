"""An LSTM's sessions over HTTP: served on the CPU, the same bits as at once by `hal.serve`."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import hal
from scheduler.live.pool import Pool
from service.app import create_app
from service.deploy import deploy
from service.gateway import Gateway
from service.host import hosting
from service.settings import Settings

FEATURES, HIDDEN = 8, 12


def lstm() -> bytes:
    rng = np.random.default_rng(5)
    shapes = {"w": (1, 4 * HIDDEN, FEATURES), "r": (1, 4 * HIDDEN, HIDDEN), "b": (1, 8 * HIDDEN)}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r", "b"], ["", "h"], hidden_size=HIDDEN)],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, FEATURES])],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, 1, HIDDEN])],
        [
            numpy_helper.from_array(rng.uniform(-0.4, 0.4, shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "lstm.onnx"
    path.write_bytes(lstm())
    gateway = Gateway()
    with Pool(tmp_path / "root", ("cpu:0",), tmp_path / "state") as pool:
        deploy(gateway, pool, "lstm", path, kind="cpu", target="npu:nano")
        with hosting(create_app(Settings(), gateway)) as port:
            yield f"http://127.0.0.1:{port}/v2/models/lstm/sessions"


def ask(url: str, data: bytes = b"", method: str = "POST") -> bytes:
    request = urllib.request.Request(url, data or None, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return bytes(answer.read())


def test_a_session_over_http_has_the_bits_of_one_in_the_program(url: str) -> None:
    rows = np.random.default_rng(6).normal(size=(5, 1, 1, FEATURES)).astype(np.float32)
    with hal.serve(lstm(), device="cpu:0", target="npu:nano") as model:
        session = model.session()
        expected = [session(row) for row in rows]
    key = json.loads(ask(url))["session"]
    for step, row in enumerate(rows):
        if step == 3:  # goes on in another session, from what the first one remembered
            state = ask(f"{url}/{key}/state", method="GET")
            ask(f"{url}/{key}", method="DELETE")
            key = json.loads(ask(url, state))["session"]
        shape = [1, 1, FEATURES]
        tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": row.ravel().tolist()}
        answer = json.loads(ask(f"{url}/{key}/infer", json.dumps({"inputs": [tensor]}).encode()))
        found = np.array(answer["outputs"][0]["data"], np.float32)
        np.testing.assert_array_equal(found, expected[step].ravel())
