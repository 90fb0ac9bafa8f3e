"""The kernels as methods: one launch each, sizes and offsets filled in from the net.

Only enqueues. Knows the argument lists of kernels.cl and nothing of training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hal import Buffer, Context, Grid, Program, ProgramImage, ScalarArg
from hal.types import Arg
from service.demo.nets import Lstm, Net

KERNELS = Path(__file__).with_name("kernels.cl")


def load_program(context: Context) -> Program:
    """Build the kernels; one program serves every net."""
    return context.load(ProgramImage("opencl-c", KERNELS.read_bytes()))


@dataclass(frozen=True, slots=True)
class AdamScalars:
    """`rate` with the bias corrections in it; `decay` is the share of a weight taken away."""

    rate: float
    keep_mean: float
    keep_spread: float
    tiny: float
    decay: float


class Layers:
    """Launches for one net in one context, on batches of `batch` samples."""

    def __init__(
        self,
        context: Context,
        program: Program,
        net: Net,
        batch: int,
        params: Buffer,
        grads: Buffer,
    ) -> None:
        self._context = context
        self._program = program
        self._net = net
        self._batch = batch
        self._params = params
        self._grads = grads

    def gather(
        self,
        images: Buffer,
        labels: Buffer,
        order: Buffer,
        first: int,
        batch: Buffer,
        batch_labels: Buffer,
    ) -> None:
        """The samples order[first ...] of the data set become the batch."""
        width = self._net.inputs
        self._launch(
            "gather",
            (width, self._batch),
            (images, labels, order, first, width, batch, batch_labels),
        )

    def dense(self, layer: str, x: Buffer, y: Buffer, *, relu: bool = False) -> None:
        inputs, outputs = self._shape(layer)
        weights, bias = self._at(layer)
        self._launch(
            "dense",
            (outputs, self._batch),
            (x, self._params, weights, bias, inputs, int(relu), y),
        )

    def softmax_loss(self, logits: Buffer, labels: Buffer, score: Buffer, d_logits: Buffer) -> None:
        self._launch(
            "softmax_loss", (self._batch,), (logits, labels, self._net.classes, score, d_logits)
        )

    def dense_gradient(self, layer: str, x: Buffer, d_y: Buffer, rows: int) -> None:
        """The layer's part of `grads`, summed over `rows` rows of x and d_y."""
        inputs, outputs = self._shape(layer)
        weights, bias = self._at(layer)
        self._launch(
            "dense_gradient", (outputs, inputs + 1), (x, d_y, rows, self._grads, weights, bias)
        )

    def dense_backward(
        self, layer: str, d_y: Buffer, x: Buffer, d_x: Buffer, *, relu: bool = False
    ) -> None:
        inputs, outputs = self._shape(layer)
        weights, _ = self._at(layer)
        self._launch(
            "dense_backward",
            (inputs, self._batch),
            (d_y, self._params, weights, outputs, x, int(relu), d_x),
        )

    def lstm_forward(
        self, net: Lstm, x: Buffer, joined: Buffer, gates: Buffer, cells: Buffer, last: Buffer
    ) -> None:
        weights, bias = self._at("lstm")
        self._launch(
            "lstm_forward",
            (net.hidden, self._batch),
            (x, self._params, weights, bias, net.row, net.steps, joined, gates, cells, last),
            group=(net.hidden, 1),
        )

    def lstm_backward(
        self, net: Lstm, d_last: Buffer, gates: Buffer, cells: Buffer, d_gates: Buffer
    ) -> None:
        weights, _ = self._at("lstm")
        self._launch(
            "lstm_backward",
            (net.hidden, self._batch),
            (d_last, self._params, weights, net.row, net.steps, gates, cells, d_gates),
            group=(net.hidden, 1),
        )

    def adam(self, mean: Buffer, spread: Buffer, by: AdamScalars) -> None:
        self._launch(
            "adam",
            (self._net.size,),
            (
                self._params,
                self._grads,
                mean,
                spread,
                by.rate,
                by.keep_mean,
                by.keep_spread,
                by.tiny,
                by.decay,
            ),
        )

    def _shape(self, layer: str) -> tuple[int, int]:
        inputs, outputs = self._net.shape(f"{layer}.weights")
        return inputs, outputs

    def _at(self, layer: str) -> tuple[int, int]:
        return self._net.at(f"{layer}.weights"), self._net.at(f"{layer}.bias")

    def _launch(
        self,
        entry: str,
        size: tuple[int, ...],
        args: tuple[Buffer | int | float, ...],
        group: tuple[int, ...] | None = None,
    ) -> None:
        tagged = [_tagged(arg) for arg in args]
        self._context.launch(self._program, entry, tagged, Grid(size, group))


def _tagged(arg: Buffer | int | float) -> Arg:
    if isinstance(arg, Buffer):
        return arg.arg()
    return ScalarArg.i32(arg) if isinstance(arg, int) else ScalarArg.f32(arg)
