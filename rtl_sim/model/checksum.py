"""Golden model of the checksum overlay (rtl_sim/rtl/checksum): its answers and its cycles."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

RESULT_BYTES = 32
STEP_BYTES = 4  # digested in a cycle
START_CYCLES = 3  # from the start being taken to the first step, besides the memory's latency
READ_LATENCY_CYCLES = 16  # of the simulated fabric's memory, see hal/backends/fpga
MASK = 0xFFFF_FFFF


def result(data: bytes, cycles: int) -> bytes:
    """What the kernel writes for `data`: four 64-bit words, described in checksum.sv."""
    padded = data + bytes(-len(data) % STEP_BYTES)
    words = np.frombuffer(padded, "<u4").astype(object)
    a = b = 0
    for word in words:
        a = (a + word) & MASK
        b = (b + a) & MASK
    return struct.pack("<IIIIQQ", zlib.crc32(data), len(data), a, b, cycles, 0)


def cycles(nbytes: int, read_latency: int = READ_LATENCY_CYCLES) -> int:
    """Cycles from start to the last byte: after the first word the queue never runs dry, with a
    memory that delivers a word each cycle and holds fewer words on their way than the queue."""
    if nbytes == 0:
        return 0
    return START_CYCLES + read_latency + -(-nbytes // STEP_BYTES)


def vectors(name: str, params: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
    """Known answers for the overlay's manifest."""
    source = random.Random(name)
    return [
        {
            "name": f"{nbytes}-bytes",
            "kernel": "checksum",
            "args": [
                ("in", data),
                ("out", RESULT_BYTES),
                ("scalar", struct.pack("<I", nbytes)),
            ],
            "expected": [result(data, cycles(nbytes))],
        }
        for nbytes in (2048, 9001)
        for data in [source.randbytes(nbytes)]
    ]
