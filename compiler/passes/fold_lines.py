"""Take whole lines of images as vectors: the pixels of a line become channels.

A small image has few channels, a native vector many elements, and a chain for every pixel costs
more than its product. With W pixels of C channels as one pixel of W*C, a convolution has a banded
matrix, and a line of the result is one product. A pool whose windows do not overlap along the line
reads a convolution that writes the pixels of each phase of the window side by side: then it
combines whole vectors. Not a pass of the pipeline: the target tries both forms and keeps the
faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from compiler.ir import ACTIVATIONS, POOLS, Array, Attr, Graph, Node, Window, infer, window_of
from compiler.passes.drop_dead import drop_dead
from compiler.reference import dense_kernel

MAX_WEIGHTS = 1 << 22  # of one banded matrix; beyond, zeros outweigh what is saved


class _CannotFold(Exception):
    """Something reads an image that exists as lines only."""


@dataclass(frozen=True, slots=True)
class _Lines:
    """An image [1, H, width, channels] held as `value` [1, H, 1, length]: the pixels in order,
    those of each phase by themselves, then zeros or what operators make of them."""

    value: str
    width: int
    channels: int
    length: int
    phases: int = 1

    @property
    def dense(self) -> bool:
        return self.phases == 1 and self.length == self.width * self.channels


def fold_lines(graph: Graph, n: int) -> Graph | None:
    """`n`: elements of a native vector. None: there is nothing to fold, or it cannot be."""
    if not any(node.op == "conv" for node in graph.nodes):
        return None
    try:
        return _Folder(graph, n).run()
    except _CannotFold:
        return None


class _Folder:
    def __init__(self, graph: Graph, n: int) -> None:
        self.graph = graph
        self.n = n
        self.constants = dict(graph.constants)
        self.shapes = {name: graph.shapes[name] for name in (*graph.inputs, *graph.constants)}
        self.nodes: list[Node] = []
        self.lines: dict[str, _Lines] = {}
        self.consumers = graph.consumers()

    def run(self) -> Graph:
        for node in self.graph.nodes:
            if node.op == "conv":
                self._conv(node)
            elif node.op in POOLS and node.inputs[0] in self.lines:
                self._pool(node)
            elif node.op in ACTIVATIONS and node.inputs[0] in self.lines:
                lines = self.lines[node.inputs[0]]
                made = self._emit(node, node.op, (lines.value,))
                self._keep(node.outputs[0], replace(lines, value=made))
            elif node.op == "reshape" and node.inputs[0] in self.lines and self._flattens(node):
                pass  # the matrix that reads it takes the lines as they are
            elif node.op == "linear" and self._flattened(node.inputs[0]) in self.lines:
                self._linear(node)
            else:
                self._add(node)
        return drop_dead(self.graph.with_nodes(tuple(self.nodes), self.constants))

    # ---- making nodes

    def _add(self, node: Node) -> None:
        for name in node.inputs:
            if name and name not in self.shapes:
                raise _CannotFold
        self.nodes.append(node)
        self.shapes |= infer(node, self.shapes)

    def _emit(self, node: Node, op: str, inputs: tuple[str, ...], **attrs: Attr) -> str:
        made = f"{node.outputs[0]}@lines"
        self._add(Node(op, node.name, inputs, (made,), attrs))
        return made

    def _keep(self, name: str, lines: _Lines) -> None:
        """Remember what a value is; and make it as an image, too, where that is a relabelling."""
        self.lines[name] = lines
        if lines.dense:
            shape = self.graph.shapes[name]
            self._add(Node("reshape", name, (lines.value,), (name,), {"shape": shape}))
        elif name in self.graph.outputs:
            raise _CannotFold

    def _read(self, name: str) -> _Lines:
        """An image as lines, made of it where it is not."""
        if name in self.lines:
            return self.lines[name]
        _, height, width, channels = self.graph.shapes[name]
        made = f"{name}@lines"
        if made not in self.shapes:
            shape = (1, height, 1, width * channels)
            self._add(Node("reshape", name, (name,), (made,), {"shape": shape}))
        self.lines[name] = _Lines(made, width, channels, width * channels)
        return self.lines[name]

    # ---- convolutions

    def _conv(self, node: Node) -> None:
        if any(name not in self.graph.constants for name in node.inputs[1:] if name):
            raise _CannotFold
        lines, window = self._read(node.inputs[0]), window_of(node, self.graph.shapes)
        kernel = dense_kernel(self.graph.constants[node.inputs[1]], node.attr_int("groups"))
        outputs = len(kernel)
        _, _, width, _ = self.graph.shapes[node.outputs[0]]
        phases = self._phases(node, width)
        columns = width // phases  # pixels of a phase; a rest is not read by the pool
        each = columns * outputs if phases == 1 else -(-columns * outputs // self.n) * self.n
        length = each * phases
        if length * window.kernel[0] * lines.length > MAX_WEIGHTS:
            raise _CannotFold
        place = [at % phases * each + at // phases * outputs for at in range(columns * phases)]
        banded = _banded(kernel, window, lines, place, length)
        weights = f"{node.outputs[0]}@banded"
        self.constants[weights], self.shapes[weights] = banded, banded.shape
        inputs = [lines.value, weights]
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = np.zeros(length, np.float32)
            for start in place:
                bias[start : start + outputs] = self.graph.constants[node.inputs[2]]
            name = f"{node.outputs[0]}@biases"
            self.constants[name], self.shapes[name] = bias, bias.shape
            inputs.append(name)
        top, _, bottom, _ = window.pads
        made = self._emit(
            node,
            "conv",
            tuple(inputs),
            strides=(window.strides[0], 1),
            dilations=(window.dilations[0], 1),
            pads=(top, 0, bottom, 0),
            groups=1,
            macs=self.graph.constants[node.inputs[1]].size * width,
        )
        self._keep(node.outputs[0], _Lines(made, width, outputs, length, phases))

    def _phases(self, conv: Node, width: int) -> int:
        """How many pixels along the line the pool combines that alone reads this convolution,
        activations between aside; 1: none does."""
        name = conv.outputs[0]
        while name not in self.graph.outputs and len(self.consumers.get(name, ())) == 1:
            (reader,) = self.consumers[name]
            if reader.op in POOLS:
                window = window_of(reader, {})
                apart = window.kernel[1] == window.strides[1] or window.kernel[1] == width
                plain = window.pads[1] == window.pads[3] == 0 and window.dilations[1] == 1
                return window.kernel[1] if apart and plain else 1
            if reader.op not in ACTIVATIONS:
                break
            name = reader.outputs[0]
        return 1

    # ---- their readers

    def _pool(self, node: Node) -> None:
        lines, window = self.lines[node.inputs[0]], window_of(node, {})
        phases, height = lines.phases, self.graph.shapes[node.inputs[0]][1]
        down = window.kernel[1] == window.strides[1] == 1 and not any(window.pads[1::2])
        if phases == 1 and not down:
            self._add(node)  # over the pixels, if they lie so that it can
            return
        each = lines.length // phases
        shape = (1, height, phases, each)
        source = f"{node.outputs[0]}@phases"
        self._add(Node("reshape", node.name, (lines.value,), (source,), {"shape": shape}))
        attrs = dict(node.attrs) | {"strides": (window.strides[0], phases)}
        made = self._emit(node, node.op, (source,), **attrs)
        width = self.graph.shapes[node.outputs[0]][2]
        self._keep(node.outputs[0], _Lines(made, width, lines.channels, each))

    def _flattens(self, node: Node) -> bool:
        """Whether a reshape's readers are matrices that take an image as one row."""
        output = node.outputs[0]
        readers = self.consumers.get(output, ())
        row = self.graph.shapes[output][-1:] == (prod(self.graph.shapes[output]),)
        alone = output not in self.graph.outputs and bool(readers)
        return row and alone and all(reader.op == "linear" for reader in readers)

    def _flattened(self, name: str) -> str:
        """The image of which a value is the one row."""
        producer = next((node for node in self.graph.nodes if name in node.outputs), None)
        if producer and producer.op == "reshape" and self._flattens(producer):
            return producer.inputs[0]
        return ""

    def _linear(self, node: Node) -> None:
        image = self._flattened(node.inputs[0])
        lines, weights = self.lines[image], self.graph.constants[node.inputs[1]]
        height = self.graph.shapes[image][1]
        spread = np.zeros((len(weights), height, lines.length), np.float32)
        used = lines.width * lines.channels
        spread[:, :, :used] = weights.reshape(len(weights), height, used)
        name = f"{node.outputs[0]}@spread"
        self.constants[name] = spread.reshape(len(weights), -1)
        self.shapes[name] = self.constants[name].shape
        row = f"{node.outputs[0]}@row"
        shape = (*self.graph.shapes[node.inputs[0]][:-1], height * lines.length)
        self._add(Node("reshape", node.name, (lines.value,), (row,), {"shape": shape}))
        attrs = {"macs": weights.size}
        self._add(replace(node, inputs=(row, name, *node.inputs[2:]), attrs=attrs))


def _banded(kernel: Array, window: Window, lines: _Lines, place: list[int], length: int) -> Array:
    """The kernel [length, kh, 1, line] of a convolution over lines; pixel x of the result stands at
    `place[x]`."""
    outputs, height, _, channels = kernel.shape
    banded = np.zeros((length, height, 1, lines.length), np.float32)
    for x, start in enumerate(place):
        for tap, pixel in enumerate(window.taps(1, lines.width, x)):
            if pixel is not None:
                columns = slice(pixel * channels, (pixel + 1) * channels)
                banded[start : start + outputs, :, 0, columns] += kernel[:, :, tap]
    return banded
