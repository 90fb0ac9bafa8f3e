"""An ONNX model over HTTP from a simulated FPGA, moved while it answers."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from scheduler.live.pool import JobSpec, Pool, Tier
from service.app import create_app
from service.control import Control
from service.deploy import deploy
from service.gateway import Gateway
from service.host import hosting
from service.settings import Settings

SIZE = 16
DEVICES = ("fpga-sim:0", "fpga-sim:1", "cpu:0")


def small_net() -> bytes:
    rng = np.random.default_rng(3)
    weights = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w", (SIZE, SIZE)), ("b", (SIZE,)))
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
            helper.make_node("Tanh", ["h"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, SIZE])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    root = tmp_path_factory.mktemp("root")
    with Pool(root, DEVICES, root / "state") as pool:
        yield pool


@pytest.fixture(scope="module")
def url(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serving")
    (folder / "small.onnx").write_bytes(small_net())
    gateway = Gateway()
    deploy(gateway, pool, "small", folder / "small.onnx", tier=Tier.BASIC, target="npu:nano")
    with hosting(create_app(Settings(), gateway, Control(pool, folder))) as port:
        yield f"http://127.0.0.1:{port}"


def infer(url: str, x: np.ndarray) -> dict[str, object]:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, SIZE], "data": x.tolist()}]}
    request = urllib.request.Request(f"{url}/v2/models/small/infer", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def test_answers_and_cycles_do_not_change_while_the_model_is_moved(pool: Pool, url: str) -> None:
    inputs = np.random.default_rng(4).normal(size=(5, SIZE)).astype(np.float32)
    expected = [infer(url, x) for x in inputs]
    model = next(job for job in pool.jobs() if job.name == "small")
    seen: list[dict[str, object]] = []
    enough = threading.Event()

    def stream() -> None:
        while not enough.is_set():
            seen.append(infer(url, inputs[len(seen) % len(inputs)]))

    client = threading.Thread(target=stream)
    client.start()
    with pool.lease(JobSpec("filler", "b", Tier.STANDARD, "fpga-sim"), 60) as filler:
        assert filler.device != model.device
        with pool.lease(JobSpec("urgent", "c", Tier.PREMIUM, "fpga-sim"), 60) as urgent:
            assert urgent.device == model.device
            assert pool.job(model.id).state == "preempted"
            pool.finish(filler.id)
            moved = pool.wait(model.id, 60, ("running",))
            assert moved.device == filler.device
            count = len(seen)
            infer(url, inputs[0])
    enough.set()
    client.join(120)
    assert len(seen) >= count
    assert seen == [expected[index % len(expected)] for index in range(len(seen))]


def test_devices_and_jobs_are_told(pool: Pool, url: str) -> None:
    with urllib.request.urlopen(f"{url}/v1/devices") as answer:
        assert [device["uri"] for device in json.load(answer)] == list(DEVICES)
    with urllib.request.urlopen(f"{url}/v1/jobs") as answer:
        assert json.load(answer)[0]["name"] == "small"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "not a job"),
        (b'{"template": "rm"}', "template 'rm' is unknown"),
        (b'{"template": "train-digits", "tier": "gold"}', "tier 'gold'"),
        (b'{"template": "train-digits", "parameters": {"out": "/x"}}', "'out' is unknown"),
        (b'{"template": "train-digits", "parameters": {"steps": 0}}', "1 to 100000"),
        (b'{"template": "train-digits", "argv": ["x"]}', "argv"),
        (b'{"template": "train-digits"}', "opencl"),
    ],
)
def test_a_job_that_cannot_be_is_refused_with_its_reason(url: str, body: bytes, told: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{url}/v1/jobs", body))
    assert refused.value.code == 400
    assert told in json.load(refused.value)["error"]
