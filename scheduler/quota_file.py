"""Quotas from a TOML file:

half_life_s = 86400        # what was used so long ago counts half
[[quota]]
name = "lab"               # an organisation
gpu = 96                   # slices, by kind of device
[[quota]]
name = "lab/vision"        # a team; no more than its organisation has
gpu = 64
[[quota]]
name = "lab/vision/ann"    # a leaf's last word is a tenant
gpu = 16
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from scheduler.errors import Infeasible, TraceDamaged
from scheduler.policies.quotas import Quota, Quotas


def read_quotas(path: Path, kinds: Collection[str]) -> Quotas:
    """`kinds`: of devices that there are; a quota of another limits nobody, so it is refused.
    Raises TraceDamaged, which names what is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceDamaged(f"quotas {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # tomllib's own, and of numbers and depths
        raise TraceDamaged(f"quotas {path}: no TOML ({error})") from error
    rows, half_life_s = table.pop("quota", None), table.pop("half_life_s", 86_400)
    if not isinstance(rows, list) or not rows or table:
        unknown = f"; unknown: {', '.join(table)}" if table else ""
        raise TraceDamaged(f"quotas {path}: it has half_life_s and [[quota]]{unknown}")
    if type(half_life_s) is not int:
        raise TraceDamaged(f"quotas {path}: half_life_s {half_life_s!r} is no whole number")
    try:
        quotas = [_quota(path, number, row, kinds) for number, row in enumerate(rows)]
        return Quotas(quotas, half_life_s)
    except Infeasible as error:
        raise TraceDamaged(f"{path}: {error}") from error


def _quota(path: Path, number: int, row: Any, kinds: Collection[str]) -> Quota:
    where = f"quotas {path}, quota {number + 1}"
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise TraceDamaged(f"{where}: it has no name")
    slices = {kind: count for kind, count in row.items() if kind != "name"}
    for kind, count in slices.items():
        if kind not in kinds:
            raise TraceDamaged(f"{where}: {kind!r} is no kind of device here: {', '.join(kinds)}")
        if type(count) is not int or count < 0:
            raise TraceDamaged(f"{where}: {kind} is {count!r}, no number of slices")
    return Quota(row["name"], slices)
