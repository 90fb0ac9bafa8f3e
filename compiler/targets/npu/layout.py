"""Where the elements of a tensor lie in native vectors.

A tensor on the device is a *store*: its elements in row-major order, cut into segments of one
length, each segment padded with zeros to whole native vectors. Relabellings (reshape) make *views*
of a store and move nothing: every operator works along the last axis of the view it reads, a *row*,
and a row must be a whole number of segments, or whole native vectors within one. A matrix
reads padded rows because its columns are permuted and padded alike (`View.columns`).

The segment length of a model's input is chosen to suit all who read it (the host packs it so);
that of a computed tensor follows from the operator that makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from compiler.ir import ACTIVATIONS, ELEMENTWISE, Graph, Node, Shape


class LayoutError(ValueError):
    """The reason why a node's operands cannot be laid out. A refusal is made of it."""


@dataclass(frozen=True, slots=True)
class View:
    """A store read as rows."""

    store: str
    rows: int
    features: int
    row_vectors: int  # native vectors a row takes; row r starts at r * row_vectors
    columns: NDArray[np.int64] = field(repr=False, compare=False)
    # ^ for each element of a padded row, the index of the feature there, or -1 for padding


def split_shape(shape: Shape) -> tuple[int, int]:
    """(rows, features) of a tensor."""
    return prod(shape[:-1]), shape[-1] if shape else 1


class Layout:
    """Stores and segment lengths of a graph. Build with `lay_out`."""

    def __init__(self, graph: Graph, n: int) -> None:
        self.n = n
        self._shapes = graph.shapes
        self._store: dict[str, str] = {name: name for name in graph.inputs}
        self.segment: dict[str, int] = {}

    def store_of(self, value: str) -> str:
        return self._store[value]

    def vectors_of(self, store: str) -> int:
        """Native vectors of a whole store."""
        length = self.segment[store]
        return prod(self._shapes[store]) // length * -(-length // self.n)

    def view(self, value: str) -> View:
        """Raises LayoutError when the value's rows do not fit its store."""
        store = self._store[value]
        rows, features = split_shape(self._shapes[value])
        length = self.segment[store]
        if features % length == 0:
            columns = segment_columns(features, length, self.n)
        elif length % features == 0 and features % self.n == 0 and length % self.n == 0:
            columns = np.arange(features)
        else:
            raise LayoutError(
                f"rows of {features} elements cut across the rows of {length} in which the tensor "
                f"was made; on chip a row starts at a multiple of {self.n} elements"
            )
        return View(store, rows, features, len(columns) // self.n, columns)

    def define(self, value: str, segment: int) -> None:
        """`value` is a store of its own."""
        self._store[value] = value
        self.segment[value] = segment

    def relabel(self, value: str, source: str) -> None:
        self._store[value] = self._store[source]


def segment_columns(features: int, segment: int, n: int) -> NDArray[np.int64]:
    """Feature index by position in a padded row of `features` in segments of `segment`."""
    padded = -(-segment // n) * n
    columns = np.full((features // segment, padded), -1, np.int64)
    columns[:, :segment] = np.arange(features).reshape(-1, segment)
    return columns.reshape(-1)


def lay_out(graph: Graph, n: int) -> tuple[Layout, list[tuple[Node, str]]]:
    """The layout, and the nodes whose operands do not fit it, with the reason."""
    layout = Layout(graph, n)
    for name, segment in _input_segments(graph).items():
        layout.segment[name] = segment
    refused: list[tuple[Node, str]] = []
    for node in graph.nodes:
        if node.op == "reshape":
            layout.relabel(node.outputs[0], node.inputs[0])
            continue
        segment = split_shape(graph.shapes[next(name for name in node.outputs if name)])[1]
        try:
            views = [layout.view(name) for name in activations(graph, node)]
            if node.op in ELEMENTWISE + ACTIVATIONS and views:
                segment = _shared_segment(layout, views)
            elif node.op == "lstm":
                _check_states(views[1:], segment, n)
        except LayoutError as error:
            refused.append((node, str(error)))
        for name in node.outputs:
            if name:
                layout.define(name, segment)
    return layout, refused


def activations(graph: Graph, node: Node) -> list[str]:
    """The inputs of a node that are not constants."""
    return [name for name in node.inputs if name and name not in graph.constants]


def _shared_segment(layout: Layout, views: list[View]) -> int:
    lengths = {layout.segment[view.store] for view in views}
    if len(lengths) > 1:
        raise LayoutError(
            f"its operands were made in rows of different lengths ({sorted(lengths)}) and lie "
            "differently in memory"
        )
    return lengths.pop()


def _check_states(states: list[View], hidden: int, n: int) -> None:
    plain = segment_columns(hidden, hidden, n)
    if any(not np.array_equal(view.columns, plain) for view in states):
        raise LayoutError(f"an initial state must be made in one row of {hidden} elements")


def _input_segments(graph: Graph) -> dict[str, int]:
    """For each input, the shortest row that anyone reads it in, also behind operators that keep
    the layout of what they read."""
    origin = {name: name for name in graph.inputs}
    shortest = {name: split_shape(graph.shapes[name])[1] for name in graph.inputs}
    read: set[str] = set()
    for node in graph.nodes:
        for name in node.inputs:
            source = origin.get(name)
            if source is None:
                continue
            keeps = node.op in ELEMENTWISE + ACTIVATIONS and len(activations(graph, node)) == 1
            if node.op == "reshape" or keeps:
                origin[node.outputs[0]] = source
            if node.op == "reshape":
                continue
            features = split_shape(graph.shapes[name])[1]
            shortest[source] = min(shortest[source], features) if source in read else features
            read.add(source)
    return shortest
