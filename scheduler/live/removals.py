"""Devices that are drained: their servers are stopped once nobody holds a slice of them, at the
latest at their deadline. Then they may be taken away; who says that they stay has them back.

`Removals` is a Recorder of the loop: it looks after every step, on the loop's thread. The other
methods may be called from any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from scheduler.core import events
from scheduler.core.commands import Command
from scheduler.core.machine import Machine
from scheduler.errors import Busy, CannotDrain
from scheduler.journal import Step
from scheduler.live.board import Board, DeviceStatus, follow_drains
from scheduler.live.fleet import Fleet
from scheduler.live.inbox import Inbox

MAX_DRAIN_S = 30 * 24 * 3600.0
Await = Callable[[Callable[[], bool]], object]


class Removals:
    def __init__(
        self,
        machine: Machine,
        board: Board,
        fleet: Fleet,
        inbox: Inbox,
        background: Callable[[Callable[[], None]], None],
    ) -> None:
        self._machine = machine
        self._board = board
        self._fleet = fleet
        self._inbox = inbox
        self._background = background
        self._timers: dict[str, threading.Timer] = {}
        self._removed: set[str] = set()
        self._asking = threading.Lock()

    # ---- what is asked; `until` waits until the loop has taken it up

    def drain(self, uri: str, deadline_s: float, until: Await) -> None:
        """Raises UnknownDevice, CannotDrain, Busy."""
        if not 0 <= deadline_s <= MAX_DRAIN_S:
            raise CannotDrain(f"{uri}: a deadline of {deadline_s} s is not 0 to {MAX_DRAIN_S:.0f}")
        with self._asking:
            found = self._board.device(uri)
            if _leaves(found):
                how = "being drained already" if found.state == "draining" else found.state
                raise CannotDrain(f"{uri} is {how}; to have it stay, or come back, cancel that")
            after_us = round(deadline_s * 1e6)
            self._fleet.let_go(uri)  # before the loop has it removed
            try:
                self._inbox.post_bounded(lambda at: events.DrainRequested(at, uri, at + after_us))
            except Busy:
                self._fleet.keep(uri)
                raise
            until(lambda: _leaves(self._board.device(uri)))

    def order(self, uri: str, after_us: int) -> None:
        """A drain by the pool itself, on the loop's thread, of a device that is up."""
        self._fleet.let_go(uri)
        self._inbox.post(lambda at: events.DrainRequested(at, uri, at + after_us))

    def call_back(self, uri: str) -> None:
        """And the end of it, whether it is removed yet or not."""
        self._inbox.post(lambda at: events.DrainCancelled(at, uri))
        self._background(lambda: self._fleet.keep(uri))

    def stay(self, uri: str) -> None:
        """Its drain is off, which the loop has taken up."""
        self._fleet.keep(uri)

    def cancel(self, uri: str, until: Await) -> None:
        """Raises UnknownDevice, CannotDrain, Busy."""
        with self._asking:
            if not _leaves(self._board.device(uri)):
                raise CannotDrain(f"{uri} is not drained, nor was it removed")
            self._inbox.post_bounded(lambda at: events.DrainCancelled(at, uri))
            until(lambda: self._board.device(uri).leaves_s is None)
            self.stay(uri)

    # ---- after each step

    def record(self, events: Sequence[events.Event], commands: Sequence[Command]) -> None:
        machine, draining = self._machine, self._machine.draining
        for uri in [uri for uri in self._timers if uri not in draining]:
            self._timers.pop(uri).cancel()
            self._removed.discard(uri)
        for uri, deadline_us in draining.items():
            if uri not in self._timers:
                left_s = max(deadline_us - machine.now_us, 0) / 1e6
                timer = self._timers[uri] = threading.Timer(left_s, self._inbox.wake)
                timer.daemon = True
                timer.start()
            held = machine.holders(uri)
            if uri not in self._removed and (not held or machine.now_us >= deadline_us):
                self._removed.add(uri)
                self._remove(uri)

    def _remove(self, uri: str) -> None:
        self._background(lambda: self._fleet.remove(uri))

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()


def _leaves(device: DeviceStatus) -> bool:
    return device.leaves_s is not None or not device.up


def leaving(steps: Sequence[Step]) -> set[str]:
    """Devices that were drained at the end of these steps, or had been and were gone."""
    found: set[str] = set()
    for step in steps:
        follow_drains(found, step.events)
    return found
