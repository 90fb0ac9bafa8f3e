"""Compute now what depends on constants only."""

from __future__ import annotations

import numpy as np

from compiler.errors import BadWeights
from compiler.ir import Graph, Node
from compiler.reference import evaluate


def fold_constants(graph: Graph) -> Graph:
    constants = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        reads = [name for name in node.inputs if name]
        # an output of the graph must stay the output of a node
        if all(name in constants for name in reads) and not set(node.outputs) & set(graph.outputs):
            with np.errstate(over="ignore", invalid="ignore"):  # checked below
                made = evaluate(node, constants)
            for name, array in made.items():
                if not np.isfinite(array).all():
                    raise BadWeights(f"{node.name}: constant {name!r} becomes NaN or infinite")
            constants |= made
        else:
            nodes.append(node)
    return graph.with_nodes(tuple(nodes), constants)
