"""Staged writes: the bytes as they were, kept no longer and no more than need be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from hal.backends.opencl.staging import KEPT_BYTES, LARGE_BYTES, Staging


@pytest.mark.parametrize("size", [1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 7])
def test_what_is_held_does_not_change_with_its_source(size: int) -> None:
    source = bytearray(b"\x01" * size)
    held = Staging().hold(memoryview(source))
    source[:] = b"\x02" * size
    assert bytes(held) == b"\x01" * size


def test_bytes_that_cannot_change_are_not_copied() -> None:
    data = bytes(LARGE_BYTES)
    held = Staging().hold(memoryview(data)[5:])
    assert isinstance(held, memoryview)
    assert held.obj is data


def test_a_large_piece_is_used_again_once_it_is_over() -> None:
    staging = Staging()
    source = memoryview(bytearray(LARGE_BYTES))
    first = staging.hold(source)
    assert staging.hold(source) is not first
    staging.give_back(first)
    assert staging.hold(source) is first
    assert staging.hold(source) is not first


def test_idle_pieces_are_bounded() -> None:
    staging = Staging()
    pieces = [np.empty(KEPT_BYTES // 2, np.uint8) for _ in range(5)]
    for piece in pieces:
        staging.give_back(piece)
    assert sum(piece.nbytes for piece in staging._idle) <= KEPT_BYTES
    assert staging._idle[-1] is pieces[-1]
