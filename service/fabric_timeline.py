"""What a shared device did for whom, to look at: a trace for Perfetto and a picture.

The picture has a lane for the fabric and one for each tenant: solid bars are kernels at work, the
dark ones between them what sharing costs (save, restore, reset, reconfigure).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hal.errors import UsageError
from hal.timeline import DeviceSpan, chrome_trace

MAX_DRAWN = 3000  # more cannot be told apart in a picture; the newest are drawn
WIDTH_INCHES, DPI, LANE_INCHES = 13.0, 110, 0.55
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
SHARING = {"save": "#555555", "restore": "#222222", "reset": "#999999", "reconfigure": "#b00020"}
FABRIC = "fabric"


@dataclass(frozen=True, slots=True)
class Written:
    trace: Path
    png: Path
    summary: str


def write(spans: Sequence[DeviceSpan], device: str, folder: Path) -> Written:
    """Write DEVICE.trace.json and DEVICE.png into `folder`, each whole or not at all. Raises
    UsageError when there is nothing to show."""
    if not spans:
        raise UsageError(f"{device} has done nothing yet: its timeline is empty")
    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(letter if letter.isalnum() or letter in ".-_" else "-" for letter in device)
    written = Written(folder / f"{stem}.trace.json", folder / f"{stem}.png", summary(spans))
    _replace(written.trace, json.dumps(chrome_trace(device, spans)).encode())
    _replace(written.png, _picture(spans[-MAX_DRAWN:], device))
    return written


def summary(spans: Sequence[DeviceSpan]) -> str:
    """One line: who shared, and which share of the time each kind took."""
    tenants = {span.tenant for span in spans if span.tenant}
    whole = max(spans[-1].end_ns - spans[0].start_ns, 1)
    kinds = dict.fromkeys(("run", *SHARING), 0)
    for span in spans:
        kinds[span.kind] = kinds.get(span.kind, 0) + span.end_ns - span.start_ns
    shares = [f"{kind} {100 * time / whole:.1f} %" for kind, time in kinds.items() if time]
    idle = 100 * (1 - sum(kinds.values()) / whole)
    return (
        f"{len(tenants)} tenants, {sum(span.kind == 'run' for span in spans)} slices, "
        f"{whole / 1e6:.1f} ms: {', '.join(shares)}, idle {max(idle, 0.0):.1f} %"
    )


def _picture(spans: Sequence[DeviceSpan], device: str) -> bytes:
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    tenants = list(dict.fromkeys(span.tenant for span in spans if span.tenant))
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(tenants)}
    lanes = [FABRIC, *tenants]
    figure = Figure(figsize=(WIDTH_INCHES, 1.9 + LANE_INCHES * len(lanes)), dpi=DPI)
    FigureCanvasAgg(figure)  # draws off screen, whatever the user's matplotlib is set to
    axes: Any = figure.add_subplot()
    origin = spans[0].start_ns
    for row, lane in enumerate(lanes):
        mine = [span for span in spans if lane == FABRIC or span.tenant == lane]
        axes.broken_barh(
            [((s.start_ns - origin) / 1e6, (s.end_ns - s.start_ns) / 1e6) for s in mine],
            (row - 0.4, 0.8),
            facecolors=[_colour(span, colours) for span in mine],
        )
    axes.set_yticks(range(len(lanes)), lanes)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.set_title(f"{device}: what the fabric did for whom\n", loc="left", fontweight="bold")
    axes.text(0, 1.02, summary(spans), transform=axes.transAxes, fontsize=9, color="#444444")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    used = {span.kind for span in spans}
    figure.legend(
        handles=[
            *(Patch(facecolor=colour, label=name) for name, colour in colours.items()),
            *(Patch(facecolor=c, label=kind) for kind, c in SHARING.items() if kind in used),
        ],
        loc="upper left",
        bbox_to_anchor=(0.12, 0.02),
        ncols=6,
        frameon=False,
        fontsize=9,
    )
    out = BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight", metadata={"Software": "haltere"})
    return out.getvalue()


def _colour(span: DeviceSpan, colours: dict[str, str]) -> str:
    return SHARING.get(span.kind) or colours.get(span.tenant, "#888888")


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
