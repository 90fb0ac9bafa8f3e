"""Host memory that a queued write reads from, since the caller may reuse its own at once.

Fresh memory of this size costs more in page faults than the copy into it, so large pieces are
kept for the next write of their size, up to a bound. Bytes that cannot change need no copy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LARGE_BYTES = 1 << 20  # smaller pieces come from the allocator's own pools
KEPT_BYTES = 128 << 20  # of idle pieces, at most

Piece = npt.NDArray[np.uint8]
Held = bytes | memoryview | Piece


class Staging:
    def __init__(self) -> None:
        self._idle: list[Piece] = []  # oldest first

    def hold(self, data: memoryview) -> Held:
        """What `data` holds now, whatever becomes of it."""
        if isinstance(data.obj, bytes):
            return data
        if data.nbytes < LARGE_BYTES:
            return bytes(data)
        piece = self._take(data.nbytes)
        np.copyto(piece, np.frombuffer(data, np.uint8))
        return piece

    def give_back(self, held: Held | None) -> None:
        """The write is over."""
        if isinstance(held, np.ndarray):
            self._idle.append(held)
            while sum(piece.nbytes for piece in self._idle) > KEPT_BYTES:
                del self._idle[0]

    def _take(self, nbytes: int) -> Piece:
        for index, piece in enumerate(self._idle):
            if piece.nbytes == nbytes:
                return self._idle.pop(index)
        return np.empty(nbytes, np.uint8)
