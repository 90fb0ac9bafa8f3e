"""Let the host gather what lies under the window of a convolution over an input of the model.

An image has few channels, a native vector many elements: a product over the pixels under a window
would be mostly padding, and so would the matrix. The host writes the pixels of each window side by
side instead, and the convolution becomes a dense layer over rows. Not a pass of the pipeline: what
is few depends on the target.
"""

from __future__ import annotations

from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.drop_dead import drop_dead
from compiler.passes.split_host import MOVES
from compiler.reference import dense_kernel


def gather_first(graph: Graph, n: int) -> Graph:
    """`n`: elements of a native vector."""
    moved = set(graph.inputs)  # what the host makes of inputs
    consumers = graph.consumers()
    constants = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op in MOVES and node.inputs[0] in moved:
            moved.add(node.outputs[0])
        source = node.inputs[0]
        alone = source in moved and source not in graph.outputs and len(consumers[source]) == 1
        if node.op != "conv" or not alone or node.inputs[1] not in graph.constants:
            nodes.append(node)
            continue
        kernel = dense_kernel(graph.constants[node.inputs[1]], node.attr_int("groups"))
        outputs, height, width, channels = kernel.shape
        pixels = height * width
        if -(-pixels * channels // n) >= pixels * -(-channels // n):
            nodes.append(node)
            continue
        gathered, weights = f"{node.outputs[0]}@under", f"{node.outputs[0]}@weights"
        constants[weights] = np.ascontiguousarray(kernel.reshape(outputs, prod(kernel.shape[1:])))
        attrs = {key: node.attrs[key] for key in ("strides", "dilations", "pads")}
        attrs["kernel"] = (height, width)
        nodes.append(Node("patches", node.name, (source,), (gathered,), attrs))
        inputs = (gathered, weights, *node.inputs[2:])
        macs = graph.constants[node.inputs[1]].size
        nodes.append(Node("linear", node.name, inputs, node.outputs, {"macs": macs}))
    return drop_dead(graph.with_nodes(tuple(nodes), constants))
