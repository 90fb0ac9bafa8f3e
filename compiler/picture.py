"""A report as a picture: what each layer costs, how exact it is, and how full the memories are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compiler.errors import CompileError
from compiler.report import Report

WIDTH_INCHES, ROW_INCHES, DPI = 11.0, 0.34, 110


def write_picture(report: Report, path: Path) -> None:
    """A PNG. Raises CompileError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CompileError(
            "a picture needs matplotlib: install haltere[service], or leave --picture away"
        ) from error
    rows = len(report.layers) + len(report.memory)
    figure = Figure(figsize=(WIDTH_INCHES, 2.6 + ROW_INCHES * rows), dpi=DPI)
    FigureCanvasAgg(figure)  # draws off screen, whatever the user's matplotlib is set to
    grid = figure.add_gridspec(2, 2, height_ratios=(len(report.layers), len(report.memory)))
    _work(figure.add_subplot(grid[0, 0]), report)
    _exactness(figure.add_subplot(grid[0, 1]), report)
    _memory(figure.add_subplot(grid[1, :]), report)
    figure.suptitle(_title(report), parse_math=False)
    figure.tight_layout()
    figure.savefig(path, format="png", metadata={"Software": "haltere"})


def _title(report: Report) -> str:
    title = f"{report.model} on {report.target}"
    if report.measured:
        title += f": {report.measured.cycles_per_inference:.0f} cycles an inference"
    return title


def _rows(axes: Any, labels: list[str]) -> range:
    axes.set_yticks(range(len(labels)), labels, parse_math=False)  # a name may hold a $
    axes.invert_yaxis()
    return range(len(labels))


def _work(axes: Any, report: Report) -> None:
    layers = report.layers
    at = _rows(axes, [f"{layer.name} ({layer.op})" for layer in layers])
    axes.barh(at, [layer.cycles for layer in layers], color="#4477aa", label="cycles")
    bounds = [layer.bound_cycles for layer in layers]
    axes.barh(at, bounds, height=0.3, color="#ee6677", label="bound by the multipliers")
    axes.set_xlabel("of one launch")
    axes.legend(fontsize="small")


def _exactness(axes: Any, report: Report) -> None:
    finite = [min(layer.snr_db or 0.0, 120.0) for layer in report.layers]
    axes.barh(_rows(axes, [""] * len(finite)), finite, color="#228833")
    axes.set_xlabel("SNR of what a layer ends with, dB, against float32")


def _memory(axes: Any, report: Report) -> None:
    labels = [f"{name}: {used} of {have}" for name, (used, have) in report.memory.items()]
    shares = [100 * used / have for used, have in report.memory.values()]
    axes.barh(_rows(axes, labels), shares, color="#ccbb44")
    axes.set_xlim(0, 100)
    axes.set_xlabel("% used")
