"""Whose each piece of an emitted top is: the path of the instance that its author wrote it in.

The emitters put a mark before each piece (`Owners.mark`), by the name of what it drives or of the
cell that it is. `modules.py` cuts the text there. Without paths there are no marks and no cuts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rtl_sim.capture import boxes
from rtl_sim.capture.netlist import Module

MARK: Final = "//@ "
_FLATTENED: Final = "$flatten"


class Owners:
    """`paths`: instances that become modules, each with all that it is in."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self.paths: Final = frozenset(paths)

    def of(self, name: str) -> str:
        """The innermost of the paths that `name` lies in; "" is the top."""
        if not self.paths:
            return ""
        parts = name.removeprefix(_FLATTENED).replace("\\", "").split(".")
        prefixes = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
        return next((path for path in prefixes if path in self.paths), "")

    def mark(self, path: str, driven: Sequence[str] = ()) -> Iterator[str]:
        """What follows belongs to `path` and drives, besides what it assigns, `driven`."""
        if self.paths:
            yield MARK + json.dumps([path, list(driven)])


NOBODY: Final = Owners()


def found(modules: Mapping[str, Module], top: str, names: Iterable[str]) -> Owners:
    """Of an instance each that holds state, `names` being those of all registers and memories."""
    every = Owners(_instances(modules, top))
    paths: set[str] = set()
    for name in names:
        path = every.of(name)
        while path and path not in paths:
            paths.add(path)
            path = every.of(path)
    return Owners(paths)


def _instances(modules: Mapping[str, Module], top: str) -> Iterator[str]:
    waiting = [("", top)]
    while waiting:
        path, kind = waiting.pop()
        for cell in modules[kind].cells:
            if cell.kind in modules and not boxes.is_box(modules[cell.kind]):
                below = f"{path}.{cell.name}" if path else cell.name
                yield below
                waiting.append((below, cell.kind))
