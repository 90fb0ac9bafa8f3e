"""Several models on one FPGA: their sessions take turns on its fabric."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import hal
from proxy.control import Control
from scheduler.live.pool import JobSpec, Pool
from scheduler.policies.served import Objective
from service.deploy import deploy
from service.errors import BadRequest
from service.gateway import Gateway
from service.run import _kinds
from service.scaling import Scaling

SIZE = 8


def net(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(rng.normal(size=(SIZE, SIZE)).astype(np.float32), name)
        for name in ("w0", "w1")
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w0"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "w1"], ["y"]),
        ],
        f"net{seed}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, SIZE])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    slices = {"fpga-sim:0": 2}
    with Pool(tmp_path / "root", ("fpga-sim:0",), tmp_path / "state", slices=slices) as pool:
        yield pool


def test_two_models_share_one_fabric_and_answer_as_if_each_had_it_alone(
    pool: Pool, tmp_path: Path
) -> None:
    gateway, x = Gateway(), np.random.default_rng(3).normal(size=(6, 1, SIZE)).astype(np.float32)
    expected = {}
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.onnx").write_bytes(net(seed))
        deploy(gateway, pool, name, tmp_path / f"{name}.onnx", target="npu:nano")
        with hal.serve(net(seed), device="cpu:0", target="npu:nano") as model:
            expected[name] = [model(row) for row in x]

    async def ask() -> dict[str, list[np.ndarray]]:
        async def one(name: str, row: np.ndarray) -> np.ndarray:
            return (await gateway.infer(name, "", {"x": row})).outputs["y"]

        asked = {name: [one(name, row) for row in x] for name in ("a", "b")}
        return {name: list(await asyncio.gather(*each)) for name, each in asked.items()}

    found = asyncio.run(ask())
    for name in ("a", "b"):
        np.testing.assert_array_equal(found[name], expected[name])
    status = Control(pool.root, "fpga-sim:0").status()
    assert len(status.sessions) == 2 and status.overlay_swaps <= 1
    assert {job.device for job in pool.jobs()} == {"fpga-sim:0"}
    gateway.close()


def test_a_model_goes_to_the_fpga_that_holds_its_overlay(tmp_path: Path) -> None:
    devices = ("fpga-sim:0", "fpga-sim:1")
    (tmp_path / "a.onnx").write_bytes(net(1))
    state, slices = tmp_path / "state", {"fpga-sim": 2}
    with Pool(tmp_path / "root", devices, state, slices=slices, policy="elastic") as pool:
        gateway = Gateway()
        other = JobSpec("other", "bob", "standard", "fpga-sim", overlay="another")
        with pool.lease(other, 60) as first:
            for name in ("a", "b"):
                job = deploy(gateway, pool, name, tmp_path / "a.onnx", target="npu:nano")
                assert pool.job(job).device != first.device
        gateway.close()


def test_models_need_a_slice_each() -> None:
    models = [Path("a.onnx"), Path("b.onnx")]
    assert _kinds(models, ["fpga-sim:0"], None, 2) == ["fpga-sim"] * 2
    with pytest.raises(BadRequest, match="--slices"):
        _kinds(models, ["fpga-sim:0"], None, 1)


@pytest.mark.parametrize(("least", "most"), [(2, 3), (1, 4)])
def test_replicas_that_would_wait_for_ever_are_refused(least: int, most: int) -> None:
    models, devices = [Path("a.onnx"), Path("b.onnx")], ["cpu:0", "cpu:1", "opencl:0"]
    scaling = Scaling(least, most, Objective(0.2))
    assert _kinds(models, devices, scaling, 2) == ["cpu", "cpu"]
    with pytest.raises(BadRequest, match=f"2 models with {least} to {most} replicas"):
        _kinds(models, devices, scaling, 1)
