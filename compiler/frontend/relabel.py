"""ONNX operators that compute nothing: constants, and other names or shapes for the same elements.

Same rules as operators.py.
"""

from __future__ import annotations

from math import prod

import numpy as np

from compiler.frontend.raw import RawNode
from compiler.frontend.scope import (
    Refused,
    Scope,
    UnknownShape,
    checked_axis,
    int_attr,
    ints_attr,
    made,
    optional,
)
from compiler.ir import Node


def identity(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.resolve(optional(node, 0))
    if name not in scope.shapes and name not in scope.integers:
        raise UnknownShape
    scope.aliases[node.outputs[0]] = name
    return []


def dropout(node: RawNode, scope: Scope) -> list[Node]:
    """It drops nothing when a model is used."""
    if any(node.outputs[1:]):
        raise Refused("its output mask is not supported")
    return identity(node, scope)


def constant(node: RawNode, scope: Scope) -> list[Node]:
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


def reshape(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    old = scope.shapes[name]
    wanted = list(scope.ints(node, 1))
    if not int_attr(node, "allowzero", 0):
        for index, dim in enumerate(wanted):
            if dim == 0 and index < len(old):
                wanted[index] = old[index]
    if wanted.count(-1) == 1:
        rest = prod(dim for dim in wanted if dim != -1)
        if rest <= 0 or prod(old) % rest:
            raise Refused(f"of {list(old)} to {wanted}")
        wanted[wanted.index(-1)] = prod(old) // rest
    return made(node, "reshape", (name,), shape=tuple(wanted))


def flatten(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    shape = scope.shapes[name]
    axis = int_attr(node, "axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise Refused(f"axis {axis} of a tensor with {len(shape)} dimensions")
    axis = axis + len(shape) if axis < 0 else axis
    return made(node, "reshape", (name,), shape=(prod(shape[:axis]), prod(shape[axis:])))


def _axes(node: RawNode, scope: Scope) -> tuple[int, ...] | None:
    """Attribute before opset 13, input since."""
    if optional(node, 1):
        return scope.ints(node, 1)
    return ints_attr(node, "axes")


def squeeze(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    shape = scope.shapes[name]
    axes = _axes(node, scope)
    if axes is None:
        axes = tuple(index for index, dim in enumerate(shape) if dim == 1)
    drop = {checked_axis(axis, len(shape)) for axis in axes}
    if any(shape[axis] != 1 for axis in drop):
        raise Refused(f"axes {list(axes)} of {list(shape)} are not all 1")
    kept = tuple(dim for index, dim in enumerate(shape) if index not in drop)
    return made(node, "reshape", (name,), shape=kept)


def unsqueeze(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    axes = _axes(node, scope)
    if axes is None:
        raise Refused("it names no axes")
    rank = len(scope.shapes[name]) + len(axes)
    new = {checked_axis(axis, rank) for axis in axes}
    if len(new) != len(axes):
        raise Refused(f"axes {list(axes)} name one axis twice")
    old = iter(scope.shapes[name])
    shape = tuple(1 if index in new else next(old) for index in range(rank))
    return made(node, "reshape", (name,), shape=shape)


def transpose(node: RawNode, scope: Scope) -> list[Node]:
    name = scope.value(node, 0)
    perm = ints_attr(node, "perm") or tuple(reversed(range(len(scope.shapes[name]))))
    return made(node, "transpose", (name,), perm=perm)
