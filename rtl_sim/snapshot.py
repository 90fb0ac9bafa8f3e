"""The canonical snapshot of a fabric (docs/overlays.md): every build of an overlay reads it.

    header    magic "HALTSNAP", u16 format, u16 number of segments, u16 + u16 lengths of the two
              texts, u64 cycle, overlay digest, layout id, u32 CRC of all that
    segment   u16 length of the id, u16 0, u64 length, id, payload, u32 CRC of all that
    (little-endian throughout; nothing follows the last segment)

`unpack` checks what the bytes say of themselves; `verify` checks them against an overlay. Both
come before anything is changed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rtl_sim.errors import SnapshotError
from rtl_sim.statemap import StateMap

MAGIC = b"HALTSNAP"
FORMAT = 1
FLOPS = "flops"
SHELL = "shell"
MEMORY_PREFIX = "mem:"
MAX_SEGMENTS = 65535

_HEADER = struct.Struct("<8sHHHHQ")
_SEGMENT = struct.Struct("<HHQ")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a fabric at one cycle. Segments in file order: flops, memories by name, shell."""

    overlay: str
    layout_id: str
    cycle: int
    segments: Mapping[str, bytes]


def pack(snapshot: Snapshot) -> bytes:
    overlay, layout = snapshot.overlay.encode(), snapshot.layout_id.encode()
    head = _HEADER.pack(
        MAGIC, FORMAT, len(snapshot.segments), len(overlay), len(layout), snapshot.cycle
    )
    out = bytearray(_sealed(head + overlay + layout))
    for name, payload in snapshot.segments.items():
        encoded = name.encode()
        out += _sealed(_SEGMENT.pack(len(encoded), 0, len(payload)) + encoded + payload)
    return bytes(out)


def unpack(data: bytes) -> Snapshot:
    """The snapshot in `data`. Raises SnapshotError for anything truncated, altered or newer."""
    reader = _Reader(data)
    magic, version, count, overlay_bytes, layout_bytes, cycle = _HEADER.unpack(
        reader.take(_HEADER.size, "header")
    )
    if magic != MAGIC:
        raise SnapshotError(f"not a snapshot: it begins with {magic!r}, not {MAGIC!r}")
    if version != FORMAT:
        raise SnapshotError(f"snapshot of format {version}; this version reads {FORMAT}")
    overlay = reader.take(overlay_bytes, "overlay digest")
    layout_id = reader.take(layout_bytes, "layout id")
    reader.check_crc("header")
    segments: dict[str, bytes] = {}
    for index in range(count):
        name_bytes, _, length = _SEGMENT.unpack(reader.take(_SEGMENT.size, f"segment {index}"))
        name = reader.take(name_bytes, f"segment {index}'s id")
        payload = reader.take(length, f"segment {index}")
        reader.check_crc(f"segment {index}")
        segments[_text(name)] = payload
    if reader.left or len(segments) != count:
        raise SnapshotError(
            f"snapshot damaged: {len(segments)} of {count} segments, {reader.left} bytes after them"
        )
    return Snapshot(_text(overlay), _text(layout_id), cycle, segments)


def verify(
    snapshot: Snapshot, state_map: StateMap, overlays: Collection[str], shell_bytes: int
) -> None:
    """Raises SnapshotError unless `snapshot` fits the layout and one of the overlay digests."""
    if snapshot.overlay not in overlays:
        raise SnapshotError(
            f"snapshot of overlay {snapshot.overlay[:16]}; configured is "
            f"{' or '.join(digest[:16] for digest in overlays)}"
        )
    if snapshot.layout_id != state_map.layout_id:
        raise SnapshotError(
            f"snapshot of state layout {snapshot.layout_id[:16]}; the overlay has layout "
            f"{state_map.layout_id[:16]}"
        )
    expected = expected_sizes(state_map, shell_bytes)
    found = {name: len(payload) for name, payload in snapshot.segments.items()}
    if found != expected:
        wrong = sorted(
            name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
        )
        raise SnapshotError(
            f"snapshot's segments do not fit layout {state_map.layout_id[:16]}: "
            + ", ".join(
                f"{name} has {found.get(name)} bytes, not {expected.get(name)}"
                for name in wrong[:4]
            )
        )


def expected_sizes(state_map: StateMap, shell_bytes: int) -> dict[str, int]:
    """Segment ids and lengths that a snapshot of this layout has, in file order."""
    memories = {MEMORY_PREFIX + m.name: m.size_bytes for m in state_map.memories}
    return {FLOPS: state_map.flops_bytes, **memories, SHELL: shell_bytes}


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SnapshotError(f"snapshot damaged: {data[:32]!r} is no text") from error


def _sealed(data: bytes) -> bytes:
    return data + _CRC.pack(zlib.crc32(data))


class _Reader:
    """Takes bytes in order, remembering where the sealed part began."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._sealed_from = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int, what: str) -> bytes:
        if count > self.left:
            raise SnapshotError(
                f"snapshot truncated: {what} needs {count} bytes, {self.left} are left"
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def check_crc(self, what: str) -> None:
        found = zlib.crc32(self._data[self._sealed_from : self._at])
        (said,) = _CRC.unpack(self.take(_CRC.size, f"{what}'s CRC"))
        if found != said:
            raise SnapshotError(f"snapshot damaged: CRC of {what} is {found:#x}, not {said:#x}")
        self._sealed_from = self._at
