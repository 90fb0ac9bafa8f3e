"""Constants that multiply or add to the result of a linear or conv become part of its weights.

So BatchNormalization costs nothing behind a product, and a bias is added by one operation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.ir import Array, Graph, Node, Shape

_PRODUCTS = ("linear", "conv")


def fold_affine(graph: Graph) -> Graph:
    constants = dict(graph.constants)
    consumers = graph.consumers()
    made: dict[str, int] = {}  # output of a product -> its position
    nodes: list[Node] = []
    for node in graph.nodes:
        match = _match(node, graph, made)
        if match is not None:
            source, vector = match
            if len(consumers[source]) == 1 and source not in graph.outputs:
                at = made.pop(source)
                nodes[at] = _folded(nodes[at], node, vector, constants)
                made[node.outputs[0]] = at
                continue
        if node.op in _PRODUCTS:
            made[node.outputs[0]] = len(nodes)
        nodes.append(node)
    return graph.with_nodes(tuple(nodes), constants)


def _folded(product: Node, node: Node, vector: Array, constants: dict[str, Array]) -> Node:
    """`product` with what `node` does to its result."""
    x, w, *bias = product.inputs
    output = node.outputs[0]
    old = constants[bias[0]] if bias and bias[0] else np.zeros_like(vector)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite weights are refused later
        if node.op == "mul":
            weights = constants[w]
            column = vector.reshape(-1, *[1] * (weights.ndim - 1))
            w = f"{node.name}.weights@{output}"
            constants[w] = np.asarray(weights * column, np.float32)
            new = old * vector
        else:
            new = old + (vector if node.op == "add" else -vector)
    name = f"{node.name}.bias@{output}"
    constants[name] = np.asarray(new, np.float32)
    return replace(product, inputs=(x, w, name), outputs=node.outputs)


def _match(node: Node, graph: Graph, products: dict[str, int]) -> tuple[str, Array] | None:
    """(the product's output, the constant as one vector) if `node` is affine in it."""
    if node.op not in ("add", "mul", "sub"):
        return None
    orders = (node.inputs,) if node.op == "sub" else (node.inputs, node.inputs[::-1])
    for source, other in orders:
        if source in products and other in graph.constants:
            # the result must keep the product's shape: broadcasting could have added dimensions
            if graph.shapes[node.outputs[0]] != graph.shapes[source]:
                return None
            vector = as_bias(graph.constants[other], graph.shapes[source][-1])
            return None if vector is None else (source, vector)
    return None


def as_bias(constant: Array, features: int) -> Array | None:
    """A constant as one vector for every row, or None if rows would differ."""
    shape: Shape = constant.shape
    if constant.size == 1:
        return np.full(features, constant.reshape(-1)[0], np.float32)
    if shape[-1:] == (features,) and constant.size == features:
        return np.ascontiguousarray(constant, np.float32).reshape(features)
    if shape[-1:] == (1,) or shape[-1:] != (features,):
        return None
    rows = constant.reshape(-1, features)
    return rows[0].copy() if (rows == rows[0]).all() else None
