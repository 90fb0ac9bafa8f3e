"""Drop what no output needs: nodes, optional outputs, constants."""

from __future__ import annotations

from dataclasses import replace

from compiler.ir import Graph, Node


def drop_dead(graph: Graph) -> Graph:
    needed = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if not needed & set(node.outputs):
            continue
        outputs = tuple(name if name in needed else "" for name in node.outputs)
        kept.append(replace(node, outputs=outputs))
        needed |= {name for name in node.inputs if name}
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return graph.with_nodes(tuple(reversed(kept)), constants)
