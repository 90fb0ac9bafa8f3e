"""How fast live jobs work on each of their devices: commands done by the time that the device was
at them, as its server counts both; where it counts cycles, those, as a kernel may take long. A rank
that waits for others, or for another session's turn, costs its device no time, so ranks that do the
same work tell which of their devices is slow.

Of a simulated FPGA the time is that of the machine that simulates it. The cycles of a real one come
at its clock's rate: it tells of itself that it stopped, not that it is slow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.control import Control
from scheduler.core import events
from scheduler.live.gang import Run, rank_session
from scheduler.live.inbox import Inbox
from scheduler.live.sessions import ERRORS, is_of

PERIOD_S = 30.0
ENOUGH_NS = 20_000_000  # of a device's time, for a measurement to mean anything


@dataclass(frozen=True, slots=True)
class Count:
    commands: int
    cycles: int
    device_ns: int


Counts = dict[str, dict[str, Count]]  # device -> session


class Paces:
    """A thread that measures now and then. `runs`: of all jobs; `up`: devices that are served."""

    def __init__(
        self,
        root: Path,
        inbox: Inbox,
        runs: Callable[[], Iterable[Run]],
        up: Callable[[], list[str]],
    ) -> None:
        self._root = root
        self._inbox = inbox
        self._runs = runs
        self._up = up
        self._before: Counts = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._measure_on, name="paces", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _measure_on(self) -> None:
        try:
            while not self._stopping.wait(PERIOD_S):
                self._measure()
        except BaseException as fault:  # a fault of the program ends the loop
            self._inbox.fail(fault)
            raise

    def _measure(self) -> None:
        now = {uri: self._counts(uri) for uri in self._up()}
        for run in self._runs():
            epoch = run.epoch
            if run.busy or not run.session:
                continue
            if paces := tuple(self._of(run, now).items()):
                self._tell(run.job, epoch, paces)
        self._before = {uri: _since(self._before.get(uri, {}), found) for uri, found in now.items()}

    def _tell(self, job: int, epoch: int, paces: tuple[tuple[str, int], ...]) -> None:
        self._inbox.post(lambda at: events.PaceMeasured(at, job, epoch, paces))

    def _counts(self, uri: str) -> dict[str, Count]:
        with suppress(*ERRORS):  # it has just died
            sessions = Control(self._root, uri).status().sessions
            return {
                each.name: Count(each.retired, each.cycles, each.device_ns) for each in sessions
            }
        return {}

    def _of(self, run: Run, now: Counts) -> dict[str, int]:
        """Commands or cycles a second of each device, since the time before."""
        done: dict[str, int] = {}
        took_ns: dict[str, int] = {}
        for rank in run.ranks:
            name, uri = rank_session(run.session, rank.number), rank.device
            before = self._before.get(uri, {})
            for session, count in now.get(uri, {}).items():
                was = before.get(session)
                if was is None or not is_of(name, session) or count.device_ns < was.device_ns:
                    continue  # it has just come, perhaps back
                cycles, commands = count.cycles - was.cycles, count.commands - was.commands
                done[uri] = done.get(uri, 0) + (cycles if count.cycles else commands)
                took_ns[uri] = took_ns.get(uri, 0) + count.device_ns - was.device_ns
        return {
            uri: max(1, done[uri] * 1_000_000_000 // ns)
            for uri, ns in took_ns.items()
            if ns >= ENOUGH_NS and done[uri] > 0
        }


def _since(before: dict[str, Count], now: dict[str, Count]) -> dict[str, Count]:
    """From when the next measurement counts: of a session in which nothing got done, from before:
    what it is at takes longer than a period."""

    def is_at_it(name: str, count: Count) -> bool:
        was = before.get(name)
        return was is not None and (was.commands, was.cycles) == (count.commands, count.cycles)

    return {name: before[name] if is_at_it(name, count) else count for name, count in now.items()}
