"""What a mantissa bit is worth: SNR and top-1 on the NPU's arithmetic, against float32.

    python benchmarks/number_formats.py [--page FILE] [--json FILE] [--models DIR]

For 2 to 7 mantissa bits, on the golden model, which equals the RTL in every bit: random products
and LSTMs, and the nets of examples/models on all samples that were held out (DIR has them; without
it they are trained first, some seconds). float32 is onnxruntime's. A net that the compiler refuses
is told with its reason, and left out. --page docs/number-formats.md puts the tables into that page
and the plot beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _machine import report
from onnx import ModelProto, TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from compiler import Emulator, compile_onnx
from compiler.errors import CompileError
from compiler.report import reference_results, snr_db
from rtl_sim.spec.npu import CONFIGS, named_config

MANTISSAS = range(2, 8)
NETS = ("mlp", "tumours", "cnn", "lstm", "gru")
BLOCKS = ("nano", "sim", "edge", "a10")  # configurations that differ in what shares an exponent
SAMPLES = 20  # of a random model
EXAMPLE = Path(__file__).parents[1] / "examples" / "models" / "train.py"
TRAIN_TIMEOUT_S = 600
BEGIN, END = "<!-- measured -->", "<!-- end -->"  # of the tables, in the page
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Row:
    """`by_mantissa`: SNR in dB. For a trained net also top-1 in float32 and by mantissa bits."""

    what: str
    by_mantissa: dict[int, float]
    top1_float32: float | None = None
    top1: dict[int, float] | None = None


def model(nodes: list[Any], shape: list[int], made: list[int], **weights: Array) -> bytes:
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(proto.SerializeToString())


def product(width: int) -> bytes:
    w = np.random.default_rng(width).standard_normal((width, width)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return model([node], [1, width], [1, width], w=w / np.float32(np.sqrt(width)))


def lstm(hidden: int, inputs: int = 8, steps: int = 8) -> bytes:
    """Uniform weights of up to 1 / sqrt(hidden), as frameworks begin."""
    rng, bound = np.random.default_rng(hidden), hidden**-0.5
    shapes = {
        "w": (1, 4 * hidden, inputs), "r": (1, 4 * hidden, hidden), "b": (1, 8 * hidden)
    }  # fmt: skip
    weights = {
        name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()
    }
    node = helper.make_node("LSTM", ["x", *weights], ["y"], hidden_size=hidden)
    return model([node], [steps, 1, inputs], [steps, 1, 1, hidden], **weights)


def answers(onnx: bytes, x: Array, mantissa: int, config: str = "sim") -> Array:
    inputs = ModelProto.FromString(onnx).graph.input
    symbols = {dim.dim_param for each in inputs for dim in each.type.tensor_type.shape.dim}
    dims = {"steps": 8} if "steps" in symbols else None
    compiled = compile_onnx(onnx, f"npu:{config}-m{mantissa}", dims=dims)
    (found,) = Emulator(compiled).run_many({"x": x}).values()
    return found


def random_row(what: str, onnx: bytes, shape: tuple[int, ...], config: str = "sim") -> Row:
    x = np.random.default_rng(1).standard_normal((SAMPLES, *shape)).astype(np.float32)
    (exact,) = reference_results(onnx, {"x": x}).values()
    possible = [m for m in MANTISSAS if named_config(f"{config}-m{m}")]
    return Row(what, {m: snr_db(exact, answers(onnx, x, m, config)) for m in possible})


def trained_row(name: str, folder: Path) -> Row:
    with np.load(folder / f"{name}.npz") as samples:
        x, labels = samples["x"], samples["labels"]
    onnx = (folder / f"{name}.onnx").read_bytes()

    def top1(p: Array) -> float:
        return float((p.reshape(len(labels), -1).argmax(1) == labels).mean())

    (exact,) = reference_results(onnx, {"x": x}).values()
    found = {m: answers(onnx, x, m) for m in MANTISSAS}
    return Row(
        f"{name}, {len(labels)} samples",
        {m: snr_db(exact, array) for m, array in found.items()},
        top1(exact),
        {m: top1(array) for m, array in found.items()},
    )


def measured(folder: Path, console: Console) -> tuple[list[Row], list[Row]]:
    random = [
        random_row(
            f"product 128 x 128, blocks of {CONFIGS[config].n}", product(128), (1, 128), config
        )
        for config in BLOCKS
    ]
    random += [random_row(f"LSTM, {h} units, 8 steps", lstm(h), (8, 1, 8)) for h in (32, 64)]
    trained = []
    for name in NETS:
        try:
            trained.append(trained_row(name, folder))
        except CompileError as error:
            console.print(f"{name} left out: {error}", markup=False, highlight=False)
    return random, trained


def table(title: str, rows: list[tuple[str, Mapping[int, float]]], form: str) -> Table:
    made = Table("mantissa bits", *map(str, MANTISSAS), title=title)
    for what, values in rows:
        made.add_row(what, *(format(values[m], form) if m in values else "" for m in MANTISSAS))
    return made


def loss(row: Row) -> dict[int, float]:
    """Points of top-1 below float32; negative: above."""
    assert row.top1 is not None and row.top1_float32 is not None
    return {m: 100 * (row.top1_float32 - value) for m, value in row.top1.items()}


def markdown(first: str, rows: list[tuple[str, Mapping[int, float]]], form: str) -> str:
    lines = [[first, *map(str, MANTISSAS)], ["---"] * (1 + len(MANTISSAS))]
    for what, values in rows:
        lines.append([what, *(format(values[m], form) if m in values else "" for m in MANTISSAS)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_page(random: list[Row], trained: list[Row], page: Path) -> None:
    head, _, rest = page.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    snr = [(row.what, row.by_mantissa) for row in (*random, *trained)]
    lost = [(f"{row.what} ({row.top1_float32:.2%})", loss(row)) for row in trained]
    tables = (
        f"SNR in dB:\n\n{markdown('mantissa bits', snr, '.1f')}\n"
        "Points of top-1 lost against float32, on all samples that were held out:\n\n"
        f"{markdown('net (top-1 in float32)', lost, '+.2f')}"
    )
    page.write_text(f"{head}{BEGIN}\n{tables}{END}{tail}")
    draw(random, trained, page.with_suffix(".svg"))


def draw(random: list[Row], trained: list[Row], path: Path) -> None:
    import matplotlib  # only for those who want the plot

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "haltere", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for row in (*random, *trained):
        mark = "o-" if row.top1 is None else "s--"
        left.plot(
            list(row.by_mantissa), list(row.by_mantissa.values()), mark, ms=3, lw=1, label=row.what
        )
    left.plot(
        list(MANTISSAS), [6 * m - 5 for m in MANTISSAS], "k:", lw=1, label="gate of random LSTMs"
    )
    left.set(xlabel="mantissa bits", ylabel="SNR against float32, dB")
    for row in trained:
        right.plot(list(MANTISSAS), list(loss(row).values()), "s--", ms=3, lw=1, label=row.what)
    right.axhline(1, color="k", ls=":", lw=1, label="gate at 5 and 7")
    right.set(xlabel="mantissa bits", ylabel="top-1 lost, points")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--models", type=Path)
    args = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        models = args.models or Path(folder)
        if args.models is None:
            command = [sys.executable, str(EXAMPLE), "--out", folder]
            subprocess.run(command, check=True, timeout=TRAIN_TIMEOUT_S)
        random, trained = measured(models, console)
    snr = [(row.what, row.by_mantissa) for row in (*random, *trained)]
    console.print(table("SNR against float32, dB", snr, ".1f"))
    lost = [(f"{row.what} ({row.top1_float32:.2%})", loss(row)) for row in trained]
    console.print(table("points of top-1 lost against float32 (in brackets)", lost, "+.2f"))
    if args.page:
        write_page(random, trained, args.page)
    found = {"random": [asdict(row) for row in random], "trained": [asdict(row) for row in trained]}
    report(found, args.json)


if __name__ == "__main__":
    main()
