"""A simulated run to look at: a page of pictures, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

from scheduler.sim.history import UseOverTime
from scheduler.sim.run import Result
from scheduler.timeline import Span

TIERS = {"premium": "#D55E00", "standard": "#0072B2", "basic": "#009E73"}
MAX_LANES, MAX_DRAWN = 64, 4000  # more of the Gantt chart cannot be told apart


def write(
    folder: Path,
    title: str,
    assumed: dict[str, Any],
    result: Result,
    use: UseOverTime,
    spans: Sequence[Span],
    devices: int,
) -> tuple[Path, Path]:
    """`report.json` and `report.png`. `assumed`: what the run was told, repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "report.json", folder / "report.png"
    table.write_text(
        json.dumps(
            {
                "title": title,
                "assumed": assumed,
                "figures": asdict(result.figures),
                "failed": result.failed,
                "cpu_s": result.cpu_s,
                "steps": result.steps,
                "sample_s": use.step_us / 1e6,
                "devices_held": [round(sample.held, 3) for sample in use.samples],
                "jobs_waiting": [round(sample.waiting, 3) for sample in use.samples],
            },
            indent=1,
        )
    )
    picture.write_bytes(_picture(title, result, use, spans, devices))
    return table, picture


def _picture(
    title: str, result: Result, use: UseOverTime, spans: Sequence[Span], devices: int
) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 11), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)  # draws off screen, whatever the user's matplotlib is set to
    figure.suptitle(title)
    above, middle, below = figure.subplots(3, 1, height_ratios=(1, 1, 2))
    hours = [index * use.step_us / 3.6e9 for index in range(len(use.samples))]
    _use(above, hours, use, devices)
    _completion(middle, result)
    _gantt(below, spans)
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _use(axes: Any, hours: list[float], use: UseOverTime, devices: int) -> None:
    axes.fill_between(hours, [s.held for s in use.samples], step="post", color="#0072B2", alpha=0.6)
    axes.axhline(devices, color="#555555", linewidth=0.8)
    axes.set_ylabel("devices held")
    axes.set_xlabel("hours")
    right = axes.twinx()
    right.step(hours, [s.waiting for s in use.samples], where="post", color="#D55E00")
    right.set_ylabel("jobs waiting", color="#D55E00")
    axes.set_title("use over time")


def _completion(axes: Any, result: Result) -> None:
    count = len(result.done)
    shares = [(index + 1) / count for index in range(count)]
    for label, values, colour in (
        ("completion time", sorted(d.completion_s for d in result.done), "#0072B2"),
        ("duration", sorted(d.duration_s for d in result.done), "#999999"),
    ):
        axes.step([max(v, 1) / 3600 for v in values], shares, where="post", label=label, c=colour)
    axes.set_xscale("log")
    axes.set_xlabel("hours")
    axes.set_ylabel("share of jobs")
    axes.legend(loc="lower right")
    axes.set_title("how long jobs took, and would have alone")


def _gantt(axes: Any, spans: Sequence[Span]) -> None:
    lanes = {name: row for row, name in enumerate(list(dict.fromkeys(s.device for s in spans)))}
    drawn = [span for span in spans if lanes[span.device] < MAX_LANES][:MAX_DRAWN]
    for span in drawn:
        solid = span.kind == "run"
        axes.barh(
            lanes[span.device],
            (span.end_s - span.start_s) / 3600,
            left=span.start_s / 3600,
            height=0.8,
            color=TIERS.get(span.tier, "#999999") if solid else "#222222",
            alpha=0.5 if solid else 1.0,
            linewidth=0,
        )
    names = list(lanes)[:MAX_LANES]
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.set_xlabel("hours")
    axes.set_title(f"who ran where (the first {len(drawn)} spans; dark: halting and resuming)")
