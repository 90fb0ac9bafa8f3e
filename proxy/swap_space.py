"""Where the bytes of swapped out buffers are: in this process, or in a folder.

Buffers come in pieces, and equal pieces are there once: replicas of a model cost what one does.
Nothing is told of them on the device; who comes back reads exactly what was put.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from proxy.known import PIECE_BYTES
from proxy.store.blobs import mark_of

Name = tuple[bytes, int]  # a piece's mark; which of those that have it, for bytes decide


class SpaceFull(MemoryError):
    """More than the space may hold."""


@dataclass(slots=True)
class _Piece:
    data: bytes | Path
    nbytes: int
    users: int = 1

    def read(self) -> bytes:
        return self.data.read_bytes() if isinstance(self.data, Path) else self.data


class SwapSpace:
    """Any thread may use it."""

    def __init__(self, limit_bytes: int, folder: Path | None = None) -> None:
        """`folder`: what is in it of a server that died is removed. Raises OSError."""
        self._limit_bytes = limit_bytes
        self._folder = folder
        self._pieces: dict[Name, _Piece] = {}
        self._lock = threading.Lock()
        self.used_bytes = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob("*.piece"):
                old.unlink(missing_ok=True)

    def put(self, data: memoryview) -> Name:
        """Raises SpaceFull, MemoryError, OSError."""
        mark, number = mark_of(data), 0
        with self._lock:
            while (there := self._pieces.get((mark, number))) is not None:
                if there.nbytes == data.nbytes and there.read() == data:
                    there.users += 1
                    return mark, number
                number += 1
            if self.used_bytes + data.nbytes > self._limit_bytes:
                raise SpaceFull(f"{self.used_bytes} of {self._limit_bytes} bytes are in use")
            self._pieces[mark, number] = _Piece(self._kept(data, mark, number), data.nbytes)
            self.used_bytes += data.nbytes
        return mark, number

    def get(self, name: Name) -> bytes:
        """Raises OSError."""
        with self._lock:
            piece = self._pieces[name]
        return piece.read()

    def drop(self, name: Name) -> None:
        """By one of those who put it."""
        with self._lock:
            piece = self._pieces[name]
            piece.users -= 1
            if piece.users:
                return
            del self._pieces[name]
            self.used_bytes -= piece.nbytes
        if isinstance(piece.data, Path):
            piece.data.unlink(missing_ok=True)

    def _kept(self, data: memoryview, mark: bytes, number: int) -> bytes | Path:
        if self._folder is None:
            return bytes(data)
        path = self._folder / f"{mark.hex()}-{number}.piece"
        try:
            path.write_bytes(data)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path


class SwappedOut:
    """A buffer's bytes in a space."""

    def __init__(self, space: SwapSpace) -> None:
        self._space = space
        self._names: list[Name] = []
        self.nbytes = 0

    def append(self, data: memoryview) -> None:
        """The next bytes; all but the last are whole pieces. Raises as `SwapSpace.put`."""
        for at in range(0, data.nbytes, PIECE_BYTES):
            self._names.append(self._space.put(data[at : at + PIECE_BYTES]))
        self.nbytes += data.nbytes

    def read(self, offset: int, nbytes: int) -> memoryview:
        """Raises OSError."""
        first, skip = divmod(offset, PIECE_BYTES)
        last = -(-(offset + nbytes) // PIECE_BYTES)
        found = b"".join(self._space.get(name) for name in self._names[first:last])
        return memoryview(found)[skip : skip + nbytes]

    def drop(self) -> None:
        names, self._names = self._names, []
        for name in names:
            self._space.drop(name)
