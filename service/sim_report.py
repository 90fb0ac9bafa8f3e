"""A simulated run to look at: a page of pictures, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

from proxy.paths import write_atomically
from scheduler.audit import Audit, Fraction
from scheduler.core.machine import Machine
from scheduler.core.values import Tier
from scheduler.loop import Recorder
from scheduler.policies.guarantee import PROMISES
from scheduler.sim.history import UseOverTime
from scheduler.sim.run import Result
from scheduler.timeline import Span, Timeline

TIERS = {"premium": "#D55E00", "standard": "#0072B2", "basic": "#009E73"}
HALTING = "#222222"
MAX_LANES = 64  # more of the Gantt chart cannot be told apart


class Watched:
    """What a run is watched by, for its report. `parts`: of devices, by URI."""

    def __init__(self, parts: Mapping[str, str]) -> None:
        self.timeline, self.audit = Timeline(), Audit(dict(parts))
        self.use: UseOverTime
        self._machine: Machine

    def recorders(self, machine: Machine) -> Sequence[Recorder]:
        self.use, self._machine = UseOverTime(machine), machine
        return self.use, self.timeline, self.audit

    def fractions(self) -> dict[str, list[Fraction]]:
        """By tier, of the jobs that began."""
        found: dict[str, list[Fraction]] = {str(tier): [] for tier in Tier}
        for each in self.audit.fractions(self._machine.jobs):
            found[each.tier].append(each)
        return {tier: of for tier, of in found.items() if of}


def attained(fractions: Mapping[str, Sequence[Fraction]]) -> dict[str, dict[str, Any]]:
    """Of each tier: the worst hour of its jobs, how many had one below what is promised (None:
    nothing is), and their lives' mean."""
    found: dict[str, dict[str, Any]] = {}
    for tier, of in fractions.items():
        promise = PROMISES.get(Tier(tier))
        found[tier] = {
            "jobs": len(of),
            "promised": promise.fraction if promise else None,
            "worst_hour": min(each.worst_hour for each in of),
            "life": sum(each.life for each in of) / len(of),
            "below": sum(each.worst_hour < promise.fraction for each in of) if promise else None,
        }
    return found


def write(
    folder: Path,
    title: str,
    assumed: dict[str, Any],
    result: Result,
    watched: Watched,
    devices: int,
) -> tuple[Path, Path]:
    """`report.json` and `report.png`. `assumed`: what the run was told, repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "report.json", folder / "report.png"
    use, fractions = watched.use, watched.fractions()
    text = json.dumps(
        {
            "title": title,
            "assumed": assumed,
            "figures": asdict(result.figures),
            "attained": attained(fractions),
            "failed": result.failed,
            "cpu_s": result.cpu_s,
            "steps": result.steps,
            "sample_s": use.step_us / 1e6,
            "devices_held": [round(sample.held, 3) for sample in use.samples],
            "jobs_waiting": [round(sample.waiting, 3) for sample in use.samples],
        },
        indent=1,
    )
    drawn = _picture(title, result, use, fractions, watched.timeline.spans(), devices)
    write_atomically(table, text.encode())
    write_atomically(picture, drawn)
    return table, picture


def _picture(
    title: str,
    result: Result,
    use: UseOverTime,
    fractions: Mapping[str, Sequence[Fraction]],
    spans: Sequence[Span],
    devices: int,
) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 12), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)  # draws off screen, whatever the user's matplotlib is set to
    figure.suptitle(title)
    grid = figure.add_gridspec(3, 2, height_ratios=(1, 1.1, 2))
    above = figure.add_subplot(grid[0, :])
    below = figure.add_subplot(grid[2, :], sharex=above)
    hours = [index * use.step_us / 3.6e9 for index in range(len(use.samples))]
    _use(above, hours, use, devices)
    _completion(figure.add_subplot(grid[1, 0]), result)
    _attainment(figure.add_subplot(grid[1, 1]), fractions)
    _gantt(below, spans)
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _use(axes: Any, hours: list[float], use: UseOverTime, devices: int) -> None:
    axes.fill_between(hours, [s.held for s in use.samples], step="post", color="#0072B2", alpha=0.6)
    axes.axhline(devices, color="#555555", linewidth=0.8)
    axes.set_ylabel("devices held")
    axes.set_ylim(0, devices * 1.05)
    axes.set_xlabel("hours")
    right = axes.twinx()
    right.step(hours, [s.waiting for s in use.samples], where="post", color="#D55E00")
    right.set_ylabel("jobs waiting", color="#D55E00")
    right.set_ylim(0, max([1.0, *(1.05 * s.waiting for s in use.samples)]))
    axes.set_title(f"use over time (the line: all {devices} devices)")


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
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right")
    axes.set_title("how long jobs took, and would have alone")


def _attainment(axes: Any, fractions: Mapping[str, Sequence[Fraction]]) -> None:
    """Of each tier, how the worst hours of its jobs are distributed; dotted: what is promised."""
    for tier, of in fractions.items():
        worst = sorted(each.worst_hour for each in of)
        shares = [(index + 1) / len(worst) for index in range(len(worst))]
        label = f"{tier}: {len(worst)} jobs, worst {worst[0]:.2f}"
        axes.step([0, *worst], [0, *shares], where="post", label=label, color=TIERS[tier])
        if promise := PROMISES.get(Tier(tier)):
            axes.axvline(promise.fraction, color=TIERS[tier], linestyle=":", linewidth=1.2)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("accelerator fraction of a job's worst hour")
    axes.set_ylabel("share of its tier's jobs")
    axes.legend(loc="upper left", fontsize=8)
    axes.set_title("what was attained, by tier (dotted: promised)")


def _gantt(axes: Any, spans: Sequence[Span]) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    names = list(dict.fromkeys(span.device for span in spans))
    lanes = {name: row for row, name in enumerate(names[:MAX_LANES])}
    drawn = [span for span in spans if span.device in lanes]
    places, rooms = _places(drawn)
    boxes, colours = [], []
    for span, place in zip(drawn, places, strict=True):
        height = 0.84 / rooms[span.device]
        low = lanes[span.device] - 0.42 + place * height
        left, right = span.start_s / 3600, span.end_s / 3600
        boxes.append([(left, low), (right, low), (right, low + height), (left, low + height)])
        colours.append(TIERS.get(span.tier, "#999999") if span.kind == "run" else HALTING)
    axes.add_collection(
        PolyCollection(boxes, facecolors=colours, edgecolors="white", linewidths=0.2)
    )
    axes.autoscale_view()
    axes.set_yticks(range(len(lanes)), list(lanes), fontsize=6)
    axes.set_ylim(-0.6, max(len(lanes), 1) - 0.4)
    axes.set_xlabel("hours")
    tiers = [tier for tier in TIERS if any(span.tier == tier for span in drawn)]
    marks = [Patch(color=TIERS[tier], label=tier) for tier in tiers]
    marks.append(Patch(color=HALTING, label="halting, resuming"))
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    axes.legend(handles=marks, fontsize=8, ncols=len(marks), **above)
    some = f", the first {MAX_LANES} of {len(names)}" if len(names) > MAX_LANES else ""
    axes.set_title(
        f"who ran where: a row for each node{some}, in it a line for each job there", loc="left"
    )


def _places(spans: Sequence[Span]) -> tuple[list[int], dict[str, int]]:
    """For each span, by start, the lowest line of its device that is free; how many each needs."""
    ends: dict[str, list[float]] = {}
    places = []
    for span in spans:
        lines = ends.setdefault(span.device, [])
        place = next((n for n, end_s in enumerate(lines) if end_s <= span.start_s), len(lines))
        lines[place : place + 1] = [span.end_s]
        places.append(place)
    return places, {device: len(lines) for device, lines in ends.items()}
