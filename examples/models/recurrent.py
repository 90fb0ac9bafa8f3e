"""Recurrent layers in NumPy: LSTM and GRU over [batch, steps, features], giving the last state.

Gates stand in ONNX's order, so weights are exported as they are.
"""

from __future__ import annotations

import numpy as np
from layers import Array, Layer, OnnxGraph, glorot, sigmoid


class Recurrent(Layer):
    """`gates` matrices on the input, as many on the state, and a bias for each."""

    op: str
    gates: int

    def __init__(self, rng: np.random.Generator, inputs: int, hidden: int) -> None:
        self.hidden = hidden
        rows = self.gates * hidden
        super().__init__(
            w=glorot(rng, rows, inputs, fan_in=inputs, fan_out=hidden),
            r=glorot(rng, rows, hidden, fan_in=hidden, fan_out=hidden),
            bw=np.zeros(rows),
            br=np.zeros(rows),
        )

    def zero(self, x: Array) -> Array:
        return np.zeros((len(x), self.hidden), np.float32)

    def collect(self, x: Array, on_x: list[Array], on_h: list[Array], h: list[Array]) -> Array:
        """Slopes from those of the two affine parts, step by step (last first); of x returned."""
        dx = np.stack(on_x[::-1], 1)
        flat, both = dx.reshape(-1, dx.shape[-1]), np.concatenate(on_h[::-1])
        self.slopes = {
            "w": flat.T @ x.reshape(-1, x.shape[-1]),
            "r": both.T @ np.concatenate(h),
            "bw": flat.sum(0),
            "br": both.sum(0),
        }
        return dx @ self.weights["w"]

    def to_onnx(self, graph: OnnxGraph, source: str, name: str) -> str:
        w = self.weights
        constants = [
            graph.constant(f"{name}.w", w["w"][None]),
            graph.constant(f"{name}.r", w["r"][None]),
            graph.constant(f"{name}.b", np.concatenate([w["bw"], w["br"]])[None]),
        ]
        last = graph.node(
            self.op, [source, *constants], ["", f"{name}.h"], hidden_size=self.hidden, **self.attrs
        )
        axes = graph.constant(f"{name}.direction", np.zeros(1, np.int64))
        return graph.node("Squeeze", [last, axes], [f"{name}.y"])

    attrs: dict[str, int] = {}  # noqa: RUF012  (of the ONNX node)


class Lstm(Recurrent):
    op, gates = "LSTM", 4

    def __init__(self, rng: np.random.Generator, inputs: int, hidden: int) -> None:
        super().__init__(rng, inputs, hidden)
        self.weights["bw"][2 * hidden : 3 * hidden] = 1  # one that remembers learns faster

    def forward(self, x: Array) -> Array:
        self._x, h, c = x, self.zero(x), self.zero(x)
        self._steps = []
        on_x = x @ self.weights["w"].T + (self.weights["bw"] + self.weights["br"])
        for step in range(x.shape[1]):
            i, o, f, g = np.split(on_x[:, step] + h @ self.weights["r"].T, 4, axis=1)
            i, o, f, g = sigmoid(i), sigmoid(o), sigmoid(f), np.tanh(g)
            before, c = c, f * c + i * g
            self._steps.append((i, o, f, g, before, np.tanh(c), h))
            h = o * self._steps[-1][5]
        return h

    def backward(self, dy: Array) -> Array:
        dh, dc, slopes = dy, np.zeros_like(dy), []
        for i, o, f, g, before, squashed, _ in reversed(self._steps):
            dc = dc + dh * o * (1 - squashed**2)
            gates = dc * g * i * (1 - i), dh * squashed * o * (1 - o), dc * before * f * (1 - f)
            slopes.append(np.concatenate([*gates, dc * i * (1 - g**2)], axis=1))
            dh, dc = slopes[-1] @ self.weights["r"], dc * f
        return self.collect(self._x, slopes, slopes, [step[6] for step in self._steps])


class Gru(Recurrent):
    """With linear_before_reset, as most frameworks have it."""

    op, gates, attrs = "GRU", 3, {"linear_before_reset": 1}

    def forward(self, x: Array) -> Array:
        self._x, h = x, self.zero(x)
        self._steps = []
        on_x = x @ self.weights["w"].T + self.weights["bw"]
        for step in range(x.shape[1]):
            zx, rx, nx = np.split(on_x[:, step], 3, axis=1)
            zh, rh, nh = np.split(h @ self.weights["r"].T + self.weights["br"], 3, axis=1)
            z, r = sigmoid(zx + zh), sigmoid(rx + rh)
            n = np.tanh(nx + r * nh)
            self._steps.append((z, r, n, nh, h))
            h = (1 - z) * n + z * h
        return h

    def backward(self, dy: Array) -> Array:
        dh, on_x, on_h = dy, [], []
        for z, r, n, nh, h in reversed(self._steps):
            dz, dn = dh * (h - n) * z * (1 - z), dh * (1 - z) * (1 - n**2)
            dr = dn * nh * r * (1 - r)
            on_x.append(np.concatenate([dz, dr, dn], axis=1))
            on_h.append(np.concatenate([dz, dr, dn * r], axis=1))
            dh = dh * z + on_h[-1] @ self.weights["r"]
        return self.collect(self._x, on_x, on_h, [step[4] for step in self._steps])
