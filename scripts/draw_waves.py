"""Draws docs/waves/*.json (WaveDrom's notation: p 0 1 x = .) as SVG, beside each source.

    python scripts/draw_waves.py [--check]

Written here because PyPI's renderer has had no release since 2022 and this much of the notation
is a page. `--check` writes nothing and fails if a picture is not what its source says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "waves"
STEP, ROW, HIGH, SLOPE = 56, 30, 18, 4  # of a cycle, a signal, a level, an edge, in pixels
NAMES, HEAD, MARGIN = 150, 34, 8
STYLE: Final = (
    "text{font:12px sans-serif;fill:#222}.h{font-weight:bold}.v{font-size:11px;text-anchor:middle}"
    ".w{fill:none;stroke:#1a4f8b;stroke-width:1.5}.g{stroke:#ddd}"
    ".b{fill:#e8f0fa;stroke:#1a4f8b;stroke-width:1.5}.x{fill:#e4e4e4;stroke:#aaa}"
)


def spans(wave: str) -> Iterator[tuple[str, int, int]]:
    """(kind, first cycle, cycles) of each level; `.` continues the one before."""
    start = 0
    for at in range(1, len(wave) + 1):
        if at == len(wave) or wave[at] != ".":
            yield wave[start], start, at - start
            start = at


def signal(entry: dict[str, Any], top: int) -> Iterator[str]:
    """One signal's drawing. Raises ValueError for a character this script does not know."""
    base, peak = top + HIGH, top
    yield f'<text x="{NAMES - 10}" y="{base - 4}" text-anchor="end">{escape(entry["name"])}</text>'
    data = iter(entry.get("data", ()))
    level: int | None = None
    for kind, start, count in spans(entry["wave"]):
        x0, x1 = NAMES + start * STEP, NAMES + (start + count) * STEP
        if kind == "p":
            path = f"M{x0} {base}"
            for cycle in range(count):
                at = x0 + cycle * STEP
                path += f"V{peak}H{at + STEP // 2}V{base}H{at + STEP}"
            yield f'<path class="w" d="{path}"/>'
        elif kind in "01":
            height = base if kind == "0" else peak
            begin = f"M{x0} {level}L{x0 + SLOPE} {height}" if level else f"M{x0} {height}"
            yield f'<path class="w" d="{begin}H{x1}"/>'
            level = height
            continue
        elif kind in "=x":
            name, middle = ("b", (base + peak) // 2) if kind == "=" else ("x", (base + peak) // 2)
            yield (
                f'<path class="{name}" d="M{x0} {middle}L{x0 + SLOPE} {peak}H{x1 - SLOPE}'
                f'L{x1} {middle}L{x1 - SLOPE} {base}H{x0 + SLOPE}Z"/>'
            )
            if kind == "=":
                text = escape(next(data, ""))
                yield f'<text class="v" x="{(x0 + x1) // 2}" y="{middle + 4}">{text}</text>'
        else:
            raise ValueError(f"signal {entry['name']!r}: {kind!r} is not one of p 0 1 x = .")
        level = None


def picture(source: dict[str, Any]) -> str:
    signals = source["signal"]
    cycles = {len(entry["wave"]) for entry in signals}
    if len(cycles) != 1:
        raise ValueError(f"signals of {sorted(cycles)} cycles in one picture")
    count = cycles.pop()
    width, height = NAMES + count * STEP + MARGIN, HEAD + len(signals) * ROW + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><style>{STYLE}</style>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="h" x="{MARGIN}" y="20">{escape(source["head"]["text"])}</text>',
    ]
    for cycle in range(count + 1):
        x = NAMES + cycle * STEP
        lines.append(f'<path class="g" d="M{x} {HEAD - 4}V{height - MARGIN}"/>')
    for number, entry in enumerate(signals):
        lines += signal(entry, HEAD + number * ROW)
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for path in sorted(FOLDER.glob("*.json")):
        drawn, target = picture(json.loads(path.read_text())), path.with_suffix(".svg")
        if not check:
            target.write_text(drawn)
        elif not target.is_file() or target.read_text() != drawn:
            stale.append(target.name)
    if stale:
        sys.exit(f"not what their sources say: {', '.join(stale)}; run scripts/draw_waves.py")


if __name__ == "__main__":
    main()
