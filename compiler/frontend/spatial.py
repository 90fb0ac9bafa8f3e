"""Convolutions and pools, whose windows slide over images, and BatchNormalization.

ONNX has channels second, the IR last: each operator is put between two transposes, which a pass
moves away (passes/sink_transposes.py). A sequence is an image one pixel high. Same rules as
operators.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.frontend.raw import RawNode
from compiler.frontend.scope import (
    Refused,
    Scope,
    as_pair,
    float_attr,
    int_attr,
    ints_attr,
    made,
    optional,
    text_attr,
)
from compiler.ir import Attr, Node, Shape, infer

_TO_LAST = {1: (0, 2, 1), 2: (0, 2, 3, 1)}
_TO_SECOND = {1: (0, 2, 1), 2: (0, 3, 1, 2)}
LONGEST_WINDOW = 1 << 12  # pixels; nothing near it fits a program


def conv(node: RawNode, scope: Scope) -> list[Node]:
    x, w = scope.value(node, 0), scope.value(node, 1)
    shape, weights = scope.shapes[x], scope.shapes[w]
    rank = _spatial_rank(shape)
    if len(weights) != len(shape):
        raise Refused(f"weights {list(weights)} for an input {list(shape)}")
    said = ints_attr(node, "kernel_shape")
    if said is not None and said != weights[2:]:
        raise Refused(f"kernel_shape is {list(said)}, the weights say {list(weights[2:])}")
    window = _window(node, shape[2:], weights[2:])
    last = Node("transpose", node.name, (w,), (f"{node.outputs[0]}@w",), {"perm": _TO_LAST[rank]})
    nodes = [last]
    if rank == 1:
        flat = (weights[0], 1, weights[2], weights[1])
        nodes.append(_reshaped(node, last.outputs[0], f"{node.outputs[0]}@w2", flat))
    inputs = [nodes[-1].outputs[0]]
    if optional(node, 2):
        inputs.append(scope.value(node, 2))
    attrs = window | {"groups": int_attr(node, "group", 1)}
    return _channels_last(node, scope, "conv", x, tuple(inputs), attrs, tuple(nodes))


def pool(op: str) -> Callable[[RawNode, Scope], list[Node]]:
    def translate(node: RawNode, scope: Scope) -> list[Node]:
        x = scope.value(node, 0)
        shape = scope.shapes[x]
        rank = _spatial_rank(shape)
        kernel = ints_attr(node, "kernel_shape")
        if kernel is None or len(kernel) != rank:
            raise Refused(f"kernel_shape is {kernel}, for an input {list(shape)}")
        if any(node.outputs[1:]):
            raise Refused("its output Indices is not supported")
        if int_attr(node, "storage_order", 0):
            raise Refused("storage_order is not supported")
        count_pads = int_attr(node, "count_include_pad", 0)
        attrs = _window(node, shape[2:], kernel)
        if int_attr(node, "ceil_mode", 0):
            if count_pads:
                raise Refused("ceil_mode with count_include_pad is not supported")
            attrs = _rounded_up(attrs, shape[2:], kernel)
        attrs["kernel"] = as_pair(kernel)
        if op == "avgpool":
            attrs["count_pads"] = int(count_pads != 0)
        return _channels_last(node, scope, op, x, (), attrs)

    return translate


def global_pool(op: str) -> Callable[[RawNode, Scope], list[Node]]:
    """Over the whole image."""

    def translate(node: RawNode, scope: Scope) -> list[Node]:
        x = scope.value(node, 0)
        shape = scope.shapes[x]
        _spatial_rank(shape)
        attrs: dict[str, Attr] = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)}
        attrs["kernel"] = as_pair(shape[2:])
        if op == "avgpool":
            attrs["count_pads"] = 0
        return _channels_last(node, scope, op, x, (), attrs)

    return translate


def batch_normalization(node: RawNode, scope: Scope) -> list[Node]:
    """y = scale * (x - mean) / sqrt(variance + epsilon) + bias, channel by channel: a product and
    a sum with constants, which a pass folds into the operator before."""
    x = scope.value(node, 0)
    shape = scope.shapes[x]
    if int_attr(node, "training_mode", 0) or any(node.outputs[1:]):
        raise Refused("in training mode")
    if len(shape) < 2:
        raise Refused(f"of an input {list(shape)}, which has no channels")
    names = [scope.value(node, index) for index in range(1, 5)]
    if any(name not in scope.floats for name in names):
        raise Refused("scale, B, mean and variance must be constants")
    arrays = [scope.floats[name].astype(np.float64) for name in names]
    if any(array.shape != shape[1:2] for array in arrays):
        raise Refused(f"scale, B, mean or variance is not [{shape[1]}]")
    scale, bias, mean, variance = arrays
    variance = variance + float_attr(node, "epsilon", 1e-5)
    if not (variance > 0).all():
        raise Refused("a variance is not positive")
    factor = scale / np.sqrt(variance)
    y = node.outputs[0]
    column = (-1, *[1] * (len(shape) - 2))
    scope.define(f"{y}@factor", factor.reshape(column).astype(np.float32))
    scope.define(f"{y}@term", (bias - mean * factor).reshape(column).astype(np.float32))
    return [
        Node("mul", node.name, (x, f"{y}@factor"), (f"{y}@scaled",)),
        Node("add", node.name, (f"{y}@scaled", f"{y}@term"), (y,)),
    ]


def _spatial_rank(shape: Shape) -> int:
    if len(shape) not in (3, 4):
        raise Refused(f"of an input {list(shape)}; only [1, C, L] and [1, C, H, W]")
    if shape[0] != 1:
        raise Refused(f"over a batch of {shape[0]}: one image at a time")
    return len(shape) - 2


def _window(node: RawNode, sizes: Shape, kernel: Shape) -> dict[str, Attr]:
    """Attributes of the window, both axes, padding by numbers."""
    rank = len(sizes)
    ones = (1,) * rank
    strides = ints_attr(node, "strides") or ones
    dilations = ints_attr(node, "dilations") or ones
    pads = ints_attr(node, "pads") or (0,) * 2 * rank
    if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank):
        raise Refused(f"strides {strides}, dilations {dilations}, pads {pads} for {rank} axes")
    if min((*strides, *dilations, *kernel)) < 1 or min(pads) < 0:
        raise Refused(f"strides {strides}, dilations {dilations}, pads {pads}, kernel {kernel}")
    if max((*strides, *dilations, *kernel, *pads)) > LONGEST_WINDOW:
        raise Refused(f"a window of more than {LONGEST_WINDOW} pixels")
    auto = text_attr(node, "auto_pad", "NOTSET")
    if auto == "VALID":
        pads = (0,) * 2 * rank
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same(sizes, kernel, strides, dilations, upper=auto == "SAME_UPPER")
    elif auto != "NOTSET":
        raise Refused(f"attribute auto_pad is {auto!r}")
    if rank == 1:
        pads = (0, pads[0], 0, pads[1])
    return {"strides": as_pair(strides), "dilations": as_pair(dilations), "pads": pads}


def _same(
    sizes: Shape, kernel: Shape, strides: Shape, dilations: Shape, *, upper: bool
) -> tuple[int, ...]:
    """Padding that makes ceil(size / stride) outputs; the odd pixel goes to the end if `upper`."""
    begins, ends = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        span = dilation * (k - 1) + 1
        total = max(0, (-(-size // stride) - 1) * stride + span - size)
        less, more = total // 2, total - total // 2
        begins.append(less if upper else more)
        ends.append(more if upper else less)
    return (*begins, *ends)


def _rounded_up(attrs: dict[str, Attr], sizes: Shape, kernel: Shape) -> dict[str, Attr]:
    """ceil_mode as more padding at the end; a window must begin within image or left padding."""
    strides, dilations, pads = (attrs[key] for key in ("strides", "dilations", "pads"))
    assert isinstance(strides, tuple) and isinstance(dilations, tuple) and isinstance(pads, tuple)
    image, window = as_pair(sizes), as_pair(kernel)
    grown = list(pads)
    for axis in (0, 1):
        span = dilations[axis] * (window[axis] - 1) + 1
        room = image[axis] + pads[axis] + pads[axis + 2] - span
        turns = -(-room // strides[axis])
        if turns * strides[axis] >= image[axis] + pads[axis]:
            turns -= 1
        grown[axis + 2] += max(0, turns * strides[axis] - room)
    return attrs | {"pads": tuple(grown)}


def _channels_last(
    node: RawNode,
    scope: Scope,
    op: str,
    x: str,
    others: tuple[str, ...],
    attrs: dict[str, Attr],
    before: tuple[Node, ...] = (),
) -> list[Node]:
    """The operator on channels-last images, between the moves there and back; `before` makes what
    it reads besides."""
    y = node.outputs[0]
    shape = scope.shapes[x]
    rank = len(shape) - 2
    nodes = [Node("transpose", node.name, (x,), (f"{y}@last",), {"perm": _TO_LAST[rank]})]
    if rank == 1:
        nodes.append(_reshaped(node, f"{y}@last", f"{y}@image", (1, 1, shape[2], shape[1])))
    source = nodes[-1].outputs[0]
    nodes.append(Node(op, node.name, (source, *others), (f"{y}@made",), attrs))
    if rank == 1:
        known = dict(scope.shapes)
        for each in (*before, *nodes):
            known |= infer(each, known)
        nodes.append(_reshaped(node, f"{y}@made", f"{y}@row", known[f"{y}@made"][1:]))
    nodes += made(node, "transpose", (nodes[-1].outputs[0],), perm=_TO_SECOND[rank])
    return [*before, *nodes]


def _reshaped(node: RawNode, source: str, target: str, shape: Shape) -> Node:
    return Node("reshape", node.name, (source,), (target,), {"shape": shape})
