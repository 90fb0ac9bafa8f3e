"""Make every relabelling a reshape, and as few of them as possible.

A transpose that moves only axes of length 1 keeps row-major order: it is a reshape. A reshape of
a reshape is one reshape; a reshape to the same shape is nothing.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.ir import Graph, Node, Shape


def fold_views(graph: Graph) -> Graph:
    renamed: dict[str, str] = {}
    views: dict[str, str] = {}  # output of a reshape -> what it is a view of
    nodes: list[Node] = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if _keeps_order(node, graph):
            source = views.get(node.inputs[0], node.inputs[0])
            output = node.outputs[0]
            shape = graph.shapes[output]
            if shape == graph.shapes[source] and output not in graph.outputs:
                renamed[output] = source
                continue
            node = Node("reshape", node.name, (source,), node.outputs, {"shape": shape})
            views[output] = source
        nodes.append(node)
    return graph.with_nodes(tuple(nodes), graph.constants)


def _keeps_order(node: Node, graph: Graph) -> bool:
    if node.op == "reshape":
        return True
    if node.op != "transpose":
        return False
    return unmoved(graph.shapes[node.inputs[0]], node.attr_shape("perm"))


def unmoved(shape: Shape, perm: tuple[int, ...]) -> bool:
    """Whether the axes longer than 1 keep their order."""
    long_axes = [axis for axis in perm if shape[axis] != 1]
    return long_axes == sorted(long_axes)
