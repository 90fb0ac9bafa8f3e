"""Planets to simulate, in a word or in a file.

A word: `4x2x1600x8xV100`, so many regions of so many clusters of so many nodes of so many devices
of a type; `,4x1x16x4xU250:fpga` beside it gives each region a cluster of FPGAs as well. A TOML
file:

    [[region]]
    name = "north"
    zone_h = 8             # its day begins so many hours earlier
    [[cluster]]
    name = "n1"
    region = "north"
    cluster = "1600x8xV100"   # or the file of a cluster
    kind = "gpu"
    speed = 1.0            # of its part, relative to others of its kind
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scheduler.errors import TraceDamaged
from scheduler.sim.cluster import Cluster, read_cluster
from scheduler.traces.packed import KINDS

MAX_REGIONS, MAX_CLUSTERS, MAX_DEVICES = 255, 4096, 1 << 26
_WORD = re.compile(r"(\d{1,9})x(\d{1,9})x(\d{1,9}x\d{1,9}x[A-Za-z0-9_.-]+)(?::(\w+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster of the planet; `region` by its place."""

    name: str
    region: int
    cluster: Cluster
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Planet:
    regions: tuple[str, ...]
    zones_h: tuple[float, ...]
    sites: tuple[Site, ...]

    def devices(self, kind: str = "") -> int:
        return sum(s.cluster.devices for s in self.sites if kind in ("", s.cluster.kind))

    def largest(self, kind: str) -> int:
        """The largest gang that every region that has the kind can hold."""
        found: dict[int, int] = {}
        for site in self.sites:
            if site.cluster.kind == kind:
                found[site.region] = max(found.get(site.region, 0), site.cluster.devices)
        return min(found.values(), default=0)


def read_planet(spec: str) -> Planet:
    """Raises TraceDamaged, which names what is wrong."""
    words = [word.strip() for word in spec.split(",") if word.strip()]
    found = [_WORD.fullmatch(word) for word in words]
    if words and all(found):
        return _of_words(spec, [match for match in found if match])
    path = Path(spec)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceDamaged(
            f"planet {spec!r} is neither regions x clusters x nodes x devices x type "
            f"(4x2x1600x8xV100,...) nor a file that can be read: {error.strerror}"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TraceDamaged(f"planet {spec}: no TOML ({error})") from error
    return _of_table(spec, table)


def _of_words(spec: str, found: list[re.Match[str]]) -> Planet:
    regions = int(found[0][1])
    _check_sizes(spec, regions, regions * sum(int(match[2]) for match in found))
    sites: list[Site] = []
    for match in found:
        kind = match[4] or "gpu"
        if int(match[1]) != regions or kind not in KINDS or not int(match[2]):
            raise TraceDamaged(
                f"planet {spec}: all words name as many regions, at least one cluster, and kinds "
                f"of {', '.join(KINDS)}"
            )
        cluster = replace(read_cluster(match[3]), kind=kind)
        sites += [
            Site(f"{kind}-{region}-{match[3]}-{number}", region, cluster)
            for region in range(regions)
            for number in range(int(match[2]))
        ]
    zones = tuple(24.0 * region / max(1, regions) for region in range(regions))
    return _checked(spec, Planet(tuple(f"region{n}" for n in range(regions)), zones, tuple(sites)))


def _of_table(spec: str, table: dict[str, Any]) -> Planet:
    rows = {key: table.get(key) for key in ("region", "cluster")}
    unknown = sorted(set(table) - set(rows))
    for key, found in rows.items():
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise TraceDamaged(f"planet {spec}: no [[{key}]]")
    if unknown:
        raise TraceDamaged(f"planet {spec}: unknown {', '.join(unknown)}")
    regions = [_row(spec, "region", n, row) for n, row in enumerate(rows["region"] or ())]
    names = [str(row["name"]) for row in regions]
    sites = []
    for number, given in enumerate(rows["cluster"] or ()):
        row = _row(spec, "cluster", number, given)
        if row["region"] not in names or row["kind"] not in KINDS or not row["speed"] > 0:
            raise TraceDamaged(
                f"planet {spec}, cluster {number + 1}: it is in one of {', '.join(names)}, of "
                f"{', '.join(KINDS)}, at a speed above 0"
            )
        cluster = replace(read_cluster(row["cluster"]), kind=row["kind"])
        site = Site(row["name"], names.index(row["region"]), cluster, float(row["speed"]))
        sites.append(site)
    zones = tuple(float(row["zone_h"]) for row in regions)
    return _checked(spec, Planet(tuple(names), zones, tuple(sites)))


_DEFAULTS: dict[str, dict[str, Any]] = {
    "region": {"name": None, "zone_h": 0.0},
    "cluster": {"name": None, "region": None, "cluster": None, "kind": "gpu", "speed": 1.0},
}


def _row(spec: str, what: str, number: int, row: dict[str, Any]) -> dict[str, Any]:
    where, defaults = f"planet {spec}, {what} {number + 1}", _DEFAULTS[what]
    unknown = sorted(set(row) - set(defaults))
    if unknown:
        raise TraceDamaged(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(defaults)}")
    found = {**defaults, **row}
    for key, value in found.items():
        wanted = int | float if key in ("zone_h", "speed") else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TraceDamaged(f"{where}: {key} is {value!r}")
    return found


def _check_sizes(spec: str, regions: int, clusters: int) -> None:
    if not 0 < regions <= MAX_REGIONS or not 0 < clusters <= MAX_CLUSTERS:
        raise TraceDamaged(
            f"planet {spec}: 1 to {MAX_REGIONS} regions and 1 to {MAX_CLUSTERS} clusters"
        )


def _checked(spec: str, planet: Planet) -> Planet:
    names = [site.name for site in planet.sites]
    _check_sizes(spec, len(planet.regions), len(names))
    if planet.devices() > MAX_DEVICES:
        raise TraceDamaged(f"planet {spec}: {planet.devices()} devices; {MAX_DEVICES} at most")
    if len(set(planet.regions)) != len(planet.regions) or len(set(names)) != len(names):
        raise TraceDamaged(f"planet {spec}: a name twice")
    if {site.region for site in planet.sites} != set(range(len(planet.regions))):
        raise TraceDamaged(f"planet {spec}: a region without a cluster")
    return planet
