"""A point that several sessions reach together, perhaps on several servers: a folder of names.

Whoever stores the sessions of a gang makes a folder, and has each stored with it. A server whose
session stands still puts the session's name there, and stores nothing before all names are there:
so what is stored of the gang is of one moment, at which no rank did anything. Sessions that go on
afterwards meet two more times: nobody stands still before all have read ahead what they can, and
nobody goes on before all are cut, or what one does next would be in another's checkpoint. Removing
the folder calls it off: sessions that wait go on. Nobody waits for longer than storing may take.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hal.errors import StateError


class Step(StrEnum):
    READY = "ready"  # to stand still: what could be read ahead was
    STILL = "still"
    CUT = "cut"  # its checkpoint is of this moment, whenever it is complete


@dataclass(frozen=True, slots=True)
class Barrier:
    """`parties`: sessions that it waits for."""

    folder: Path
    parties: int

    @classmethod
    @contextmanager
    def under(cls, root: Path, parties: int) -> Iterator[Barrier]:
        """A new one, called off at the end of the block; all that were told of it have then
        answered, or will go on."""
        above = root / "barriers"
        above.mkdir(mode=0o700, parents=True, exist_ok=True)
        barrier = cls(Path(tempfile.mkdtemp(dir=above)), parties)
        try:
            yield barrier
        finally:
            barrier.call_off()

    @staticmethod
    def call_off_all(root: Path) -> None:
        """Those that are left of somebody who died."""
        shutil.rmtree(root / "barriers", ignore_errors=True)

    def call_off(self) -> None:
        """Idempotent."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def reached(self, session: str, step: Step = Step.STILL) -> bool:
        """The session has got there: have all? Raises StateError when it was called off."""
        try:
            (self.folder / f"{session}~{step}").touch()
            return sum(1 for _ in self.folder.glob(f"*~{step}")) >= self.parties
        except FileNotFoundError:
            raise StateError(
                f"session {session!r} stood still, but another of the {self.parties} to be stored "
                "with it did not: none is, it goes on"
            ) from None
