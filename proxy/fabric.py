"""Whose design is on the device: the rule by which sessions share one fabric.

A device that takes overlays has one fabric, and one session at a time owns it. Whoever has a kernel
to run or a program to load asks for it, again at every round of the server's loop, and waits in
line. The owner's turn ends

- at once, when it has nothing to do on the device (or its worker halted it);
- after a *quantum* of its own clock cycles times its *weight*, exactly, in mid-kernel if the device
  can stop there;
- between two kernels, when it has had the fabric for TURN_S times its weight.

A turn ends only if someone waits: an owner that is alone is never stopped and runs on without a
limit, and who does not ask costs nothing. The first in line is next: round robin, so those that
always have work get the device's cycles by their weights.

If the new owner's overlay is another one, everybody with state under the present overlay saves it
(halt, save_state), the device is configured, and each gets its state back when its turn comes
(load_state). Sessions with the same overlay are kept apart by the driver. Buffers are not fabric:
they stay where they are, and reading or writing them needs no turn. An overlay that must be built
first is built in another process, and who waits for that is not in line.

On devices that take no overlay everybody always owns everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from hal.context import Device
from hal.errors import OverlayRejected, UsageError
from hal.types import Overlay
from proxy.builds import Builds

TURN_S = 0.05  # long against a swap in simulation, short against a person's patience
QUANTUM_CYCLES = 100_000  # see docs/tenants.md: swapping costs a few to ten per cent of it
MAX_QUANTUM_CYCLES = 1 << 40
MAX_WEIGHT = 100  # who waits must get its turn in a time that a person can bear


class Occupant(Protocol):
    """A session as the fabric sees it."""

    @property
    def name(self) -> str: ...

    @property
    def overlay(self) -> Overlay | None: ...

    @property
    def weight(self) -> int:
        """Quanta in a turn, from 1 to MAX_WEIGHT."""
        ...

    @property
    def must_finish(self) -> bool:
        """A kernel runs that nobody halted."""
        ...

    @property
    def has_work(self) -> bool: ...

    @property
    def stops_anywhere(self) -> bool:
        """The device can stop it in the middle of a kernel."""
        ...

    @property
    def cycles(self) -> int:
        """That the fabric has worked for it, ever."""
        ...

    def limit_cycles(self, limit: int | None) -> None:
        """Stop in mid-kernel when `cycles` is `limit`."""

    def leave_fabric(self) -> None:
        """Save what is on the fabric: another overlay is about to be put on it."""

    def enter_fabric(self, anew: bool) -> None:
        """The own overlay is on: load what was saved; `anew`: drop it."""


class Fabric:
    def __init__(
        self,
        device: Device,
        quantum_cycles: int = QUANTUM_CYCLES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= quantum_cycles <= MAX_QUANTUM_CYCLES:
            raise UsageError(
                f"a quantum of {quantum_cycles} cycles: from 1 to {MAX_QUANTUM_CYCLES}"
            )
        self.device = device
        self.shared = device.info.caps.configurable
        self.quantum_cycles = quantum_cycles
        self.owner: Occupant | None = None
        self.swaps = 0  # times that an overlay was put on
        self.slices = 0  # times that a running kernel was taken off
        self._clock = clock
        self._since = 0.0  # the owner's turn began,
        self._from_cycle = 0  # at this count of its cycles
        self._line: list[Occupant] = []  # who waits, in order
        self._asked: list[Occupant] = []  # who of them asked in this round
        self._overlay: Overlay | None = None  # the one that is on
        self._inside: list[Occupant] = []  # who may have state under it
        self._builds = Builds(device, clock)

    def new_round(self) -> None:
        """Everybody has had the chance to ask: who did not does not wait any more."""
        if self._line:
            self._line = [who for who in self._line if _among(who, self._asked)]
            self._asked.clear()
            self._set_limit()

    @property
    def waited_for(self) -> bool:
        return bool(self._line)

    def owns(self, who: Occupant) -> bool:
        """True if a kernel of `who` may run now."""
        return not self.shared or self.owner is who

    def acquire(self, who: Occupant, anew: bool = False) -> bool:
        """True if `who` may start a kernel now; False: ask again. Raises OverlayRejected.
        `anew`: the session has another overlay than before, and starts afresh with it."""
        if not self.shared:
            return True
        if self.owner is who and not anew:
            return not (self._line and self._turn_is_over(who))
        if who.overlay is None:
            raise OverlayRejected(
                f"session {who.name} has no overlay: configure one before loading a program"
            )
        if not self._builds.ready(who.overlay):
            return False  # it does not wait in line yet: nobody makes way for a build
        self._wait_in_line(who)
        owner = self.owner
        if owner is not None and owner is not who:
            self._set_limit()
            if not self._gives_way(owner):
                return False
        if self._line[0] is not who:
            return False
        self._line.pop(0)
        self._pass_to(who, anew)
        return True

    def forget(self, who: Occupant) -> None:
        """`who` is gone, or wants nothing of what it has on the fabric."""
        if self.owner is who:
            self.owner = None
        self._line, self._asked, self._inside = (
            [other for other in list_ if other is not who]
            for list_ in (self._line, self._asked, self._inside)
        )

    def close(self) -> None:
        """End what goes on for sessions that are no more."""
        self._builds.close()

    # ---- turns

    def _wait_in_line(self, who: Occupant) -> None:
        for list_ in (self._line, self._asked):
            if not _among(who, list_):
                list_.append(who)

    def _gives_way(self, owner: Occupant) -> bool:
        if owner.must_finish:
            return owner.stops_anywhere and self._quantum_is_used(owner)
        return not owner.has_work or self._turn_is_over(owner)

    def _turn_is_over(self, owner: Occupant) -> bool:
        return self._quantum_is_used(owner) or self._clock() - self._since >= TURN_S * owner.weight

    def _quantum_is_used(self, owner: Occupant) -> bool:
        return owner.cycles >= self._turn_ends_at(owner)

    def _turn_ends_at(self, owner: Occupant) -> int:
        return self._from_cycle + self.quantum_cycles * owner.weight

    def _set_limit(self) -> None:
        """The owner's, which has one only while someone waits."""
        if self.owner is not None:
            end = self._turn_ends_at(self.owner)
            self.owner.limit_cycles(end if self._line else None)

    def _pass_to(self, who: Occupant, anew: bool) -> None:
        owner, self.owner = self.owner, None
        if owner is not None and owner is not who and owner.has_work:
            self.slices += owner.must_finish
            self._wait_in_line(
                owner
            )  # at once: the new owner's quantum counts from its first cycle
        if self._overlay != who.overlay:
            assert who.overlay is not None, "acquire refuses those that have none"
            self._put_on(who.overlay)
        if not _among(who, self._inside):
            who.enter_fabric(anew)
            self._inside.append(who)
        self.owner = who
        self._since = self._clock()
        self._from_cycle = who.cycles
        self._set_limit()

    def _put_on(self, overlay: Overlay) -> None:
        while self._inside:
            self._inside.pop().leave_fabric()
        self._overlay = None  # whatever happens now
        self.device.configure(overlay)
        self._overlay = overlay
        self.swaps += 1


def checked_weight(weight: int) -> int:
    """Raises UsageError."""
    if not 1 <= weight <= MAX_WEIGHT:
        raise UsageError(f"a weight of {weight}: from 1 to {MAX_WEIGHT}")
    return weight


def _among(who: Occupant, others: list[Occupant]) -> bool:
    return any(other is who for other in others)
