"""Unpacked arrays among the ports of a Verilated top: one port each, of all their bits.

Bits stand as in a packed array of the same dimensions, the leftmost element highest, which is how
capture's readers make vectors of them. Verilator's header says of an array only how large it is, so
its direction and the way its dimensions count come from what Verilator knows of the design.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

_MEMBER: Final = re.compile(
    r"((?:VlUnpacked<)+)\w+(?:<\d+>)?/\*(\d+):(\d+)\*/((?:, \d+>)+) &(\w+);"
)
_RANGE: Final = re.compile(r"\[(-?\d+):(-?\d+)\]")
_DIRECTIONS: Final[Mapping[str, Literal["in", "out"]]] = {"INPUT": "in", "OUTPUT": "out"}


@dataclass(frozen=True, slots=True)
class Array:
    member: str
    width: int  # bits of an element
    sizes: tuple[int, ...]  # outermost first
    direction: Literal["in", "out"] = "in"
    rising: tuple[bool, ...] = ()  # which dimensions count up from the left

    @property
    def bits(self) -> int:
        count = self.width
        for size in self.sizes:
            count *= size
        return count

    def elements(self) -> Iterator[tuple[str, int]]:
        """(element of the member, its lowest bit): C++ counts from each dimension's least index."""
        orders = [
            range(size) if not rising else range(size - 1, -1, -1)
            for size, rising in zip(self.sizes, self.rising, strict=True)
        ]
        for number, places in enumerate(itertools.product(*orders)):
            yield self.member + "".join(f"[{place}]" for place in places), number * self.width


def member(line: str) -> Array | None:
    """What a line of the generated header declares, if that is an array of bits."""
    match = _MEMBER.fullmatch(line)
    if match is None:
        return None
    sizes = tuple(int(size) for size in re.findall(r"\d+", match[4]))[::-1]
    return Array(match[5], int(match[2]) - int(match[3]) + 1, sizes)


def completed(array: Array, tree: Path, top: str) -> Array | None:
    """`array` with what Verilator's JSON `tree` says of it; None: it is no input or output."""
    nodes = list(_nodes(json.loads(tree.read_text(encoding="utf-8"))))
    types = {node["addr"]: node for node in nodes if "DTYPE" in node.get("type", "")}
    for module in nodes:
        if module.get("type") != "MODULE" or module.get("name") != top:
            continue
        for node in _nodes(module):
            if node.get("type") == "VAR" and node.get("name") == array.member:
                direction = _DIRECTIONS.get(node.get("direction", ""))
                rising = tuple(_dimensions(types, node["dtypep"]))
                if direction is None or len(rising) != len(array.sizes):
                    return None
                return Array(array.member, array.width, array.sizes, direction, rising)
    return None


def _dimensions(types: Mapping[str, Any], address: str) -> Iterator[bool]:
    while address in types:
        node = types[address]
        if node["type"] == "UNPACKARRAYDTYPE":
            left, right = map(int, _RANGE.fullmatch(node["declRange"]).groups())  # type: ignore[union-attr]
            yield left < right
        elif node["type"] != "REFDTYPE":
            return
        address = node.get("refDTypep", "")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
