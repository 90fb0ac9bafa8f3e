"""A model as read from a file: ONNX's content without ONNX's library, not yet interpreted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

RawAttr = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | NDArray[Any]
Dim = int | str | None  # a number, a symbol, or nothing at all


@dataclass(frozen=True, slots=True)
class RawNode:
    op: str
    domain: str  # "" is ONNX's own
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, RawAttr]

    @property
    def label(self) -> str:
        return f"{self.domain}::{self.op}" if self.domain else self.op


@dataclass(frozen=True, slots=True)
class RawModel:
    name: str
    opsets: Mapping[str, int]  # domain -> version
    inputs: Mapping[str, tuple[Dim, ...]]  # without those that are constants
    outputs: tuple[str, ...]
    constants: Mapping[str, NDArray[Any]]
    nodes: tuple[RawNode, ...]
    declared: Mapping[str, tuple[Dim, ...]] = field(default_factory=dict)  # shapes of outputs

    @property
    def opset(self) -> int:
        return self.opsets[""]


def is_float(array: NDArray[Any]) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))
