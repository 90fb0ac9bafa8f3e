"""A design's files under names that do not tell where they lie.

Yosys puts file names into the names it makes up. Each folder that the design names is therefore a
link in the working directory (`s0`, `s1`, ... in order of use) and every path begins with one; what
RTL names relative to itself (`include`, `$readmemh`) is found through the links as usual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rtl_sim.capture.errors import ElaborationError, Refusal
from rtl_sim.design import Design

_QUOTED: Final = re.compile(r"[ ;#()&|]")
_UNSPEAKABLE: Final = re.compile(r"[\"'`\\$\x00-\x1f]")  # means something even in quotes


@dataclass(frozen=True, slots=True)
class Staged:
    """`sources` and `include` as Yosys is told them; `places`: link -> the folder it stands for."""

    sources: tuple[str, ...]
    include: tuple[str, ...]
    places: dict[str, Path]
    work: Path

    @property
    def named(self) -> tuple[str, ...]:
        """`sources` as words of a script."""
        return tuple(f'"{name}"' if _QUOTED.search(name) else name for name in self.sources)

    def original(self, text: str) -> str:
        """A message with the files under their owner's names."""

        def rename(match: re.Match[str]) -> str:
            path = Path(match[0])
            if path.parts[0] in self.places:
                return str(self.places[path.parts[0]] / Path(*path.parts[1:]))
            found = (self.work / path).resolve()  # slang follows links
            for folder in self.places.values():
                if found.is_relative_to(folder.resolve()):
                    return str(folder / found.relative_to(folder.resolve()))
            return str(found)

        return re.sub(r"(?<![\w./])(?:s\d+|\.\.)/[^\s:;,()'\"`]+", rename, text)

    def renamed(self, refusal: Refusal) -> Refusal:
        return Refusal(refusal.kind, self.original(refusal.where), self.original(refusal.why))


def stage(design: Design, work: Path) -> Staged:
    """Link the design's folders into `work`. Raises ElaborationError for what is not there."""
    if not design.sources:
        raise ElaborationError("the design names no source files")
    for source in design.sources:
        if not source.is_file():
            raise ElaborationError(f"source file {source} does not exist")
    for folder in design.include:
        if not folder.is_dir():
            raise ElaborationError(f"include directory {folder} does not exist")
    links: dict[Path, str] = {}

    def link(folder: Path) -> str:
        if folder not in links:
            links[folder] = f"s{len(links)}"
            (work / links[folder]).symlink_to(folder.resolve(), target_is_directory=True)
        return links[folder]

    for source in design.sources:
        if _UNSPEAKABLE.search(source.name):
            why = "has a name that Yosys cannot be told: rename it"
            raise ElaborationError(f"source file {str(source)!r} {why}")
    sources = tuple(f"{link(source.parent)}/{source.name}" for source in design.sources)
    include = tuple(link(folder) for folder in design.include)
    return Staged(sources, include, {name: folder for folder, name in links.items()}, work)
