"""What every IR operator means, in float32 NumPy: defines right for passes, folds constants.

Slow and plain on purpose. The target's own arithmetic is not here (see emulator.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from compiler.ir import Array, Graph, Node


def sigmoid(x: Array) -> Array:
    """Logistic function, without overflow for large negative arguments."""
    return np.asarray(0.5 * (np.tanh(0.5 * x) + 1.0), dtype=np.float32)


def softmax(x: Array, axis: int) -> Array:
    shifted = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=axis, keepdims=True), dtype=np.float32)


def _gemm(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    a, b = _present(ins[0]), _present(ins[1])
    a = a.T if node.attrs["transa"] else a
    b = b.T if node.attrs["transb"] else b
    y = np.float32(node.attr_float("alpha")) * (a @ b)
    if len(ins) > 2 and ins[2] is not None:
        y = y + np.float32(node.attr_float("beta")) * ins[2]
    return [y]


def _linear(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    y = _present(ins[0]) @ _present(ins[1]).T
    return [y if len(ins) < 3 or ins[2] is None else y + ins[2]]


def _lstm(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    x, w, r = (_present(array) for array in ins[:3])
    hidden = r.shape[2]
    bias, h0, c0 = (*ins[3:], None, None, None)[:3]
    both = np.zeros(8 * hidden, np.float32) if bias is None else bias[0]
    b = both[: 4 * hidden] + both[4 * hidden :]
    h = np.zeros(hidden, np.float32) if h0 is None else h0[0, 0]
    c = np.zeros(hidden, np.float32) if c0 is None else c0[0, 0]
    steps = []
    for x_t in x[:, 0]:
        i, o, f, g = np.split(w[0] @ x_t + r[0] @ h + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        steps.append(h)
    return [np.stack(steps)[:, None, None, :], h[None, None], c[None, None]]


def _present(array: Array | None) -> Array:
    assert array is not None
    return array


_RULES: Mapping[str, Callable[[Node, Sequence[Array | None]], list[Array]]] = {
    "gemm": _gemm,
    "linear": _linear,
    "lstm": _lstm,
    "matmul": lambda node, ins: [_present(ins[0]) @ _present(ins[1])],
    "add": lambda node, ins: [_present(ins[0]) + _present(ins[1])],
    "sub": lambda node, ins: [_present(ins[0]) - _present(ins[1])],
    "mul": lambda node, ins: [_present(ins[0]) * _present(ins[1])],
    "max": lambda node, ins: [np.maximum(_present(ins[0]), _present(ins[1]))],
    "relu": lambda node, ins: [np.maximum(_present(ins[0]), np.float32(0))],
    "sigmoid": lambda node, ins: [sigmoid(_present(ins[0]))],
    "tanh": lambda node, ins: [np.tanh(_present(ins[0]))],
    "softmax": lambda node, ins: [softmax(_present(ins[0]), node.attr_int("axis"))],
    "reshape": lambda node, ins: [_present(ins[0]).reshape(node.attr_shape("shape"))],
    "transpose": lambda node, ins: [_present(ins[0]).transpose(node.attr_shape("perm"))],
}


def evaluate(node: Node, values: Mapping[str, Array]) -> dict[str, Array]:
    """The values of a node's outputs."""
    outs = _RULES[node.op](node, [values[name] if name else None for name in node.inputs])
    return {
        name: np.ascontiguousarray(array, dtype=np.float32).reshape(np.shape(array))
        for name, array in zip(node.outputs, outs, strict=False)
        if name
    }


def interpret(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The graph's outputs for these inputs."""
    values = dict(graph.constants) | {
        name: np.asarray(inputs[name], np.float32).reshape(graph.shapes[name])
        for name in graph.inputs
    }
    for node in graph.nodes:
        values |= evaluate(node, values)
    return {name: values[name] for name in graph.outputs}
