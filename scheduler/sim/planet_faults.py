"""Faults of a planet: the words of `faults`, shared out to its clusters.

`node`, `device`, `straggler` and `store` are drawn for each cluster by itself. `region` is a region
of the planet: all its clusters are lost at the same moment, and come back together. `outage` and
`drain` name nodes as CLUSTER/NODE, with patterns: `gpu-0-*/*` is all of region 0 of a planet that
was made of words, `*/node0-3` a node in every cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from scheduler.errors import TraceDamaged
from scheduler.sim.breaking import Breakable, Breaking
from scheduler.sim.cluster import Cluster
from scheduler.sim.faults import Faults, Planned
from scheduler.sim.planets import Planet


@dataclass(frozen=True, slots=True)
class SiteFaults:
    """Of one cluster of a planet. `region_seed` is that of all clusters of its region."""

    faults: Faults
    seed: str
    region_seed: str

    def begin(self, cluster: Cluster, executor: Breakable) -> None:
        """They go on for as long as somebody asks what happens next. Raises TraceDamaged: nodes
        that do not exist."""
        Breaking(self.faults, cluster, executor, self.seed, lambda: True, self.region_seed)


def shared_out(faults: Faults, planet: Planet, seed: int) -> list[SiteFaults]:
    """Of each site. Raises TraceDamaged: clusters that do not exist, a number of regions."""
    if faults.regions != 1:
        raise TraceDamaged("faults of a planet: it has its own regions, leave out region:count")
    if faults.windows:
        raise TraceDamaged("faults of a planet: it has no windows of maintenance yet, only drains")
    for failing in (faults.node, faults.device, faults.region, faults.straggler, faults.store):
        if failing is not None and failing.mtbf_s < 60:
            raise TraceDamaged(
                f"faults of a planet: mtbf {failing.mtbf_s:g}s is below 60s, and no job would end"
            )
    names = [site.name for site in planet.sites]
    planned: dict[str, list[Planned]] = {name: [] for name in names}
    for each in faults.planned:
        pattern, slash, nodes = each.nodes.partition("/")
        found = [name for name in names if slash and fnmatchcase(name, pattern)]
        if not found:
            raise TraceDamaged(
                f"faults of a planet: {each.nodes!r} is no CLUSTER/NODE; clusters are "
                f"{names[0]!r} to {names[-1]!r}"
            )
        for name in found:
            planned[name].append(replace(each, nodes=nodes))
    return [
        SiteFaults(
            replace(faults, planned=tuple(planned[site.name])),
            f"{seed} {site.name}",
            f"{seed} {planet.regions[site.region]}",
        )
        for site in planet.sites
    ]
