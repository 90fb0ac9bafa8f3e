"""Trained weights to ONNX: `python -m service.demo.export weights.npz models/`.

The batch dimension is symbolic, so one file serves a whole test set on a CPU and one image at a
time on an FPGA. Every model is checked, run by onnxruntime and held against the NumPy forward
before it is written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.demo.data import Digits, load_digits
from service.demo.nets import NETS, Lstm, Mlp, Net, Vector, load_weights, vector_of
from service.demo.progress import say

OPSET = 17
IR_VERSION = 8  # the one of opset 17: read by every runtime since 2022
INPUT = {"mlp": "pixels", "lstm": "rows"}
OUTPUT = "probabilities"
BATCH = "batch"
TOLERANCE = 1e-5  # float32 sums in another order, on probabilities


class ExportError(Exception):
    """A model does not compute what the trained net computes."""

    code = "export_error"
    disposition = "fatal"


def export(net: Net, vector: Vector) -> bytes:
    """The net as a checked ONNX model."""
    if isinstance(net, Mlp):
        graph = _mlp(net, vector)
    else:
        assert isinstance(net, Lstm), f"no exporter for {net.name}"
        graph = _lstm(net, vector)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="haltere",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def model_input(net: Net, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images [n, pixels] as the exported model takes them: the LSTM's time axis comes first."""
    if isinstance(net, Lstm):
        rows = images.reshape(len(images), net.steps, net.row)
        return np.ascontiguousarray(rows.transpose(1, 0, 2))
    return images


def run_onnx(model: bytes, net: Net, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities by onnxruntime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run([OUTPUT], {INPUT[net.name]: model_input(net, images)})
    return np.asarray(probabilities, np.float32)


def check(model: bytes, net: Net, vector: Vector, images: NDArray[np.float32]) -> float:
    """Largest difference to the NumPy forward. Raises ExportError above the tolerance."""
    difference = float(np.abs(run_onnx(model, net, images) - net.predict(vector, images)).max())
    if not difference <= TOLERANCE:
        raise ExportError(
            f"the {net.name} model as run by onnxruntime differs from the trained net by "
            f"{difference:.3g} (allowed: {TOLERANCE:g}); the weights file does not fit the net"
        )
    return difference


def export_all(weights_path: Path, folder: Path, digits: Digits) -> dict[str, Path]:
    """Every net in the weights file to `folder`/<net>.onnx, checked on the held-out images."""
    weights = load_weights(weights_path)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, kind in NETS.items():
        if not any(key.startswith(f"{name}.") for key in weights):
            continue
        net = kind()
        vector = vector_of(net, weights)
        model = export(net, vector)
        check(model, net, vector, digits.held_out_images)
        written[name] = folder / f"{name}.onnx"
        partial = folder / f".{name}.{os.getpid()}.partial"
        partial.write_bytes(model)
        partial.replace(written[name])
    return written


# ---- the two graphs


def _mlp(net: Mlp, vector: Vector) -> Any:
    w = net.unpack(vector)
    nodes = [
        helper.make_node(
            "Gemm", [INPUT[net.name], "hidden.weights", "hidden.bias"], ["hidden"], name="hidden"
        ),
        helper.make_node("Relu", ["hidden"], ["active"], name="rectifier"),
        *_head("active"),
    ]
    return _graph(net, nodes, w, [BATCH, net.inputs])


def _lstm(net: Lstm, vector: Vector) -> Any:
    """ONNX wants [direction, 4 hidden, inputs] and both biases; the second is zero here."""
    w = net.unpack(vector)
    joined = w.pop("lstm.weights")
    bias = w.pop("lstm.bias")
    w["lstm.W"] = joined[: net.row].T[None]
    w["lstm.R"] = joined[net.row :].T[None]
    w["lstm.B"] = np.concatenate([bias, np.zeros_like(bias)])[None]
    nodes = [
        helper.make_node(
            "LSTM",
            [INPUT[net.name], "lstm.W", "lstm.R", "lstm.B"],
            ["", "last.h"],
            name="lstm",
            hidden_size=net.hidden,
        ),
        helper.make_node("Squeeze", ["last.h", "direction"], ["last"], name="last"),
        *_head("last"),
    ]
    direction = numpy_helper.from_array(np.zeros(1, np.int64), "direction")
    return _graph(net, nodes, w, [net.steps, BATCH, net.row], direction)


def _head(source: str) -> list[Any]:
    return [
        helper.make_node("Gemm", [source, "head.weights", "head.bias"], ["logits"], name="head"),
        helper.make_node("Softmax", ["logits"], [OUTPUT], name="softmax", axis=1),
    ]


def _graph(net: Net, nodes: list[Any], weights: Any, shape: list[int | str], *more: Any) -> Any:
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(array), name)
        for name, array in weights.items()
    ]
    return helper.make_graph(
        nodes,
        f"digits-{net.name}",
        [helper.make_tensor_value_info(INPUT[net.name], TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [BATCH, net.classes])],
        [*constants, *more],
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m service.demo.export", description="Write trained nets as ONNX."
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(argv)
    digits = load_digits()
    for name, path in export_all(args.weights, args.folder, digits).items():
        probabilities = run_onnx(path.read_bytes(), NETS[name](), digits.held_out_images)
        right = float(np.mean(probabilities.argmax(1) == digits.held_out_labels))
        say(f"{path}: held-out accuracy by onnxruntime {right:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
