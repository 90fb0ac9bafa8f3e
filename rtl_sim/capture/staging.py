"""A design's files under names that do not tell where they lie.

Yosys puts file names into the names it makes up. Each folder that the design names is therefore a
link in the working directory (`s0`, `s1`, ... in order of use) and every path begins with one; what
RTL names relative to itself (`include`, `$readmemh`) is found through the links as usual.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rtl_sim.capture.errors import ElaborationError, Refusal
from rtl_sim.design import Design

OVERLAY: Final = "overlay"  # below it, the folders of files that capture reads another text of
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
            if found.is_relative_to(self.work.resolve() / OVERLAY):
                found = Path("/", found.relative_to(self.work.resolve() / OVERLAY))
            for folder in self.places.values():
                if found.is_relative_to(folder.resolve()):
                    return str(folder / found.relative_to(folder.resolve()))
            return str(found)

        return re.sub(r"(?<![\w./])(?:s\d+|overlay|\.\.)/[^\s:;,()'\"`]+", rename, text)

    def read(self, path: str) -> str:
        return (self.work / path).read_text(encoding="utf-8", errors="surrogateescape")

    def overlay(self, path: str, text: str) -> bool:
        """Let tools find `text` in the file that they call `path`, by whatever way they come to it.

        Each folder above it, and above the design's, becomes one in the working directory, whose
        other entries are links. False: they find the file itself still (by an absolute name).
        """
        root = self.work / OVERLAY
        file = Path(self.original(path)).resolve()
        homes = {link: place.resolve() for link, place in self.places.items()}
        for folder in (file.parent, *homes.values()):
            for above in reversed((folder, *folder.parents)):
                _open(above, root / above.relative_to(above.anchor))
        copy = root / file.relative_to(file.anchor)
        copy.unlink()
        copy.write_text(text, encoding="utf-8", errors="surrogateescape")
        for link, home in homes.items():
            (self.work / link).unlink()
            (self.work / link).symlink_to(root / home.relative_to(home.anchor))
        return self.read(path) == text

    def renamed(self, refusal: Refusal) -> Refusal:
        return Refusal(refusal.kind, self.original(refusal.where), self.original(refusal.why))


def _open(folder: Path, copy: Path) -> None:
    """Make `copy` a folder of links to what `folder` holds, if it is none yet."""
    if copy.is_symlink():
        copy.unlink()
    if copy.is_dir():
        return
    copy.mkdir()
    with contextlib.suppress(PermissionError):
        for entry in folder.iterdir():
            (copy / entry.name).symlink_to(entry)


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
