"""Operators of the intermediate representation, and the shapes they yield.

`infer` is the one place that says what shape an operator makes of what it reads. Tensors of images
have their channels last here (ONNX has them second): one pixel is one vector on the device.

Operators (inputs -> outputs; an absent optional input is ""):

    gemm       x, w, [c]      -> y     attrs transa, transb, alpha, beta
    matmul     x, w           -> y
    linear     x, w, [b]      -> y     w is [out, in]; contracts x's last axis; formed by a pass
    add sub mul max  a, b     -> y     numpy broadcasting
    relu sigmoid tanh  x      -> y
    softmax    x              -> y     attr axis; runs on the host
    reshape    x              -> y     attr shape; row-major order is kept
    transpose  x              -> y     attr perm
    conv       x, w, [b]      -> y     x [1,H,W,C], w [O,kh,kw,C/groups], b [O];
                                       attrs groups, window
    maxpool avgpool  x        -> y     x [1,H,W,C]; attrs kernel, window; avgpool count_pads
    patches    x              -> y     y [1,H',W',kh*kw*C]: the pixels under a window side by side;
                                       attrs kernel, window; runs on the host
    rnn        x, w, r, [b], [h0]        -> [y], [y_h]          attr activation
    gru        x, w, r, [b], [h0]        -> [y], [y_h]          attr linear_before_reset
    lstm       x, w, r, [b], [h0], [c0]  -> [y], [y_h], [y_c]
               ONNX's layout 0, forward: x [T,1,F], w [1,G*H,F], r [1,G*H,H], b [1,2*G*H],
               h0 c0 y_h y_c [1,1,H], y [T,1,1,H]; G gates: rnn 1, gru z r n, lstm i o f g

linear and conv may have an attr macs: multiplications of a row or pixel that are the model's, where
a pass filled in zeros. "window" stands for the attributes strides, dilations (vertical, horizontal)
and pads (top, left, bottom, right).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

Shape = tuple[int, ...]
Attr = int | float | str | tuple[int, ...]

ELEMENTWISE = ("add", "sub", "mul", "max")
ACTIVATIONS = ("relu", "sigmoid", "tanh")
POOLS = ("maxpool", "avgpool")
GATES: Mapping[str, int] = {"rnn": 1, "gru": 3, "lstm": 4}
"""Recurrent operators, and how many matrices each has a source."""

MAX_KERNEL = 1 << 26  # weights of a convolution, those between groups counted; they are zeros


class ShapeError(ValueError):
    """Operands that do not fit an operator. The frontend makes a refusal of it; after that it
    would be a fault of a pass."""


@dataclass(frozen=True, slots=True)
class Node:
    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict)

    def attr_shape(self, key: str) -> Shape:
        value = self.attrs[key]
        assert isinstance(value, tuple)
        return value

    def attr_int(self, key: str) -> int:
        value = self.attrs[key]
        assert isinstance(value, int)
        return value

    def attr_float(self, key: str) -> float:
        value = self.attrs[key]
        assert isinstance(value, int | float)
        return float(value)

    def attr_text(self, key: str) -> str:
        value = self.attrs[key]
        assert isinstance(value, str)
        return value


@dataclass(frozen=True, slots=True)
class Window:
    """The window that a conv or pool slides over an image; pairs are (vertical, horizontal)."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right

    def output(self, height: int, width: int) -> tuple[int, int]:
        """The size of what it makes of an image. Raises ShapeError."""
        sizes = []
        for axis, size in enumerate((height, width)):
            span = self.dilations[axis] * (self.kernel[axis] - 1) + 1
            padded = size + self.pads[axis] + self.pads[axis + 2]
            if span > padded:
                raise ShapeError(f"a window of {span} over {padded} pixels, padding included")
            sizes.append((padded - span) // self.strides[axis] + 1)
        return sizes[0], sizes[1]

    def taps(self, axis: int, size: int, at: int) -> list[int | None]:
        """What output `at` of an axis (0 vertical, 1 horizontal) reads: the positions in an image
        of `size`, or None for padding."""
        first = at * self.strides[axis] - self.pads[axis]
        places = (first + tap * self.dilations[axis] for tap in range(self.kernel[axis]))
        return [place if 0 <= place < size else None for place in places]


def window_of(node: Node, shapes: Mapping[str, Shape]) -> Window:
    """Raises ShapeError for what no window can be."""
    kernel = shapes[node.inputs[1]][1:3] if node.op == "conv" else node.attr_shape("kernel")
    strides, dilations, pads = map(node.attr_shape, ("strides", "dilations", "pads"))
    if (len(kernel), len(strides), len(dilations), len(pads)) != (2, 2, 2, 4):
        raise ShapeError(f"window {kernel}, strides {strides}, dilations {dilations}, pads {pads}")
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
        raise ShapeError(f"window {kernel}, strides {strides}, dilations {dilations}, pads {pads}")
    top, left, bottom, right = pads
    return Window(
        (kernel[0], kernel[1]),
        (strides[0], strides[1]),
        (dilations[0], dilations[1]),
        (top, left, bottom, right),
    )


def broadcast(a: Shape, b: Shape) -> Shape:
    try:
        return tuple(np.broadcast_shapes(a, b))
    except ValueError:
        raise ShapeError(f"shapes {list(a)} and {list(b)} do not broadcast") from None


def _matmul(node: Node, ins: list[Shape]) -> list[Shape]:
    a, b = ins[0], ins[1]
    if len(a) < 1 or len(b) != 2 or a[-1] != b[0]:
        raise ShapeError(f"matrix product of {list(a)} and {list(b)}")
    return [(*a[:-1], b[1])]


def _gemm(node: Node, ins: list[Shape]) -> list[Shape]:
    a, b = ins[0], ins[1]
    if len(a) != 2 or len(b) != 2:
        raise ShapeError(f"Gemm of {list(a)} and {list(b)}: both must have two dimensions")
    a = a[::-1] if node.attrs["transa"] else a
    b = b[::-1] if node.attrs["transb"] else b
    if a[1] != b[0]:
        raise ShapeError(f"Gemm of {list(a)} and {list(b)}")
    out = (a[0], b[1])
    if len(ins) > 2 and ins[2] is not None and broadcast(out, ins[2]) != out:
        raise ShapeError(f"Gemm's C of shape {list(ins[2])} does not broadcast to {list(out)}")
    return [out]


def _linear(node: Node, ins: list[Shape]) -> list[Shape]:
    x, w = ins[0], ins[1]
    if len(x) < 1 or len(w) != 2 or x[-1] != w[1]:
        raise ShapeError(f"linear of {list(x)} and weights {list(w)}")
    _check_bias(ins, w[0])
    return [(*x[:-1], w[0])]


def _check_bias(ins: list[Shape], features: int) -> None:
    if len(ins) > 2 and ins[2] is not None and ins[2] != (features,):
        raise ShapeError(f"bias {list(ins[2])} for {features} outputs")


def _reshape(node: Node, ins: list[Shape]) -> list[Shape]:
    shape = node.attr_shape("shape")
    if prod(shape) != prod(ins[0]) or any(dim < 0 for dim in shape):
        raise ShapeError(f"reshape of {list(ins[0])} to {list(shape)}")
    return [shape]


def _transpose(node: Node, ins: list[Shape]) -> list[Shape]:
    perm = node.attr_shape("perm")
    if sorted(perm) != list(range(len(ins[0]))):
        raise ShapeError(f"transpose of {list(ins[0])} by {list(perm)}")
    return [tuple(ins[0][axis] for axis in perm)]


def _softmax(node: Node, ins: list[Shape]) -> list[Shape]:
    if not 0 <= node.attr_int("axis") < len(ins[0]):
        raise ShapeError(f"softmax of {list(ins[0])} over axis {node.attrs['axis']}")
    return [ins[0]]


def _image(node: Node, shape: Shape) -> tuple[int, int, int]:
    """Height, width and channels of what a window slides over."""
    if len(shape) != 4 or shape[0] != 1 or 0 in shape:
        raise ShapeError(f"{node.op} over {list(shape)}: one image at a time")
    return shape[1], shape[2], shape[3]


def _conv(node: Node, ins: list[Shape]) -> list[Shape]:
    height, width, channels = _image(node, ins[0])
    w, groups = ins[1], node.attr_int("groups")
    if len(w) != 4 or groups < 1 or w[0] % groups or w[3] * groups != channels or 0 in w:
        raise ShapeError(
            f"convolution of {channels} channels by weights {list(w)} in {groups} groups"
        )
    if w[0] * w[1] * w[2] * channels > MAX_KERNEL:
        raise ShapeError(f"weights {list(w)} over {channels} channels: too large for any target")
    _check_bias(ins, w[0])
    window = window_of(node, {name: shape for name, shape in zip(node.inputs, ins, strict=True)})
    return [(1, *window.output(height, width), w[0])]


def _pool(node: Node, ins: list[Shape]) -> list[Shape]:
    height, width, channels = _image(node, ins[0])
    window = window_of(node, {})
    out = window.output(height, width)
    for axis, size in enumerate((height, width)):
        # a window that begins within the image sees that pixel
        begins = -(-window.pads[axis] // window.strides[axis])
        edges = {*range(min(begins, out[axis])), out[axis] - 1}
        if any(set(window.taps(axis, size, at)) == {None} for at in edges):
            raise ShapeError(f"a window of {window.kernel} that sees no pixel, only padding")
    return [(1, *out, channels)]


def _patches(node: Node, ins: list[Shape]) -> list[Shape]:
    height, width, channels = _image(node, ins[0])
    window = window_of(node, {})
    return [(1, *window.output(height, width), channels * prod(window.kernel))]


def _recurrent(node: Node, ins: list[Shape]) -> list[Shape]:
    gates, what = GATES[node.op], node.op.upper()
    x, w, r, *rest = ins
    if len(x) != 3 or len(w) != 3 or len(r) != 3:
        raise ShapeError(f"{what}: X, W and R must have three dimensions")
    steps, batch, features = x
    hidden = r[2]
    if batch != 1:
        raise ShapeError(f"{what} over a batch of {batch}: one sequence at a time")
    fits = w == (1, gates * hidden, features) and r == (1, gates * hidden, hidden)
    if not fits or not steps or not hidden:
        raise ShapeError(f"{what}: X {list(x)}, W {list(w)}, R {list(r)} do not fit together")
    for name, shape, want in zip(
        ("B", "initial_h", "initial_c"),
        rest,
        ((1, 2 * gates * hidden), (1, 1, hidden), (1, 1, hidden)),
        strict=False,
    ):
        if shape is not None and shape != want:
            raise ShapeError(f"{what}: {name} is {list(shape)}, must be {list(want)}")
    return [(steps, 1, 1, hidden), (1, 1, hidden), (1, 1, hidden)]


_RULES: Mapping[str, Callable[[Node, list[Shape]], list[Shape]]] = {
    "gemm": _gemm,
    "matmul": _matmul,
    "linear": _linear,
    "reshape": _reshape,
    "transpose": _transpose,
    "softmax": _softmax,
    "conv": _conv,
    "patches": _patches,
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(GATES, _recurrent),
    **dict.fromkeys(ELEMENTWISE, lambda node, ins: [broadcast(ins[0], ins[1])]),
    **dict.fromkeys(ACTIVATIONS, lambda node, ins: [ins[0]]),
}


def infer(node: Node, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of a node's outputs. Raises ShapeError."""
    ins = [shapes[name] if name else None for name in node.inputs]
    outs = _RULES[node.op](node, ins)  # type: ignore[arg-type]  # absent inputs are None
    return {name: shape for name, shape in zip(node.outputs, outs, strict=False) if name}
