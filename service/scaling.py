"""As many replicas of a served model as its requests need, each a lease of the pool.

Every step the line is asked what came and how it went, and `scheduler.services.Service` how many
there are to be: the code that decides in simulations. What replicas do not hold the pool's policy
gives to others; a replica that is wanted again has its device by a deadline (`JobSpec.recall_us`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

from hal import Device
from hal.errors import DeviceFault, DeviceLost
from proxy.client import connect
from scheduler.errors import Infeasible, SchedulerError
from scheduler.live.pool import JobSpec, JobState, Pool, Tier
from scheduler.policies.served import Forecasting, Objective, Served
from scheduler.services import Service
from service.line import Line
from service.npu_model import RunnerModel
from service.tensors import TensorSpec

S = 1_000_000
FIRST_S = 600.0  # for the first replica to get a device
KEPT = 10_000  # recalls of which the times are remembered
GONE = (DeviceLost, DeviceFault)
MAX_RECALL_S = 3600.0  # a forecast of so far ahead looks at each step on the way
MAX_REST_S = 60.0  # between replicas that cannot serve
MAX_FAILED = 10  # of them in a row that are counted
JOIN_S = 60.0  # for a replica that is loading to notice that it is not wanted any more


@dataclass(frozen=True, slots=True)
class Scaling:
    """least, most  replicas
    objective    what they are to keep
    recall_s     a replica has its device so long after it was asked for
    step_s       between two decisions
    patience     steps that must agree before one is given back
    """

    least: int
    most: int
    objective: Objective
    recall_s: float = 5.0
    step_s: float = 1.0
    patience: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise Infeasible(
                f"{self.least} to {self.most} replicas: at least one replica, at most no fewer"
            )
        if not (0 < self.recall_s <= MAX_RECALL_S and self.step_s > 0):
            raise Infeasible(
                f"a replica has its device within {self.recall_s:g} s: above 0 s, and at most "
                f"{MAX_RECALL_S:g} s, as far as requests are forecast"
            )


@dataclass(frozen=True, slots=True)
class Face:
    """What is said of the model, whoever serves it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    platform: str
    withdrawn: str = ""


@dataclass(slots=True, eq=False)
class _Replica:
    """recalled  asked for while others served already; probed: a request is timed before it serves
    had       its device, at some time
    model     once it serves
    ready     it serves, or never will
    """

    number: int
    job: int
    recalled: bool = False
    probed: bool = False
    had: bool = False
    load_s: float = 0.0
    service_s: float = 0.0
    model: RunnerModel | None = None
    error: Exception | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Scaler:
    """Of one model. `spec`: of each replica's job; `load`: it, onto a device that was leased."""

    def __init__(
        self,
        pool: Pool,
        line: Line,
        spec: JobSpec,
        load: Callable[[Device], RunnerModel],
        scaling: Scaling,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises Infeasible."""
        self._pool, self._line, self._load, self._clock = pool, line, load, clock
        self.scaling = scaling
        unknown = Served(1.0, 1.0)  # until the first replica has told
        scaler = Forecasting(scaling.objective, 1, scaling.step_s, scaling.recall_s, unknown)
        self._service = Service(spec, scaler, least=scaling.least, most=scaling.most)
        self._service.spec = replace(spec, recall_us=round(scaling.recall_s * S))
        self._lock = threading.RLock()
        self._replicas: dict[int, _Replica] = {}
        self._last = 0
        self._recalls: deque[float] = deque(maxlen=KEPT)
        self._recalled = self._missed = 0
        self._trouble = ""
        self._failed = 0  # replicas in a row that were to serve, and could not
        self._rests_until_s = 0.0  # none is asked for meanwhile
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- life

    def start(self) -> Face:
        """Returns when the first replica serves. Raises what leasing and loading it raised."""
        first = self._begin(probed=True)
        if not first.ready.wait(FIRST_S) or first.model is None:
            self.close()
            raise first.error or SchedulerError(
                f"no device for the first replica of {self._service.spec.name!r} in {FIRST_S} s"
            )
        self._learn(first.load_s, first.service_s)
        for _ in range(self.scaling.least - 1):
            self._begin()
        self._thread = threading.Thread(target=self._run, name="scaler", daemon=True)
        self._thread.start()
        return Face(first.model.inputs, first.model.outputs, first.model.platform)

    def _learn(self, load_s: float, service_s: float) -> None:
        """What a start-up and a request take, as far as one of each tells."""
        scaling = self.scaling
        self._service.scaler = Forecasting(
            scaling.objective,
            1,
            scaling.step_s,
            scaling.recall_s + load_s,
            Served(service_s, service_s),
            scaling.patience,
            learned=0,
        )

    def close(self) -> None:
        """No more replicas are asked for, and those that do not serve yet are not waited for."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            left = [replica for replica in self._replicas.values() if replica.model is None]
        for replica in left:
            self._cancel(replica)
        for replica in left:
            if replica.thread is not None:
                replica.thread.join(JOIN_S)

    # ---- steps

    def _run(self) -> None:
        while not self._stopping.wait(self.scaling.step_s):
            try:
                self.step()
            except Exception as error:  # noqa: BLE001  # the pool is busy, or closes: it is told
                self._trouble = str(error)

    def step(self) -> None:
        """What came since the last one, and what follows from it."""
        with self._lock:
            halted = self._miss()
            numbers = {id(r.model): r.number for r in self._replicas.values() if r.model}
            serving = [numbers[id(m)] for m in self._line.models() if id(m) in numbers]
            seen = self._line.seen(self._clock(), len(self._service.replicas))
            more, gone = self._service.change(seen, serving)
            leaving = [self._replicas.pop(number) for number in gone]
            more = more if self._clock() >= self._rests_until_s else 0
        for replica in leaving:
            if replica.model is not None:
                self._line.leave(replica.model)
            else:
                self._cancel(replica)
        for replica in halted:
            self._cancel(replica)
        for _ in range(more):
            self._begin(recalled=True)

    def _miss(self) -> list[_Replica]:
        """Those whose lease has ended, by a lost device or by somebody's wish: others are asked
        for if they are wanted. Those that stand halted while another serves, likewise, lest what
        they were asked waits for a device: they are returned, to be cancelled."""
        jobs = {r: self._pool.job(r.job) for r in self._replicas.values() if r.model is not None}
        ended = [r for r, job in jobs.items() if job.terminal]
        halted = [r for r, job in jobs.items() if job.state == JobState.PREEMPTED]
        if len(ended) + len(halted) == len(jobs):
            halted = []  # nobody would take over
        for replica in (*ended, *halted):
            self._line.leave(replica.model)
            self._forget(replica)
        return halted

    def _forget(self, replica: _Replica) -> None:
        with self._lock:
            self._replicas.pop(replica.number, None)
            self._service.replicas.pop(replica.number, None)

    # ---- replicas

    def _begin(self, *, recalled: bool = False, probed: bool = False) -> _Replica:
        job = self._pool.submit(self._service.spec)
        with self._lock:
            self._last += 1
            replica = self._replicas[self._last] = _Replica(self._last, job, recalled, probed)
            self._service.replicas[replica.number] = None
            replica.thread = threading.Thread(
                target=self._bring_up, args=(replica,), name="replica start", daemon=True
            )
        replica.thread.start()
        return replica

    def _bring_up(self, replica: _Replica) -> None:
        try:
            with ExitStack() as stack:
                lease = stack.enter_context(self._pool.hold(replica.job))
                self._had(replica, lease.started_s, lease.submitted_s)
                begun_s = self._clock()
                device = connect(lease.device, root=self._pool.root, session=lease.session)
                model = self._load(device)
                stack.callback(model.close)
                replica.load_s = self._clock() - begun_s
                replica.service_s = self._probe(model) if replica.probed else 0.0
                with self._lock:
                    if replica.number not in self._replicas:
                        return  # it is not wanted any more
                    held = stack.pop_all()
                    stack.callback(held.close)  # if it may not join
                    self._line.join(model, lambda: self._close(replica, held), GONE)
                    stack.pop_all()
                    replica.model = model
                    self._failed = 0
        except Exception as error:  # noqa: BLE001  # it is told, and another is asked for
            replica.error = error
            self._could_not(replica, error)
        finally:
            replica.ready.set()

    def _could_not(self, replica: _Replica, error: Exception) -> None:
        """Serve. Another is asked for, after a while: each is one more job of the pool."""
        with self._lock:
            if replica.number in self._replicas:
                self._trouble = f"replica {replica.number}, job {replica.job}: {error}"
                rests_s = min(self.scaling.step_s * 2**self._failed, MAX_REST_S)
                self._rests_until_s = self._clock() + rests_s
                self._failed = min(self._failed + 1, MAX_FAILED)
            self._forget(replica)

    def _had(self, replica: _Replica, started_s: float | None, submitted_s: float) -> None:
        replica.had = True
        took_s = (started_s or submitted_s) - submitted_s
        with self._lock:
            if not replica.recalled:
                return
            self._recalls.append(took_s)
            self._recalled += 1
            self._missed += took_s > self.scaling.recall_s

    def _probe(self, model: RunnerModel) -> float:
        """Seconds of an inference, the second: the first may warm up."""
        zeros = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs}
        model.infer(zeros)
        begun_s = self._clock()
        model.infer(zeros)
        return max(self._clock() - begun_s, 1e-6)

    def _close(self, replica: _Replica, held: ExitStack) -> None:
        """On its thread: it serves no longer."""
        self._forget(replica)
        with suppress(*GONE, SchedulerError):  # of a lease that is gone
            held.close()

    def _cancel(self, replica: _Replica) -> None:
        with suppress(SchedulerError):  # it has ended
            self._pool.cancel(replica.job)

    # ---- what is told

    @property
    def jobs(self) -> tuple[int, ...]:
        with self._lock:
            return tuple(replica.job for replica in self._replicas.values())

    def shown(self) -> dict[str, Any]:
        """Plain values. Times in seconds; `lent`: slices of its kind of device that basic jobs
        hold now."""
        scaling, line = self.scaling, self._line
        with self._lock:
            recalls = sorted(self._recalls)
            replicas = tuple(self._replicas.values())
            wanted = len(self._service.replicas)
        kind = self._service.spec.device_kind
        return {
            "least": scaling.least,
            "most": scaling.most,
            "wanted": wanted,
            "starting": sum(r.had and r.model is None for r in replicas),
            "waiting": sum(not r.had for r in replicas),
            "jobs": [replica.job for replica in replicas],
            "objective_s": scaling.objective.first_s,
            "share_wanted": scaling.objective.share,
            "share": 1 - line.late / line.answered if line.answered else None,
            "recall_s": scaling.recall_s,
            "recalls": self._recalled,
            "recalls_missed": self._missed,
            "recall_median_s": median(recalls) if recalls else None,
            "recall_p99_s": recalls[len(recalls) * 99 // 100] if recalls else None,
            "lent": sum(
                len(job.slices)
                for job in self._pool.jobs()
                if job.tier == Tier.BASIC and job.device_kind == kind and not job.terminal
            ),
            "trouble": self._trouble,
        }
