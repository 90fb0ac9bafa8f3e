"""Overlays that must be built before they can be put on, built while the server goes on.

Who needs one asks again and again. A build that nobody asks for any more goes on to its end: what
it makes is kept by whoever made it, for the next who asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from hal.context import Device
from hal.driver import Preparation
from hal.errors import HalError
from hal.types import Overlay

MAX_BUILDS = 2  # at once: each keeps some processors busy
MAX_READY = 64  # overlays known to need no build; forgetting one costs a look
ABANDONED_S = 5.0  # since it was last asked for


class Builds:
    def __init__(self, device: Device, clock: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._clock = clock
        self._ready: dict[str, None] = {}  # digests, in order
        self._running: dict[str, Preparation] = {}
        self._asked_at: dict[str, float] = {}

    def ready(self, overlay: Overlay) -> bool:
        """Whether `configure` with `overlay` will be quick now. Raises OverlayRejected."""
        digest = overlay.digest
        if digest in self._ready:
            return True
        self._drop_abandoned()
        if digest not in self._running:
            if len(self._running) >= MAX_BUILDS:
                return False
            begun = self._device.prepare(overlay)
            if begun is None:
                return self._is_ready(digest)
            self._running[digest] = begun
        self._asked_at[digest] = self._clock()
        try:
            if not self._running[digest].poll():
                return False
        except HalError:
            self._drop(digest)
            raise
        self._drop(digest)
        return self._is_ready(digest)

    def close(self) -> None:
        for digest in tuple(self._running):
            self._drop(digest)

    def _is_ready(self, digest: str) -> bool:
        self._ready[digest] = None
        while len(self._ready) > MAX_READY:
            del self._ready[next(iter(self._ready))]
        return True

    def _drop_abandoned(self) -> None:
        """Make room of those that have ended and that nobody asked for."""
        for digest, build in tuple(self._running.items()):
            if self._clock() - self._asked_at[digest] < ABANDONED_S:
                continue
            ended = True
            with suppress(HalError):  # nobody wants to know
                ended = build.poll()
            if ended:
                self._drop(digest)

    def _drop(self, digest: str) -> None:
        self._running.pop(digest).cancel()
        del self._asked_at[digest]
