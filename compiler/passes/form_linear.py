"""Gemm and MatMul by a constant matrix become `linear`.

`linear` holds its matrix as [out, in], with Gemm's alpha, beta and transpositions multiplied in, so
that a target sees one form only. What cannot take that form is left as it is (and refused later).
"""

from __future__ import annotations

import numpy as np

from compiler.ir import Array, Graph, Node
from compiler.passes.fold_affine import as_bias


def form_linear(graph: Graph) -> Graph:
    constants = dict(graph.constants)
    nodes = [_form(node, graph, constants) for node in graph.nodes]
    return graph.with_nodes(tuple(nodes), constants)


def _form(node: Node, graph: Graph, constants: dict[str, Array]) -> Node:
    if node.op not in ("gemm", "matmul"):
        return node
    x, w = node.inputs[:2]
    if w not in graph.constants or x in graph.constants:
        return node
    weights = graph.constants[w]
    bias: Array | None = None
    if node.op == "matmul":
        weights = weights.T
    else:
        if node.attrs["transa"]:
            return node
        weights = weights if node.attrs["transb"] else weights.T
        weights = np.float32(node.attr_float("alpha")) * weights
        if len(node.inputs) > 2:
            c = graph.constants.get(node.inputs[2])
            vector = None if c is None else as_bias(c, len(weights))
            if vector is None:
                return node
            bias = np.float32(node.attr_float("beta")) * vector
    inputs = [x, f"{node.name}.weights@{node.outputs[0]}"]
    constants[inputs[1]] = np.ascontiguousarray(weights, np.float32)
    if bias is not None:
        inputs.append(f"{node.name}.bias@{node.outputs[0]}")
        constants[inputs[2]] = bias
    return Node("linear", node.name, tuple(inputs), node.outputs)
