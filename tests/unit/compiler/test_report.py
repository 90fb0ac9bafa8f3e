"""The report: accuracy against onnxruntime, cycles from a device, and the command printing it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from compiler import CompiledModel, compile_onnx
from compiler.__main__ import main
from compiler.driver import symbols
from compiler.errors import BadInput, CompileError, MalformedModel
from compiler.report import make_report, random_samples, snr_db, split_samples


@pytest.fixture(scope="module")
def digits(models):
    """A trained classifier of handwritten digits, and images it has not seen."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    fitted = LogisticRegression(max_iter=100).fit(images[:1200], labels[:1200])
    nodes = [
        models.node("Gemm", ["x", "w", "b"], ["z"], transB=1),
        models.node("Softmax", ["z"], ["p"], axis=1),
    ]
    constants = {
        "w": fitted.coef_.astype(np.float32),
        "b": fitted.intercept_.astype(np.float32),
    }
    model = models.build(nodes, {"x": [None, 64]}, {"p": [None, 10]}, constants)
    return model, images[1200:], labels[1200:]


def test_a_trained_classifier_keeps_its_accuracy_on_the_npu(digits):
    model, images, labels = digits
    compiled = compile_onnx(model, "npu:sim")
    inputs, named = split_samples(compiled, {"x": images, "labels": labels})
    output = make_report(model, compiled, inputs, named).outputs[0]
    assert output.top1_labels_reference > 0.85
    assert output.top1_labels >= output.top1_labels_reference - 0.01
    assert output.top1_agreement > 0.99
    assert output.snr_db > 37


def test_a_report_counts_what_the_model_uses(models):
    model = models.mlp(64, 32, 10)
    report = make_report(model, compile_onnx(model, "npu:nano"))
    assert report.memory["MatrixRf tiles"] == (10, 16)
    assert report.macs == 64 * 32 + 32 * 10
    assert report.measured is None and "no device" in report.not_measured
    assert json.loads(json.dumps(report.as_json()))["instructions"] == report.instructions


def test_a_report_measures_cycles_on_a_device(models, golden):
    model = models.mlp(64, 32, 10)
    compiled = compile_onnx(model, "npu:nano").with_overlay("ab" * 32)
    _, context = golden("nano")
    measured = make_report(model, compiled, context=context).measured
    assert measured is not None and measured.equals_emulator
    assert measured.cycles_per_inference == golden.CYCLES
    assert measured.utilization == pytest.approx((64 * 32 + 32 * 10) / (golden.CYCLES * 16 * 16))
    assert measured.stats["tiles"] == 10


def test_a_report_has_every_layer_with_its_work_and_its_exactness(models):
    model = models.lstm(8, 32, 8, classes=10)
    compiled = compile_onnx(model, "npu:sim")
    report = make_report(model, compiled)
    constants, lstm, weights, dense = report.layers
    assert [each.op for each in report.layers] == ["load", "lstm", "load", "linear"]
    assert weights.tiles == 9 and constants.tiles == lstm.tiles == dense.tiles == 0
    assert lstm.macs == 8 * 4 * 32 * (8 + 32) and dense.macs == 320
    assert lstm.beats == 8 * (4 + 4) and dense.beats == 1
    assert lstm.bound_cycles == 8 * (5 + 19) and dense.bound_cycles == 1
    assert sum(layer.macs for layer in report.layers) == report.macs
    assert constants.cycles > 0 and lstm.cycles > lstm.bound_cycles and dense.cycles > 1
    assert weights.snr_db is None
    assert lstm.snr_db is not None and lstm.snr_db > 37
    assert dense.snr_db is not None and dense.snr_db > 30
    fields = json.loads(json.dumps(report.as_json()))["layers"]
    assert [each["name"] for each in fields] == ["constants", lstm.name, "weights", dense.name]
    assert fields[1]["padded_share"] == pytest.approx(64 / lstm.cycles)


def test_layers_with_several_samples_a_launch_count_them_all(models):
    model = models.mlp(64, 32, 10)
    one, four = (
        {
            layer.name: layer
            for layer in make_report(model, compile_onnx(model, "npu:sim", samples=samples)).layers
        }
        for samples in (1, 4)
    )
    assert one.keys() == four.keys()
    for name in ("Gemm_0", "Gemm_2"):
        assert 4 * one[name].beats == four[name].beats
        assert one[name].snr_db == four[name].snr_db
    assert one["weights"].tiles == four["weights"].tiles


def test_a_layers_error_is_seen_where_it_is_made(models):
    """Weights of the second layer that the format cannot hold well spoil it and what follows."""
    weights = models.weights(1, 32, 32)
    weights[:, 0] *= 3000  # one exponent a row: the others are lost
    nodes = [
        models.node("MatMul", ["x", "w0"], ["a"]),
        models.node("MatMul", ["a", "w1"], ["b"]),
        models.node("MatMul", ["b", "w0"], ["y"]),
    ]
    constants = {"w0": models.weights(2, 32, 32), "w1": weights.T.copy()}
    constants["w1"][0] = 0
    constants["w1"][0, 0] = 1
    model = models.build(nodes, {"x": [1, 32]}, {"y": [1, 32]}, constants)
    layers = make_report(model, compile_onnx(model, "npu:sim")).layers
    first, second, third = (layer.snr_db for layer in layers if layer.op == "linear")
    assert first > 37 and second < first - 3 and third < first - 3


def test_snr_is_infinite_for_equal_arrays_and_falls_with_the_error():
    x = np.ones(4, np.float32)
    assert snr_db(x, x) == float("inf")
    assert snr_db(x, x + np.float32(0.1)) == pytest.approx(20, abs=0.01)


def test_samples_that_do_not_fit_the_model_are_refused(models):
    compiled = compile_onnx(models.mlp(64, 32, 10), "npu:nano")
    good = random_samples(compiled, 3)["x"].reshape(3, 8, 8)  # another shape, as many elements
    assert split_samples(compiled, {"x": good})[0]["x"].shape == (3, 1, 64)
    for arrays in ({}, {"x": good[:, :4]}, {"x": good, "labels": np.zeros(4)}, {"x": good[:0]}):
        with pytest.raises(BadInput):
            split_samples(compiled, arrays)


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"labels": np.array([0, 9, 10])}, "labels go from 0 to 10; the model has 10 classes"),
        ({"labels": np.array([-1, 0, 1])}, "labels go from -1 to 1"),
        ({"labels": np.array([0, 0.5, 1])}, "labels are float64; they are numbers of classes"),
        ({"labels": np.array(["a", "b", "c"])}, "they are numbers of classes"),
        ({"x": np.zeros((3, 64), complex)}, "input 'x' is complex"),
        ({"x": np.array(["a"] * 192).reshape(3, 64)}, "input 'x' is no array of numbers"),
    ],
)
def test_samples_that_mean_nothing_are_refused_by_name(models, arrays, what):
    compiled = compile_onnx(models.mlp(64, 32, 10), "npu:nano")
    good = {"x": np.zeros((3, 64), np.float32), "labels": np.array([0.0, 9.0, 3.0])}
    assert split_samples(compiled, good)[1].tolist() == [0, 9, 3]
    with pytest.raises(BadInput, match=what):
        split_samples(compiled, good | arrays)


def test_an_input_of_another_type_than_float32_is_refused_with_its_type(models):
    proto = models.proto(models.mlp(8, 4))
    proto.graph.input[0].type.tensor_type.elem_type = 11
    with pytest.raises(MalformedModel, match="'x' is double; inputs must be tensors of float32"):
        compile_onnx(proto.SerializeToString())


def test_the_command_prints_a_report_and_keeps_the_model(models, tmp_path: Path, capsys):
    source, samples, output = (tmp_path / name for name in ("m.onnx", "s.npz", "m.npu"))
    source.write_bytes(models.mlp(64, 32, 10))
    np.savez(samples, x=np.zeros((2, 64), np.float32), labels=np.zeros(2, np.int64))
    flags = ["--target", "npu:nano", "--device", "none", "--samples", str(samples)]
    assert main([str(source), *flags, "--json", "--output", str(output)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 2 and report["target"] == "npu:nano"
    assert CompiledModel.from_bytes(output.read_bytes()).target == "npu:nano"
    picture = tmp_path / "m.png"
    assert main([str(source), *flags, "--listing", "--picture", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10000
    printed = capsys.readouterr().out
    assert "mv_mul" in printed and "MatrixRf tiles" in printed


def scaled(models, by: float) -> bytes:
    node = models.node("MatMul", ["x", "w"], ["y"])
    constants = {"w": models.weights(2, 16, 16) * np.float32(by)}
    return models.build([node], {"x": [1, 16]}, {"y": [1, 16]}, constants)


@pytest.mark.parametrize(
    ("by", "times", "told"),
    [
        (1.0, 1.0, ()),
        (1e-6, 1.0, ("constant 'w': 100% of its rows lie below 6.10e-05", "SNR 0.0 dB is below")),
        (1e-6, 1e4, ("constant 'w'",)),  # right, though: the inputs make up for it
        (1e5, 10.0, ("saturated ", "output 'y': SNR ")),
        (1.0, 1e6, ("input 'x' reaches ", "saturated ", "output 'y': SNR ")),
    ],
)
def test_a_report_says_aloud_what_was_lost(models, by, times, told):
    model = scaled(models, by)
    compiled = compile_onnx(model, "npu:nano")
    inputs = {"x": random_samples(compiled, 300)["x"] * np.float32(times)}
    concerns = make_report(model, compiled, inputs).concerns
    assert len(concerns) == len(told), concerns
    for concern, start in zip(concerns, told, strict=True):
        assert start in concern


def test_the_command_warns_in_words_and_in_json(models, tmp_path, capsys):
    source = tmp_path / "m.onnx"
    source.write_bytes(scaled(models, 1e-6))
    flags = [str(source), "--target", "npu:nano", "--device", "none"]
    assert main(flags) == 0
    assert "warning: constant 'w'" in capsys.readouterr().out
    assert main([*flags, "--json"]) == 0
    assert "constant 'w'" in json.loads(capsys.readouterr().out)["concerns"][0]


def named(models, name: str) -> bytes:
    """A model with this name everywhere."""
    node = models.node("MatMul", ["x", "w"], [name], name=name)
    constants = {"w": models.weights(2, 16, 16)}
    proto = models.proto(models.build([node], {"x": [1, 16]}, {name: [1, 16]}, constants))
    proto.graph.name = name
    return proto.SerializeToString()


@pytest.mark.parametrize("name", ["[/w]", "[red]a[/red]", ":smile:", "$\\bad{$"])
def test_a_name_is_shown_as_it_is_whatever_it_means_elsewhere(models, tmp_path, capsys, name):
    source, picture = tmp_path / "m.onnx", tmp_path / "m.png"
    source.write_bytes(named(models, name))
    flags = ["--target", "npu:nano", "--device", "none", "--picture", str(picture)]
    assert main([str(source), *flags]) == 0
    assert capsys.readouterr().out.count(name) >= 3  # model, output, layer
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_place_that_cannot_be_written_is_told_before_the_work(models, tmp_path, capsys):
    for flag in ("--output", "--picture"):
        for place, what in ((tmp_path / "no" / "x", "there is no folder"), (tmp_path, "a folder;")):
            assert main(["absent.onnx", "--device", "none", flag, str(place)]) == 1
            told = capsys.readouterr().err
            assert what in told and "absent.onnx" not in told


def test_a_picture_that_fails_in_the_end_leaves_the_printed_report(
    models, tmp_path, capsys, monkeypatch
):
    source = tmp_path / "m.onnx"
    source.write_bytes(models.mlp(8, 4))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("compiler.__main__.write_picture", full)
    flags = ["--target", "npu:nano", "--device", "none", "--picture", str(tmp_path / "m.png")]
    assert main([str(source), *flags]) == 1
    told = capsys.readouterr()
    assert "MatrixRf tiles" in told.out and "No space left on device" in told.err


@pytest.mark.parametrize(
    ("content", "flags", "code"),
    [
        (b"junk", [], "malformed_model"),
        (None, [], "malformed_model"),
        ("mlp", ["--target", "npu:x"], "unknown_target"),
        ("mlp", ["--samples", "absent.npz"], "bad_input"),
        ("mlp", ["--dim", "batch"], "compile_error"),
    ],
)
def test_the_command_says_what_is_wrong_by_code(models, tmp_path, capsys, content, flags, code):
    source = tmp_path / "m.onnx"
    if content is not None:
        source.write_bytes(models.mlp(8, 4) if content == "mlp" else content)
    assert main([str(source), "--device", "none", *flags]) == 1
    assert code in capsys.readouterr().err


@pytest.mark.parametrize(("device", "code"), [("foo", "usage_error"), ("cpux:0", "device_lost")])
def test_a_mistyped_device_fails_before_the_work(capsys, device, code):
    assert main(["absent.onnx", "--device", device]) == 1
    told = capsys.readouterr().err
    assert code in told and repr(device) in told and "absent.onnx" not in told


def test_a_target_without_a_shipped_overlay_is_reported_on_and_told_where_it_runs(
    models, tmp_path, capsys
):
    source = tmp_path / "m.onnx"
    source.write_bytes(models.mlp(8, 4))
    assert main([str(source), "--target", "npu:edge", "--json"]) == 0
    reason = json.loads(capsys.readouterr().out)["not_measured"]
    assert "for target npu:edge" in reason and "cpu:0 runs it" in reason


def test_a_compiled_image_given_to_the_compiler_is_called_one(models, tmp_path, capsys):
    image = tmp_path / "m.npu"
    image.write_bytes(compile_onnx(models.mlp(8, 4)).to_bytes())
    assert main([str(image), "--device", "none"]) == 1
    assert "m.npu is compiled already" in capsys.readouterr().err
    with pytest.raises(CompileError, match="the model is compiled already"):
        symbols(image.read_bytes())
