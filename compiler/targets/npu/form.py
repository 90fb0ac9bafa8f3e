"""The graph as a list of blocks.

A chain starts with a product or a read, then takes every following element-wise operator whose
other operand exists already, as long as the two multifunction units have a slot for it: the vector
passes from operation to operation without touching memory. Values that somebody else reads are
written on the way.
"""

from __future__ import annotations

import numpy as np

from compiler.ir import ACTIVATIONS, ELEMENTWISE, GATES, POOLS, Array, Graph, Node, window_of
from compiler.reference import dense_kernel, pool_counts
from compiler.targets.npu.blocks import (
    Block,
    Chain,
    Const,
    Conv,
    Matrix,
    Pool,
    Step,
    Steps,
    Tap,
    pad_columns,
    slots_left,
)
from compiler.targets.npu.cut import cut_chains
from compiler.targets.npu.layout import Layout, View
from compiler.targets.npu.recurrent import ACTIVATION_OPS, form_recurrent
from rtl_sim.spec.npu import Op

_BINARY_OPS = {"add": Op.VV_ADD, "sub": Op.VV_A_SUB_B, "mul": Op.VV_MUL, "max": Op.VV_MAX}


def form_blocks(graph: Graph, layout: Layout) -> list[Block]:
    """Blocks in an order in which every operand exists before it is read."""
    return cut_chains(_Former(graph, layout).run(), set(map(layout.store_of, graph.outputs)))


class _Former:
    def __init__(self, graph: Graph, layout: Layout) -> None:
        self.graph = graph
        self.layout = layout
        self.made = {layout.store_of(name) for name in graph.inputs}
        self.done: set[tuple[str, ...]] = set()  # outputs of nodes that stand in a block
        self.readers: dict[str, list[Node]] = {}  # store -> computing nodes that read it
        for node in graph.nodes:
            if node.op != "reshape":
                for name in dict.fromkeys(node.inputs):
                    if name and name not in graph.constants:
                        self.readers.setdefault(layout.store_of(name), []).append(node)
        self.wanted = {layout.store_of(name) for name in graph.outputs}

    def run(self) -> list[Block]:
        blocks: list[Block] = []
        for node in self.graph.nodes:
            if node.op == "reshape" or node.outputs in self.done:
                continue
            if node.op in GATES:
                blocks.append(form_recurrent(node, self.graph, self.layout))
                self.done.add(node.outputs)
                self.made |= {name for name in node.outputs if name}
            elif node.op in POOLS:
                blocks.append(self._pool(node))
            elif node.op == "conv":
                blocks.append(self._conv(node))
            else:
                blocks.append(self._chain(node))
        return blocks

    def _chain(self, node: Node) -> Chain:
        matrix = None
        steps: Steps = []
        if node.op == "linear":
            source = self.layout.view(node.inputs[0])
            weights = self.graph.constants[node.inputs[1]]
            matrix = Matrix(node.name, pad_columns(weights, source), _real(node, weights))
            steps += self._bias(node)
        else:
            start = next(name for name in node.inputs if name not in self.graph.constants)
            source = self.layout.flat(start)
            steps.append(self._step(node, source.store, source))
        result = self.layout.view(node.outputs[0]) if matrix else source
        output = self._extend(steps, node, result)
        rows, vectors = result.rows, result.row_vectors
        return Chain(node.name, node.op, source, matrix, rows, vectors, steps, output)

    def _conv(self, node: Node) -> Conv:
        x = self.layout.view(node.inputs[0])
        weights = self.graph.constants[node.inputs[1]]
        window = window_of(node, self.graph.shapes)
        dense = dense_kernel(weights, node.attr_int("groups"))
        outputs, channels = len(dense), dense.shape[3]
        pixels = pad_columns(dense.reshape(-1, channels), x)
        matrix = Matrix(node.name, pixels.reshape(outputs, -1), _real(node, weights))
        result = self.layout.view(node.outputs[0])
        _, height, width, _ = self.graph.shapes[node.outputs[0]]
        steps = self._bias(node)
        output = self._extend(steps, node, result)
        return Conv(
            node.name,
            node.op,
            x,
            matrix,
            result.rows,
            result.row_vectors,
            steps,
            output,
            window,
            self.graph.shapes[node.inputs[0]][1],
            height,
            width,
            matrix.real,
        )

    def _pool(self, node: Node) -> Pool:
        x = self.layout.view(node.inputs[0])
        window = window_of(node, self.graph.shapes)
        result = self.layout.view(node.outputs[0])
        _, height, width, channels = self.graph.shapes[node.outputs[0]]
        steps: Steps = []
        begin = 0
        if node.op == "avgpool":
            counts = pool_counts(node, window, self.graph.shapes[node.inputs[0]][1:3])
            shares = np.repeat(1 / counts.reshape(-1, 1), channels, axis=1)
            same = bool((counts == counts.flat[0]).all())
            rows = self._padded(shares[:1] if same else shares, node.outputs[0])
            steps.append(Step(Op.VV_MUL, Const(f"{node.name}.share", rows, per_row=same)))
        if window.kernel[1] > 1:  # the last combinations along a line are in the same chain
            begin = 1 if window.kernel[1] % 2 == 0 else 4
        output = self._extend(steps, node, result, begin)
        combine = Op.VV_MAX if node.op == "maxpool" else Op.VV_ADD
        lines = self.graph.shapes[node.inputs[0]][1]
        return Pool(node.name, node.op, x, window, combine, lines, height, width, steps, output)

    def _bias(self, node: Node) -> Steps:
        if len(node.inputs) < 3 or not node.inputs[2]:
            return []
        row = self._padded(self.graph.constants[node.inputs[2]], node.outputs[0])
        return [Step(Op.VV_ADD, Const(node.inputs[2], row))]

    # ---- operators that ride on a chain

    def _extend(self, steps: Steps, node: Node, result: View, begin: int = 0) -> str:
        """Take operators into the chain as long as one fits; the last value that it makes.

        What the chain writes takes effect at its end: no operation of it can read that."""
        written: set[str] = set()
        while True:
            self.done.add(node.outputs)
            store = node.outputs[0]
            following = self._next(steps, store, result, begin)
            others = len(self.readers.get(store, ())) - (following is not None)
            if others or store in self.wanted:
                steps.append(Tap(store))
                written.add(store)
            if following is None:
                self.made |= written
                return store
            steps.append(self._step(following, store, result))
            node = following

    def _next(self, steps: Steps, store: str, result: View, begin: int) -> Node | None:
        for node in self.readers.get(store, ()):
            if node.op not in ELEMENTWISE + ACTIVATIONS or node.outputs in self.done:
                continue
            stores = [
                self.layout.store_of(name)
                for name in node.inputs
                if name not in self.graph.constants
            ]
            others = set(stores) - {store}
            twice = stores.count(store) > 1  # x + x: the operand must be in memory
            if not twice and others <= self.made:
                step = self._step(node, store, result)
                if slots_left(steps, step.op, begin):
                    return node
        return None

    def _step(self, node: Node, store: str, result: View) -> Step:
        """`node` as an operation on a chain that carries `store`."""
        if node.op in ACTIVATIONS:
            return Step(ACTIVATION_OPS[node.op])
        first, second = node.inputs
        carried_first = first not in self.graph.constants and self.layout.store_of(first) == store
        other = second if carried_first else first
        op = _BINARY_OPS[node.op]
        if op == Op.VV_A_SUB_B and not carried_first:
            op = Op.VV_B_SUB_A
        if other not in self.graph.constants:
            return Step(op, self.layout.store_of(other))
        return Step(op, self._constant(other, node.outputs[0], result))

    def _constant(self, name: str, value: str, result: View) -> Const:
        """A constant operand of an element-wise operator, as rows of the chain."""
        segment = self.layout.segment[value]
        full = np.broadcast_to(self.graph.constants[name], self.graph.shapes[value])
        flat = np.ascontiguousarray(full).reshape(-1, segment)
        padded = np.pad(flat, ((0, 0), (0, -segment % self.layout.n)))
        rows = padded.reshape(result.rows, -1)
        same = result.rows > 1 and bool((rows == rows[0]).all())
        return Const(name, rows[:1] if same else rows, per_row=same)

    def _padded(self, rows: Array, result: str) -> Array:
        view = self.layout.view(result)
        return pad_columns(rows.reshape(-1, view.features), view)


def _real(node: Node, weights: Array) -> int:
    """How many multiplications of a row the model means, where a pass filled in zeros."""
    return node.attr_int("macs") if "macs" in node.attrs else weights.size
