"""Clusters to simulate: nodes of devices, in a word or in a file.

A word: `16x4xV100,10x2xK80`, so many nodes of so many devices of a type. A TOML file:

    kind = "gpu"
    [[nodes]]
    name = "rack-a"        # its nodes are rack-a-0, rack-a-1, ...
    count = 16
    devices = 4
    type = "V100"

Or openb's list of nodes (.csv), with the CPU and memory of each. A node is one device of the
machine's, with a slice for each accelerator in it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler.core.values import MAX_COUNT, MAX_NAME
from scheduler.errors import TraceDamaged
from scheduler.policies.packing import Node
from scheduler.traces.readers import openb_nodes

MAX_NODES = 1 << 21
MAX_DEVICES = 1 << 24  # of all nodes: more than any cluster has, and what memory holds
_WORD = re.compile(r"(\d{1,9})x(\d{1,9})x([A-Za-z0-9_.-]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Nodes:
    name: str
    count: int
    devices: int
    type: str
    cpu_milli: int = 0
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    nodes: tuple[Nodes, ...]
    kind: str = "gpu"

    @property
    def devices(self) -> int:
        return sum(group.count * group.devices for group in self.nodes)

    def each(self) -> list[tuple[str, int, str]]:
        """Name, devices and type of every node."""
        return [
            (f"{group.name}-{index}", group.devices, group.type)
            for group in self.nodes
            for index in range(group.count)
        ]

    def hosts(self) -> dict[str, tuple[int, int]]:
        """CPU in thousandths and memory in MiB of every node."""
        return {
            f"{group.name}-{index}": (group.cpu_milli, group.memory_mib)
            for group in self.nodes
            for index in range(group.count)
        }


def of_nodes(name: str, nodes: Iterable[Node]) -> Cluster:
    """Those that have accelerators."""
    return Cluster(
        name,
        tuple(
            Nodes(node.name, 1, len(node.free), node.model, node.cpu_milli, node.memory_mib)
            for node in nodes
            if node.free
        ),
    )


def read_cluster(spec: str) -> Cluster:
    """A cluster by word or by a file's path. Raises TraceDamaged, which names what is wrong."""
    words = [word for word in spec.split(",") if word]
    found = [_WORD.fullmatch(word.strip()) for word in words]
    if words and all(found):
        groups = [
            Nodes(f"node{index}", int(m[1]), int(m[2]), m[3])
            for index, m in enumerate(m for m in found if m)
        ]
        return _checked(spec, Cluster(spec, tuple(groups)))
    path = Path(spec)
    if path.suffix == ".csv":
        return _checked(spec, of_nodes(path.stem, openb_nodes(path)))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceDamaged(
            f"cluster {spec!r} is neither nodes x devices x type (16x4xV100,...) nor a file that "
            f"can be read: {error.strerror}"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TraceDamaged(f"cluster {spec}: no TOML ({error})") from error
    unknown = sorted(set(table) - {"kind", "nodes"})
    if unknown:
        raise TraceDamaged(f"cluster {spec}: unknown {', '.join(unknown)}; known: kind, nodes")
    rows = table.get("nodes")
    if not isinstance(rows, list) or not rows:
        raise TraceDamaged(f"cluster {spec}: no [[nodes]]")
    groups = [_group(spec, index, row) for index, row in enumerate(rows)]
    kind = table.get("kind", "gpu")
    if not isinstance(kind, str) or not kind:
        raise TraceDamaged(f"cluster {spec}: kind {kind!r} is no word")
    return _checked(spec, Cluster(path.stem, tuple(groups), kind))


def _group(spec: str, index: int, row: Any) -> Nodes:
    where = f"cluster {spec}, nodes {index + 1}"
    if not isinstance(row, dict):
        raise TraceDamaged(f"{where}: no table")
    wanted = {"name": str, "count": int, "devices": int, "type": str}
    unknown = sorted(set(row) - set(wanted))
    if unknown:
        raise TraceDamaged(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(wanted)}")
    for key, kind in wanted.items():
        if type(row.get(key)) is not kind:
            raise TraceDamaged(f"{where}: {key} is {row.get(key)!r}, no {kind.__name__}")
    return Nodes(row["name"], row["count"], row["devices"], row["type"])


def _checked(spec: str, cluster: Cluster) -> Cluster:
    for group in cluster.nodes:
        if not (0 < group.count <= MAX_NODES and 0 < group.devices <= MAX_COUNT):
            raise TraceDamaged(
                f"cluster {spec}: {group.count} nodes of {group.devices} {group.type!r} are not 1 "
                f"to {MAX_NODES} nodes of 1 to {MAX_COUNT} devices"
            )
        for word in (group.name, group.type, cluster.kind):
            if not (0 < len(word) <= MAX_NAME and word.isprintable()):
                raise TraceDamaged(
                    f"cluster {spec}: {word!r} is no name of 1 to {MAX_NAME} letters"
                )
    if cluster.devices > MAX_DEVICES:
        raise TraceDamaged(f"cluster {spec}: {cluster.devices} devices; {MAX_DEVICES} at most")
    names = [group.name for group in cluster.nodes]
    if len(set(names)) != len(names) or sum(g.count for g in cluster.nodes) > MAX_NODES:
        raise TraceDamaged(f"cluster {spec}: a name twice, or more than {MAX_NODES} nodes")
    return cluster
