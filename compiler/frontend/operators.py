"""One function an ONNX operator: its attributes and optional inputs, checked, as IR nodes.

A function returns the nodes to add; it may instead tell the scope that its output is a constant or
an alias, and return none. It raises `Refused` with a reason, or `UnknownShape` when it reads what
a refused node should have made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from compiler.frontend import relabel, spatial
from compiler.frontend.raw import RawNode
from compiler.frontend.recurrent import recurrent
from compiler.frontend.scope import (
    Refused,
    Scope,
    checked_axis,
    float_attr,
    int_attr,
    made,
    optional,
)
from compiler.ir import Attr, Node


def _gemm(node: RawNode, scope: Scope) -> list[Node]:
    attrs: dict[str, Attr] = {
        "transa": int_attr(node, "transA", 0),
        "transb": int_attr(node, "transB", 0),
        "alpha": float_attr(node, "alpha", 1.0),
        "beta": float_attr(node, "beta", 1.0),
    }
    inputs = [scope.value(node, 0), scope.value(node, 1)]
    if optional(node, 2):
        inputs.append(scope.value(node, 2))
    return made(node, "gemm", tuple(inputs), **attrs)


def _matmul(node: RawNode, scope: Scope) -> list[Node]:
    return made(node, "matmul", (scope.value(node, 0), scope.value(node, 1)))


def _binary(op: str) -> Callable[[RawNode, Scope], list[Node]]:
    def translate(node: RawNode, scope: Scope) -> list[Node]:
        return made(node, op, (scope.value(node, 0), scope.value(node, 1)))

    return translate


def _max(node: RawNode, scope: Scope) -> list[Node]:
    if len(node.inputs) != 2:
        raise Refused(f"of {len(node.inputs)} tensors; exactly two are supported")
    return _binary("max")(node, scope)


def _unary(op: str) -> Callable[[RawNode, Scope], list[Node]]:
    def translate(node: RawNode, scope: Scope) -> list[Node]:
        return made(node, op, (scope.value(node, 0),))

    return translate


def _softmax(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    shape = scope.shapes[name]
    axis = checked_axis(int_attr(node, "axis", 1 if scope.opset < 13 else -1), len(shape))
    if scope.opset < 13 and prod(shape[axis + 1 :]) != 1:
        raise Refused(f"over the axes from {axis} of {list(shape)} together; only one axis")
    return made(node, "softmax", (name,), axis=axis)


TRANSLATORS: Mapping[str, Callable[[RawNode, Scope], list[Node]]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _binary("add"),
    "Sub": _binary("sub"),
    "Mul": _binary("mul"),
    "Max": _max,
    "Relu": _unary("relu"),
    "Sigmoid": _unary("sigmoid"),
    "Tanh": _unary("tanh"),
    "Softmax": _softmax,
    "RNN": recurrent("rnn"),
    "GRU": recurrent("gru"),
    "LSTM": recurrent("lstm"),
    "Conv": spatial.conv,
    "MaxPool": spatial.pool("maxpool"),
    "AveragePool": spatial.pool("avgpool"),
    "GlobalMaxPool": spatial.global_pool("maxpool"),
    "GlobalAveragePool": spatial.global_pool("avgpool"),
    "BatchNormalization": spatial.batch_normalization,
    "Identity": relabel.identity,
    "Dropout": relabel.dropout,
    "Constant": relabel.constant,
    "Reshape": relabel.reshape,
    "Flatten": relabel.flatten,
    "Squeeze": relabel.squeeze,
    "Unsqueeze": relabel.unsqueeze,
    "Transpose": relabel.transpose,
}
