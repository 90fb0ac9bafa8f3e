"""Move transposes towards the outputs until they cancel, fold into weights, or reach the host.

A convolution stands between two transposes (ONNX has channels second, the device last). A value
that is another one transposed and relabelled is *moved*; an operator on moved values works on what
they were moved from, and its result is moved in its turn. A matrix that reads a moved value takes
the move into the order of its columns. What is left moves inputs or outputs of the model, which is
the host's work, or is refused by the target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from compiler.ir import ACTIVATIONS, ELEMENTWISE, Array, Graph, Node, Shape, infer
from compiler.passes.fold_views import unmoved


@dataclass(frozen=True, slots=True)
class _Moved:
    """value = reshape(transpose(source, perm), shape)."""

    source: str
    perm: tuple[int, ...]
    shape: Shape


def sink_transposes(graph: Graph) -> Graph:
    return _Sinker(graph).run()


class _Sinker:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = dict(graph.constants)
        self.shapes = {name: graph.shapes[name] for name in (*graph.inputs, *graph.constants)}
        self.nodes: list[Node] = []
        self.moved: dict[str, _Moved] = {}
        self.same: dict[str, str] = {}  # values that are others, unchanged
        self.by_host = set(graph.inputs)  # and what is only moved and relabelled since
        self.liftable = set(graph.inputs)  # and what element-wise operators alone make of it
        self.made: dict[tuple[str, tuple[int, ...]], str] = {}  # transposes there are already

    def run(self) -> Graph:
        for node in self.graph.nodes:
            inputs = tuple(self.same.get(name, name) for name in node.inputs)
            self._take(replace(node, inputs=inputs))
        return self.graph.with_nodes(tuple(self.nodes), self.constants)

    def _take(self, node: Node) -> None:
        reads = [name for name in node.inputs if name not in self.constants]
        if node.op in ELEMENTWISE + ACTIVATIONS and self.liftable.issuperset(reads):
            self.liftable.add(node.outputs[0])
        found = [self.moved.get(name) for name in node.inputs]
        if node.op == "transpose":
            self._transpose(node, found[0])
        elif node.op == "reshape" and node.inputs[0] in self.by_host:
            self.by_host.add(node.outputs[0])
            self._emit(node)
        elif node.op == "reshape" and found[0]:
            self._emit_moved(node, replace(found[0], shape=node.attr_shape("shape")))
        elif node.op in ACTIVATIONS and found[0]:
            self._emit_on_source(node, found[0], (found[0].source,))
        elif node.op in ELEMENTWISE and any(found):
            self._binary(node, found)
        elif node.op == "linear" and found[0]:
            self._linear(node, found[0])
        else:
            self._emit(node)

    def _emit(self, node: Node) -> None:
        self.nodes.append(node)
        self.shapes |= infer(node, self.shapes)

    def _transpose(self, node: Node, before: _Moved | None) -> None:
        source, perm = node.inputs[0], node.attr_shape("perm")
        if before and before.shape == self._transposed(before):
            source, perm = before.source, tuple(before.perm[axis] for axis in perm)
        shape = tuple(self.shapes[source][axis] for axis in perm)
        output = node.outputs[0]
        if unmoved(self.shapes[source], perm):
            if shape == self.shapes[source] and output not in self.graph.outputs:
                self.same[output] = source
            else:
                attrs = {"shape": shape}
                self._emit(Node("reshape", node.name, (source,), node.outputs, attrs))
            return
        self._emit_moved(node, _Moved(source, perm, shape))
        if source in self.by_host:  # as it is wanted: no work for the device
            self.by_host.add(output)
            del self.moved[output]

    def _transposed(self, moved: _Moved) -> Shape:
        return tuple(self.shapes[moved.source][axis] for axis in moved.perm)

    def _emit_moved(self, node: Node, moved: _Moved) -> None:
        """Make the value after all, for whoever reads it as it is; and remember what it is."""
        key, (output,) = (moved.source, moved.perm), node.outputs
        plain = moved.shape == self._transposed(moved)
        if key not in self.made:
            self.made[key] = output if plain else f"{output}@moved"
            attrs = {"perm": moved.perm}
            self._emit(Node("transpose", node.name, key[:1], (self.made[key],), attrs))
        if self.made[key] != output:
            attrs = {"shape": moved.shape}
            self._emit(Node("reshape", node.name, (self.made[key],), (output,), attrs))
        self.moved[output] = moved

    def _emit_on_source(self, node: Node, moved: _Moved, inputs: tuple[str, ...]) -> None:
        made = f"{node.outputs[0]}@still"
        self._emit(Node(node.op, node.name, inputs, (made,)))
        self._emit_moved(node, replace(moved, source=made))

    def _binary(self, node: Node, found: list[_Moved | None]) -> None:
        moved = next(each for each in found if each)
        output = self.graph.shapes[node.outputs[0]]
        inputs = [
            self._still(name, each, moved) for name, each in zip(node.inputs, found, strict=True)
        ]
        if output == moved.shape and all(inputs):
            self._emit_on_source(node, moved, tuple(name for name in inputs if name))
        else:
            self._emit(node)

    def _still(self, name: str, own: _Moved | None, moved: _Moved) -> str | None:
        """An operand before the move, or None if it was not moved alike."""
        if own:
            alike = (own.perm, own.shape) == (moved.perm, moved.shape)
            alike &= self.shapes[own.source] == self.shapes[moved.source]
            return own.source if alike else None
        back = tuple(int(axis) for axis in np.argsort(moved.perm))
        if name in self.constants:
            still = f"{name}@{moved.source}"
            self.constants[still] = self._constant(self.constants[name], moved, back)
            self.shapes[still] = self.constants[still].shape
            return still
        if name in self.liftable and self.shapes[name] == self._transposed(moved):
            # raise_transposes.py takes it up to the inputs, which the host moves
            if (name, back) not in self.made:
                self.made[name, back] = f"{name}@{moved.source}"
                moves = Node("transpose", name, (name,), (self.made[name, back],), {"perm": back})
                self._emit(moves)
            return self.made[name, back]
        return None

    def _constant(self, constant: Array, moved: _Moved, back: tuple[int, ...]) -> Array:
        transposed = self._transposed(moved)
        if constant.size == 1:
            return constant.reshape(())
        if moved.shape == transposed and constant.ndim <= len(back):
            grown = constant.reshape((1,) * (len(back) - constant.ndim) + constant.shape)
        else:
            grown = np.broadcast_to(constant, moved.shape).reshape(transposed)
        return np.ascontiguousarray(grown.transpose(back))

    def _linear(self, node: Node, moved: _Moved) -> None:
        weights = self.constants.get(node.inputs[1])
        if weights is None:
            self._emit(node)
            return
        columns = _columns(self.shapes[moved.source], moved.perm, weights.shape[1])
        if columns is None:
            self._emit(node)
            return
        name = f"{node.inputs[1]}@{node.outputs[0]}"
        self.constants[name] = np.empty_like(weights)
        self.constants[name][:, columns] = weights
        self.shapes[name] = weights.shape
        flat = f"{node.outputs[0]}@flat"
        self._emit(Node("reshape", node.name, (moved.source,), (flat,), {"shape": moved.shape}))
        self._emit(replace(node, inputs=(flat, name, *node.inputs[2:])))


def _columns(source: Shape, perm: tuple[int, ...], features: int) -> NDArray[np.int64] | None:
    """Which element of a source row stands at each position of a moved row, if the move stays
    within rows and does the same in each."""
    rows = np.arange(prod(source)).reshape(source).transpose(perm).reshape(-1, features)
    columns = rows - np.arange(len(rows))[:, None] * features
    within = columns.min() >= 0 and columns.max() < features
    return np.asarray(columns[0]) if within and (columns == columns[0]).all() else None
