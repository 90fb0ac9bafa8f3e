"""The picture of who had which device when: a PNG to look at, an HTML page to look into.

    draw(pool.timeline(), folder / "timeline", names={1: "train"})

writes timeline.png and timeline.html. Each lane is a device, each colour a tenant; triangles mark
halts, arrows the moves. Any source of `scheduler.timeline.Span` will do, live or simulated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scheduler.timeline import Span
from service.demo.timeline_facts import Chart, Note, chart
from service.demo.timeline_html import write_html
from service.demo.timeline_png import write_png

TITLE = "Who had which device when"

__all__ = ["Note", "Pictures", "Span", "chart", "draw"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Where the pictures lie, and what they say in one line."""

    png: Path
    html: Path
    summary: str


def draw(
    spans: Iterable[Span],
    stem: Path,
    *,
    names: Mapping[int, str] | None = None,
    devices: Sequence[str] = (),
    notes: Sequence[Note] = (),
    title: str = TITLE,
) -> Pictures:
    """Write `stem`.png and `stem`.html, each whole or not at all. Raises ValueError for spans that
    make no timeline. See `timeline_facts.chart` for the options."""
    facts = chart(spans, names=names, devices=devices, notes=notes)
    stem.parent.mkdir(parents=True, exist_ok=True)
    png, html = (stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "html"))
    _replace(png, write_png, facts, title)
    _replace(html, write_html, facts, title)
    return Pictures(png, html, facts.summary)


def _replace(
    path: Path, write: Callable[[Chart, Path, str], None], facts: Chart, title: str
) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(facts, partial, title)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
