"""Training on a device: one trainer per net, all of its state in device buffers.

A step only enqueues launches with small scalars; the host waits when it reads scores or weights.
Speaks the hal's public API, and must not know whether the device is direct or proxied, or that a
job can be halted.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hal import Buffer, Context, Program
from service.demo.layers import AdamScalars, Layers
from service.demo.nets import Lstm, Mlp, Net, Vector

KEEP_MEAN = 0.9  # Adam's usual constants
KEEP_SPREAD = 0.999
TINY = 1e-8

NetT = TypeVar("NetT", bound=Net)


@dataclass(frozen=True, slots=True)
class Samples:
    """Images [n, inputs] and their labels."""

    images: NDArray[np.float32]
    labels: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train; with the data, it decides the final weights to the bit."""

    steps: int
    seed: int = 0
    batch: int = 32
    rate: float = 0.004
    last_rate: float = 0.0002  # the rate falls to this along half a cosine
    decay: float = 0.1  # weight decay, decoupled, in units of the rate

    def rate_at(self, step: int) -> float:
        fallen = 0.5 * (1.0 + math.cos(math.pi * step / max(self.steps, 1)))
        return self.last_rate + (self.rate - self.last_rate) * fallen


@dataclass(frozen=True, slots=True)
class Score:
    """Means over the training steps since the last reading."""

    loss: float
    accuracy: float


class Trainer(ABC, Generic[NetT]):
    """One net being trained in one context."""

    def __init__(
        self, context: Context, program: Program, net: NetT, recipe: Recipe, samples: Samples
    ) -> None:
        self._sample_count = len(samples.labels)
        self._batches = self._sample_count // recipe.batch  # per epoch; a short rest is left out
        if not self._batches:
            raise ValueError(f"{self._sample_count} samples do not fill a batch of {recipe.batch}")
        self.net = net
        self.recipe = recipe
        self.step_count = 0
        self._context = context
        self._scored_steps = 0
        self._buffers: list[Buffer] = []

        self._images = self._upload(samples.images)
        self._labels = self._upload(samples.labels)
        self._order = self._numbers(self._batches * recipe.batch)
        self._batch = self._numbers(recipe.batch * net.inputs)
        self._batch_labels = self._numbers(recipe.batch)
        self._params = self._upload(net.first_weights(recipe.seed))
        self._grads = self._numbers(net.size)
        self._mean = self._numbers(net.size)
        self._spread = self._numbers(net.size)
        self._logits = self._numbers(recipe.batch * net.classes)
        self._d_logits = self._numbers(recipe.batch * net.classes)
        self._score = self._numbers(2 * recipe.batch)
        self._layers = Layers(context, program, net, recipe.batch, self._params, self._grads)

    # ---- training

    @property
    def done(self) -> bool:
        return self.step_count >= self.recipe.steps

    def step(self) -> None:
        """Enqueue one training step."""
        self.enqueue_gradients()
        self.enqueue_update()

    def enqueue_gradients(self) -> None:
        """Enqueue: the next batch, its loss, and the gradient of that."""
        epoch, index = divmod(self.step_count, self._batches)
        if index == 0:
            self._context.write(self._order, self.epoch_order(epoch).tobytes())
        self._layers.gather(
            self._images,
            self._labels,
            self._order,
            index * self.recipe.batch,
            self._batch,
            self._batch_labels,
        )
        self._forward()
        self._layers.softmax_loss(self._logits, self._batch_labels, self._score, self._d_logits)
        self._backward()

    def enqueue_update(self) -> None:
        """Enqueue: Adam on all parameters; counts the step."""
        rate = self.recipe.rate_at(self.step_count)
        self.step_count += 1
        self._scored_steps += 1
        correction = math.sqrt(1 - KEEP_SPREAD**self.step_count) / (1 - KEEP_MEAN**self.step_count)
        scalars = AdamScalars(
            rate * correction, KEEP_MEAN, KEEP_SPREAD, TINY, rate * self.recipe.decay
        )
        self._layers.adam(self._mean, self._spread, scalars)

    @abstractmethod
    def _forward(self) -> None:
        """Enqueue: `_batch` to `_logits`."""

    @abstractmethod
    def _backward(self) -> None:
        """Enqueue: `_d_logits` to `_grads`."""

    def epoch_order(self, epoch: int) -> NDArray[np.int32]:
        """Which samples the batches of an epoch take, in order."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        shuffled = rng.permutation(self._sample_count).astype(np.int32)
        return shuffled[: self._batches * self.recipe.batch]

    # ---- what the host reads; each waits for everything enqueued

    def read_score(self) -> Score:
        """Mean loss and accuracy of the steps since the last reading; starts afresh."""
        sums = np.frombuffer(self._context.read(self._score), np.float32).reshape(2, -1)
        self._context.write(self._score, bytes(self._score.size_bytes))
        count = max(self._scored_steps, 1) * self.recipe.batch
        self._scored_steps = 0
        loss, hits = (float(total) / count for total in sums.sum(axis=1, dtype=np.float64))
        return Score(loss, hits)

    def read_weights(self) -> Vector:
        return np.frombuffer(self._context.read(self._params), np.float32)

    def read_gradients(self) -> Vector:
        return np.frombuffer(self._context.read(self._grads), np.float32)

    # ---- memory

    def free(self) -> None:
        """Give the device memory back; the trainer is of no use afterwards."""
        for buffer in self._buffers:
            buffer.free()
        self._buffers.clear()

    def _numbers(self, count: int) -> Buffer:
        buffer = self._context.alloc(4 * count)
        self._buffers.append(buffer)
        return buffer

    def _upload(self, array: NDArray[np.float32] | NDArray[np.int32]) -> Buffer:
        buffer = self._numbers(array.size)
        self._context.write(buffer, array.tobytes())
        return buffer


class MlpTrainer(Trainer[Mlp]):
    """dense, rectifier, dense: eight launches a step."""

    def __init__(
        self, context: Context, program: Program, net: Mlp, recipe: Recipe, samples: Samples
    ) -> None:
        super().__init__(context, program, net, recipe, samples)
        self._hidden = self._numbers(recipe.batch * net.hidden)
        self._d_hidden = self._numbers(recipe.batch * net.hidden)

    def _forward(self) -> None:
        self._layers.dense("hidden", self._batch, self._hidden, relu=True)
        self._layers.dense("head", self._hidden, self._logits)

    def _backward(self) -> None:
        batch = self.recipe.batch
        self._layers.dense_gradient("head", self._hidden, self._d_logits, batch)
        self._layers.dense_backward("head", self._d_logits, self._hidden, self._d_hidden, relu=True)
        self._layers.dense_gradient("hidden", self._batch, self._d_hidden, batch)


class LstmTrainer(Trainer[Lstm]):
    """The whole sequence in one launch each way: nine launches a step."""

    def __init__(
        self, context: Context, program: Program, net: Lstm, recipe: Recipe, samples: Samples
    ) -> None:
        super().__init__(context, program, net, recipe, samples)
        rows = recipe.batch * net.steps
        self._joined = self._numbers(rows * (net.row + net.hidden))
        self._gates = self._numbers(rows * 4 * net.hidden)
        self._cells = self._numbers(rows * net.hidden)
        self._d_gates = self._numbers(rows * 4 * net.hidden)
        self._last = self._numbers(recipe.batch * net.hidden)
        self._d_last = self._numbers(recipe.batch * net.hidden)

    def _forward(self) -> None:
        self._layers.lstm_forward(
            self.net, self._batch, self._joined, self._gates, self._cells, self._last
        )
        self._layers.dense("head", self._last, self._logits)

    def _backward(self) -> None:
        net, batch = self.net, self.recipe.batch
        self._layers.dense_gradient("head", self._last, self._d_logits, batch)
        self._layers.dense_backward("head", self._d_logits, self._last, self._d_last)
        self._layers.lstm_backward(net, self._d_last, self._gates, self._cells, self._d_gates)
        self._layers.dense_gradient("lstm", self._joined, self._d_gates, batch * net.steps)


def trainer_for(
    context: Context, program: Program, net: Net, recipe: Recipe, samples: Samples
) -> Trainer[Mlp] | Trainer[Lstm]:
    """The trainer for a net of its kind."""
    if isinstance(net, Mlp):
        return MlpTrainer(context, program, net, recipe, samples)
    assert isinstance(net, Lstm), f"no trainer for {net.name}"
    return LstmTrainer(context, program, net, recipe, samples)
