"""The hidden state of a context as bytes: what `save_state` returns.

magic "HALTFPGA", u16 version, u16 0, u32 length of the header, u64 length of the fabric
header: JSON of every field of ContextState but `fabric`; then the fabric snapshot
(rtl_sim/snapshot.py, with checks of its own; empty: power-on state); u32 CRC of all that
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass

from hal.backends.fpga.shell import BEAT_BYTES, PAGE_BYTES
from hal.errors import StateError

MAGIC = b"HALTFPGA"
VERSION = 1
ADDRESS_LIMIT = 1 << 63
_HEAD = struct.Struct("<8sHHIQ")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class PlacedBuffer:
    """padding: hex of the bytes between the buffer's end and the last beat's, which a kernel can
    reach and no host access shows."""

    device_address: int
    size_bytes: int
    padding: str


@dataclass(frozen=True, slots=True)
class ContextState:
    overlay: str  # digest; "" when the context has nothing in the fabric
    kernel: str  # the running kernel's name; "" when none runs
    completed: int  # the newest completed seq
    pending: tuple[int, ...]  # seqs that complete when the kernel does
    buffers: tuple[PlacedBuffer, ...]  # live ones, in creation order
    fabric: bytes


def pack(state: ContextState) -> bytes:
    header = json.dumps(
        {
            "overlay": state.overlay,
            "kernel": state.kernel,
            "completed": state.completed,
            "pending": state.pending,
            "buffers": [[b.device_address, b.size_bytes, b.padding] for b in state.buffers],
        }
    ).encode()
    body = _HEAD.pack(MAGIC, VERSION, 0, len(header), len(state.fabric)) + header + state.fabric
    return body + _CRC.pack(zlib.crc32(body))


def unpack(data: bytes) -> ContextState:
    """Raises StateError for anything that `pack` did not write."""
    if len(data) < _HEAD.size + _CRC.size:
        raise StateError(f"state truncated: {len(data)} bytes are less than a header")
    magic, version, _, header_bytes, fabric_bytes = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise StateError(f"not a state of this kind of device: it begins with {magic!r}")
    if version != VERSION:
        raise StateError(f"state of version {version}; this version reads {VERSION}")
    end = _HEAD.size + header_bytes + fabric_bytes
    if end + _CRC.size != len(data):
        raise StateError(f"state truncated: {len(data)} bytes, not {end + _CRC.size}")
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
        raise StateError("state damaged: its CRC does not match")
    header = data[_HEAD.size : _HEAD.size + header_bytes]
    try:
        raw = json.loads(header)
        buffers = tuple(
            PlacedBuffer(int(address), int(size), str(padding))
            for address, size, padding in raw["buffers"]
        )
        state = ContextState(
            overlay=str(raw["overlay"]),
            kernel=str(raw["kernel"]),
            completed=int(raw["completed"]),
            pending=tuple(int(seq) for seq in raw["pending"]),
            buffers=buffers,
            fabric=data[_HEAD.size + header_bytes : end],
        )
        _check(state)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"state damaged: its header cannot be read: {error!r}") from error
    return state


def padding_bytes(size_bytes: int) -> int:
    return -size_bytes % BEAT_BYTES


def _check(state: ContextState) -> None:
    end = 0
    for buffer in sorted(state.buffers, key=lambda placed: placed.device_address):
        begin = buffer.device_address
        if begin % PAGE_BYTES or begin < max(end, 1) or buffer.size_bytes < 1:
            raise StateError(f"state damaged: buffer at {begin:#x} overlaps or is out of place")
        if len(bytes.fromhex(buffer.padding)) != padding_bytes(buffer.size_bytes):
            raise StateError(f"state damaged: padding of the buffer at {begin:#x}")
        end = begin + buffer.size_bytes
    order = [state.completed, *state.pending]
    if end > ADDRESS_LIMIT or order != sorted(set(order)) or state.completed < 0:
        raise StateError("state damaged: addresses or seqs out of order")
    if bool(state.overlay) != bool(state.fabric) or (state.kernel and not state.fabric):
        raise StateError("state damaged: a kernel or an overlay without a fabric")
    if state.pending and not state.kernel:
        raise StateError("state damaged: signals pending behind no kernel")
