"""What is known while nodes are translated one by one, and the checked reading of attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
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
        """The name of a float input. Raises Refused for an integer, empty or absent one."""
        name = optional(node, index)
        if not name:
            raise Refused(f"input {index} is absent")
        name = self.resolve(name)
        if name in self.integers:
            raise Refused(f"input {index} is an integer tensor; only float is computed with")
        if name not in self.shapes:
            raise UnknownShape
        if 0 in self.shapes[name]:
            raise Refused(f"input {index}, {name!r}, is empty: its shape is {self.shapes[name]}")
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


def int_attr(node: RawNode, key: str, default: int) -> int:
    value = node.attrs.get(key, default)
    if not isinstance(value, int):
        raise Refused(f"attribute {key} is {value!r}, not an integer")
    return value


def float_attr(node: RawNode, key: str, default: float) -> float:
    value = node.attrs.get(key, default)
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise Refused(f"attribute {key} is {value!r}, not a finite number")
    return float(value)


def ints_attr(node: RawNode, key: str) -> tuple[int, ...] | None:
    value = node.attrs.get(key)
    if value is None:
        return None
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise Refused(f"attribute {key} is {value!r}, not a list of integers")
    return tuple(int(item) for item in value)


def text_attr(node: RawNode, key: str, default: str) -> str:
    value = node.attrs.get(key, default)
    if not isinstance(value, str):
        raise Refused(f"attribute {key} is {value!r}, not a text")
    return value


def as_pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    """(vertical, horizontal) of one or two axes: a sequence is an image one pixel high."""
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def checked_axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise Refused(f"axis {axis} of a tensor with {rank} dimensions")
    return axis % rank


def made(node: RawNode, op: str, inputs: tuple[str, ...], **attrs: Attr) -> list[Node]:
    return [Node(op, node.name, inputs, (node.outputs[0],), attrs)]
