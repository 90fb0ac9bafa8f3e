"""Train small nets, write them as ONNX: `python examples/models/train.py [NAME ...] --out models/`

All of it is here and in the two files beside: NumPy, data that scikit-learn ships, and onnx's
helpers. For each net it writes NAME.onnx, checked against onnxruntime, and NAME.npz: the samples
that were held out and their labels, as `python -m compiler NAME.onnx --samples NAME.npz` takes
them. A seed makes the run repeatable; all of them take some seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from layers import Array, Conv, Dense, Flatten, Layer, MaxPool, OnnxGraph, Relu
from onnx import TensorProto, helper
from recurrent import Gru, Lstm
from sklearn.datasets import load_breast_cancer, load_digits

SEED = 7
BATCH = 64
HELD_OUT_OF = 3  # one sample in three is held out
OPSET, IR_VERSION = 17, 8
TOLERANCE = 1e-4  # on probabilities, against onnxruntime: sums in another order


@dataclass(frozen=True)
class Data:
    x: Array  # [count, ...], batches first
    labels: Array
    train: Array  # numbers of samples
    held_out: Array


def split(x: Array, labels: Array) -> Data:
    order = np.random.default_rng(SEED).permutation(len(x))
    cut = len(x) // HELD_OUT_OF
    return Data(x.astype(np.float32), labels, np.sort(order[cut:]), np.sort(order[:cut]))


def digits(*shape: int) -> Data:
    """1797 images of 8 x 8 pixels, in the shape asked for."""
    pixels, labels = load_digits(return_X_y=True)
    return split((pixels / 16).reshape(-1, *shape), labels)


def tumours() -> Data:
    """569 tumours, 30 measures each, of which mean and spread are taken out."""
    x, labels = load_breast_cancer(return_X_y=True)
    return split((x - x.mean(0)) / x.std(0), labels)


@dataclass(frozen=True)
class Recipe:
    data: Callable[[], Data]
    build: Callable[[np.random.Generator], list[Layer]]
    epochs: int
    rate: float = 1e-2


RECIPES = {
    "mlp": Recipe(
        lambda: digits(64), lambda rng: [Dense(rng, 64, 48), Relu(), Dense(rng, 48, 10)], 60
    ),
    "tumours": Recipe(
        tumours,
        lambda rng: [
            Dense(rng, 30, 32), Relu(), Dense(rng, 32, 32), Relu(), Dense(rng, 32, 2)
        ],
        30,
    ),
    "cnn": Recipe(
        lambda: digits(1, 8, 8),
        lambda rng: [
            Conv(rng, 1, 8), Relu(), MaxPool(), Conv(rng, 8, 16), Relu(), MaxPool(), Flatten(),
            Dense(rng, 64, 10),
        ],
        30,
    ),
    "lstm": Recipe(lambda: digits(8, 8), lambda rng: [Lstm(rng, 8, 32), Dense(rng, 32, 10)], 60),
    "gru": Recipe(lambda: digits(8, 8), lambda rng: [Gru(rng, 8, 32), Dense(rng, 32, 10)], 60),
}  # fmt: skip


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def predict(net: Sequence[Layer], x: Array) -> Array:
    for layer in net:
        x = layer.forward(x)
    return softmax(x)


def train(recipe: Recipe, data: Data) -> list[Layer]:
    """By Adam, on the cross entropy."""
    rng = np.random.default_rng(SEED)
    net = recipe.build(rng)
    moments: dict[tuple[int, str], tuple[Array | float, Array | float]] = {}
    step = 0
    for epoch in range(recipe.epochs):
        rate = recipe.rate * (1 - epoch / recipe.epochs)
        order = rng.permutation(data.train)
        for at in range(0, len(order), BATCH):
            chosen = order[at : at + BATCH]
            slope = predict(net, data.x[chosen])
            slope[np.arange(len(chosen)), data.labels[chosen]] -= 1
            slope /= len(chosen)
            for layer in reversed(net):
                slope = layer.backward(slope)
            step += 1
            for index, layer in enumerate(net):
                for name, g in layer.slopes.items():
                    m, v = moments.get((index, name), (0.0, 0.0))
                    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                    moments[index, name] = m, v
                    change = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
                    layer.weights[name] -= (rate * change).astype(np.float32)
    return net


def model_input(data: Data, chosen: Array) -> Array:
    """One sample a row, each as the model takes it: with its batch of one. A sequence's first axis
    is time."""
    x = data.x[chosen]
    return x[:, :, None] if x.ndim == 3 else x[:, None]


def export(name: str, net: Sequence[Layer], data: Data) -> bytes:
    """As ONNX. The batch is symbolic, and so is a sequence's length: one file serves a whole
    sequence and a step at a time."""
    graph, value = OnnxGraph(), "x"
    for index, layer in enumerate(net):
        value = layer.to_onnx(graph, value, f"{index}.{type(layer).__name__.lower()}")
    graph.node("Softmax", [value], ["p"], axis=1)
    sample: Any = data.x.shape[1:]
    shape = ["steps", "batch", sample[1]] if len(sample) == 2 else ["batch", *sample]
    classes = int(data.labels.max()) + 1
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", classes])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="haltere-examples",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def check(model: bytes, net: Sequence[Layer], data: Data) -> float:
    """Held-out accuracy by onnxruntime, which must say what the net says."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = [session.run(["p"], {"x": x})[0][0] for x in model_input(data, data.held_out)]
    found, expected = np.stack(rows), predict(net, data.x[data.held_out])
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"onnxruntime differs from the trained net by {difference:.2g}")
    return float((found.argmax(1) == data.labels[data.held_out]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--out", type=Path, default=Path("models"))
    args = parser.parse_args()
    if unknown := set(args.names) - set(RECIPES):
        parser.error(f"no net {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or RECIPES:
        begin = time.perf_counter()
        data = RECIPES[name].data()
        net = train(RECIPES[name], data)
        model = export(name, net, data)
        accuracy = check(model, net, data)
        (args.out / f"{name}.onnx").write_bytes(model)
        samples = {"x": model_input(data, data.held_out), "labels": data.labels[data.held_out]}
        np.savez(args.out / f"{name}.npz", **samples)
        taken = time.perf_counter() - begin
        print(f"{name}: held-out accuracy {accuracy:.4f} by onnxruntime, {taken:.1f} s", flush=True)


if __name__ == "__main__":
    main()
