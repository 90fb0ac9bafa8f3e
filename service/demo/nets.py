"""The two nets as values: where each parameter lies, first weights, forward pass in NumPy, files.

A net's parameters lie in one flat float32 vector, the way the device holds them, and are named by
slots. The NumPy forward is the reference that the kernels and the exported ONNX are held against.
It may not know of devices.
"""

from __future__ import annotations

import hashlib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.demo.data import CLASSES, PIXELS, SIDE

Floats = NDArray[Any]  # float32 in use, float64 where a test wants to know better
Vector = NDArray[np.float32]
Weights = Mapping[str, Vector]  # parameter name -> array in the slot's shape

FORGET_BIAS = 1.0  # an LSTM that remembers at first learns faster


@dataclass(frozen=True, slots=True)
class Slot:
    """One parameter: `size` numbers from `at` in the net's vector."""

    name: str
    shape: tuple[int, ...]
    at: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        return self.at + self.size


class Net(ABC):
    """What both nets share. Immutable: the numbers live outside."""

    name: str

    def __init__(self, inputs: int, classes: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.inputs = inputs
        self.classes = classes
        slots: list[Slot] = []
        for name, shape in shapes.items():
            slots.append(Slot(name, shape, slots[-1].end if slots else 0))
        self.slots = tuple(slots)
        self.size = slots[-1].end
        self._by_name = {slot.name: slot for slot in slots}

    def at(self, name: str) -> int:
        """Where parameter `name` starts in the vector."""
        return self._by_name[name].at

    def shape(self, name: str) -> tuple[int, ...]:
        return self._by_name[name].shape

    def unpack(self, vector: Floats) -> dict[str, Floats]:
        """Views of the vector by name."""
        return {slot.name: vector[slot.at : slot.end].reshape(slot.shape) for slot in self.slots}

    def pack(self, weights: Mapping[str, Floats]) -> Vector:
        return np.concatenate([weights[slot.name].ravel() for slot in self.slots], dtype=np.float32)

    def first_weights(self, seed: int) -> Vector:
        """Glorot-uniform matrices and zero biases from the seed."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        vector = np.zeros(self.size, np.float32)
        for slot in self.slots:
            if len(slot.shape) == 2:
                bound = math.sqrt(6.0 / sum(slot.shape))
                vector[slot.at : slot.end] = rng.uniform(-bound, bound, slot.size)
        return vector

    @abstractmethod
    def logits(self, vector: Floats, images: Floats) -> Floats:
        """Forward pass in the precision of its arguments: [n, inputs] to [n, classes]."""

    def predict(self, vector: Floats, images: Floats) -> Floats:
        """Class probabilities."""
        return softmax(self.logits(vector, images))

    def accuracy(self, vector: Floats, images: Floats, labels: NDArray[np.int32]) -> float:
        return float(np.mean(self.logits(vector, images).argmax(1) == labels))


class Mlp(Net):
    """inputs - hidden - classes with a rectifier between."""

    name = "mlp"

    def __init__(self, inputs: int = PIXELS, hidden: int = 32, classes: int = CLASSES) -> None:
        self.hidden = hidden
        super().__init__(
            inputs,
            classes,
            {
                "hidden.weights": (inputs, hidden),
                "hidden.bias": (hidden,),
                "head.weights": (hidden, classes),
                "head.bias": (classes,),
            },
        )

    def logits(self, vector: Floats, images: Floats) -> Floats:
        w = self.unpack(vector)
        hidden = np.maximum(images @ w["hidden.weights"] + w["hidden.bias"], 0)
        return np.asarray(hidden @ w["head.weights"] + w["head.bias"])


class Lstm(Net):
    """An LSTM over the rows of an image, and a dense layer on its last hidden state.

    `lstm.weights` [row + hidden, 4 hidden] multiplies [x_t, h]; gates stand in ONNX's order: input,
    output, forget, candidate.
    """

    name = "lstm"

    def __init__(
        self, row: int = SIDE, steps: int = SIDE, hidden: int = 32, classes: int = CLASSES
    ) -> None:
        self.row = row
        self.steps = steps
        self.hidden = hidden
        super().__init__(
            row * steps,
            classes,
            {
                "lstm.weights": (row + hidden, 4 * hidden),
                "lstm.bias": (4 * hidden,),
                "head.weights": (hidden, classes),
                "head.bias": (classes,),
            },
        )

    def first_weights(self, seed: int) -> Vector:
        vector = super().first_weights(seed)
        bias = self.at("lstm.bias")
        vector[bias + 2 * self.hidden : bias + 3 * self.hidden] = FORGET_BIAS
        return vector

    def logits(self, vector: Floats, images: Floats) -> Floats:
        w = self.unpack(vector)
        rows = images.reshape(len(images), self.steps, self.row)
        h = c = np.zeros((len(images), self.hidden), vector.dtype)
        for step in range(self.steps):
            gates = np.hstack([rows[:, step], h]) @ w["lstm.weights"] + w["lstm.bias"]
            into, out, forget, candidate = np.split(gates, 4, axis=1)
            c = _sigmoid(forget) * c + _sigmoid(into) * np.tanh(candidate)
            h = _sigmoid(out) * np.tanh(c)
        return np.asarray(h @ w["head.weights"] + w["head.bias"])


def softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


NETS: Mapping[str, Callable[[], Net]] = {Mlp.name: Mlp, Lstm.name: Lstm}


# ---- weights as a file: one npz, keys "<net>.<parameter>"


def named(nets: Sequence[tuple[Net, Vector]]) -> dict[str, Vector]:
    """The parameters of several nets under one roof."""
    return {
        f"{net.name}.{name}": np.asarray(array, np.float32)
        for net, vector in nets
        for name, array in net.unpack(vector).items()
    }


def digest(weights: Weights) -> str:
    """SHA-256 over names, shapes and little-endian bytes; equal exactly when the bits are."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name], "<f4")
        sha.update(f"{name}{array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def save_weights(path: Path, weights: Weights) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **dict(weights))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_weights(path: Path) -> dict[str, Vector]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def vector_of(net: Net, weights: Weights) -> Vector:
    """The flat vector of one net, taken out of a file's weights."""
    return net.pack({slot.name: weights[f"{net.name}.{slot.name}"] for slot in net.slots})
