"""Times on the command line: a number and a unit."""

from __future__ import annotations

import re
from math import inf, isfinite

import typer

UNITS_S = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """Raises BadParameter."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([a-z]+)", text)
    asked_s = float(found[1]) * UNITS_S.get(found[2], inf) if found else inf
    if not isfinite(asked_s):
        raise typer.BadParameter(
            f"{text!r} is no time with a unit of {', '.join(UNITS_S)}, as 90s or 10m"
        )
    return asked_s
