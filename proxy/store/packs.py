"""A pack: many blobs in one immutable file, and an index of them at its end.

    blobs one after another, each with its header
    index: for each blob its name, u64 offset, u32 bytes in the pack, u32 size
    "HPACK001", u64 offset of the index, u64 count, XXH3-128 of the index

Small pieces are what keeps a checkpoint small; many in one file are what keeps it fast, for files
cost an fsync, or a request, each.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from proxy.store.blobs import HEADER, Bytes, Damaged, Packed, mark_of
from proxy.store.files import Files

PACK_BYTES = 256 << 20  # then the next one is begun: what is written anew when parts are garbage
FLUSH_BYTES = 16 << 20  # the disk begins to write so early, while more is computed
MAX_BLOBS = 256  # added at once: a system call takes 1024 parts

_ENTRY = struct.Struct("<32sQII")
_FOOTER = struct.Struct("<8sQQ16s")
_MAGIC = b"HPACK001"
_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class Entry(NamedTuple):
    """Where a blob is in a pack."""

    digest: str
    offset: int
    stored: int  # bytes, with its header
    size: int  # of what was stored


class PackWriter:
    """Fills a file, which is a pack once `finish` returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.size = 0
        self._flushed = 0
        self._file = path.open("xb", buffering=0)

    def add(self, blobs: Sequence[Packed]) -> None:
        """At most MAX_BLOBS. Raises OSError."""
        parts = [part for blob in blobs for part in (blob.head, blob.stored)]
        before = self.size
        for blob in blobs:
            nbytes = HEADER.size + memoryview(blob.stored).nbytes
            self.entries.append(Entry(blob.digest, self.size, nbytes, blob.size))
            self.size += nbytes
        written = os.writev(self._file.fileno(), parts)
        if written < self.size - before:  # a full disk takes a part first
            self._write(b"".join(parts)[written:])
        if self.size - self._flushed >= FLUSH_BYTES:
            self._flushed = self.size
            with suppress(AttributeError):  # another libc: slower
                everything = ctypes.c_int64(0), ctypes.c_int64(0)
                _libc.sync_file_range(self._file.fileno(), *everything, _SYNC_FILE_RANGE_WRITE)

    def finish(self) -> None:
        index = b"".join(
            _ENTRY.pack(bytes.fromhex(entry.digest), *entry[1:]) for entry in self.entries
        )
        self._write(index)
        self._write(_FOOTER.pack(_MAGIC, self.size, len(self.entries), mark_of(index)))
        self._file.close()

    def abandon(self) -> None:
        """Remove it, whatever it is by now."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, data: Bytes) -> None:
        view = memoryview(data).cast("B")
        while view.nbytes:
            view = view[os.write(self._file.fileno(), view) :]


def read_index(files: Files, name: str, size: int) -> Iterator[Entry]:
    """What is in the pack `name` of `size` bytes. Raises Damaged, OSError."""
    if size < _FOOTER.size:
        raise Damaged(f"pack {name} is cut off")
    footer = files.read(f"packs/{name}", size - _FOOTER.size, _FOOTER.size)
    if len(footer) != _FOOTER.size:
        raise Damaged(f"pack {name} is cut off")
    magic, at, count, mark = _FOOTER.unpack(footer)
    if magic != _MAGIC or at + count * _ENTRY.size + _FOOTER.size != size:
        raise Damaged(f"pack {name} is not whole")
    index = files.read(f"packs/{name}", at, count * _ENTRY.size)
    if mark_of(index) != mark:
        raise Damaged(f"the index of pack {name} is damaged")
    for digest, offset, stored, nbytes in _ENTRY.iter_unpack(index):
        yield Entry(digest.hex(), offset, stored, nbytes)
