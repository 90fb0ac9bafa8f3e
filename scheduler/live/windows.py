"""A window of maintenance on the live pool: each of its devices is drained, removed and brought
back once, when `policies.maintenance` says, so that what was promised is kept.

`Followed` is what the journal's steps tell of it, so that a pool that takes over goes on. `Windows`
is a Recorder of the loop: after a step, on the loop's thread, it asks for the next drains and has
devices come back. Their jobs move, and their servers stop, as in any drain (`removals`). A turn is
over when all of it are back, which is sooner than planned where nobody had to be waited for. A
device whose jobs may have ended by then is left for a later turn, as long as there is one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduler.core import events
from scheduler.core.commands import Command
from scheduler.core.machine import Machine
from scheduler.errors import CannotDrain
from scheduler.journal import Step
from scheduler.live.board import Board
from scheduler.live.inbox import Inbox
from scheduler.live.removals import MAX_DRAIN_S, Await, Removals
from scheduler.policies.choices import GREEDY
from scheduler.policies.maintenance import Window, schedule

LOOK_US = 10_000_000  # when no device is to go yet, how often that is asked again
LATE_S = 0.001  # so that the time is over when a timer says so


@dataclass(frozen=True, slots=True)
class WindowStatus:
    """is_open  False once all are back, or no turn fits any more
    closes_s  in seconds since the pool started
    waits     devices whose turn is to come; of a closed window those that stayed
    out       being drained, or removed
    back"""

    is_open: bool
    closes_s: float
    notice_s: float
    lasts_s: float
    waits: tuple[str, ...]
    out: tuple[str, ...]
    back: tuple[str, ...]


@dataclass(slots=True)
class Followed:
    """`out`: device -> when it is to be back; None: it is not removed yet."""

    opened: events.WindowOpened | None = None
    is_open: bool = False
    waits: list[str] = field(default_factory=list)
    out: dict[str, int | None] = field(default_factory=dict)
    returning: set[str] = field(default_factory=set)  # of `out`: their servers are being started
    back: list[str] = field(default_factory=list)

    def follow(self, event: events.Event) -> None:
        match event:
            case events.WindowOpened():
                self.opened, self.is_open, self.waits = event, True, list(event.devices)
                self.out, self.back = {}, []
                self.returning.clear()
            case events.WindowClosed():
                self.is_open = False
            case events.DrainRequested(device=uri) if self.is_open and uri in self.waits:
                self.waits.remove(uri)
                self.out[uri] = None
            case events.DrainCancelled(device=uri) if uri in self.waits:
                self.waits.remove(uri)  # it is to stay
            case events.DrainCancelled(device=uri) if uri in self.out:
                if self.out[uri] is None:
                    self._is_back(uri)
                else:
                    self.returning.add(uri)
            case events.DeviceLost(device=uri) if uri in self.returning:
                self._is_back(uri)  # its server does not start: there is nothing to wait for
            case events.DeviceLost(device=uri) if uri in self.out and self.opened is not None:
                self.out[uri] = event.at_us + self.opened.lasts_us
            case events.DeviceAdded(device=uri) if uri in self.out:
                self._is_back(uri)

    def _is_back(self, uri: str) -> None:
        del self.out[uri]
        self.returning.discard(uri)
        self.back.append(uri)


class Windows:
    """`until` waits until the loop has taken up what was asked."""

    def __init__(
        self,
        machine: Machine,
        board: Board,
        removals: Removals,
        inbox: Inbox,
        until: Await,
    ) -> None:
        self._machine = machine
        self._board = board
        self._removals = removals
        self._inbox = inbox
        self._until = until
        self._followed = Followed()
        self._ordered: set[str] = set()  # to go, and that is in no step yet
        self._called: set[str] = set()  # to come back, and that is in no step yet
        self._closing = False
        self._look_us = 0
        self._timer: threading.Timer | None = None
        self._timer_us = -1
        self._status: WindowStatus | None = None
        self._asking = threading.Lock()

    # ---- what is asked

    def open(
        self, devices: Sequence[str], within_s: float, lasts_s: float, notice_s: float
    ) -> None:
        """Raises UnknownDevice, CannotDrain, Busy."""
        times_s = {"notice": notice_s, "lasts": lasts_s, "within": within_s}
        for name, value in times_s.items():
            if not 0 <= value <= MAX_DRAIN_S:
                raise CannotDrain(f"a window: {name} of {value} s is not 0 to {MAX_DRAIN_S:.0f}")
        if not 0 < notice_s + lasts_s <= within_s:
            raise CannotDrain(
                f"a window of {within_s} s: no device is drained for {notice_s} s, out for "
                f"{lasts_s} s and back within that; give it longer"
            )
        names = tuple(dict.fromkeys(devices))
        with self._asking:
            if self._status is not None and self._status.is_open:
                raise CannotDrain(
                    f"a window is open, for {', '.join(self._status.waits + self._status.out)}: "
                    "wait for its end, or cancel those drains"
                )
            states = {uri: self._board.device(uri).state for uri in names}
            gone = [f"{uri} is {state}" for uri, state in states.items() if state != "up"]
            if not names:
                raise CannotDrain("a window is for at least one device: name those it is for")
            if gone:
                raise CannotDrain(f"a window is for devices that are up: {'; '.join(gone)}")
            notice_us, lasts_us = round(notice_s * 1e6), round(lasts_s * 1e6)
            within_us = round(within_s * 1e6)
            before = self._status
            self._inbox.post_bounded(
                lambda at: events.WindowOpened(at, names, at + within_us, notice_us, lasts_us)
            )
            self._until(lambda: self._status is not before)

    def has(self, uri: str) -> bool:
        status = self._status
        return status is not None and status.is_open and uri in (*status.waits, *status.out)

    def take_out(self, uri: str) -> bool:
        """A device whose turn is to come stays. False if there is none. Raises Busy."""
        with self._asking:
            status = self._status
            if status is None or not status.is_open or uri not in status.waits:
                return False
            self._inbox.post_bounded(lambda at: events.DrainCancelled(at, uri))
            self._until(lambda: self._status is not None and uri not in self._status.waits)
            self._removals.stay(uri)  # its drain may have been ordered just before
        return True

    def status(self) -> WindowStatus | None:
        """Of the last window; None: there was none."""
        return self._status

    # ---- after each step

    def recall(self, steps: Sequence[Step]) -> None:
        for event in (event for step in steps for event in step.events):
            self._followed.follow(event)
        self._publish()

    def record(self, happened: Sequence[events.Event], commands: Sequence[Command]) -> None:
        followed = self._followed
        for event in happened:
            followed.follow(event)
            if isinstance(event, events.WindowOpened):
                self._closing, self._look_us = False, 0
            elif isinstance(event, events.DrainRequested) and event.device in self._ordered:
                self._ordered.discard(event.device)
                if event.device not in followed.out:  # it was to stay, which came just before
                    self._removals.call_back(event.device)
        if followed.is_open:
            self._act(followed, self._machine.now_us)
        if followed.opened is not None:
            self._publish()

    def _act(self, followed: Followed, now_us: int) -> None:
        self._called &= followed.out.keys() - followed.returning
        for uri, back_us in followed.out.items():
            if back_us is None and not self._is_up(uri):  # it was lost before it was to go
                back_us = now_us
            if back_us is None or uri in followed.returning or uri in self._called:
                continue
            if back_us <= now_us:
                self._called.add(uri)
                self._removals.call_back(uri)
            else:
                self._wake_at(back_us)
        if followed.out or self._ordered or self._closing:
            return
        assert followed.opened is not None
        notice_us = followed.opened.notice_us
        turn_us = notice_us + followed.opened.lasts_us
        if not followed.waits or now_us + turn_us > followed.opened.closes_us:
            self._closing = True
            self._inbox.post(events.WindowClosed)
        elif now_us < self._look_us:
            self._wake_at(self._look_us)
        else:
            ready = tuple(uri for uri in followed.waits if self._is_up(uri))
            found = schedule(
                self._machine.view(), Window(ready, followed.opened.closes_us, turn_us), GREEDY
            )
            for uri in found.first:
                self._ordered.add(uri)
                self._removals.order(uri, notice_us)
            if not found.first:  # the next turn that is planned, or sooner if somebody ends
                left_us = (followed.opened.closes_us - now_us) % turn_us + 1
                self._look_us = now_us + min(LOOK_US, left_us)
                self._wake_at(self._look_us)

    def _is_up(self, uri: str) -> bool:
        device = self._machine.devices.get(uri)
        return device is not None and device.up

    def _wake_at(self, at_us: int) -> None:
        if self._timer is not None and self._machine.now_us < self._timer_us <= at_us:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_us = at_us
        left_s = max(0, at_us - self._inbox.now_us()) / 1e6 + LATE_S
        self._timer = threading.Timer(left_s, self._inbox.wake)
        self._timer.daemon = True
        self._timer.start()

    def _publish(self) -> None:
        found, opened = self._followed, self._followed.opened
        if opened is not None:
            self._status = WindowStatus(
                found.is_open,
                opened.closes_us / 1e6,
                opened.notice_us / 1e6,
                opened.lasts_us / 1e6,
                tuple(found.waits),
                tuple(found.out),
                tuple(found.back),
            )

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
