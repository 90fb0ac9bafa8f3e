"""Where the elements of a tensor lie in native vectors.

A tensor on the device is a *store*: its elements in row-major order, cut into segments of one
length, each segment padded with zeros to whole native vectors. Relabellings (reshape) make *views*
of a store and move nothing: every operator works along the last axis of the view it reads, a *row*,
and a row must be a whole number of segments, or whole native vectors within one. A matrix
reads padded rows because its columns are permuted and padded alike (`View.columns`).

The segment length of a model's input is chosen to suit all who read it (the host packs it so);
that of a computed tensor follows from the operator that makes it.

Around an image that a window with padding slides over lies a *border* of constant vectors: one
border for the products (zeros) and one for the pools, which read another memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from compiler.ir import ACTIVATIONS, ELEMENTWISE, GATES, POOLS, Graph, Node, Shape, window_of
from rtl_sim.spec.npu import Mem

LOWEST = -65504.0  # the least binary16


class LayoutError(ValueError):
    """The reason why a node's operands cannot be laid out. A refusal is made of it."""


@dataclass(frozen=True, slots=True)
class View:
    """A store read as rows."""

    store: str
    rows: int
    features: int
    row_vectors: int  # native vectors a row takes; row r starts at r * row_vectors
    segment_vectors: int  # a row is runs of so many vectors, the last of which may be partial
    last_elements: int  # how many elements that one holds
    columns: NDArray[np.int64] = field(repr=False, compare=False)
    # ^ for each element of a padded row, the index of the feature there, or -1 for padding


@dataclass(frozen=True, slots=True)
class Border:
    """Constant vectors around an image in one memory."""

    lines: int  # of the image
    width: int  # pixels of a line
    pads: tuple[int, int, int, int]  # pixels: top, left, bottom, right
    value: float

    def joined(self, other: Border) -> Border:
        """One that serves both. Raises LayoutError."""
        same = (self.value, self.lines, self.width) == (other.value, other.lines, other.width)
        if not same:
            raise LayoutError(
                "the same tensor is read by windows that need different paddings around it"
            )
        a, b = self.pads, other.pads
        pads = (max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        return Border(self.lines, self.width, pads, self.value)


def split_shape(shape: Shape) -> tuple[int, int]:
    """(rows, features) of a tensor."""
    return prod(shape[:-1]), shape[-1] if shape else 1


class Layout:
    """Stores and segment lengths of a graph. Build with `lay_out`."""

    def __init__(self, graph: Graph, n: int) -> None:
        self.n = n
        self._shapes = graph.shapes
        self._inputs = graph.inputs
        self._store: dict[str, str] = {name: name for name in graph.inputs}
        self.segment: dict[str, int] = {}
        self.borders: dict[tuple[str, Mem], Border] = {}

    def store_of(self, value: str) -> str:
        return self._store[value]

    def vectors_of(self, store: str) -> int:
        """Native vectors of a whole store, without borders."""
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
            length = features
        else:
            raise LayoutError(
                f"rows of {features} elements cut across the rows of {length} in which the tensor "
                f"was made; on chip a row starts at a multiple of {self.n} elements"
            )
        vectors = -(-length // self.n)
        last = length - (vectors - 1) * self.n
        return View(store, rows, features, len(columns) // self.n, vectors, last, columns)

    def flat(self, value: str) -> View:
        """The value as its store's segments, for operators that work on whatever lies there."""
        store = self._store[value]
        length = self.segment[store]
        columns = segment_columns(length, length, self.n)
        vectors = len(columns) // self.n
        rows, last = prod(self._shapes[store]) // length, length - (vectors - 1) * self.n
        return View(store, rows, length, vectors, vectors, last, columns)

    def define(self, value: str, segment: int) -> None:
        """`value` is a store of its own."""
        self._store[value] = value
        self.segment[value] = segment

    def relabel(self, value: str, source: str) -> None:
        self._store[value] = self._store[source]

    def surround(self, value: str, mem: Mem, border: Border) -> None:
        """Ask for a border around an image. Raises LayoutError."""
        store = self._store[value]
        moves_alike = store in self._inputs or self._shapes[store] == self._shapes[value]
        if border.lines > 1 and not moves_alike:
            raise LayoutError("its image is a relabelling of a tensor that was made in other rows")
        before = self.borders.get((store, mem))
        self.borders[store, mem] = before.joined(border) if before else border


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
            moving = activations(graph, node)
            if node.op in (*ELEMENTWISE, *ACTIVATIONS, *POOLS) and moving:
                segment = _shared_segment(layout, moving)  # these work on whatever lies there
            if node.op not in ELEMENTWISE + ACTIVATIONS:
                views = [layout.view(name) for name in moving]
                if node.op in GATES:
                    _check_states(views[1:], segment, n)
                if node.op in POOLS:  # of several vectors of a longer row it makes one
                    segment = min(segment, views[0].features)
            if node.op in ("conv", *POOLS):
                _surround(layout, graph, node)
        except LayoutError as error:
            refused.append((node, str(error)))
        for name in node.outputs:
            if name:
                layout.define(name, segment)
    refused += _readers_of_bordered(graph, layout)
    return layout, refused


def activations(graph: Graph, node: Node) -> list[str]:
    """The inputs of a node that are not constants."""
    return [name for name in node.inputs if name and name not in graph.constants]


def _shared_segment(layout: Layout, names: list[str]) -> int:
    lengths = {layout.segment[layout.store_of(name)] for name in names}
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


def _surround(layout: Layout, graph: Graph, node: Node) -> None:
    window = window_of(node, graph.shapes)
    if not any(window.pads):
        return
    source = node.inputs[0]
    _, lines, width, _ = graph.shapes[source]
    if node.op == "conv":
        layout.surround(source, Mem.IVRF, Border(lines, width, window.pads, 0.0))
    else:
        value = LOWEST if node.op == "maxpool" else 0.0
        layout.surround(source, Mem.AVRF, Border(lines, width, window.pads, value))


def _readers_of_bordered(graph: Graph, layout: Layout) -> list[tuple[Node, str]]:
    """Products whose rows do not fit between the borders that others asked for."""
    refused = []
    for node in graph.nodes:
        if node.op != "linear" and node.op not in GATES:
            continue
        try:
            view = layout.view(node.inputs[0])
        except (LayoutError, KeyError):  # refused already
            continue
        border = layout.borders.get((view.store, Mem.IVRF))
        lines = border.lines if border else 1
        whole = view.rows == 1 and node.op == "linear"
        if lines > 1 and not whole and (view.rows % lines or node.op in GATES):
            reason = f"it reads rows of an image of {lines} lines around which lies padding"
            refused.append((node, reason))
    return refused


def _input_segments(graph: Graph) -> dict[str, int]:
    """For each input, the shortest row that anyone reads it in, also behind operators that keep the
    layout of what they read; such operators want all their operands alike. All of an input is one
    row where nobody asks for rows."""
    groups = {name: {name} for name in graph.inputs}  # inputs that must lie alike
    demands: dict[str, set[int]] = {name: set() for name in graph.inputs}
    origin = {name: name for name in graph.inputs}  # of values that lie as an input does
    made: dict[str, int] = {}  # segments of the others
    for node in graph.nodes:
        moving = activations(graph, node)
        inputs = [origin[name] for name in moving if name in origin]
        if node.op not in (*ELEMENTWISE, *ACTIVATIONS, "reshape"):
            for name in moving:
                if name in origin:
                    demands[origin[name]].add(split_shape(graph.shapes[name])[1])
        if node.op in (*ELEMENTWISE, *ACTIVATIONS, *POOLS, "reshape"):
            known = [made[name] for name in moving if name in made]
            joined = set[str]().union(*(groups[name] for name in inputs))
            for name in joined:
                groups[name] = joined
            for name in inputs[:1]:
                demands[name] |= set(known)
            if known:
                made[node.outputs[0]] = known[0]
            elif inputs:
                origin[node.outputs[0]] = inputs[0]
        else:
            for name in node.outputs:
                if name:
                    made[name] = split_shape(graph.shapes[name])[1]
    return {
        name: min(set[int]().union(*(demands[each] for each in group)), default=0)
        or prod(graph.shapes[name])
        for name, group in groups.items()
    }
