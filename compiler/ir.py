"""The compiler's intermediate representation: a graph of float32 tensors in topological order.

A `Graph` is a value: passes return new ones. It knows neither ONNX nor any target. Shapes are
static; `infer` is the one place that says what shape an operator yields, and `verify` runs it over
the whole graph after every pass.

Operators (inputs -> outputs; an absent optional input is ""):

    gemm       x, w, [c]      -> y     attrs transa, transb, alpha, beta
    matmul     x, w           -> y
    linear     x, w, [b]      -> y     w is [out, in]; contracts x's last axis; formed by a pass
    add sub mul max  a, b     -> y     numpy broadcasting
    relu sigmoid tanh  x      -> y
    softmax    x              -> y     attr axis; runs on the host
    reshape    x              -> y     attr shape; row-major order is kept
    transpose  x              -> y     attr perm
    lstm       x, w, r, [b], [h0], [c0] -> [y], [y_h], [y_c]
               ONNX's layout 0, forward: x [T,1,F], w [1,4H,F] in gate order i o f c, r [1,4H,H],
               b [1,8H], h0 c0 y_h y_c [1,1,H], y [T,1,1,H]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Attr = int | float | tuple[int, ...]
Array = NDArray[np.float32]

ELEMENTWISE = ("add", "sub", "mul", "max")
ACTIVATIONS = ("relu", "sigmoid", "tanh")


class ShapeError(ValueError):
    """Operands that do not fit an operator. The frontend makes a refusal of it; after that it
    would be a fault of a pass."""


@dataclass(frozen=True, slots=True)
class Node:
    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict)

    def attr_shape(self, key: str) -> Shape:
        value = self.attrs[key]
        assert isinstance(value, tuple)
        return value

    def attr_int(self, key: str) -> int:
        value = self.attrs[key]
        assert isinstance(value, int)
        return value

    def attr_float(self, key: str) -> float:
        value = self.attrs[key]
        assert isinstance(value, int | float)
        return float(value)


@dataclass(frozen=True)
class Graph:
    name: str
    opset: int  # of the model it came from; for messages only
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Shape]  # of every value, constants included
    constants: Mapping[str, Array]
    nodes: tuple[Node, ...]

    def with_nodes(self, nodes: tuple[Node, ...], constants: Mapping[str, Array]) -> Graph:
        """This graph with other nodes and constants, shapes inferred anew."""
        shapes: dict[str, Shape] = {name: self.shapes[name] for name in self.inputs}
        shapes |= {name: array.shape for name, array in constants.items()}
        for node in nodes:
            shapes |= infer(node, shapes)
        return replace(self, nodes=nodes, constants=dict(constants), shapes=shapes)

    def consumers(self) -> dict[str, list[Node]]:
        """Value -> the nodes that read it."""
        table: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                table.setdefault(name, []).append(node)
        return table

    def producers(self) -> dict[str, Node]:
        """Value -> the node that makes it."""
        return {name: node for node in self.nodes for name in node.outputs if name}


def broadcast(a: Shape, b: Shape) -> Shape:
    try:
        return tuple(np.broadcast_shapes(a, b))
    except ValueError:
        raise ShapeError(f"shapes {list(a)} and {list(b)} do not broadcast") from None


def _matmul(node: Node, ins: list[Shape]) -> list[Shape]:
    a, b = ins[0], ins[1]
    if len(a) < 1 or len(b) != 2 or a[-1] != b[0]:
        raise ShapeError(f"matrix product of {list(a)} and {list(b)}")
    return [(*a[:-1], b[1])]


def _gemm(node: Node, ins: list[Shape]) -> list[Shape]:
    a, b = ins[0], ins[1]
    if len(a) != 2 or len(b) != 2:
        raise ShapeError(f"Gemm of {list(a)} and {list(b)}: both must have two dimensions")
    a = a[::-1] if node.attrs["transa"] else a
    b = b[::-1] if node.attrs["transb"] else b
    if a[1] != b[0]:
        raise ShapeError(f"Gemm of {list(a)} and {list(b)}")
    out = (a[0], b[1])
    if len(ins) > 2 and ins[2] is not None and broadcast(out, ins[2]) != out:
        raise ShapeError(f"Gemm's C of shape {list(ins[2])} does not broadcast to {list(out)}")
    return [out]


def _linear(node: Node, ins: list[Shape]) -> list[Shape]:
    x, w = ins[0], ins[1]
    if len(x) < 1 or len(w) != 2 or x[-1] != w[1]:
        raise ShapeError(f"linear of {list(x)} and weights {list(w)}")
    if len(ins) > 2 and ins[2] is not None and ins[2] != (w[0],):
        raise ShapeError(f"linear: bias {list(ins[2])} for {w[0]} outputs")
    return [(*x[:-1], w[0])]


def _reshape(node: Node, ins: list[Shape]) -> list[Shape]:
    shape = node.attr_shape("shape")
    if prod(shape) != prod(ins[0]) or any(dim < 0 for dim in shape):
        raise ShapeError(f"reshape of {list(ins[0])} to {list(shape)}")
    return [shape]


def _transpose(node: Node, ins: list[Shape]) -> list[Shape]:
    perm = node.attr_shape("perm")
    if sorted(perm) != list(range(len(ins[0]))):
        raise ShapeError(f"transpose of {list(ins[0])} by {list(perm)}")
    return [tuple(ins[0][axis] for axis in perm)]


def _softmax(node: Node, ins: list[Shape]) -> list[Shape]:
    if not 0 <= node.attr_int("axis") < len(ins[0]):
        raise ShapeError(f"softmax of {list(ins[0])} over axis {node.attrs['axis']}")
    return [ins[0]]


def _lstm(node: Node, ins: list[Shape]) -> list[Shape]:
    x, w, r, *rest = ins
    if len(x) != 3 or len(w) != 3 or len(r) != 3:
        raise ShapeError("LSTM: X, W and R must have three dimensions")
    steps, batch, features = x
    hidden = r[2]
    if batch != 1:
        raise ShapeError(f"LSTM over a batch of {batch}: one sequence at a time")
    if w != (1, 4 * hidden, features) or r != (1, 4 * hidden, hidden) or not steps:
        raise ShapeError(f"LSTM: X {list(x)}, W {list(w)}, R {list(r)} do not fit together")
    for what, shape, want in zip(
        ("B", "initial_h", "initial_c"),
        rest,
        ((1, 8 * hidden), (1, 1, hidden), (1, 1, hidden)),
        strict=False,
    ):
        if shape is not None and shape != want:
            raise ShapeError(f"LSTM: {what} is {list(shape)}, must be {list(want)}")
    return [(steps, 1, 1, hidden), (1, 1, hidden), (1, 1, hidden)]


_RULES: Mapping[str, Callable[[Node, list[Shape]], list[Shape]]] = {
    "gemm": _gemm,
    "matmul": _matmul,
    "linear": _linear,
    "reshape": _reshape,
    "transpose": _transpose,
    "softmax": _softmax,
    "lstm": _lstm,
    **dict.fromkeys(ELEMENTWISE, lambda node, ins: [broadcast(ins[0], ins[1])]),
    **dict.fromkeys(ACTIVATIONS, lambda node, ins: [ins[0]]),
}


def infer(node: Node, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of a node's outputs. Raises ShapeError."""
    ins = [shapes[name] if name else None for name in node.inputs]
    outs = _RULES[node.op](node, ins)  # type: ignore[arg-type]  # absent inputs are None
    return {name: shape for name, shape in zip(node.outputs, outs, strict=False) if name}


def verify(graph: Graph) -> None:
    """Assert what every pass must keep: order, single assignment, shapes, float32 constants."""
    known: set[str] = set(graph.inputs) | set(graph.constants)
    assert len(known) == len(graph.inputs) + len(graph.constants), "an input is a constant too"
    for name, array in graph.constants.items():
        assert array.dtype == np.float32, f"constant {name} is {array.dtype}"
        assert graph.shapes[name] == array.shape, f"constant {name} has another shape"
    for node in graph.nodes:
        for name in node.inputs:
            assert not name or name in known, f"{node.name} reads {name} before it is made"
        for name in node.outputs:
            assert name not in known, f"{node.name} makes {name} a second time"
        for name, shape in infer(node, graph.shapes).items():
            assert graph.shapes[name] == shape, f"{node.name}: {name} is not {shape}"
        known |= {name for name in node.outputs if name}
    for name in graph.outputs:
        assert name in known, f"nothing makes the output {name}"
