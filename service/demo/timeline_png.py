"""A chart as a PNG, drawn by matplotlib without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch

from service.demo.timeline_facts import Chart, Point

TRACK_HEIGHT = 0.8  # of 1: the rest separates lanes
HATCH = {"run": "", "checkpoint": "////", "restore": "....", "reconfigure": "xxxx"}
LETTER = 6.5  # pixels that a letter needs: labels that do not fit are left out
WIDTH_INCHES, DPI = 13.0, 110
MIN_SHARE = 0.0025  # of the width: bars shorter than this are drawn so wide


def write_png(chart: Chart, path: Path, title: str) -> None:
    rows = sum(chart.tracks.values())
    figure = Figure(figsize=(WIDTH_INCHES, 2.3 + 0.75 * rows), dpi=DPI)
    FigureCanvasAgg(figure)  # draws off screen, whatever the user's matplotlib is set to
    axes = figure.add_subplot()
    places = _Places(chart)
    _draw_lanes(axes, chart, places)
    _draw_bars(axes, chart, places)
    _draw_marks(axes, chart, places)
    _draw_frame(axes, figure, chart, title)
    figure.savefig(path, format="png", bbox_inches="tight", metadata={"Software": "haltere"})


class _Places:
    """Which height a device's track lies at; the first device is on top."""

    def __init__(self, chart: Chart) -> None:
        self._tops: dict[str, int] = {}
        row = 0
        for device in chart.devices:
            self._tops[device] = row
            row += chart.tracks[device]
        self.rows = row

    def middle(self, device: str, track: int = 0) -> float:
        return self.rows - self._tops[device] - track - 0.5

    def of(self, point: Point) -> tuple[float, float]:
        return point.at_s, self.middle(point.device, point.track)


def _draw_lanes(axes: Any, chart: Chart, places: _Places) -> None:
    for index, device in enumerate(chart.devices):
        top = places.middle(device) + 0.5
        if index % 2 == 0:
            axes.axhspan(top - chart.tracks[device], top, color="#f3f3f3", zorder=0)
    axes.set_yticks(
        [places.middle(device) - (chart.tracks[device] - 1) / 2 for device in chart.devices],
        chart.devices,
    )
    axes.set_ylim(0, places.rows)


def _draw_bars(axes: Any, chart: Chart, places: _Places) -> None:
    least = chart.end_s * MIN_SHARE
    pixels_per_s = WIDTH_INCHES * DPI * 0.78 / max(chart.end_s, 1e-9)
    for bar in chart.bars:
        middle = places.middle(bar.device, bar.track)
        width = max(bar.end_s - bar.start_s, least)
        running = bar.kind == "run"
        axes.barh(
            middle,
            width,
            left=bar.start_s,
            height=TRACK_HEIGHT,
            color=bar.tenant.colour if running else "white",
            edgecolor=bar.tenant.colour if not running else "white",
            hatch=HATCH[bar.kind],
            linewidth=0.8,
            zorder=2 if running else 3,
        )
        if running and width * pixels_per_s > LETTER * (len(bar.label) + 2):
            axes.text(
                bar.start_s + width / 2,
                middle,
                bar.label,
                ha="center",
                va="center",
                color=bar.tenant.ink,
                fontsize=9,
                zorder=4,
                clip_on=True,
            )


def _draw_marks(axes: Any, chart: Chart, places: _Places) -> None:
    for pause in chart.pauses:
        start, end = places.of(pause.halted), places.of(pause.resumed)
        if pause.moved:
            axes.add_patch(
                FancyArrowPatch(
                    start,
                    end,
                    arrowstyle="-|>",
                    mutation_scale=16,
                    linewidth=1.8,
                    color="black",
                    shrinkA=0,
                    shrinkB=0,
                    zorder=6,
                )
            )
        else:
            low = start[1] - TRACK_HEIGHT / 2 - 0.05
            axes.plot(
                [start[0], end[0]],
                [low, low],
                ":",
                color=pause.tenant.colour,
                linewidth=3,
                zorder=5,
            )
    for halt in chart.halts:
        at_s, middle = places.of(halt)
        axes.plot(
            [at_s, at_s],
            [middle - TRACK_HEIGHT / 2, middle + TRACK_HEIGHT / 2],
            color="black",
            linewidth=1.5,
            zorder=6,
        )
        axes.plot([at_s], [middle + TRACK_HEIGHT / 2], "v", color="black", markersize=8, zorder=7)
    for note in chart.notes:
        top = places.middle(note.device) + TRACK_HEIGHT / 2
        axes.plot([note.at_s], [top - 0.1], "X", color="#b00020", markersize=9, zorder=8)
        axes.annotate(
            note.text,
            (note.at_s, top - 0.1),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="#b00020",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
            zorder=8,
        )


def _draw_frame(axes: Any, figure: Any, chart: Chart, title: str) -> None:
    axes.set_xlim(-0.01 * chart.end_s, max(chart.end_s, 1e-9) * 1.02)
    axes.set_xlabel("seconds")
    axes.set_title(f"{title}\n", loc="left", fontweight="bold")
    axes.text(0, 1.02, chart.summary, transform=axes.transAxes, fontsize=9, color="#444444")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=1)
    axes.set_axisbelow(True)
    tenants = [
        Patch(facecolor=tenant.colour, label=f"{tenant.name} ({tenant.tier})")
        for tenant in chart.tenants
    ]
    used = {bar.kind for bar in chart.bars}
    kinds = [
        Patch(facecolor="white", edgecolor="#555555", hatch=hatch, label=kind)
        for kind, hatch in HATCH.items()
        if hatch and kind in used
    ]
    marks = _mark_legend(chart)
    figure.legend(
        handles=[*tenants, *kinds, *marks],
        loc="upper left",
        bbox_to_anchor=(0.12, 0.02),
        ncols=5,
        frameon=False,
        fontsize=9,
    )


def _mark_legend(chart: Chart) -> list[Any]:
    marks = []
    if chart.halts:
        marks.append(Line2D([], [], color="black", marker="v", linestyle="none", label="halted"))
    if any(pause.moved for pause in chart.pauses):
        marks.append(
            Line2D([], [], color="black", marker=">", linewidth=1.8, label="goes on elsewhere")
        )
    if any(not pause.moved for pause in chart.pauses):
        marks.append(
            Line2D([], [], color="#555555", linestyle=":", linewidth=3, label="waits, goes on here")
        )
    return marks
