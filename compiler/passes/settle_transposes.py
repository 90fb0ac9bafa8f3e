"""Move transposes up and down in turn, until they stay: what goes down may meet what must go up."""

from __future__ import annotations

from compiler.ir import Graph
from compiler.passes.drop_dead import drop_dead
from compiler.passes.raise_transposes import raise_transposes
from compiler.passes.sink_transposes import sink_transposes

MOST_TURNS = 8  # two or three are the rule; the bound keeps a strange model from going on


def settle_transposes(graph: Graph) -> Graph:
    for _ in range(MOST_TURNS):
        before = [node.op for node in graph.nodes]
        graph = drop_dead(sink_transposes(raise_transposes(graph)))
        if [node.op for node in graph.nodes] == before:
            break
    return graph
