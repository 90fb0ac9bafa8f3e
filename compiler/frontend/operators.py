"""One function an ONNX operator: its attributes and optional inputs, checked, as IR nodes.

A function returns the nodes to add; it may instead tell the scope that its output is a constant or
an alias, and return none. It raises `Refused` with a reason, or `UnknownShape` when it reads what
a refused node should have made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.frontend.raw import RawNode, is_float
from compiler.ir import Array, Attr, Node, Shape


class Refused(ValueError):
    """This operator, used like this, cannot be translated."""


class UnknownShape(Exception):
    """The node reads a value that a refused node should have made."""


@dataclass
class Scope:
    """What is known about every value so far."""

    opset: int
    shapes: dict[str, Shape]
    floats: dict[str, Array]
    integers: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def define(self, name: str, array: NDArray[Any]) -> None:
        if is_float(array):
            self.floats[name] = np.ascontiguousarray(array, np.float32).reshape(array.shape)
            self.shapes[name] = array.shape
        else:
            self.integers[name] = array.astype(np.int64)

    def resolve(self, name: str) -> str:
        return self.aliases.get(name, name)

    def value(self, node: RawNode, index: int) -> str:
        """The name of a float input. Raises Refused for an integer or absent one."""
        name = optional(node, index)
        if not name:
            raise Refused(f"input {index} is absent")
        name = self.resolve(name)
        if name in self.integers:
            raise Refused(f"input {index} is an integer tensor; only float is computed with")
        if name not in self.shapes:
            raise UnknownShape
        return name

    def ints(self, node: RawNode, index: int) -> tuple[int, ...]:
        """The content of an integer input. Raises Refused unless it is a constant."""
        name = self.resolve(optional(node, index))
        if not name:
            raise Refused(f"input {index} is absent")
        if name in self.integers:
            return tuple(int(item) for item in self.integers[name].reshape(-1))
        if name not in self.shapes:
            raise UnknownShape
        raise Refused(f"input {index} ({node.inputs[index]!r}) must be an integer constant")

    def is_zero(self, name: str) -> bool:
        return name in self.floats and not self.floats[name].any()


def optional(node: RawNode, index: int) -> str:
    return node.inputs[index] if index < len(node.inputs) else ""


def _int(node: RawNode, key: str, default: int) -> int:
    value = node.attrs.get(key, default)
    if not isinstance(value, int):
        raise Refused(f"attribute {key} is {value!r}, not an integer")
    return value


def _float(node: RawNode, key: str, default: float) -> float:
    value = node.attrs.get(key, default)
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise Refused(f"attribute {key} is {value!r}, not a finite number")
    return float(value)


def _tuple(node: RawNode, key: str) -> tuple[int, ...] | None:
    value = node.attrs.get(key)
    if value is None:
        return None
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise Refused(f"attribute {key} is {value!r}, not a list of integers")
    return tuple(int(item) for item in value)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise Refused(f"axis {axis} of a tensor with {rank} dimensions")
    return axis % rank


def _made(node: RawNode, op: str, inputs: tuple[str, ...], **attrs: Attr) -> list[Node]:
    return [Node(op, node.name, inputs, (node.outputs[0],), attrs)]


# ---- computing operators


def _gemm(node: RawNode, scope: Scope) -> list[Node]:
    attrs: dict[str, Attr] = {
        "transa": _int(node, "transA", 0),
        "transb": _int(node, "transB", 0),
        "alpha": _float(node, "alpha", 1.0),
        "beta": _float(node, "beta", 1.0),
    }
    inputs = [scope.value(node, 0), scope.value(node, 1)]
    if optional(node, 2):
        inputs.append(scope.value(node, 2))
    return _made(node, "gemm", tuple(inputs), **attrs)


def _matmul(node: RawNode, scope: Scope) -> list[Node]:
    return _made(node, "matmul", (scope.value(node, 0), scope.value(node, 1)))


def _binary(op: str) -> Callable[[RawNode, Scope], list[Node]]:
    def translate(node: RawNode, scope: Scope) -> list[Node]:
        return _made(node, op, (scope.value(node, 0), scope.value(node, 1)))

    return translate


def _max(node: RawNode, scope: Scope) -> list[Node]:
    if len(node.inputs) != 2:
        raise Refused(f"of {len(node.inputs)} tensors; exactly two are supported")
    return _binary("max")(node, scope)


def _unary(op: str) -> Callable[[RawNode, Scope], list[Node]]:
    def translate(node: RawNode, scope: Scope) -> list[Node]:
        return _made(node, op, (scope.value(node, 0),))

    return translate


def _softmax(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    shape = scope.shapes[name]
    axis = _axis(_int(node, "axis", 1 if scope.opset < 13 else -1), len(shape))
    if scope.opset < 13 and prod(shape[axis + 1 :]) != 1:
        raise Refused(f"over the axes from {axis} of {list(shape)} together; only one axis")
    return _made(node, "softmax", (name,), axis=axis)


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


# ---- operators that only rename or relabel


def _identity(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.resolve(optional(node, 0))
    if name not in scope.shapes and name not in scope.integers:
        raise UnknownShape
    scope.aliases[node.outputs[0]] = name
    return []


def _constant(node: RawNode, scope: Scope) -> list[Node]:
    for key, value in node.attrs.items():
        if isinstance(value, np.ndarray):
            scope.define(node.outputs[0], value)
        elif key in ("value_float", "value_floats"):
            scope.define(node.outputs[0], np.asarray(value, np.float32))
        elif key in ("value_int", "value_ints"):
            scope.define(node.outputs[0], np.asarray(value, np.int64))
        else:
            raise Refused(f"attribute {key} is not supported")
    if node.outputs[0] not in scope.floats and node.outputs[0] not in scope.integers:
        raise Refused("it has no value")
    return []


def _reshape(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    old = scope.shapes[name]
    wanted = list(scope.ints(node, 1))
    if not _int(node, "allowzero", 0):
        for index, dim in enumerate(wanted):
            if dim == 0 and index < len(old):
                wanted[index] = old[index]
    if wanted.count(-1) == 1:
        rest = prod(dim for dim in wanted if dim != -1)
        if rest <= 0 or prod(old) % rest:
            raise Refused(f"of {list(old)} to {wanted}")
        wanted[wanted.index(-1)] = prod(old) // rest
    return _made(node, "reshape", (name,), shape=tuple(wanted))


def _flatten(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    shape = scope.shapes[name]
    axis = _int(node, "axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise Refused(f"axis {axis} of a tensor with {len(shape)} dimensions")
    axis = axis + len(shape) if axis < 0 else axis
    return _made(node, "reshape", (name,), shape=(prod(shape[:axis]), prod(shape[axis:])))


def _axes(node: RawNode, scope: Scope) -> tuple[int, ...] | None:
    """Attribute before opset 13, input since."""
    if optional(node, 1):
        return scope.ints(node, 1)
    return _tuple(node, "axes")


def _squeeze(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    shape = scope.shapes[name]
    axes = _axes(node, scope)
    if axes is None:
        axes = tuple(index for index, dim in enumerate(shape) if dim == 1)
    drop = {_axis(axis, len(shape)) for axis in axes}
    if any(shape[axis] != 1 for axis in drop):
        raise Refused(f"axes {list(axes)} of {list(shape)} are not all 1")
    kept = tuple(dim for index, dim in enumerate(shape) if index not in drop)
    return _made(node, "reshape", (name,), shape=kept)


def _unsqueeze(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    axes = _axes(node, scope)
    if axes is None:
        raise Refused("it names no axes")
    rank = len(scope.shapes[name]) + len(axes)
    new = {_axis(axis, rank) for axis in axes}
    if len(new) != len(axes):
        raise Refused(f"axes {list(axes)} name one axis twice")
    old = iter(scope.shapes[name])
    shape = tuple(1 if index in new else next(old) for index in range(rank))
    return _made(node, "reshape", (name,), shape=shape)


def _transpose(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    perm = _tuple(node, "perm") or tuple(reversed(range(len(scope.shapes[name]))))
    return _made(node, "transpose", (name,), perm=perm)


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
    "Identity": _identity,
    "Constant": _constant,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
}
