"""Which waiting request an FPGA takes next, when each wants an overlay and loading one takes time.

`Affinity`: the oldest request for the overlay that is loaded, while there is one and nobody is
overdue. An overlay stays for `stay_s` if it has requests, however overdue others are, so that
loading takes a bounded part of the time. So several models take turns on one FPGA, and over
several FPGAs requests keep to those that hold their overlay. `Blind`: first come, first served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scheduler.errors import Infeasible


@dataclass(frozen=True, slots=True)
class Task:
    """A request for so long on an FPGA that holds `overlay`."""

    at_s: float
    overlay: str
    run_s: float


Waiting = Mapping[str, deque[Task]]  # by overlay, each in order of arrival, none empty


class Choice(Protocol):
    def overlay(
        self, now_s: float, waiting: Waiting, loaded: str, since_s: float, others: Sequence[str]
    ) -> str | None:
        """Whose oldest request an idle FPGA that holds `loaded` takes; None leaves it idle.
        since_s: when that was loaded; others: what the other FPGAs hold."""
        ...


class Blind:
    def overlay(
        self, now_s: float, waiting: Waiting, loaded: str, since_s: float, others: Sequence[str]
    ) -> str | None:
        return _oldest(waiting, waiting)


class Affinity:
    def __init__(self, patience_s: float, stay_s: float) -> None:
        if not (patience_s >= 0 and stay_s >= 0):
            raise Infeasible(f"patience {patience_s} s or stay {stay_s} s is below 0")
        self.patience_s, self.stay_s = patience_s, stay_s

    def overlay(
        self, now_s: float, waiting: Waiting, loaded: str, since_s: float, others: Sequence[str]
    ) -> str | None:
        oldest = _oldest(waiting, waiting)
        if oldest is None:
            return None
        overdue = now_s - waiting[oldest][0].at_s > self.patience_s
        if loaded in waiting and not (overdue and now_s - since_s >= self.stay_s):
            return loaded
        if overdue:
            return oldest
        # What another FPGA holds can wait for that one.
        return _oldest(waiting, [name for name in waiting if name not in others])


def _oldest(waiting: Waiting, among: Sequence[str] | Waiting) -> str | None:
    return min(among, key=lambda name: (waiting[name][0].at_s, name), default=None)
