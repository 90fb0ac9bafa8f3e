"""Cut the graph in two: what the device computes, and the tail that the host does better.

The tail is softmax and relabellings from which no device operator reads. Not a pass of the
pipeline: it yields two things, and it is the last step before a target.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.ir import Graph, Node
from compiler.passes.drop_dead import drop_dead

HOST_OPS = frozenset({"softmax", "reshape", "transpose"})


def split_host(graph: Graph) -> tuple[Graph, tuple[Node, ...]]:
    """The device's graph, and the nodes to run on the host after it, in order. The host's nodes
    read outputs of the device's graph, inputs of the model, and each other."""
    consumers = graph.consumers()
    host: list[Node] = []
    made_on_host: set[str] = set()  # node names need not be unique, outputs are
    for node in reversed(graph.nodes):
        readers = consumers.get(node.outputs[0], [])
        if node.op in HOST_OPS and all(reader.outputs[0] in made_on_host for reader in readers):
            made_on_host.add(node.outputs[0])
            host.append(node)
    host.reverse()
    wanted = dict.fromkeys(graph.outputs)
    wanted |= dict.fromkeys(name for node in host for name in node.inputs)
    produced = graph.producers()
    outputs = tuple(name for name in wanted if name in produced and name not in made_on_host)
    nodes = tuple(node for node in graph.nodes if node.outputs[0] not in made_on_host)
    shapes = {name: shape for name, shape in graph.shapes.items() if name not in made_on_host}
    device = replace(graph, nodes=nodes, outputs=outputs, shapes=shapes)
    return drop_dead(device), tuple(host)
