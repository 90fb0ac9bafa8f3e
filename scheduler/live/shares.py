"""A slice is a share of its device, and a seat one of a slice: whoever has one, be it one rank or
many, gets as much of the device as that says.

Servers divide a device's time by the weights of sessions. Ranks of a gang that share a slice share
its weight, so on a device of several slices, or of seats, weights are set whenever somebody comes,
moves or leaves. A seat bounds the device's memory, too, where the server can.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from proxy.control import Control
from proxy.fabric import MAX_WEIGHT
from scheduler.core.values import FULL_MILLI, Slice
from scheduler.live.gang import Run, rank_session
from scheduler.live.sessions import ERRORS, connected_files

CLOSE = 0.01  # what a weight may be off, of what it should be: smaller weights take shorter turns


def weights(
    places: Mapping[str, Slice], shares: Mapping[Slice, int] | None = None
) -> dict[str, int]:
    """Of sessions on one device: such that each slice has the same, or what `shares` says in
    thousandths of it; whole and as small as can be."""
    on = Counter(places.values())
    exact = {
        session: Fraction((shares or {}).get(item, FULL_MILLI), on[item])
        for session, item in places.items()
    }
    if not exact:
        return {}
    whole = math.lcm(*(share.denominator for share in exact.values()))
    parts = [int(share * whole) for share in exact.values()]
    largest = max(parts) // math.gcd(*parts)
    best: tuple[float, int] | None = None
    for top in range(1, min(largest, MAX_WEIGHT) + 1):
        off = max(
            abs(_scaled(share, exact, top) / _due(share, exact, top) - 1)
            for share in exact.values()
        )
        if best is None or off < best[0]:
            best = off, top
        if off <= CLOSE:
            break
    assert best is not None
    return {session: _scaled(share, exact, best[1]) for session, share in exact.items()}


def _due(share: Fraction, exact: Mapping[str, Fraction], top: int) -> float:
    return float(share * top / max(exact.values()))


def _scaled(share: Fraction, exact: Mapping[str, Fraction], top: int) -> int:
    return max(1, round(_due(share, exact, top)))


class Shares:
    """`is_shared`: devices of several slices. `memory_bytes`: of a slice of a device."""

    def __init__(
        self, root: Path, is_shared: Callable[[str], bool], memory_bytes: Callable[[str], int]
    ) -> None:
        self._root = root
        self._is_shared = is_shared
        self._memory_bytes = memory_bytes
        self._places: dict[int, dict[str, Slice]] = {}
        self._milli: dict[Slice, int] = {}  # of seats
        self._weights: dict[str, int] = {}  # of ranks' sessions, as they were set; 1 at first
        self._lock = threading.Lock()  # of these; not held while a server is asked
        self._asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by device

    def enter(self, run: Run, anew: bool = False) -> None:
        """It runs where its ranks are now. `anew`: nobody knows what was set."""
        with self._lock:
            before = self._places.get(run.job, {})
            now = {rank_session(run.session, rank.number): rank.at for rank in run.ranks if rank.at}
            self._places[run.job] = now
            if run.spec.needs is not None:
                self._milli.update(dict.fromkeys(now.values(), run.spec.needs.share_milli))
            for session in now:
                self._weights[session] = 0 if anew else self._weights.get(session, 1)
        if run.spec.needs is not None:
            for session, item in now.items():
                self._bound(item, session, run.spec.needs.share_milli)
        self._settle({item.device for item in (*before.values(), *now.values())})

    def leave(self, run: Run) -> None:
        """It has no slices any more. Idempotent."""
        with self._lock:
            before = self._places.pop(run.job, {})
            for session, item in before.items():
                self._weights.pop(session, None)
                self._milli.pop(item, None)
        self._settle({item.device for item in before.values()})

    def _settle(self, devices: set[str]) -> None:
        """Whoever asks a device last knows best: of a server that hangs only those wait who want
        something of that one."""
        for device in sorted(devices):
            with self._lock:
                asking = self._asking[device]
            with asking:
                for session, weight in self._due_on(device).items():
                    self._weigh(device, session, weight)

    def _due_on(self, device: str) -> dict[str, int]:
        """Weights that are not set yet."""
        with self._lock:
            there = {
                session: item
                for places in self._places.values()
                for session, item in places.items()
                if item.device == device
            }
            if not (self._is_shared(device) or any(item.seat for item in there.values())):
                return {}
            due = weights(there, self._milli)
            return {s: weight for s, weight in due.items() if self._weights[s] != weight}

    def _weigh(self, device: str, rank: str, weight: int) -> None:
        """One that is not connected, or whose server has just died, is left until the next time
        that somebody comes or goes."""
        with suppress(*ERRORS):
            for session in connected_files(self._root, device, rank):
                Control(self._root, device).weigh(session, weight)
                with self._lock:
                    if rank in self._weights:  # it has not left meanwhile
                        self._weights[rank] = weight

    def _bound(self, item: Slice, rank: str, share_milli: int) -> None:
        """Servers that count no session's memory bound none."""
        nbytes = self._memory_bytes(item.device) * share_milli // FULL_MILLI
        with suppress(*ERRORS):  # Unsupported, too
            for session in connected_files(self._root, item.device, rank):
                Control(self._root, item.device).bound(session, nbytes)
