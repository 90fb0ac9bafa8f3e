"""The graph as a list of blocks: what will become one chain, or one loop of chains.

A chain starts with a matrix product or a read, then takes every following element-wise operator
whose other operand exists already: the vector passes from instruction to instruction without
touching memory. Values that somebody else reads are written on the way. No addresses here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compiler.ir import ACTIVATIONS, ELEMENTWISE, Array, Graph, Node
from compiler.passes.fold_affine import as_bias
from compiler.targets.npu.layout import Layout, View
from rtl_sim.spec.npu import Op

_ACTIVATION_OPS = {"relu": Op.V_RELU, "sigmoid": Op.V_SIGM, "tanh": Op.V_TANH}
_BINARY_OPS = {"add": Op.VV_ADD, "sub": Op.VV_A_SUB_B, "mul": Op.VV_MUL, "max": Op.VV_MAX}


@dataclass(eq=False)
class Matrix:
    """Weights to be pinned: [out, padded in]."""

    name: str
    weights: Array = field(repr=False)


@dataclass(eq=False)
class Const:
    """Vectors to be pinned, as padded rows. `per_row`: the same one for every row of a loop."""

    name: str
    rows: Array = field(repr=False)  # [count, whole native vectors]
    per_row: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One operation in a chain; `operand` is a store, a constant, or nothing."""

    op: Op
    operand: str | Const | None = None


@dataclass(frozen=True, slots=True)
class Tap:
    """Write the vector as it is here to a store."""

    store: str


@dataclass
class Chain:
    """rows times: [a product with] a row of `source`, then the steps."""

    source: View
    matrix: Matrix | None
    rows: int
    row_vectors: int  # native vectors of a row of the result
    steps: list[Step | Tap]


@dataclass
class Lstm:
    """A layer over time: a loop of four products a step. Gates in the order i, o, f, g."""

    x: View
    gates: tuple[Matrix, ...]  # each [hidden, padded features + padded hidden]
    biases: tuple[Const, ...]  # as many, or none
    hidden: int
    h0: str | Const  # a store or a constant
    c0: str | Const
    y: str | None
    y_h: str | None
    y_c: str | None


Block = Chain | Lstm


def form_blocks(graph: Graph, layout: Layout) -> list[Block]:
    """Blocks in an order in which every operand exists before it is read."""
    return _Former(graph, layout).run()


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
            if node.op == "lstm":
                blocks.append(self._lstm(node))
                self.done.add(node.outputs)
                self.made |= {name for name in node.outputs if name}
            else:
                blocks.append(self._chain(node))
        return blocks

    # ---- chains

    def _chain(self, node: Node) -> Chain:
        matrix = None
        steps: list[Step | Tap] = []
        if node.op == "linear":
            source = self.layout.view(node.inputs[0])
            weights = self.graph.constants[node.inputs[1]]
            matrix = Matrix(node.name, pad_columns(weights, source))
            if len(node.inputs) > 2:
                row = self._padded(self.graph.constants[node.inputs[2]], node.outputs[0])
                steps.append(Step(Op.VV_ADD, Const(node.inputs[2], row)))
        else:
            start = self._start(node)
            source = self.layout.view(start)
            steps.append(self._step(node, source.store))
        result = self.layout.view(node.outputs[0])
        chain = Chain(source, matrix, result.rows, result.row_vectors, steps)
        self._extend(chain, node)
        return chain

    def _start(self, node: Node) -> str:
        return next(name for name in node.inputs if name not in self.graph.constants)

    def _extend(self, chain: Chain, node: Node) -> None:
        """Take operators into the chain as long as one fits."""
        while True:
            self.done.add(node.outputs)
            store = node.outputs[0]
            following = self._next(chain, store)
            others = len(self.readers.get(store, ())) - (following is not None)
            if others or store in self.wanted:
                chain.steps.append(Tap(store))
                self.made.add(store)
            if following is None:
                return
            chain.steps.append(self._step(following, store))
            node = following

    def _next(self, chain: Chain, store: str) -> Node | None:
        for node in self.readers.get(store, ()):
            if node.op not in ELEMENTWISE + ACTIVATIONS:
                continue
            view = self.layout.view(node.outputs[0])
            stores = [
                self.layout.store_of(name)
                for name in node.inputs
                if name not in self.graph.constants
            ]
            others = set(stores) - {store}
            twice = stores.count(store) > 1  # x + x: the operand must be in memory
            same = (view.rows, view.row_vectors) == (chain.rows, chain.row_vectors)
            if same and not twice and others <= self.made and node.outputs not in self.done:
                return node
        return None

    def _step(self, node: Node, store: str) -> Step:
        """`node` as an operation on a chain that carries `store`."""
        if node.op in ACTIVATIONS:
            return Step(_ACTIVATION_OPS[node.op])
        first, second = node.inputs
        carried_first = first not in self.graph.constants and self.layout.store_of(first) == store
        other = second if carried_first else first
        op = _BINARY_OPS[node.op]
        if op == Op.VV_A_SUB_B and not carried_first:
            op = Op.VV_B_SUB_A
        if other not in self.graph.constants:
            return Step(op, self.layout.store_of(other))
        return Step(op, self._constant(other, node.outputs[0]))

    def _constant(self, name: str, result: str) -> Const:
        constant = self.graph.constants[name]
        view = self.layout.view(result)
        vector = as_bias(constant, view.features)
        if vector is not None:
            return Const(name, self._padded(vector, result))
        full = np.broadcast_to(constant, self.graph.shapes[result])
        rows = self._padded(np.ascontiguousarray(full).reshape(view.rows, view.features), result)
        return Const(name, rows, per_row=False)

    def _padded(self, rows: Array, result: str) -> Array:
        view = self.layout.view(result)
        return pad_columns(rows.reshape(-1, view.features), view)

    # ---- recurrent layers

    def _lstm(self, node: Node) -> Lstm:
        names = (*node.inputs, "", "", "")[:6]
        constants = self.graph.constants
        x = self.layout.view(names[0])
        w, r = constants[names[1]][0], constants[names[2]][0]
        hidden = r.shape[1]
        gates = tuple(
            Matrix(
                f"{node.name}.{gate}",
                np.concatenate([pad_columns(w_gate, x), r_gate], axis=1),
            )
            for gate, w_gate, r_gate in zip("iofg", np.split(w, 4), np.split(r, 4), strict=True)
        )
        biases: tuple[Const, ...] = ()
        if names[3]:
            both = constants[names[3]][0]
            summed = np.split(both[: 4 * hidden] + both[4 * hidden :], 4)
            biases = tuple(
                Const(f"{node.name}.b{gate}", self._natural(bias))
                for gate, bias in zip("iofg", summed, strict=True)
            )
        y, y_h, y_c = (name or None for name in (*node.outputs, "", "")[:3])
        zeros = Const("zeros", self._natural(np.zeros(hidden, np.float32)))
        h0, c0 = (self._state(name) if name else zeros for name in names[4:6])
        return Lstm(x, gates, biases, hidden, h0, c0, y, y_h, y_c)

    def _state(self, name: str) -> str | Const:
        if name in self.graph.constants:
            return Const(name, self._natural(self.graph.constants[name]))
        return self.layout.store_of(name)

    def _natural(self, vector: Array) -> Array:
        """One vector, padded at its end."""
        flat = vector.reshape(1, -1)
        return np.pad(flat, ((0, 0), (0, -flat.size % self.layout.n)))


def pad_columns(rows: Array, view: View) -> Array:
    """Rows of features as rows of whole native vectors, zeros where the padding is."""
    padded = np.zeros((len(rows), len(view.columns)), np.float32)
    used = view.columns >= 0
    padded[:, used] = rows[:, view.columns[used]]
    return padded
