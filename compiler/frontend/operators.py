"""One function an ONNX operator: its attributes and optional inputs, checked, as IR nodes.

A function returns the nodes to add; it may instead tell the scope that its output is a constant or
an alias, and return none. It raises `Refused` with a reason, or `UnknownShape` when it reads what
a refused node should have made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from compiler.frontend import relabel
from compiler.frontend.raw import RawNode
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


_LSTM_DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "direction": ("forward",),
    "layout": (0,),
    "input_forget": (0,),
    "activations": (("Sigmoid", "Tanh", "Tanh"),),
    "clip": (),  # no value is supported
    "activation_alpha": ((),),
    "activation_beta": ((),),
}


def _lstm(node: RawNode, scope: Scope) -> list[Node]:
    for key, accepted in _LSTM_DEFAULTS.items():
        if key in node.attrs and node.attrs[key] not in accepted:
            wanted = " or ".join(repr(value) for value in accepted) or "absent"
            raise Refused(f"attribute {key} is {node.attrs[key]!r}, must be {wanted}")
    x, w, r = (scope.value(node, index) for index in range(3))
    for what, name in (("W", w), ("R", r)):
        if name not in scope.floats:
            raise Refused(f"{what} must be a constant: weights are pinned on chip")
    if "hidden_size" in node.attrs and node.attrs["hidden_size"] != scope.shapes[r][-1]:
        raise Refused(f"hidden_size is {node.attrs['hidden_size']}, R says {scope.shapes[r][-1]}")
    extra = [scope.value(node, index) if optional(node, index) else "" for index in (3, 5, 6)]
    if extra[0] and extra[0] not in scope.floats:
        raise Refused("B must be a constant: weights are pinned on chip")
    if optional(node, 4):
        steps = scope.shapes[x][0]
        if scope.ints(node, 4) != (steps,):
            raise Refused(f"sequence_lens must be [{steps}], the length of the sequence")
    if optional(node, 7) and not scope.is_zero(scope.value(node, 7)):
        raise Refused("peephole weights (P) are not supported")
    extra[1:] = ["" if scope.is_zero(name) else name for name in extra[1:]]
    outputs = tuple(node.outputs[:3])
    return [Node("lstm", node.name, (x, w, r, *extra), outputs)]


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
    "LSTM": _lstm,
    "Identity": relabel.identity,
    "Constant": relabel.constant,
    "Reshape": relabel.reshape,
    "Flatten": relabel.flatten,
    "Squeeze": relabel.squeeze,
    "Unsqueeze": relabel.unsqueeze,
    "Transpose": relabel.transpose,
}
