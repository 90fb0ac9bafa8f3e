"""One blob as it is stored: a header that says how, and its bytes, raw or compressed.

    "HBL3", u32 how (0 raw, 1 zstd), u32 stored size, u32 size, XXH3-128 and BLAKE3 of the bytes

The BLAKE3 is the blob's name, which whoever stores it computes once; the XXH3, at memory's speed,
is what every read checks and what tells that a piece of a buffer has not changed. BLAKE3 because
storing goes at its speed: 2.4 times SHA-256's where this was measured. A blob that begins "HBLB" is
named by SHA-256, as all once were: it is read as ever. xxhash, zstandard and blake3 are used here
only.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple

import xxhash
import zstandard
from blake3 import blake3

MAGIC = b"HBL3"
HEADER = struct.Struct("<4sIII16s32s")
RAW, ZSTD = 0, 1
MAX_BYTES = 2**32 - 1  # of one blob
LEVEL = 1  # keeps up with a disk; higher ones do not
SAMPLE_BYTES = 4 << 10  # tried first: floats and pictures should not cost the time of the whole
WORTH = 0.9  # stored raw unless compressing leaves less than this

Bytes = bytes | bytearray | memoryview
_own = threading.local()


class Damaged(ValueError):
    """Bytes that are not what was stored."""


class Packed(NamedTuple):
    """A blob as it is to be stored."""

    digest: str
    head: bytes
    stored: Bytes
    size: int  # of its bytes


def digest_of(data: Bytes) -> str:
    """The name of a blob with these bytes."""
    return blake3(data).hexdigest()


def _digest_once(data: Bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_NAMED_BY: dict[bytes, Callable[[Bytes], str]] = {MAGIC: digest_of, b"HBLB": _digest_once}


def mark_of(data: Bytes) -> bytes:
    """Differs if the bytes do, but for what is made to deceive: never a name."""
    return xxhash.xxh3_128_digest(data)


def pack(data: Bytes, digest: str, mark: bytes) -> Packed:
    """`data`, whose digest and mark are known, to be stored."""
    view = memoryview(data).cast("B")
    if view.nbytes > MAX_BYTES:
        raise ValueError(f"a blob of {view.nbytes} bytes: at most {MAX_BYTES}")
    how, stored = RAW, data
    if view.nbytes and _is_compressible(view):
        found = _compress(view)
        if len(found) < WORTH * view.nbytes:
            how, stored = ZSTD, found
    size = memoryview(stored).nbytes
    head = HEADER.pack(MAGIC, how, size, view.nbytes, mark, bytes.fromhex(digest))
    return Packed(digest, head, stored, view.nbytes)


def _is_compressible(view: memoryview) -> bool:
    if view.nbytes <= 2 * SAMPLE_BYTES:
        return True
    start = (view.nbytes - SAMPLE_BYTES) // 2
    sample = view[start : start + SAMPLE_BYTES]
    return len(_compress(sample)) < WORTH * SAMPLE_BYTES


def _compress(data: Bytes) -> bytes:
    """Making a compressor costs more than a sample does: each thread keeps one."""
    if not hasattr(_own, "compressor"):
        _own.compressor = zstandard.ZstdCompressor(level=LEVEL)
    found: bytes = _own.compressor.compress(data)
    return found


def unpack(raw: Bytes, digest: str, deep: bool = False) -> memoryview:
    """The bytes of the blob named `digest`. `deep`: compute its name, too. Raises Damaged."""
    view = memoryview(raw)
    if view.nbytes < HEADER.size:
        raise Damaged(f"{view.nbytes} bytes are no blob")
    magic, how, stored, size, mark, name = HEADER.unpack_from(view)
    body = view[HEADER.size :]
    if magic not in _NAMED_BY or how not in (RAW, ZSTD) or stored != body.nbytes:
        raise Damaged("no blob begins there")
    if name.hex() != digest:
        raise Damaged(f"blob {name.hex()} is in its place")
    if how == ZSTD:
        body = memoryview(_decompressed(body, size))
    whole = body.nbytes == size and mark_of(body) == mark
    if not whole or (deep and _NAMED_BY[magic](body) != digest):
        raise Damaged("its bytes are not those that were stored")
    return body


def is_raw(head: Bytes, body: memoryview, digest: str) -> bool:
    """True if these are the header and the bytes of the blob named `digest`, stored as they are."""
    magic, how, stored, size, mark, name = HEADER.unpack(head)
    said = (magic in _NAMED_BY, how, stored, size, name.hex())
    return said == (True, RAW, body.nbytes, body.nbytes, digest) and mark_of(body) == mark


def _decompressed(body: memoryview, size: int) -> bytes:
    try:
        if zstandard.frame_content_size(body) != size:  # nothing is made so large as it says
            raise Damaged("its sizes do not agree")
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as error:
        raise Damaged(f"it cannot be decompressed: {error}") from error
