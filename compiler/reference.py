"""What every IR operator means, in float32 NumPy: defines right for passes, folds constants.

Slow and plain on purpose. The target's own arithmetic is not here (see emulator.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from compiler.ir import GATES, Array, Graph, Node, Window, window_of


def sigmoid(x: Array) -> Array:
    """Logistic function, without overflow for large negative arguments."""
    return np.asarray(0.5 * (np.tanh(0.5 * x) + 1.0), dtype=np.float32)


def relu(x: Array) -> Array:
    return np.maximum(x, np.float32(0))


_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}


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


def _gates(node: Node, ins: Sequence[Array | None]) -> tuple[list[Array], list[Array], list[Array]]:
    """Input matrices, recurrent matrices, and both biases [2 * gates], gate by gate."""
    w, r = _present(ins[1])[0], _present(ins[2])[0]
    count = GATES[node.op]
    bias = ins[3] if len(ins) > 3 else None
    both = np.zeros(2 * len(r), np.float32) if bias is None else bias[0]
    return np.split(w, count), np.split(r, count), np.split(both, 2 * count)


def _initial(ins: Sequence[Array | None], index: int) -> Array:
    state = ins[index] if len(ins) > index else None
    return np.zeros(_present(ins[2]).shape[2], np.float32) if state is None else state[0, 0]


def _over_time(steps: list[Array], *states: Array) -> list[Array]:
    return [np.stack(steps)[:, None, None, :], *(state[None, None] for state in states)]


def _rnn(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    (w,), (r,), (bw, br) = _gates(node, ins)
    activate = _ACTIVATIONS[node.attr_text("activation")]
    h, steps = _initial(ins, 4), []
    for x in _present(ins[0])[:, 0]:
        h = activate(w @ x + r @ h + bw + br)
        steps.append(h)
    return _over_time(steps, h)


def _gru(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    (wz, wr, wn), (rz, rr, rn), (bwz, bwr, bwn, brz, brr, brn) = _gates(node, ins)
    h, steps = _initial(ins, 4), []
    for x in _present(ins[0])[:, 0]:
        z = sigmoid(wz @ x + rz @ h + bwz + brz)
        r = sigmoid(wr @ x + rr @ h + bwr + brr)
        if node.attr_int("linear_before_reset"):
            n = np.tanh(wn @ x + bwn + r * (rn @ h + brn))
        else:
            n = np.tanh(wn @ x + bwn + rn @ (r * h) + brn)
        h = (1 - z) * n + z * h
        steps.append(h)
    return _over_time(steps, h)


def _lstm(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    w, r, biases = _gates(node, ins)
    h, c, steps = _initial(ins, 4), _initial(ins, 5), []
    for x in _present(ins[0])[:, 0]:
        i, o, f, g = (w[k] @ x + r[k] @ h + biases[k] + biases[k + 4] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        steps.append(h)
    return _over_time(steps, h, c)


def _patches(image: Array, window: Window, fill: float) -> list[Array]:
    """For each pixel of the window, row by row, what lies under it everywhere: [H', W', C]."""
    top, left, bottom, right = window.pads
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=fill)
    height, width = window.output(*image.shape[:2])
    (sy, sx), (dy, dx) = window.strides, window.dilations
    return [
        padded[ky * dy :: sy, kx * dx :: sx][:height, :width]
        for ky in range(window.kernel[0])
        for kx in range(window.kernel[1])
    ]


def _conv(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    x, w = _present(ins[0]), _present(ins[1])
    shapes = dict(zip(node.inputs, (x.shape, w.shape), strict=False))
    dense = dense_kernel(w, node.attr_int("groups")).reshape(len(w), -1, x.shape[3])
    patches = _patches(x[0], window_of(node, shapes), 0.0)
    y = sum(patch @ dense[:, at].T for at, patch in enumerate(patches))
    bias = ins[2] if len(ins) > 2 else None
    return [np.asarray(y if bias is None else y + bias)[None]]


def dense_kernel(w: Array, groups: int) -> Array:
    """Weights [O, kh, kw, C / groups] as [O, kh, kw, C], zeros where a group reads nothing."""
    if groups == 1:
        return w
    outputs, height, width, channels = w.shape
    dense = np.zeros((outputs, height, width, groups * channels), np.float32)
    each = outputs // groups
    for group in range(groups):
        rows = slice(group * each, (group + 1) * each)
        dense[rows, :, :, group * channels : (group + 1) * channels] = w[rows]
    return dense


def _under(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    patches = _patches(_present(ins[0])[0], window_of(node, {}), 0.0)
    return [np.concatenate(patches, axis=-1)[None]]


def _maxpool(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    patches = _patches(_present(ins[0])[0], window_of(node, {}), -np.inf)
    return [np.max(patches, axis=0)[None]]


def _avgpool(node: Node, ins: Sequence[Array | None]) -> list[Array]:
    image, window = _present(ins[0])[0], window_of(node, {})
    total = np.sum(_patches(image, window, 0.0), axis=0)
    return [(total / pool_counts(node, window, image.shape[:2])[..., None])[None]]


def pool_counts(node: Node, window: Window, size: tuple[int, ...]) -> Array:
    """By what an average pool divides at every pixel [H', W']: the pixels of the image under the
    window, or all of the window's if padding counts."""
    patches = _patches(np.ones((*size, 1), np.float32), window, 0.0)
    inside = np.sum(patches, axis=0)[..., 0]
    return np.full_like(inside, len(patches)) if node.attrs["count_pads"] else inside


def _present(array: Array | None) -> Array:
    assert array is not None
    return array


_RULES: Mapping[str, Callable[[Node, Sequence[Array | None]], list[Array]]] = {
    "gemm": _gemm,
    "linear": _linear,
    "rnn": _rnn,
    "gru": _gru,
    "lstm": _lstm,
    "conv": _conv,
    "patches": _under,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "matmul": lambda node, ins: [_present(ins[0]) @ _present(ins[1])],
    "add": lambda node, ins: [_present(ins[0]) + _present(ins[1])],
    "sub": lambda node, ins: [_present(ins[0]) - _present(ins[1])],
    "mul": lambda node, ins: [_present(ins[0]) * _present(ins[1])],
    "max": lambda node, ins: [np.maximum(_present(ins[0]), _present(ins[1]))],
    "relu": lambda node, ins: [relu(_present(ins[0]))],
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
