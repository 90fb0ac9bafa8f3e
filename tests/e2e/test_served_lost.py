"""A served model whose device is lost, or whose job is cancelled, and what its callers see."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from onnx import TensorProto, helper, numpy_helper

from scheduler.live.pool import Pool
from service.app import create_app
from service.control import Control
from service.deploy import deploy
from service.gateway import Gateway
from service.settings import Settings

FEATURES, HIDDEN = 4, 8
SESSIONS = "/v2/models/step/sessions"


def step_model() -> bytes:
    rng = np.random.default_rng(5)
    shapes = {"w": (1, 3 * HIDDEN, FEATURES), "r": (1, 3 * HIDDEN, HIDDEN)}
    weights = [
        numpy_helper.from_array(rng.uniform(-0.5, 0.5, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        [helper.make_node("GRU", ["x", "w", "r"], ["", "y"], hidden_size=HIDDEN)],
        "step",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, HIDDEN])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool(tmp_path, ("cpu:0",), tmp_path / "state") as pool:
        yield pool


@pytest.fixture
def client(pool: Pool, tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "step.onnx").write_bytes(step_model())
    gateway = Gateway()
    deploy(gateway, pool, "step", tmp_path / "step.onnx", kind="cpu", target="npu:nano")
    with TestClient(create_app(Settings(), gateway, Control(pool, tmp_path))) as client:
        yield client


def step(client: TestClient, key: str, value: float) -> list[float]:
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 1, FEATURES],
        "data": [value] * FEATURES,
    }
    answer = client.post(f"{SESSIONS}/{key}/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["outputs"][0]["data"])


def opened(client: TestClient) -> str:
    return str(client.post(SESSIONS).json()["session"])


def test_a_session_goes_on_when_the_server_of_its_device_is_killed(
    pool: Pool, client: TestClient
) -> None:
    calm, hit = opened(client), opened(client)
    expected = [step(client, calm, value / 4) for value in range(4)]
    seen = [step(client, hit, value / 4) for value in range(2)]
    os.kill(pool.server_pid("cpu:0"), signal.SIGKILL)
    seen += [step(client, hit, value / 4) for value in range(2, 4)]
    assert seen == expected
    assert [job.state for job in pool.jobs()] == ["failed", "running"]


def test_a_model_whose_job_was_cancelled_is_no_more_and_its_sessions_states_can_be_had(
    pool: Pool, client: TestClient
) -> None:
    key = opened(client)
    step(client, key, 1.0)
    assert client.post(f"/v1/jobs/{pool.jobs()[0].id}/cancel").status_code == 202
    for path in ("/v2/models/step", "/v2/models/step/ready"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "its job 1 was cancelled" in answer.json()["error"]
    assert client.post("/v2/repository/index").json() == []
    assert client.post(SESSIONS).status_code == 404
    assert client.get(f"{SESSIONS}/{key}/state").content.startswith(b"HALTSTAT")
