"""Gemm and MatMul by a constant matrix, and the constant added after them, become `linear`.

`linear` holds its matrix as [out, in], with Gemm's alpha, beta and transpositions multiplied in, so
that a target sees one form only. What cannot take that form is left as it is (and refused later).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.ir import Array, Graph, Node, Shape


def form_linear(graph: Graph) -> Graph:
    constants = dict(graph.constants)
    nodes = [_form(node, graph, constants) for node in graph.nodes]
    formed = graph.with_nodes(tuple(nodes), constants)
    return _absorb_additions(formed)


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


def _absorb_additions(graph: Graph) -> Graph:
    """linear + constant vector, where nothing else reads the sum's first part."""
    constants = dict(graph.constants)
    consumers = graph.consumers()
    made: dict[str, int] = {}  # output of a linear -> its position
    nodes: list[Node] = []
    for node in graph.nodes:
        match = _addition(node, graph, made)
        if match is not None:
            source, vector = match
            linear = nodes[made[source]]
            if len(consumers[source]) == 1 and source not in graph.outputs:
                name = f"{node.name}.bias@{node.outputs[0]}"
                old = constants[linear.inputs[2]] if len(linear.inputs) > 2 else np.float32(0)
                constants[name] = np.asarray(old + vector, np.float32)
                nodes[made[source]] = replace(
                    linear, inputs=(*linear.inputs[:2], name), outputs=node.outputs
                )
                made[node.outputs[0]] = made.pop(source)
                continue
        if node.op == "linear":
            made[node.outputs[0]] = len(nodes)
        nodes.append(node)
    return graph.with_nodes(tuple(nodes), constants)


def _addition(node: Node, graph: Graph, linears: dict[str, int]) -> tuple[str, Array] | None:
    if node.op != "add":
        return None
    for source, other in (node.inputs, node.inputs[::-1]):
        if source in linears and other in graph.constants:
            # the sum must keep the linear's shape: broadcasting could have added dimensions
            if graph.shapes[node.outputs[0]] != graph.shapes[source]:
                return None
            vector = as_bias(graph.constants[other], graph.shapes[source][-1])
            return None if vector is None else (source, vector)
    return None


def as_bias(constant: Array, features: int) -> Array | None:
    """A constant as one vector added to every row, or None if rows would differ."""
    shape: Shape = constant.shape
    if constant.size == 1:
        return np.full(features, constant.reshape(-1)[0], np.float32)
    if shape[-1:] == (features,) and constant.size == features:
        return np.ascontiguousarray(constant, np.float32).reshape(features)
    if shape[-1:] == (1,) or shape[-1:] != (features,):
        return None
    rows = constant.reshape(-1, features)
    return rows[0].copy() if (rows == rows[0]).all() else None
