"""A state image, as the snapshot controller moves it (docs/shell.md), and the canonical snapshot.

An image is in the order of the hardware and belongs to one geometry; a snapshot is in the order of
names, and other builds of the overlay read it. Both hold the same bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from rtl_sim.errors import SnapshotError
from rtl_sim.shell.geometry import BEAT_BYTES, HEADER_BEATS, Geometry, Kind
from rtl_sim.snapshot import FLOPS, MEMORY_PREFIX, SHELL, Snapshot
from rtl_sim.statemap import StateMap

MAGIC = b"HALTIMG1"
_HEADER = struct.Struct("<8sQQQ")


def to_snapshot(image: bytes, geometry: Geometry, overlay: str) -> Snapshot:
    """The overlay's registers and memories by name; the boundary's in the segment `shell`.

    Raises SnapshotError for an image of another geometry, or damaged.
    """
    cycle, parts = _taken_apart(image, geometry)
    found = [_segments(geometry, part, parts) for part in range(2)]
    return Snapshot(
        overlay,
        geometry.overlay.layout_id,
        cycle,
        {**found[0], SHELL: _packed(geometry.boundary, found[1])},
    )


def from_snapshot(snapshot: Snapshot, geometry: Geometry) -> bytes:
    """The image that puts `snapshot` into a fabric of this geometry."""
    if snapshot.layout_id != geometry.overlay.layout_id:
        raise SnapshotError(
            f"snapshot of state layout {snapshot.layout_id[:16]}; the overlay has layout "
            f"{geometry.overlay.layout_id[:16]}"
        )
    boundary = _unpacked(geometry.boundary, snapshot.segments[SHELL])
    contents = (snapshot.segments, boundary)
    scattered = [
        state.scatter(segments[FLOPS])
        for state, segments in zip(geometry.parts, contents, strict=True)
    ]
    registers = [
        dict(zip((r.select for r in state.read_registers), values, strict=True))
        for state, (_, values) in zip(geometry.parts, scattered, strict=True)
    ]
    names = [{m.index: m.name for m in state.memories} for state in geometry.parts]
    out = [_HEADER.pack(MAGIC, geometry.id, snapshot.cycle, geometry.image_beats)]
    for s in geometry.segments:
        if s.kind is Kind.CHAIN:
            rows, item = b"".join(rows for rows, _ in scattered), geometry.overlay.row_bytes
        elif s.kind in (Kind.MEMORY, Kind.CLOCKED_MEMORY):
            rows = contents[s.part][MEMORY_PREFIX + names[s.part][s.select]]
            item = len(rows) // s.count
        else:
            rows = registers[s.part][s.select]
            item = len(rows)
        out.append(_resized(rows, item, s.beats * BEAT_BYTES))
    trailer = (
        struct.pack("<II", zlib.crc32(payload), number) for number, payload in enumerate(out)
    )
    return b"".join((*out, *trailer))


def _taken_apart(image: bytes, geometry: Geometry) -> tuple[int, list[bytes]]:
    """(cycle, payload of each segment), checked."""
    if len(image) != geometry.image_bytes:
        raise SnapshotError(f"state image of {len(image)} bytes, not {geometry.image_bytes}")
    magic, identity, cycle, beats = _HEADER.unpack_from(image)
    if (magic, identity, beats) != (MAGIC, geometry.id, geometry.image_beats):
        raise SnapshotError(
            f"state image {magic!r} of geometry {identity:#x} with {beats} words; "
            f"the fabric's is {geometry.id:#x} with {geometry.image_beats}"
        )
    parts, at = [image[: HEADER_BEATS * BEAT_BYTES]], HEADER_BEATS * BEAT_BYTES
    for segment in geometry.segments:
        parts.append(image[at : at + segment.size_bytes])
        at += segment.size_bytes
    for number, part in enumerate(parts):
        said, index = struct.unpack_from("<II", image, at + number * BEAT_BYTES)
        if (said, index) != (zlib.crc32(part), number):
            raise SnapshotError(f"state image damaged: segment {number}'s CRC is {said:#x}")
    return cycle, parts[1:]


def _segments(geometry: Geometry, part: int, parts: list[bytes]) -> dict[str, bytes]:
    """Canonical segments of one of the two state maps."""
    state = geometry.parts[part]
    names = {memory.index: memory for memory in state.memories}
    sizes = {register.select: register.size_bytes for register in state.read_registers}
    registers: dict[int, bytes] = {}
    memories: dict[str, bytes] = {}
    rows = b""
    for s, payload in zip(geometry.segments, parts, strict=True):
        stride = s.beats * BEAT_BYTES
        if s.kind is Kind.CHAIN:
            first = geometry.overlay.rows * stride
            own = payload[first:] if part else payload[:first]
            rows = _resized(own, stride, state.row_bytes)
        elif s.part != part:
            continue
        elif s.kind in (Kind.MEMORY, Kind.CLOCKED_MEMORY):
            memory = names[s.select]
            memories[MEMORY_PREFIX + memory.name] = _resized(payload, stride, memory.word_bytes)
        else:
            registers[s.select] = payload[: sizes[s.select]]
    flops = state.gather(rows, [registers[select] for select in sorted(registers)])
    return {FLOPS: flops, **dict(sorted(memories.items()))}


def _resized(data: bytes, item_bytes: int, wanted_bytes: int) -> bytes:
    """Each item of `data` cut or filled with zeros to `wanted_bytes`."""
    items = np.frombuffer(data, np.uint8).reshape(-1, item_bytes)
    out = np.zeros((len(items), wanted_bytes), np.uint8)
    width = min(item_bytes, wanted_bytes)
    out[:, :width] = items[:, :width]
    return out.tobytes()


# The boundary's own state as one segment: layout id, then its canonical segments in order.


def _packed(state: StateMap, segments: Mapping[str, bytes]) -> bytes:
    return bytes.fromhex(state.layout_id) + b"".join(segments.values())


def _unpacked(state: StateMap, data: bytes) -> dict[str, bytes]:
    layout = bytes.fromhex(state.layout_id)
    sizes = dict(_sizes(state))
    if data[: len(layout)] != layout or len(data) != len(layout) + sum(sizes.values()):
        raise SnapshotError(
            "snapshot's shell segment is not of this boundary's layout "
            f"{state.layout_id[:16]} ({len(data)} bytes)"
        )
    out, at = {}, len(layout)
    for name, size in sizes.items():
        out[name] = data[at : at + size]
        at += size
    return out


def _sizes(state: StateMap) -> Iterator[tuple[str, int]]:
    yield FLOPS, state.flops_bytes
    for memory in state.memories:
        yield MEMORY_PREFIX + memory.name, memory.size_bytes
