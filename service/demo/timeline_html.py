"""A chart as one HTML page: inline SVG, no script, no request to anywhere.

Names come from users' jobs: everything put into the page is escaped.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from service.demo.timeline_facts import Bar, Chart, Pause, Point

WIDTH, LEFT, RIGHT = 1200.0, 130.0, 20.0  # pixels: picture, names of devices, margin
TRACK, GAP, TOP = 44.0, 14.0, 24.0  # pixels: height of a bar, between bars, above the first lane
LEAST = 2.0  # pixels: shorter bars are drawn so wide
LETTER = 7.0  # pixels a letter of a label needs
TICKS_WANTED = 10

STYLE = """
body { font: 14px system-ui, sans-serif; margin: 24px; color: #222; background: white }
h1 { font-size: 19px; margin: 0 } p { color: #555; margin: 4px 0 12px }
svg text { font: 12px system-ui, sans-serif }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; margin-top: 8px }
td, th { text-align: left; padding: 2px 14px 2px 0 } td.n { text-align: right }
ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 22px }
li svg { vertical-align: -3px; margin-right: 6px }
"""
HATCHES = {  # kind -> lines of an 8 x 8 tile
    "checkpoint": '<path d="M0 8L8 0M-2 2L2-2M6 10L10 6" stroke="{0}" stroke-width="1.6"/>',
    "restore": '<g fill="{0}"><circle cx="2" cy="2" r="1.3"/><circle cx="6" cy="6" r="1.3"/></g>',
    "reconfigure": '<path d="M0 0L8 8M8 0L0 8" stroke="{0}" stroke-width="1.3"/>',
}
GREY = "#555555"


def write_html(chart: Chart, path: Path, title: str) -> None:
    path.write_text(page(chart, title), encoding="utf-8")


def page(chart: Chart, title: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>"
        f"<p>{escape(chart.summary)}</p>\n{_Picture(chart).svg()}\n{_legend(chart)}\n"
        f"<details><summary>All spans</summary>{_table(chart)}</details></body></html>\n"
    )


class _Picture:
    """The SVG of a chart."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.tops: dict[str, float] = {}
        y = TOP
        for device in chart.devices:
            self.tops[device] = y
            y += chart.tracks[device] * (TRACK + GAP)
        self.bottom = y
        self.scale = (WIDTH - LEFT - RIGHT) / max(chart.end_s, 1e-9)

    def svg(self) -> str:
        chart = self.chart
        parts = [
            f'<svg viewBox="0 0 {WIDTH:.0f} {self.bottom + 42:.0f}" width="{WIDTH:.0f}" '
            f'role="img" aria-label="{escape(chart.summary)}">',
            f"<defs>{self._patterns()}<marker id='tip' viewBox='0 0 10 10' refX='9' refY='5' "
            "markerWidth='7' markerHeight='7' orient='auto'><path d='M0 0L10 5L0 10z'/></marker>"
            "</defs>",
            *(self._lane(index, device) for index, device in enumerate(chart.devices)),
            self._axis(),
            *(self._bar(bar) for bar in chart.bars if bar.kind == "run"),
            *(self._bar(bar) for bar in chart.bars if bar.kind != "run"),
            *(self._pause(pause) for pause in chart.pauses),
            *(self._halt(point) for point in chart.halts),
            *(self._note(note.device, note.at_s, note.text) for note in chart.notes),
            "</svg>",
        ]
        return "\n".join(parts)

    def x(self, at_s: float) -> float:
        return LEFT + at_s * self.scale

    def y(self, device: str, track: int = 0) -> float:
        """The upper edge of a bar."""
        return self.tops[device] + track * (TRACK + GAP) + GAP / 2

    def _patterns(self) -> str:
        colours = [tenant.colour for tenant in self.chart.tenants]
        return "".join(
            pattern(kind, colour) for kind in HATCHES for colour in dict.fromkeys(colours)
        )

    def _lane(self, index: int, device: str) -> str:
        height = self.chart.tracks[device] * (TRACK + GAP)
        top = self.tops[device]
        shade = "#f3f3f3" if index % 2 == 0 else "#ffffff"
        return (
            f'<rect x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{height:.1f}" '
            f'fill="{shade}"/><text x="{LEFT - 10}" y="{top + height / 2 + 4:.1f}" '
            f'text-anchor="end">{escape(device)}</text>'
        )

    def _axis(self) -> str:
        step = tick_step(self.chart.end_s)
        parts = []
        count = int(self.chart.end_s / step + 1e-9) + 1
        for index in range(min(count, 4 * TICKS_WANTED)):
            x = self.x(index * step)
            parts.append(
                f'<path d="M{x:.1f} {TOP}V{self.bottom}" stroke="#dddddd"/>'
                f'<text x="{x:.1f}" y="{self.bottom + 16}" text-anchor="middle">'
                f"{index * step:g}</text>"
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(
            f'<text x="{middle}" y="{self.bottom + 36}" text-anchor="middle">seconds</text>'
        )
        return "".join(parts)

    def _bar(self, bar: Bar) -> str:
        x, y = self.x(bar.start_s), self.y(bar.device, bar.track)
        width = max((bar.end_s - bar.start_s) * self.scale, LEAST)
        colour = bar.tenant.colour
        tip = (
            f"{bar.label}, {bar.tenant.name} ({bar.tenant.tier}): {bar.kind} on {bar.device}, "
            f"{bar.start_s:.3f} to {bar.end_s:.3f} s"
        )
        rect = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{TRACK}"'
        if bar.kind == "run":
            body = f'<rect {rect} fill="{colour}"/>'
            if width > LETTER * (len(bar.label) + 1):
                body += (
                    f'<text x="{x + width / 2:.1f}" y="{y + TRACK / 2 + 4:.1f}" '
                    f'text-anchor="middle" fill="{bar.tenant.ink}">{escape(bar.label)}</text>'
                )
        else:
            body = (
                f'<rect {rect} fill="white"/><rect {rect} stroke="{colour}" '
                f'fill="url(#{pattern_id(bar.kind, colour)})"/>'
            )
        return f"<g><title>{escape(tip)}</title>{body}</g>"

    def _pause(self, pause: Pause) -> str:
        x1, x2 = self.x(pause.halted.at_s), self.x(pause.resumed.at_s)
        y1 = self.y(pause.halted.device, pause.halted.track)
        y2 = self.y(pause.resumed.device, pause.resumed.track)
        if pause.moved:
            tip = f"{pause.label} goes on on {pause.resumed.device} after {pause.seconds:.3f} s"
            line = (
                f'<path d="M{x1:.1f} {y1 + TRACK / 2:.1f}L{x2:.1f} {y2 + TRACK / 2:.1f}" '
                'stroke="black" stroke-width="2" marker-end="url(#tip)"/>'
            )
        else:
            tip = f"{pause.label} waits {pause.seconds:.3f} s"
            line = (
                f'<path d="M{x1:.1f} {y1 + TRACK + 4:.1f}H{x2:.1f}" '
                f'stroke="{pause.tenant.colour}" stroke-width="3" stroke-dasharray="3 5"/>'
            )
        return f"<g><title>{escape(tip)}</title>{line}</g>"

    def _halt(self, point: Point) -> str:
        x, y = self.x(point.at_s), self.y(point.device, point.track)
        return (
            f"<g><title>halted at {point.at_s:.3f} s</title>"
            f'<path d="M{x:.1f} {y:.1f}v{TRACK}" stroke="black" stroke-width="1.6"/>'
            f'<path d="M{x - 5:.1f} {y - 6:.1f}h10l-5 9z"/></g>'
        )

    def _note(self, device: str, at_s: float, text: str) -> str:
        x, y = self.x(at_s), self.y(device)
        right = x < (LEFT + WIDTH) / 2 + LEFT
        anchor, shift = ("start", 9) if right else ("end", -9)
        return (
            f'<g fill="#b00020"><path d="M{x - 5:.1f} {y + 1:.1f}l10 10m-10 0l10-10" '
            f'stroke="#b00020" stroke-width="3"/><text x="{x + shift:.1f}" y="{y + 11:.1f}" '
            f'text-anchor="{anchor}" stroke="white" stroke-width="4" paint-order="stroke">'
            f"{escape(text)}</text></g>"
        )


def pattern_id(kind: str, colour: str) -> str:
    return f"{kind}-{colour[1:]}"


def pattern(kind: str, colour: str) -> str:
    return (
        f'<pattern id="{pattern_id(kind, colour)}" width="8" height="8" '
        f'patternUnits="userSpaceOnUse">{HATCHES[kind].format(colour)}</pattern>'
    )


def tick_step(end_s: float) -> float:
    """A round number of seconds that gives about TICKS_WANTED ticks."""
    step = 10.0**-6
    while True:
        for factor in (1, 2, 5):
            if end_s / (step * factor) <= TICKS_WANTED:
                return step * factor
        step *= 10


def _legend(chart: Chart) -> str:
    items = [
        _entry(
            f'<rect width="22" height="14" fill="{tenant.colour}"/>',
            _tenant(tenant.name, tenant.tier),
        )
        for tenant in chart.tenants
    ]
    used = {bar.kind for bar in chart.bars}
    items += [
        _entry(
            f"<defs>{pattern(kind, GREY)}</defs>"
            f'<rect width="22" height="14" stroke="{GREY}" fill="url(#{pattern_id(kind, GREY)})"/>',
            kind,
        )
        for kind in HATCHES
        if kind in used
    ]
    if chart.halts:
        items.append(_entry('<path d="M6 3h10l-5 9z"/>', "halted"))
    if any(pause.moved for pause in chart.pauses):
        line = '<path d="M0 7H14" stroke="black" stroke-width="2"/><path d="M12 2L22 7L12 12z"/>'
        items.append(_entry(line, "goes on elsewhere"))
    if any(not pause.moved for pause in chart.pauses):
        line = f'<path d="M0 7H22" stroke="{GREY}" stroke-width="3" stroke-dasharray="3 4"/>'
        items.append(_entry(line, "waits, goes on here"))
    return f"<ul>{''.join(items)}</ul>"


def _entry(drawing: str, text: str) -> str:
    return f'<li><svg width="22" height="14">{drawing}</svg>{escape(text)}</li>'


def _tenant(name: str, tier: str) -> str:
    return f"{name} ({tier})"


def _table(chart: Chart) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("device", "job", "tenant", "kind", "from s", "to s")
    )
    rows = "".join(
        f"<tr><td>{escape(bar.device)}</td><td>{escape(bar.label)}</td>"
        f"<td>{escape(_tenant(bar.tenant.name, bar.tenant.tier))}</td><td>{bar.kind}</td>"
        f'<td class="n">{bar.start_s:.3f}</td><td class="n">{bar.end_s:.3f}</td></tr>'
        for bar in chart.bars
    )
    return f"<table><tr>{head}</tr>{rows}</table>"
