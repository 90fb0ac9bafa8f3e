"""Cut the graph in three: what the host does before the device, the device's part, and the tail
that the host does better.

Before: inputs moved into the order in which the device reads them. Tail: softmax,
relabellings and moves from which no device operator reads. Not a pass of the pipeline: it yields
three things, and it is the last step before a target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from compiler.ir import Graph, Node
from compiler.passes.drop_dead import drop_dead

MOVES = frozenset({"reshape", "transpose"})
HOST_OPS = MOVES | {"softmax", "patches"}


@dataclass(frozen=True)
class Parts:
    """The host's nodes read inputs of the model, what the device yields, and each other."""

    before: tuple[Node, ...]
    device: Graph
    after: tuple[Node, ...]


def split_host(graph: Graph) -> Parts:
    after = tail(graph)
    made_after = {name for node in after for name in node.outputs}
    rest = tuple(node for node in graph.nodes if node.outputs[0] not in made_after)
    before = _head(graph, rest)
    made_before = tuple(node.outputs[0] for node in before)
    nodes = tuple(node for node in rest if node.outputs[0] not in made_before)
    wanted = dict.fromkeys(graph.outputs)
    wanted |= dict.fromkeys(name for node in after for name in node.inputs)
    produced = {name for node in nodes for name in node.outputs if name}
    outputs = tuple(name for name in wanted if name in produced)
    read = {name for node in nodes for name in node.inputs}
    inputs = tuple(name for name in (*graph.inputs, *made_before) if name in read)
    shapes = {name: graph.shapes[name] for name in (*inputs, *graph.constants, *produced)}
    device = replace(graph, inputs=inputs, nodes=nodes, outputs=outputs, shapes=shapes)
    return Parts(before, drop_dead(device), after)


def tail(graph: Graph) -> tuple[Node, ...]:
    """What the host does after the device."""
    consumers = graph.consumers()
    made: set[str] = set()  # node names need not be unique, outputs are

    def belongs(node: Node) -> bool:
        readers = consumers.get(node.outputs[0], [])
        return node.op in HOST_OPS and all(reader.outputs[0] in made for reader in readers)

    return _collect(reversed(graph.nodes), belongs, made)[::-1]


def _head(graph: Graph, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Moves of inputs, with the relabellings that they read; other relabellings cost nothing on
    the device."""
    made = set(graph.inputs)
    ops = MOVES | {"patches"}
    moves = _collect(nodes, lambda node: node.op in ops and node.inputs[0] in made, made)
    needed: set[str] = set()
    kept: list[Node] = []
    for node in reversed(moves):
        if node.op != "reshape" or node.outputs[0] in needed:
            needed.add(node.inputs[0])
            kept.append(node)
    return tuple(reversed(kept))


def _collect(
    nodes: Iterable[Node], belongs: Callable[[Node], bool], made: set[str]
) -> tuple[Node, ...]:
    """The nodes that belong, `made` growing by their outputs on the way."""
    found = []
    for node in nodes:
        if belongs(node):
            made.add(node.outputs[0])
            found.append(node)
    return tuple(found)
