"""Arrays by name, and what a model says of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A model's input or output; no dimension is dynamic."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's outputs, and what it says about them (e.g. the cycles they took)."""

    outputs: Tensors
    parameters: Mapping[str, int] = field(default_factory=dict)
