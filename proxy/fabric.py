"""Whose design is on the device: the rule by which sessions share one fabric.

A device that takes overlays has one fabric, and one session at a time owns it. Whoever has a kernel
to run or a program to load asks for it. It passes on when its owner has no kernel in flight (or
its worker halted it, at whatever cycle), and has either nothing to do or has had it for TURN_S
while someone waited. If the new owner's overlay is another one, everybody with state under the
present overlay saves it (halt, save_state), the device is configured, and each gets its state back
when its turn comes (load_state). Sessions with the same overlay are kept apart by the driver.
Buffers are not fabric: they stay where they are, and reading or writing them needs no turn.

On devices that take no overlay everybody always owns everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from hal.context import Device
from hal.errors import OverlayRejected
from hal.types import Overlay

TURN_S = 0.05  # long against a swap in simulation, short against a person's patience
WANTED_S = 0.5  # who waits asks again all the time; who stopped asking does not wait any more


class Occupant(Protocol):
    """A session as the fabric sees it."""

    @property
    def name(self) -> str: ...

    @property
    def overlay(self) -> Overlay | None: ...

    @property
    def must_finish(self) -> bool:
        """A kernel runs that nobody halted."""
        ...

    @property
    def has_work(self) -> bool: ...

    def leave_fabric(self) -> None:
        """Save what is on the fabric: another overlay is about to be put on it."""

    def enter_fabric(self, anew: bool) -> None:
        """The own overlay is on: load what was saved; `anew`: drop it."""


class Fabric:
    def __init__(self, device: Device, clock: Callable[[], float] = time.monotonic) -> None:
        self.device = device
        self.shared = device.info.caps.configurable
        self.owner: Occupant | None = None
        self.swaps = 0  # times that an overlay was put on
        self._clock = clock
        self._since = 0.0
        self._wanted_at = -WANTED_S
        self._overlay: Overlay | None = None  # the one that is on
        self._inside: list[Occupant] = []  # who may have state under it

    def owns(self, who: Occupant) -> bool:
        """True if a kernel of `who` may run now."""
        return not self.shared or self.owner is who

    def acquire(self, who: Occupant, anew: bool = False) -> bool:
        """True if `who` may start a kernel now; False: ask again. Raises OverlayRejected.
        `anew`: the session has another overlay than before, and starts afresh with it."""
        if not self.shared:
            return True
        if self.owner is who and not anew:
            return not self._turn_is_over()
        if who.overlay is None:
            raise OverlayRejected(
                f"session {who.name} has no overlay: configure one before loading a program"
            )
        owner = self.owner
        if owner is not None and owner is not who:
            self._wanted_at = self._clock()
            if owner.must_finish or (owner.has_work and not self._turn_is_over()):
                return False
        self.owner = None
        if self._overlay != who.overlay:
            self._put_on(who.overlay)
        if not any(inside is who for inside in self._inside):
            who.enter_fabric(anew)
            self._inside.append(who)
        self.owner = who
        self._since = self._clock()
        self._wanted_at = self._since - WANTED_S
        return True

    def forget(self, who: Occupant) -> None:
        """`who` is gone, or wants nothing of what it has on the fabric."""
        if self.owner is who:
            self.owner = None
        self._inside = [inside for inside in self._inside if inside is not who]

    def _turn_is_over(self) -> bool:
        now = self._clock()
        return now - self._wanted_at < WANTED_S and now - self._since >= TURN_S

    def _put_on(self, overlay: Overlay) -> None:
        while self._inside:
            self._inside.pop().leave_fabric()
        self._overlay = None  # whatever happens now
        self.device.configure(overlay)
        self._overlay = overlay
        self.swaps += 1
