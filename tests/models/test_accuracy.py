"""Trained nets on the NPU's arithmetic: at five and at seven mantissa bits no more than a point of
top-1 is lost against float32, on all samples that were held out."""

from __future__ import annotations

import numpy as np
import pytest

from compiler import Emulator, compile_onnx
from compiler.report import reference_results, snr_db

pytestmark = pytest.mark.xdist_group("models")
MAX_LOSS = 0.01
NETS = ["mlp", "tumours", "cnn", "lstm", "gru"]
DIMS = {"lstm": {"steps": 8}, "gru": {"steps": 8}}


def scores(trained, net: str, mant: int) -> tuple[float, float, float]:
    """Top-1 in float32 and on the NPU, and the SNR of what it answers."""
    x, labels = trained.samples(net)
    model = trained.path(net).read_bytes()
    compiled = compile_onnx(model, f"npu:sim-m{mant}", dims=DIMS.get(net))
    found = Emulator(compiled).run_many({"x": x})["p"]
    exact = reference_results(model, {"x": x})["p"]
    exact_right, right = (
        float(np.mean(p.reshape(len(labels), -1).argmax(1) == labels)) for p in (exact, found)
    )
    return exact_right, right, snr_db(exact, found)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("mant", [5, 7])
def test_a_trained_net_loses_no_more_than_a_point(trained, net: str, mant: int) -> None:
    exact, found, _ = scores(trained, net, mant)
    assert exact > 0.94
    assert found >= exact - MAX_LOSS


@pytest.mark.parametrize("net", NETS)
def test_every_mantissa_bit_counts(trained, net: str) -> None:
    """So the gates measure the format and not chance: with two bits the answers are far worse."""
    wide, narrow = scores(trained, net, 7)[2], scores(trained, net, 2)[2]
    assert wide - narrow > 20
