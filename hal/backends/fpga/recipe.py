"""Recipes: how the overlays that ship with haltere are made, one `overlay.json` beside their RTL.

    recipe_version  1
    top, sources    top module; files in levels (a list of lists), packages first
    clock_mhz, lanes
    kernels, counters   as in a manifest (bitstreams/manifest.py)
    vectors         "module:function"; function(name, params) returns known answers, each a mapping
                    with name, kernel, args (("in", bytes), ("out", size) or ("scalar", bytes)) and
                    expected (the bytes of each "out")
    overlays        name -> {"params": {...}}: one bundle each

To add an overlay, add such a folder; no code knows their names.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rtl_sim
from hal.errors import OverlayRejected

RECIPE_VERSION = 1
RECIPE_NAME = "overlay.json"
RTL_ROOT = Path(rtl_sim.__file__).parent / "rtl"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one overlay is made."""

    name: str
    folder: Path
    content: bytes  # of overlay.json
    top: str
    sources: tuple[Path, ...]
    params: Mapping[str, int]
    clock_mhz: float
    lanes: int
    kernels: Sequence[Mapping[str, Any]]
    counters: Sequence[Mapping[str, Any]]
    vectors_hook: str

    def vectors(self) -> Sequence[Mapping[str, Any]]:
        """Known answers, computed by the overlay's golden model."""
        module, _, function = self.vectors_hook.partition(":")
        made: Sequence[Mapping[str, Any]] = getattr(importlib.import_module(module), function)(
            self.name, self.params
        )
        return made


def recipes(root: Path = RTL_ROOT) -> dict[str, Recipe]:
    """Every recipe below `root`, by overlay name."""
    found: dict[str, Recipe] = {}
    for path in sorted(root.glob(f"*/{RECIPE_NAME}")):
        for recipe in _parse(path):
            if recipe.name in found:
                raise OverlayRejected(
                    f"overlay {recipe.name!r} has two recipes: {path.parent} and "
                    f"{found[recipe.name].folder}"
                )
            found[recipe.name] = recipe
    return found


def _parse(path: Path) -> list[Recipe]:
    content = path.read_bytes()
    try:
        raw = json.loads(content)
        if raw["recipe_version"] != RECIPE_VERSION:
            raise OverlayRejected(f"{path}: recipe version {raw['recipe_version']!r}")
        return [
            Recipe(
                name=name,
                folder=path.parent,
                content=content,
                top=raw["top"],
                sources=tuple(path.parent / file for level in raw["sources"] for file in level),
                params=dict(variant["params"]),
                clock_mhz=raw["clock_mhz"],
                lanes=raw["lanes"],
                kernels=raw["kernels"],
                counters=raw["counters"],
                vectors_hook=raw["vectors"],
            )
            for name, variant in raw["overlays"].items()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise OverlayRejected(f"{path} cannot be read: {error!r}") from error
