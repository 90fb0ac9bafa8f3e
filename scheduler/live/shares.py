"""A slice is a share of its device: whoever has one, be it one rank or many, gets as much of it.

Servers divide a device by the weights of sessions. Ranks of a gang that share a slice share its
weight, so on a device of several slices weights are set whenever somebody comes, moves or leaves.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from proxy.control import Control
from proxy.fabric import MAX_WEIGHT
from scheduler.core.values import Slice
from scheduler.live.gang import Run, rank_session
from scheduler.live.sessions import ERRORS, connected_files


def weights(places: Mapping[str, Slice]) -> dict[str, int]:
    """Of sessions on one device: such that slices have the same, whole and as small as can be."""
    on = Counter(places.values())
    parts = math.lcm(*on.values())
    exact = {session: parts / on[item] for session, item in places.items()}
    scale = min(1.0, MAX_WEIGHT / max(exact.values(), default=1))
    return {session: max(1, round(weight * scale)) for session, weight in exact.items()}


class Shares:
    """`is_shared`: devices of several slices."""

    def __init__(self, root: Path, is_shared: Callable[[str], bool]) -> None:
        self._root = root
        self._is_shared = is_shared
        self._places: dict[int, dict[str, Slice]] = {}
        self._weights: dict[str, int] = {}  # of ranks' sessions, as they were set; 1 at first
        self._lock = threading.Lock()

    def enter(self, run: Run, anew: bool = False) -> None:
        """It runs where its ranks are now. `anew`: nobody knows what was set."""
        with self._lock:
            before = self._places.get(run.job, {})
            now = {rank_session(run.session, rank.number): rank.at for rank in run.ranks if rank.at}
            self._places[run.job] = now
            if anew:
                self._weights.update(dict.fromkeys(now, 0))
            self._settle({item.device for item in (*before.values(), *now.values())})

    def leave(self, run: Run) -> None:
        """It has no slices any more. Idempotent."""
        with self._lock:
            before = self._places.pop(run.job, {})
            for session in before:
                self._weights.pop(session, None)
            self._settle({item.device for item in before.values()})

    def _settle(self, devices: set[str]) -> None:
        for device in filter(self._is_shared, sorted(devices)):
            there = {
                session: item
                for places in self._places.values()
                for session, item in places.items()
                if item.device == device
            }
            for session, weight in weights(there).items():
                if self._weights.get(session, 1) != weight:
                    self._weigh(device, session, weight)

    def _weigh(self, device: str, rank: str, weight: int) -> None:
        """One that is not connected, or whose server has just died, is left until the next time
        that somebody comes or goes."""
        with suppress(*ERRORS):
            for session in connected_files(self._root, device, rank):
                Control(self._root, device).weigh(session, weight)
                self._weights[rank] = weight
