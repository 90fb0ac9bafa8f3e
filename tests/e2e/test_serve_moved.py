"""A session behind a proxy, whose device is taken away and replaced while it answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.errors import HalError
from hal.testing.fpga_sim import absence
from proxy.errors import ProxyError
from proxy.launcher import spawn
from proxy.move import move
from proxy.paths import ROOT_VARIABLE, SESSION_VARIABLE

pytestmark = pytest.mark.skipif(absence() is not None, reason=str(absence()))
FEATURES, HIDDEN, CALLS = 8, 16, 60
FPGAS = ("fpga-sim:0", "fpga-sim:1")
BOUND_S = 120.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("root")
    servers = [spawn(device, root, tied=True) for device in (*FPGAS, "cpu:0")]
    yield root
    for server in servers:
        server.stop()


def step_model() -> bytes:
    """One step of an LSTM that says nothing of its states."""
    rng = np.random.default_rng(5)
    shapes = {"w": (1, 4 * HIDDEN, FEATURES), "r": (1, 4 * HIDDEN, HIDDEN)}
    weights = [
        numpy_helper.from_array(rng.uniform(-0.3, 0.3, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=HIDDEN)],
        "step",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, HIDDEN])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def test_a_session_whose_device_is_moved_keeps_every_bit_and_cycle(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    xs = np.random.default_rng(6).standard_normal((CALLS, 1, 1, FEATURES)).astype(np.float32)
    model, seen, failed = step_model(), [], []
    with hal.serve(model, "proxy:cpu:0", target="npu:nano") as m:
        calm = m.session()
        expected = [calm(x) for x in xs]
    monkeypatch.setenv(SESSION_VARIABLE, "talk")
    with hal.serve(model, f"proxy:{FPGAS[0]}", target="npu:nano") as m:
        enough = threading.Event()

        def talk() -> None:
            try:
                while not enough.is_set():
                    s = m.session()
                    for x in xs:
                        seen.append((s(x), m.last_cycles))
            except BaseException as error:  # noqa: BLE001  (told by the test's thread)
                failed.append(error)

        client = threading.Thread(target=talk)
        client.start()
        for hop in range(3):
            move(root, "talk", FPGAS[hop % 2], FPGAS[(hop + 1) % 2], tmp_path / "store")
        enough.set()
        client.join(BOUND_S)
        assert not client.is_alive() and not failed, failed
    for index, (answer, _) in enumerate(seen):
        np.testing.assert_array_equal(answer, expected[index % CALLS])
    assert len({cycles for _, cycles in seen}) == 1


def test_a_session_outlives_the_server_of_its_device(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, not moved: a call is lost, and what the session remembers is not."""
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    xs = np.random.default_rng(7).standard_normal((6, 1, 1, FEATURES)).astype(np.float32)
    model = step_model()
    with hal.serve(model, "cpu:1", target="npu:nano") as m:
        calm = m.session()
        expected = [calm(x) for x in xs]
    doomed = spawn("cpu:0", root, "doomed", tied=True)
    with hal.serve(model, "proxy:doomed", target="npu:nano") as m:
        s = m.session()
        answers = [s(x) for x in xs[:3]]
        doomed.kill()
        with pytest.raises((HalError, ProxyError)) as lost:
            s(xs[3])
        assert lost.value.disposition == "migrate"
        assert s.calls == 3
    with hal.serve(model, "proxy:cpu:0", target="npu:nano") as m:
        s = m.session(s.state())
        answers += [s(x) for x in xs[3:]]
    np.testing.assert_array_equal(answers, expected)
