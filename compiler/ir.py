"""The compiler's intermediate representation: a graph of float32 tensors in topological order.

A `Graph` is a value: passes return new ones. It knows neither ONNX nor any target. Shapes are
static; nodes.py says what operators there are and what shapes they yield, and `verify` holds the
whole graph to that after every pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compiler.nodes import (
    ACTIVATIONS,
    ELEMENTWISE,
    GATES,
    POOLS,
    Attr,
    Node,
    Shape,
    ShapeError,
    Window,
    infer,
    window_of,
)

__all__ = [
    "ACTIVATIONS",
    "ELEMENTWISE",
    "GATES",
    "POOLS",
    "Array",
    "Attr",
    "Graph",
    "Node",
    "Shape",
    "ShapeError",
    "Window",
    "infer",
    "verify",
    "window_of",
]

Array = NDArray[np.float32]


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
