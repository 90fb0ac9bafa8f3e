"""What the NPU cannot do, asked of the whole device graph at once."""

from __future__ import annotations

from math import prod

from compiler.errors import BadWeights, Refusal, UnsupportedOp
from compiler.ir import ELEMENTWISE, Graph, Node
from compiler.targets.npu.layout import Layout, activations, lay_out

WEIGHT_LIMIT = 65504.0  # the greatest binary16: a greater weight would saturate every result

_ONNX_NAMES = {
    "rnn": "RNN",
    "gru": "GRU",
    "lstm": "LSTM",
    "conv": "Conv",
    "maxpool": "MaxPool",
    "avgpool": "AveragePool",
    "matmul": "MatMul",
    "linear": "Gemm",
    **{op: op.capitalize() for op in ("gemm", "add", "sub", "mul", "max", "softmax", "transpose")},
    **{op: op.capitalize() for op in ("relu", "sigmoid", "tanh", "reshape")},
}


def legalize(graph: Graph, host: tuple[Node, ...], n: int) -> Layout:
    """The layout of a graph all of whose nodes the NPU can compute. Raises UnsupportedOp."""
    found = [(node, reason) for node in graph.nodes if (reason := _reason(graph, node))]
    blamed = {node.outputs for node, _ in found}
    layout, misfits = lay_out(graph, n)
    found += [(node, reason) for node, reason in misfits if node.outputs not in blamed]
    found += [
        (node, "its input is constant: compute the result once, outside the model")
        for node in host
        if any(name in graph.constants for name in node.inputs)
    ]
    if not graph.nodes and host:
        found.append((host[0], "nothing is left for the device: the whole model runs on the host"))
    if found:
        raise UnsupportedOp(
            [
                Refusal(_ONNX_NAMES[node.op], graph.opset, node.name, reason)
                for node, reason in found
            ]
        )
    _check_weights(graph)
    return layout


def _reason(graph: Graph, node: Node) -> str:
    """Why this node cannot be computed, or ""."""
    moving = activations(graph, node)
    if not moving:
        return "all its inputs are constant: compute the result once, outside the model"
    if node.op in ("gemm", "matmul"):
        if node.attrs.get("transa"):
            return "transA of an activation; transpose the weights instead"
        if node.inputs[1] not in graph.constants or node.inputs[0] in graph.constants:
            return "the second factor must be a constant matrix, the first must not be constant"
        return "C must be a constant vector that is the same for every row"
    if node.op == "conv" and any(name not in graph.constants for name in node.inputs[1:] if name):
        return "its weights and bias must be constants: they are pinned on chip"
    if node.op == "transpose":
        return "it moves data; on the device only axes of length 1 may move"
    if node.op == "softmax":
        return "it runs on the host, so no operator of the device may come after it"
    if node.op in ELEMENTWISE:
        size = prod(graph.shapes[node.outputs[0]])
        if any(prod(graph.shapes[name]) != size for name in moving):
            return "it broadcasts an activation; only constants are broadcast"
    return ""


def _check_weights(graph: Graph) -> None:
    for name, array in graph.constants.items():
        peak = float(abs(array).max()) if array.size else 0.0
        if not peak <= WEIGHT_LIMIT:  # also NaN
            raise BadWeights(
                f"constant {name!r} reaches {peak:g}; the NPU's binary16 ends at {WEIGHT_LIMIT:g}"
            )
