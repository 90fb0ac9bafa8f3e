"""Requests for one model in one queue, in front of the threads of its replicas.

Whoever is free takes the oldest request that may begin. So a replica more helps those that wait
already, and one less loses none of them; no queue stands before a busy replica while another is
idle. Requests of one `lane` (a session) follow one another, on whatever replicas.
"""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hal.errors import Busy
from scheduler.policies.served import SERVICES, Seen, Served
from service.errors import NotFound

MAX_TRIES = 2  # of a request whose replicas went while it ran


Work = Callable[[Any], Any]  # from a replica's model to the answer


@dataclass(slots=True, eq=False)
class _Request:
    number: int
    work: Work
    lane: Hashable
    arrived_s: float
    future: Future[Any] = field(default_factory=Future)
    tries: int = 0

    def __lt__(self, other: _Request) -> bool:
        return self.number < other.number


@dataclass(slots=True, eq=False)
class _Replica:
    model: Any
    close: Callable[[], None]
    gone: tuple[type[Exception], ...]
    thread: threading.Thread | None = None
    busy: bool = False
    leaving: bool = False


class Line:
    """limit     requests that may wait or run at once; one more is refused, never parked
    within_s  an answer that takes longer, its wait included, is late
    """

    def __init__(
        self,
        what: str,
        limit: int,
        within_s: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pending = 0
        self.total = self.answered = self.late = 0
        self._what, self._limit, self._within_s, self._clock = what, limit, within_s, clock
        self._news = threading.Condition(threading.RLock())
        self._ready: list[_Request] = []  # rising: those that may begin
        self._lanes: dict[Hashable, deque[_Request]] = {}  # behind one that is ready or runs
        self._replicas: list[_Replica] = []
        self._closed = False
        self._faults: list[Exception] = []  # of models that could not be closed
        self._arrived = 0  # since `seen`
        self._ended: deque[Served] = deque(maxlen=SERVICES)

    # ---- requests

    async def take(self, work: Work, lane: Hashable = None) -> Any:
        """What `work` returns of a replica's model, once it was its turn. Raises Busy, NotFound,
        what `work` raises."""
        with self._news:
            self._check_open()
            self.total += 1
            self._arrived += 1
            if self.pending >= self._limit:
                self._count(late=True)
                raise Busy(
                    f"{self._what}: {self.pending} calls are waiting or running and no more may; "
                    "retry later, or serve it on another device too"
                )
            self.pending += 1
            request = _Request(self.total, work, lane, self._clock())
            request.future.add_done_callback(lambda _: self._done(request))
            if lane is None or lane not in self._lanes:
                self._make_ready(request)
            else:
                self._lanes[lane].append(request)
        return await asyncio.wrap_future(request.future)

    def _make_ready(self, request: _Request) -> None:
        if request.lane is not None:
            self._lanes.setdefault(request.lane, deque())
        insort(self._ready, request)
        self._news.notify()

    def _done(self, request: _Request) -> None:
        """Answered, failed, or cancelled while it waited: then it is never begun."""
        with self._news:
            self.pending -= 1
            lane = self._lanes.get(request.lane)
            if lane is not None and request in lane:
                lane.remove(request)
                return
            if request in self._ready:
                self._ready.remove(request)
            if lane:
                self._make_ready(lane.popleft())
            elif lane is not None:
                del self._lanes[request.lane]

    def _count(self, late: bool) -> None:
        self.answered += 1
        self.late += late

    def _check_open(self) -> None:
        if self._closed:
            raise NotFound(f"{self._what} is closed; serve it anew")

    # ---- replicas

    def join(
        self, model: Any, close: Callable[[], None], gone: tuple[type[Exception], ...] = ()
    ) -> None:
        """One more serves, on a thread of its own, which calls `close` in the end. `gone`: errors
        by which it leaves; what it was at is done again by another."""
        with self._news:
            self._check_open()
            replica = _Replica(model, close, gone)
            thread = threading.Thread(target=self._serve, args=(replica,), name="replica")
            thread.daemon = True
            replica.thread = thread
            self._replicas.append(replica)
        thread.start()

    def leave(self, model: Any) -> None:
        """It finishes what it runs, and then closes. Returns at once."""
        with self._news:
            for replica in self._replicas:
                if replica.model is model:
                    replica.leaving = True
            self._news.notify_all()

    def models(self) -> list[Any]:
        """Of the replicas that serve, idle ones first; of those, the newest."""
        with self._news:
            there = [replica for replica in reversed(self._replicas) if not replica.leaving]
            return [replica.model for replica in sorted(there, key=lambda r: r.busy)]

    def close(self) -> None:
        """What runs is finished, what waits is refused, the models are closed. Blocks until then.
        Idempotent."""
        with self._news:
            self._closed = True
            threads = [replica.thread for replica in self._replicas if replica.thread]
            waiting = [*self._ready, *(each for lane in self._lanes.values() for each in lane)]
            self._news.notify_all()
        for request in waiting:
            if request.tries or request.future.set_running_or_notify_cancel():
                request.future.set_exception(NotFound(f"{self._what} is closed; serve it anew"))
        for thread in threads:
            thread.join()
        if self._faults:
            raise self._faults.pop()

    def _serve(self, replica: _Replica) -> None:
        try:
            while request := self._next(replica):
                self._run(replica, request)
        finally:
            with self._news:
                self._replicas.remove(replica)
            try:
                replica.close()
            except Exception as error:  # noqa: BLE001  # raised where the line is closed
                self._faults.append(error)

    def _next(self, replica: _Replica) -> _Request | None:
        with self._news:
            replica.busy = False
            while not replica.leaving and not self._closed:
                while self._ready:
                    request = self._ready.pop(0)
                    if request.tries or request.future.set_running_or_notify_cancel():
                        replica.busy = True
                        return request
                self._news.wait()
        return None

    def _run(self, replica: _Replica, request: _Request) -> None:
        began_s = self._clock()
        answer, error = None, None
        try:
            answer = request.work(replica.model)
        except BaseException as raised:  # noqa: BLE001  # its caller's
            error = raised
            if isinstance(raised, replica.gone):
                replica.leaving = True
                request.tries += 1
                if request.tries < MAX_TRIES and self._again(request):
                    return
        ended_s = self._clock()
        with self._news:
            self._count(late=error is not None or ended_s - request.arrived_s > self._within_s)
            if error is None:
                self._ended.append(Served(ended_s - began_s, ended_s - began_s))
        if error is None:
            request.future.set_result(answer)
        else:
            request.future.set_exception(error)

    def _again(self, request: _Request) -> bool:
        """It is the oldest still, of its lane as well."""
        with self._news:
            if self._closed:
                return False
            insort(self._ready, request)
            self._news.notify()
            return True

    # ---- what an autoscaler is told

    def seen(self, at_s: float, replicas: int) -> Seen:
        """Of the time since it was last asked."""
        with self._news:
            running = sum(replica.busy for replica in self._replicas)
            found = Seen(
                at_s,
                self._arrived,
                tuple(self._ended),
                max(0, self.pending - running),
                self.answered,
                self.late,
                replicas,
            )
            self._arrived = 0
            self._ended.clear()
            return found
