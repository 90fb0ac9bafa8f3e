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
from proxy.store.blobs import Bytes, Packed, digest_of, mark_of, pack
from proxy.store.pipeline import ahead

Where = tuple[int, int, int]  # buffer, offset, size
Found = tuple[Where, int, Bytes]  # and the count of changes at which it was read
Named = tuple[Where, Chunk, list[Packed], int]  # what must be added; the bytes that changed


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


def not_fresh(
    sizes: dict[int, int], known: Known, changes: ChangeCount, batch: Batch
) -> list[Where]:
    """What must be read."""
    return [w for w in chunks_of(sizes) if not is_fresh(known, changes, batch, *w[:2])]


def read(wanted: Iterable[Where], piece: Piece, changes: ChangeCount) -> Iterator[Found]:
    """From the device, of a session that stands still. Raises HalError."""
    for where in wanted:
        yield where, changes.count, piece(*where)


def put(found: Iterable[Found], known: Known, batch: Batch) -> tuple[int, int]:
    """Name and store it; the bytes that were read, and those that were not known. Raises what
    iterating raises, and OSError."""

    def name(item: Found) -> Named:
        where, count, data = item
        return where, *_named(data, count, known.chunk(*where[:2]), batch)

    def store(item: Named) -> Named:
        batch.add(item[2])
        return item

    read_bytes = changed_bytes = 0
    named = ahead(batch.store.threads, name, found)
    for where, chunk, _, changed in ahead(batch.store.writer, store, named):
        known.remember(*where[:2], chunk)
        read_bytes += where[2]
        changed_bytes += changed
    return read_bytes, changed_bytes


def gather(
    sizes: dict[int, int], piece: Piece, known: Known, changes: ChangeCount, batch: Batch
) -> Gathered:
    """All buffers, of a session that stands still. Raises HalError, OSError."""
    known.keep(set(sizes))
    wanted = not_fresh(sizes, known, changes, batch)
    read_bytes, changed_bytes = put(read(wanted, piece, changes), known, batch)
    return Gathered(names(sizes, known), read_bytes, changed_bytes)


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
) -> tuple[Chunk, list[Packed], int]:
    """On one of the store's threads: the chunk, and what must be added."""
    view = memoryview(data)
    digests, marks, packed = [], [], list[Packed]()
    changed = 0
    for index, size in enumerate(_sizes(view.nbytes)):
        piece = view[index * PIECE_BYTES : index * PIECE_BYTES + size]
        mark = mark_of(piece)
        if before is not None and before.marks[index : index + 1] == (mark,):
            digest = before.digests[index]
        else:
            digest = digest_of(piece)
        if not batch.has(digest):
            packed.append(pack(piece, digest, mark))
        if before is None or before.digests[index] != digest:
            changed += size
        digests.append(digest)
        marks.append(mark)
    return Chunk(count, tuple(digests), tuple(marks)), packed, changed


def _sizes(nbytes: int) -> list[int]:
    return [min(PIECE_BYTES, nbytes - at) for at in range(0, nbytes, PIECE_BYTES)]
