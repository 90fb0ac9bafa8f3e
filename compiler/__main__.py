"""`python -m compiler model.onnx --target npu:sim [--samples x.npz] [--device fpga-sim:0]`

Compiles a model and reports on it: accuracy against onnxruntime, cycles per inference, memory,
instructions. `--output` keeps the compiled model, `--json` prints the report for programs.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from compiler.artifact import CompiledModel
from compiler.driver import compile_onnx
from compiler.errors import BadInput, CompileError
from compiler.report import Report, make_report, split_samples
from compiler.targets import DEFAULT_TARGET
from hal.errors import HalError
from hal.registry import open_device
from rtl_sim.spec.npu import Instr

NO_DEVICE = "none"


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        dims = dict(_dim(text) for text in options.dim)
        model = options.model
        compiled = compile_onnx(
            model, options.target, dims=dims, samples=options.samples_per_launch
        )
        if options.output:
            options.output.write_bytes(compiled.to_bytes())
        if options.listing:
            for line in listing(compiled):
                print(line)
        report = _report(options, options.model.read_bytes(), compiled, console)
    except (CompileError, HalError) as error:
        console.print(f"{error.code}: {error}", style="red", markup=False, highlight=False)
        return 1
    if options.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        for table in tables(report):
            Console().print(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compiler", description=__doc__)
    parser.add_argument("model", type=Path, help="an ONNX file")
    parser.add_argument("--target", default=DEFAULT_TARGET)
    parser.add_argument("--samples", type=Path, help=".npz: each input, stacked, and `labels`")
    parser.add_argument("--samples-per-launch", type=int, default=1)
    parser.add_argument("--dim", action="append", default=[], metavar="SYMBOL=NUMBER")
    parser.add_argument("--device", default="fpga-sim:0", help=f"for cycles; or {NO_DEVICE}")
    parser.add_argument("--output", type=Path, help="write the compiled model here")
    parser.add_argument("--listing", action="store_true", help="print the instructions")
    parser.add_argument("--json", action="store_true")
    return parser


def _dim(text: str) -> tuple[str, int]:
    symbol, _, number = text.partition("=")
    if not number.isdigit():
        raise CompileError(f"--dim {text!r}: write it as symbol=number")
    return symbol, int(number)


def _report(
    options: argparse.Namespace, model: bytes, compiled: CompiledModel, console: Console
) -> Report:
    inputs, labels = None, None
    if options.samples:
        inputs, labels = split_samples(compiled, _load_samples(options.samples))
    if options.device == NO_DEVICE:
        return make_report(model, compiled, inputs, labels)
    from hal.backends.fpga.overlays import overlay  # builds: not for those who measure nothing

    with console.status(f"building {compiled.overlay} for {options.device} (cached afterwards)"):
        try:
            made = overlay(compiled.overlay)
            device = open_device(options.device, made)
        except HalError as error:
            return make_report(model, compiled, inputs, labels, None, str(error))
        with device, device.open_context() as context:
            bound = compiled.with_overlay(made.digest)
            return make_report(model, bound, inputs, labels, context)


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
        fields = (word >> 8 & 0xF, word >> 16 & 0xFFFF, word >> 32 & 0xFFFF, word >> 48 & 0xFFFF)
        lines.append(f"{pc:4} {Instr(word & 0xFF, *fields, mv=bool(word >> 12 & 1))}")
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
    return [accuracy, costs]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


if __name__ == "__main__":
    sys.exit(main())
