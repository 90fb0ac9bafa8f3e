"""Devices that nobody is placed on for a while: slower than their peers (`stragglers`), or such
that jobs fail to start there (`shuns`).

Then a device is tried again; if it is no better, it is avoided for twice as long. Never more than
an eighth of a kind's devices are avoided, and those that a waiting job names are not.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from scheduler.core.view import View
from scheduler.policies.books import S
from scheduler.policies.round import Round

MOST = 8  # of so many devices one may be avoided
DOUBLINGS = 5  # of the time that one is avoided


@dataclass(slots=True)
class Avoided:
    _until_us: dict[str, int] = field(default_factory=dict)
    _times: dict[str, int] = field(default_factory=dict)  # device -> that it was avoided in a row

    @property
    def devices(self) -> Set[str]:
        return self._until_us.keys()

    def follow(self, view: View) -> None:
        """Those whose time is over are tried again; whatever comes back is another."""
        for uri in tuple(self._until_us):
            if self._until_us[uri] <= view.now_us:
                del self._until_us[uri]
        for uri in [uri for uri in self._times if not view.devices[uri].up]:
            self.is_well(uri)

    def add(self, view: View, uri: str, first_s: int) -> bool:
        """For so long, the first time. False if it may not be avoided."""
        if uri not in self._until_us and not self._may(view, uri):
            return False
        times = self._times[uri] = self._times.get(uri, 0) + 1
        self._until_us[uri] = view.now_us + (first_s * S << min(times - 1, DOUBLINGS))
        return True

    def is_well(self, uri: str) -> None:
        self._until_us.pop(uri, None)
        self._times.pop(uri, None)

    def take(self, this: Round) -> None:
        """What is free of them is for nobody."""
        if not self._until_us:
            return
        waiting = (this.books.entries[number] for _, number in this.books.waiting.first_to_last())
        named = {uri for entry in waiting for uri in entry.spec.devices}
        for uri in self._until_us:
            if uri not in named:
                this.free.take(this.free.on(uri))

    def _may(self, view: View, uri: str) -> bool:
        kind = view.devices[uri].kind
        there = sum(device.up and device.kind == kind for device in view.devices.values())
        avoided = sum(view.devices[other].kind == kind for other in self._until_us)
        return (avoided + 1) * MOST <= max(there, MOST) and there > 1
