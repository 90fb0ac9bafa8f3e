"""Exported models compute what the nets compute, as onnxruntime sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from service.demo.data import Digits
from service.demo.export import (
    INPUT,
    OUTPUT,
    ExportError,
    check,
    export,
    export_all,
    main,
    model_input,
    run_onnx,
)
from service.demo.nets import NETS, Net, named, save_weights


def lively(net: Net) -> np.ndarray:
    """Weights with no zero bias, so that a forgotten or misplaced one shows."""
    rng = np.random.default_rng(2)
    return (net.first_weights(2) + rng.normal(0, 0.2, net.size)).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
def test_the_model_computes_what_the_net_computes(name: str, digits: Digits) -> None:
    net = NETS[name]()
    vector = lively(net)
    model = export(net, vector)
    probabilities = run_onnx(model, net, digits.held_out_images)
    expected = net.predict(vector, digits.held_out_images)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=2e-6)
    assert np.ptp(expected, axis=0).min() > 0.01  # the answers depend on the image
    assert check(model, net, vector, digits.held_out_images) < 2e-6


@pytest.mark.parametrize("name", NETS)
def test_one_image_at_a_time_gives_the_row_of_the_batch(name: str, digits: Digits) -> None:
    net = NETS[name]()
    model = export(net, lively(net))
    images = digits.held_out_images[:5]
    single = run_onnx(model, net, images[3:4])
    np.testing.assert_allclose(single[0], run_onnx(model, net, images)[3], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NETS)
def test_the_model_names_its_ends_and_an_opset_that_runtimes_read(name: str) -> None:
    net = NETS[name]()
    model = onnx.load_from_string(export(net, lively(net)))
    assert [item.name for item in model.graph.input] == [INPUT[name]]
    assert [item.name for item in model.graph.output] == [OUTPUT]
    assert model.opset_import[0].version <= 21


def test_the_models_hold_only_operators_that_the_compiler_is_asked_for() -> None:
    operators = {
        node.op_type
        for kind in NETS.values()
        for node in onnx.load_from_string(export(kind(), lively(kind()))).graph.node
    }
    assert operators == {"Gemm", "Relu", "LSTM", "Squeeze", "Softmax"}


def test_the_lstm_takes_time_first(digits: Digits) -> None:
    net = NETS["lstm"]()
    rows = model_input(net, digits.held_out_images[:3])
    assert rows.shape == (8, 3, 8)
    assert np.array_equal(rows[2, 1], digits.held_out_images[1, 16:24])


def test_a_model_of_other_weights_is_found_out(digits: Digits) -> None:
    net = NETS["mlp"]()
    vector = lively(net)
    other = vector.copy()
    other[net.at("head.bias")] += 0.01
    with pytest.raises(ExportError, match="differs from the trained net"):
        check(export(net, other), net, vector, digits.held_out_images)


def test_only_the_nets_in_the_file_are_exported(
    tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    net = NETS["lstm"]()
    save_weights(tmp_path / "weights.npz", named([(net, lively(net))]))
    written = export_all(tmp_path / "weights.npz", tmp_path / "models", digits)
    assert written == {"lstm": tmp_path / "models" / "lstm.onnx"}
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["lstm.onnx"]
    assert main([str(tmp_path / "weights.npz"), str(tmp_path / "models")]) == 0
    assert "lstm.onnx: held-out accuracy by onnxruntime 0." in capsys.readouterr().out
