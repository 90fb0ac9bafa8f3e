"""Train with tinygrad, which knows nothing of haltere.

    haltere run -- python examples/train_tinygrad.py

A perceptron or a small convolutional net learns scikit-learn's digits. Losses are printed in full,
so that runs can be compared digit for digit: native, through the proxy, or halted, moved and
resumed in the middle by `haltere halt|move|resume` from a second terminal.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time

os.environ.setdefault("DEV", "CL")  # tinygrad's OpenCL backend
os.environ.setdefault("TRAINING", "1")  # else its optimizers refuse

import numpy as np
from sklearn.datasets import load_digits
from tinygrad import Tensor, TinyJit, nn


class Perceptron:
    def __init__(self) -> None:
        self.first, self.second = nn.Linear(64, 128), nn.Linear(128, 10)

    def __call__(self, images: Tensor) -> Tensor:
        return self.second(self.first(images).relu())


class Convolutional:
    def __init__(self) -> None:
        self.first, self.second = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 32, 3)
        self.last = nn.Linear(32 * 2 * 2, 10)

    def __call__(self, images: Tensor) -> Tensor:
        images = self.first(images.reshape(-1, 1, 8, 8)).relu()
        return self.last(self.second(images).relu().max_pool2d().flatten(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", choices=("mlp", "conv"), default="mlp")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--every", type=int, default=20, help="print the loss of so many steps")
    parser.add_argument("--times", action="store_true", help="print the median time of a step")
    given = parser.parse_args()

    Tensor.manual_seed(1)
    pixels, labels = load_digits(return_X_y=True)
    images = Tensor((pixels / 16).astype(np.float32)).realize()
    digits = Tensor(labels.astype(np.int32)).realize()
    net = Perceptron() if given.net == "mlp" else Convolutional()
    parameters = nn.state.get_parameters(net)
    optimizer = nn.optim.SGD(parameters, lr=0.1, momentum=0.9)

    @TinyJit
    def step(at: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = net(images[at]).sparse_categorical_crossentropy(digits[at]).backward()
        return loss.realize(*optimizer.schedule_step())

    order = np.random.default_rng(1)
    seconds = []
    for number in range(given.steps):
        began = time.perf_counter()
        at = Tensor(order.integers(0, len(labels), given.batch).astype(np.int32)).realize()
        loss = step(at)
        if number % given.every == 0 or number == given.steps - 1:
            print(f"step {number:5d}  loss {loss.item()!r}", flush=True)
        seconds.append(time.perf_counter() - began)
    weights = hashlib.sha256(b"".join(p.numpy().tobytes() for p in parameters)).hexdigest()
    print(f"weights {weights[:16]}")
    if given.times:
        print(f"median_step_ms {1e3 * float(np.median(seconds[len(seconds) // 5 :])):.3f}")


if __name__ == "__main__":
    main()
