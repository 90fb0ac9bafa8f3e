"""Move transposes up to the inputs, over the element-wise operators that lie between: what an input
is put through before the first convolution is done in the order of the convolution, and the host
moves the input.

Where an operator's result is read unmoved as well, it is moved back; sink_transposes.py takes what
did not reach an input down again.
"""

from __future__ import annotations

import numpy as np

from compiler.ir import ACTIVATIONS, ELEMENTWISE, Array, Graph, Node
from compiler.passes.fold_views import unmoved
from compiler.passes.split_host import tail

Perm = tuple[int, ...]


def raise_transposes(graph: Graph) -> Graph:
    constants = dict(graph.constants)
    liftable = _liftable(graph)
    by_host = {node.outputs for node in tail(graph)}  # these need not go up
    wanted: dict[str, Perm] = {}  # how somebody later reads a value
    nodes: list[Node] = []  # the last one first
    for node in reversed(graph.nodes):
        output = node.outputs[0]
        moves = node.op == "transpose" and node.outputs not in by_host
        if moves and not unmoved(graph.shapes[node.inputs[0]], _perm(node)):
            wanted.setdefault(node.inputs[0], _perm(node))
        moving = [name for name in node.inputs if name and name not in graph.constants]
        alike = all(graph.shapes[name] == graph.shapes.get(output) for name in moving)
        over = node.op in ELEMENTWISE + ACTIVATIONS and output in liftable and alike
        if output not in wanted or not over:
            nodes.append(node)
            continue
        perm = wanted[output]
        back = tuple(int(axis) for axis in np.argsort(perm))
        raised = f"{output}@raised"
        nodes.append(Node("transpose", node.name, (raised,), (output,), {"perm": back}))
        inputs = tuple(f"{name}@{output}" for name in node.inputs)
        nodes.append(Node(node.op, node.name, inputs, (raised,)))
        for name in dict.fromkeys(node.inputs):
            moved = f"{name}@{output}"
            if name in graph.constants:
                constants[moved] = _moved(graph.constants[name], perm)
            else:
                nodes.append(Node("transpose", node.name, (name,), (moved,), {"perm": perm}))
                wanted.setdefault(name, perm)
    return graph.with_nodes(tuple(reversed(nodes)), constants)


def _liftable(graph: Graph) -> set[str]:
    """Values that moves and element-wise operators make of inputs."""
    found = set(graph.inputs)
    for node in graph.nodes:
        reads = [name for name in node.inputs if name not in graph.constants]
        easy = node.op in (*ELEMENTWISE, *ACTIVATIONS, "transpose", "reshape")
        if easy and found.issuperset(reads):
            found.add(node.outputs[0])
    return found


def _perm(node: Node) -> Perm:
    return node.attr_shape("perm")


def _moved(constant: Array, perm: Perm) -> Array:
    """A constant that broadcasts to what is moved by `perm`."""
    grown = constant.reshape((1,) * (len(perm) - constant.ndim) + constant.shape)
    return np.ascontiguousarray(grown.transpose(perm))
