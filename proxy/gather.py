"""Buffers of a session into a store: only what may have changed is read, only what did is written.

A buffer that no command may have written to since it was last read is not read again. Of others
each chunk is read, and a piece whose mark is the one that is known keeps its name; the rest is
named, compressed and stored, on the store's threads, while the next chunk is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.known import CHUNK_BYTES, PIECE_BYTES, ChangeCount, Chunk, Known
from proxy.snapshot import Piece
from proxy.store import Batch
from proxy.store.blobs import Bytes, digest_of, mark_of, pack
from proxy.store.pipeline import ahead

Where = tuple[int, int, int]  # buffer, offset, size
Packed = tuple[bytes, Bytes]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Names of all pieces by buffer, and what it cost."""

    pieces: dict[int, list[str]]
    read_bytes: int  # from the device
    changed_bytes: int  # of pieces that were not known


def chunks_of(sizes: dict[int, int]) -> Iterator[Where]:
    for buffer, nbytes in sizes.items():
        for offset in range(0, nbytes, CHUNK_BYTES):
            yield buffer, offset, min(CHUNK_BYTES, nbytes - offset)


def is_fresh(known: Known, changes: ChangeCount, batch: Batch, buffer: int, offset: int) -> bool:
    """True if the chunk need not be read: it is as it was, and the store still has it."""
    chunk = known.chunk(buffer, offset)
    return (
        chunk is not None
        and changes.newest(buffer) <= chunk.count
        and all(map(batch.has, chunk.digests))
    )


def read_chunks(
    wanted: Iterable[Where], piece: Piece, known: Known, changes: ChangeCount, batch: Batch
) -> Iterator[tuple[int, int]]:
    """Read, name and put each; the bytes read and those that changed, chunk by chunk. The session
    stands still. Raises HalError, OSError."""

    def read() -> Iterator[tuple[Where, int, Bytes]]:
        for where in wanted:
            yield where, changes.count, piece(*where)

    def name(item: tuple[Where, int, Bytes]) -> tuple[Where, Chunk, list[Packed | None], int]:
        where, count, data = item
        return where, *_named(data, count, known.chunk(*where[:2]), batch)

    for where, chunk, packed, changed in ahead(batch.store.threads, name, read()):
        for digest, found, size in zip(chunk.digests, packed, _sizes(where[2]), strict=True):
            if found is not None:
                batch.add(digest, found, size)
        known.remember(*where[:2], chunk)
        yield where[2], changed


def gather(
    sizes: dict[int, int], piece: Piece, known: Known, changes: ChangeCount, batch: Batch
) -> Gathered:
    """All buffers, of a session that stands still. Raises HalError, OSError."""
    known.keep(set(sizes))
    wanted = [w for w in chunks_of(sizes) if not is_fresh(known, changes, batch, *w[:2])]
    read = changed = 0
    for nbytes, new in read_chunks(wanted, piece, known, changes, batch):
        read += nbytes
        changed += new
    return Gathered(names(sizes, known), read, changed)


def names(sizes: dict[int, int], known: Known) -> dict[int, list[str]]:
    """Of all pieces, of buffers of which all is known."""
    found: dict[int, list[str]] = {buffer: [] for buffer in sizes}
    for buffer, offset, _ in chunks_of(sizes):
        chunk = known.chunk(buffer, offset)
        assert chunk is not None, "read just now, or fresh"
        found[buffer] += chunk.digests
    return found


def _named(
    data: Bytes, count: int, before: Chunk | None, batch: Batch
) -> tuple[Chunk, list[Packed | None], int]:
    """On one of the store's threads: the chunk, and of each piece what must be added."""
    view = memoryview(data)
    digests, marks, packed = [], [], list[Packed | None]()
    changed = 0
    for index, size in enumerate(_sizes(view.nbytes)):
        piece = view[index * PIECE_BYTES : index * PIECE_BYTES + size]
        mark = mark_of(piece)
        found = None
        if before is not None and before.marks[index : index + 1] == (mark,):
            digest = before.digests[index]
        else:
            digest = digest_of(piece)
        if not batch.has(digest):
            found = pack(piece, digest)
        if before is None or before.digests[index] != digest:
            changed += size
        digests.append(digest)
        marks.append(mark)
        packed.append(found)
    return Chunk(count, tuple(digests), tuple(marks)), packed, changed


def _sizes(nbytes: int) -> list[int]:
    return [min(PIECE_BYTES, nbytes - at) for at in range(0, nbytes, PIECE_BYTES)]
