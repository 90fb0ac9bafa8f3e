"""`haltere compile model.onnx --target npu:sim [--samples x.npz] [--device fpga-sim:0]`

Compiles a model and reports on it: accuracy against onnxruntime, SNR and work of each layer, cycles
per inference, memory, instructions. --output keeps the compiled model, --json prints the report for
programs, --picture draws it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from compiler.artifact import CompiledModel
from compiler.driver import compile_onnx
from compiler.errors import BadInput, CompileError
from compiler.frontend import parse_dim
from compiler.picture import write_picture
from compiler.report import Report, make_report, split_samples
from compiler.runtime import shipped_overlay
from compiler.targets import DEFAULT_TARGET, npu_config, targets
from hal.errors import HalError
from hal.registry import open_device
from rtl_sim.spec.npu import Instr

NO_DEVICE = "none"
DEFAULT_DEVICE = "fpga-sim:0"  # may be absent; one that was asked for may not
PLAIN_COLUMNS = 140


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    console = Console(stderr=True, markup=False, emoji=False)  # names are the model's
    try:
        for path in (options.output, options.picture):
            _check_place(path)
        if options.device not in (None, NO_DEVICE):
            open_device(options.device).close()  # a mistyped one is told before the work
        dims = dict(parse_dim(text) for text in options.dim)
        model = options.model
        compiled = compile_onnx(
            model, options.target, dims=dims, samples=options.samples_per_launch
        )
        if options.output:
            _written(options.output, lambda: options.output.write_bytes(compiled.to_bytes()))
        if options.listing:
            for line in listing(compiled):
                print(line)
        report = _report(options, dims, compiled, console)
        _show(report, options.json)
        if options.picture:
            _written(options.picture, lambda: write_picture(report, options.picture))
    except (CompileError, HalError) as error:
        console.print(f"{error.code}: {error}", style="red", highlight=False, soft_wrap=True)
        return 1
    return 0


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
        return
    out = Console(markup=False, emoji=False)
    if not out.is_terminal:  # a file or a pipe has no width of its own
        out.width = PLAIN_COLUMNS
    for table in tables(report):
        out.print(table)
    for concern in report.concerns:
        out.print(f"warning: {concern}", style="yellow", highlight=False, soft_wrap=True)


def _check_place(path: Path | None) -> None:
    """Before the work is done. Raises CompileError where nothing can be written."""
    if path is None:
        return
    if path.is_dir():
        raise CompileError(f"cannot write {path}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise CompileError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CompileError(f"cannot write {path}: permission denied")


def _written(path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        raise CompileError(f"cannot write {path}: {error.strerror or error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="haltere compile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="an ONNX file")
    parser.add_argument("--target", default=DEFAULT_TARGET, help=f"{', '.join(targets())}")
    parser.add_argument("--samples", type=Path, help=".npz: each input, stacked, and `labels`")
    parser.add_argument("--samples-per-launch", type=int, default=1, help="that share the weights")
    parser.add_argument(
        "--dim", action="append", default=[], metavar="SYMBOL=NUMBER", help="a symbolic dimension"
    )
    parser.add_argument("--device", help=f"for cycles; {DEFAULT_DEVICE}, or {NO_DEVICE}")
    parser.add_argument("--output", type=Path, help="write the compiled model here")
    parser.add_argument("--listing", action="store_true", help="print the instructions")
    parser.add_argument("--json", action="store_true", help="the report as JSON, not as tables")
    parser.add_argument("--picture", type=Path, help="draw the report here, a PNG")
    return parser


def _report(
    options: argparse.Namespace, dims: dict[str, int], compiled: CompiledModel, console: Console
) -> Report:
    model, inputs, labels = options.model, None, None
    if options.samples:
        inputs, labels = split_samples(compiled, _load_samples(options.samples))
    if options.device == NO_DEVICE:
        return make_report(model, compiled, inputs, labels, dims=dims)
    uri = options.device or DEFAULT_DEVICE
    with console.status(f"building {compiled.overlay} for {uri} (cached afterwards)"):
        try:
            made = shipped_overlay(compiled)
            device = open_device(uri, made)
        except HalError as error:
            return make_report(model, compiled, inputs, labels, None, str(error), dims)
        with device, device.open_context() as context:
            bound = compiled.with_overlay(made.digest)
            return make_report(model, bound, inputs, labels, context, dims=dims)


def _load_samples(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise BadInput(f"cannot read samples from {path}: {error}") from error


def listing(compiled: CompiledModel) -> list[str]:
    """The program, one instruction a line."""
    words = np.frombuffer(compiled.program, "<u8").tolist()
    lines = []
    for pc, word in enumerate(words):
        lines.append(f"{pc:4} {Instr.decode(word)}")
    return lines


def tables(report: Report) -> list[Table]:
    """What a person wants to see."""
    accuracy = Table(title=f"{report.model} on {report.target}: {report.samples} samples")
    columns = ("output", "SNR dB", "max error", "top-1 agrees", "top-1", "top-1 onnxruntime")
    for column in columns:
        accuracy.add_column(column, justify="left" if column == "output" else "right")
    for output in report.outputs:
        accuracy.add_row(
            output.name,
            f"{output.snr_db:.1f}",
            f"{output.max_abs_error:.2e}",
            f"{output.top1_agreement:.2%}",
            _share(output.top1_labels),
            _share(output.top1_labels_reference),
        )
    costs = Table("what", "used", "of")
    measured = report.measured
    if measured is None:
        costs.add_row("cycles per inference", "not measured", report.not_measured)
    else:
        same = "bits as emulated" if measured.equals_emulator else "BITS DIFFER FROM THE EMULATOR"
        costs.add_row(
            "cycles per inference",
            f"{measured.cycles_per_inference:.0f}",
            f"{measured.device}, {same}",
        )
        costs.add_row("multipliers busy", f"{measured.utilization:.2%}", "")
    costs.add_row("multiply-accumulates", str(report.macs), "")
    for resource, (used, have) in report.memory.items():
        costs.add_row(resource, str(used), str(have))
    kind = "pinned" if report.weights_pinned else "streamed, layer by layer"
    costs.add_row("weights", f"{report.weights_bytes} bytes", kind)
    return [accuracy, _layers(report), costs]


def _layers(report: Report) -> Table:
    columns = ("SNR dB", "MACs", "chains", "beats", "tiles", "cycles", "peak", "padded", "bound")
    table = Table("layer", "kind", title="layers, of one launch")
    for column in columns:
        table.add_column(column, justify="right")
    config = npu_config(report.target)
    for layer in report.layers:
        table.add_row(
            layer.name,
            layer.op,
            "" if layer.snr_db is None else f"{layer.snr_db:.1f}",
            str(layer.macs or ""),
            str(layer.chains),
            str(layer.beats or ""),
            str(layer.tiles or ""),
            str(layer.cycles),
            _share(layer.peak(config)),
            _share(layer.padded(config)),
            _share(layer.of_bound()),
        )
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


if __name__ == "__main__":
    sys.exit(main())
