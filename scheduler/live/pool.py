"""A pool of devices on this machine, to which tenants submit jobs: the front door.

    with Pool(root, ["opencl:0", "opencl:1"], state_dir) as pool:
        job = pool.submit(JobSpec("train", "ann", "basic", "opencl", argv=[...]))
        pool.wait(job, timeout_s=60)

One proxy server per device, one loop on a thread of its own, a journal of everything in
`state_dir/journal`, workers' output in `state_dir/logs`, checkpoints in `state_dir/store`. All
methods may be called from any thread.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from proxy.barrier import Barrier
from proxy.errors import ProxyError
from proxy.paths import write_atomically
from scheduler.core import events
from scheduler.core.commands import Release
from scheduler.core.jobs import JobState
from scheduler.core.machine import Machine
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec, Recovery, Tier
from scheduler.decider import describe
from scheduler.errors import (
    Busy,
    CannotDrain,
    Infeasible,
    NotALease,
    PoolClosed,
    SchedulerError,
    WaitExpired,
)
from scheduler.journal import Journal, read, replay
from scheduler.live.accounts import Accounts
from scheduler.live.board import Board, DeviceStatus, JobStatus
from scheduler.live.deciding import deciding
from scheduler.live.executor import LiveExecutor
from scheduler.live.feasible import check_feasible
from scheduler.live.fleet import Fleet, Host
from scheduler.live.recover import (
    Running,
    StateLock,
    alive_of,
    check_root,
    check_same,
    runs_of,
    unanswered,
    up_since,
)
from scheduler.live.removals import Removals, leaving
from scheduler.live.windows import Windows, WindowStatus
from scheduler.loop import Loop, reasons
from scheduler.policies.accounts import Account
from scheduler.policies.elastic import Elastic
from scheduler.policies.policy import Policy
from scheduler.policies.quotas import Quotas
from scheduler.policies.sharing import Sharing
from scheduler.policies.tiered import Tiered
from scheduler.timeline import Span

__all__ = ["DeviceStatus", "JobSpec", "JobState", "JobStatus", "Pool", "Recovery", "Span", "Tier"]

MAX_JOBS = 10_000  # not yet ended; beyond it, submitters are told to come back
ACCEPT_S = 30.0  # for the loop to take a submission up; it takes milliseconds
DRAIN_S = 600.0  # from the request until the device is removed
NOTICE_S = 120.0  # in a window, the same
LEASE_S = 3600.0  # how long `lease` waits for its device, if not told otherwise
TERMINAL = tuple(state for state in JobState if state.terminal)


class Pool:
    """slices    jobs that may share a device, by device URI or kind; 1 where it says nothing
    policy    a policy, or the name of one (policies.named); default: Tiered(min_run_s)
    hosts     of this machine, for jobs with needs (policy "sharing"): CPU in thousandths and memory
              in MiB for the jobs of each device, by device URI or kind; else an even part of it
    min_run_s  a started job is left alone this long by the default policy
    saves     with "elastic": running jobs are saved now and then, if their `recovery` is
              "checkpoint"; at first by what saves cost an earlier pool on this state_dir. Who
              brings a policy says it there (ElasticParams)
    stragglers  with "elastic": devices that jobs find slower than their peers are avoided
    quotas    with "elastic": of tenants (scheduler.quota_file reads them)"""

    def __init__(
        self,
        root: Path,
        devices: Sequence[str],
        state_dir: Path,
        *,
        slices: Mapping[str, int] | None = None,
        hosts: Mapping[str, Host] | None = None,
        policy: Policy | str | None = None,
        min_run_s: float = 0.0,
        saves: bool = False,
        stragglers: bool = False,
        quotas: Quotas | None = None,
        params: Params | None = None,
    ) -> None:
        """Raises Infeasible."""
        self.root = root
        self.state_dir = state_dir
        self._policy = deciding(
            policy,
            state_dir,
            min_run_s=min_run_s,
            saves=saves,
            stragglers=stragglers,
            quotas=quotas,
        )
        self._about = describe(self._policy, params or Params())
        self._machine = Machine(params)
        self._executor = LiveExecutor(root, state_dir, tag=f"p{os.urandom(4).hex()}")
        self._lock: StateLock | None = None
        self._fleet = Fleet(
            root,
            devices,
            slices or {},
            self._executor.crew.watcher,
            self._executor,
            self._executor.background,
            hosts,
        )
        self._executor.fleet = self._fleet
        self._board = Board(
            self._machine,
            self._executor.session_of,
            lambda job: str(self._executor.crew.log_of(job)),
            partial(reasons, self._machine, self._policy),
        )
        self._accounts = Accounts(self._machine, self._policy)
        self._removals = Removals(
            self._machine,
            self._board,
            self._fleet,
            self._executor.inbox,
            self._executor.background,
        )
        self._windows = Windows(
            self._machine,
            self._board,
            self._removals,
            self._executor.inbox,
            lambda done: self._await(done, ACCEPT_S),
        )
        self._journal: Journal | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._fault: BaseException | None = None
        self._submitting = threading.Lock()
        self._last_job = 0

    # ---- life

    def start(self) -> None:
        """Bring every server up, or go on from where a pool on this state_dir was killed. Raises
        ServerGone, with the server's log, and then none is; StateInUse, StateDiffers."""
        assert self._thread is None, "a pool is started once"
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._lock = StateLock(self.state_dir)
        try:
            before = Running.read(self.state_dir)
            journal = self._begin() if before is None else self._take_over(before)
        except BaseException:
            self._executor.leave()
            self._lock.release()
            raise
        self._journal = journal
        recorders = (journal, self._accounts, self._windows, self._board, self._removals)
        loop = Loop(self._machine, self._policy, self._executor, recorders)
        self._thread = threading.Thread(
            target=self._run, args=(loop,), name="scheduler", daemon=True
        )
        self._thread.start()
        if isinstance(self._policy, Elastic) and self._policy.params.stragglers:
            self._executor.paces.start()
        try:
            self._await(lambda: len(self._board.devices()) >= len(self._fleet.infos), ACCEPT_S)
        except PoolClosed:  # the policy's first plan was none
            if before is None:
                self.close()  # or the servers would be left behind
            raise

    def _begin(self) -> Journal:
        path = self._free_journal_path()
        executor = self._executor
        Running.of(self.root, executor.tag, path, executor.inbox.began_ns).write(self.state_dir)
        try:
            self._fleet.start()
        except ProxyError:
            Running.forget(self.state_dir)
            raise
        return Journal(path, about=self._about)

    def _take_over(self, before: Running) -> Journal:
        """See scheduler.live.recover."""
        check_root(before, self.root, self.state_dir)
        Barrier.call_off_all(self.root)
        path = self.state_dir / "journal" / before.journal
        journal = Journal(path, about=self._about)  # cuts a torn tail off
        contents = read(path)
        slices = self._fleet.slices
        check_same(contents.header, contents.steps, self._about, slices, self.state_dir)
        replay(contents.steps, self._machine, self._policy)
        executor, machine = self._executor, self._machine
        executor.tag = before.tag
        began_ns = before.began_ns if before.same_boot else time.monotonic_ns()
        executor.inbox.go_on_from(began_ns, machine.now_us)
        began_ns = executor.inbox.began_ns
        Running.of(self.root, before.tag, path, began_ns).write(self.state_dir)
        self._last_job = max(machine.jobs, default=0)
        self._accounts.look()
        self._windows.recall(contents.steps)
        self._board.recall(contents.steps)
        up = up_since(contents.steps)
        since_ns = {uri: began_ns + 1000 * at_us for uri, at_us in up.items()}
        self._fleet.take_over(since_ns, leaving(contents.steps))
        ended = executor.recall(alive_of(machine, runs_of(contents.steps, before.tag)), machine)
        for command in unanswered(machine):
            if isinstance(command, Release) or command.job not in ended:
                executor.execute(command)
        executor.inbox.wake()
        return journal

    def close(self) -> None:
        """Stop the loop, end every worker, stop every server. Idempotent."""
        self._stopping.set()
        if self._thread is None:
            self._executor.leave()  # it never ran
            return
        self._executor.inbox.wake()
        self._thread.join()
        self._removals.close()
        self._windows.close()
        self._executor.paces.close()
        self._executor.end_workers()
        self._fleet.close()
        self._executor.close()
        if self._journal is not None:
            self._journal.close()
        costs = self._machine.view().halting.to_json(live=True)
        measured = json.dumps(costs, indent=1).encode()
        write_atomically(self.state_dir / "costs.json", measured)
        Running.forget(self.state_dir)
        if self._lock is not None:
            self._lock.release()
        with self._board.changed:
            self._board.changed.notify_all()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, loop: Loop) -> None:
        try:
            loop.run(self._stopping.is_set)
        except BaseException as error:  # told to whoever asks next; nothing goes on without it
            self._fault = error
            raise
        finally:
            with self._board.changed:
                self._board.changed.notify_all()

    def _free_journal_path(self) -> Path:
        """A pool that was not killed has a journal of its own: its machine begins empty."""
        folder = self.state_dir / "journal"
        folder.mkdir(exist_ok=True)
        newest = max((int(path.stem) for path in folder.glob("[0-9]*.jsonl")), default=0)
        return folder / f"{newest + 1:06d}.jsonl"

    # ---- jobs

    def submit(self, spec: JobSpec) -> int:
        """The job's id. Raises Infeasible, Busy."""
        self._check_open()
        parts = {uri: info.part for uri, info in self._fleet.infos.items()}
        is_elastic = isinstance(self._policy, Elastic)
        hosts = self._fleet.hosts if isinstance(self._policy, Sharing) else None
        check_feasible(spec, self._fleet.slices, parts, is_elastic, self._accounts.quotas, hosts)
        if spec.recall_us and not isinstance(self._policy, Elastic | Tiered):
            raise Infeasible(
                f"job {spec.name!r} is to have its device by a time, and this pool's policy, "
                f"{type(self._policy).__name__}, recalls nothing: give the pool elastic or tiered"
            )
        with self._submitting:
            if self._board.alive_count() >= MAX_JOBS:
                raise Busy(f"{MAX_JOBS} jobs have not ended yet; try again later")
            job = self._last_job + 1
            self._executor.inbox.post_bounded(lambda at: events.JobSubmitted(at, job, spec))
            self._last_job = job
        self._await(lambda: self._board.has(job), ACCEPT_S)
        return job

    def job(self, job_id: int) -> JobStatus:
        return self._board.job(job_id)

    def jobs(self) -> tuple[JobStatus, ...]:
        return self._board.jobs()

    def cancel(self, job_id: int) -> None:
        """End the job, whatever it does; a job that has ended stays as it is."""
        self._check_open()
        self._board.job(job_id)
        self._executor.inbox.post_bounded(lambda at: events.CancelRequested(at, job_id))
        self._await(lambda: self._board.job(job_id).terminal, ACCEPT_S)

    def wait(self, job_id: int, timeout_s: float, states: Sequence[str] = TERMINAL) -> JobStatus:
        """Until the job is in one of `states`, or has ended. Raises WaitExpired."""
        wanted = {*states, *TERMINAL}
        if not self._await(lambda: self._board.job(job_id).state in wanted, timeout_s):
            status = self._board.job(job_id)
            raise WaitExpired(
                f"job {job_id} is {status.state} after {timeout_s} s; waited for "
                f"{', '.join(sorted(states))}. It waits for: {status.waiting or 'nothing'}"
            )
        return self._board.job(job_id)

    def finish(self, job_id: int, exit_code: int = 0, message: str = "") -> None:
        """The holder of a lease gives it back. Raises NotALease."""
        self._check_open()
        self._board.job(job_id)
        self._executor.finish_lease(job_id, exit_code, message)
        self._await(lambda: self._board.job(job_id).terminal, ACCEPT_S)

    @contextmanager
    def lease(self, spec: JobSpec, timeout_s: float = LEASE_S) -> Iterator[JobStatus]:
        """Submit a lease, wait until it is granted, give it back at the end. While it is held,
        it may be suspended and moved, which the holder does not notice."""
        if spec.argv is not None:
            raise NotALease(f"job {spec.name!r} runs a process; a lease has argv=None")
        with self.hold(self.submit(spec), timeout_s) as status:
            yield status

    @contextmanager
    def hold(self, job_id: int, timeout_s: float = LEASE_S) -> Iterator[JobStatus]:
        """The same of a lease that was submitted."""
        try:
            status = self.wait(job_id, timeout_s, (JobState.RUNNING,))
            if status.state != JobState.RUNNING:
                raise SchedulerError(f"lease {job_id} ended as {status.state}: {status.reason}")
            yield status
        except BaseException as error:
            self._end_lease(job_id, 1, f"{type(error).__name__}: {error}")
            raise
        self._end_lease(job_id, 0, "")

    def worker_pid(self, job_id: int, rank: int = 0) -> int | None:
        """Process id of the job's worker of that rank, while it has one."""
        return self._executor.worker_pid(job_id, rank)

    def quotas(self) -> tuple[Account, ...]:
        """Who owns, uses and owes what; empty without quotas."""
        return self._accounts.all()

    # ---- devices

    def devices(self) -> tuple[DeviceStatus, ...]:
        return self._board.devices()

    def drain(self, device: str, deadline_s: float = DRAIN_S) -> DeviceStatus:
        """The device is to be removed: nothing new is placed there, what runs there moves, and its
        server is stopped once that is done; at the latest after `deadline_s`, when whoever is
        still there is lost with it. Returns at once. Raises UnknownDevice, CannotDrain."""
        self._check_moves(device, Elastic, Sharing)
        if self._windows.has(device):
            raise CannotDrain(f"{device} is in a window of maintenance, which drains it in turn")
        self._removals.drain(device, deadline_s, lambda done: self._await(done, ACCEPT_S))
        return self._board.device(device)

    def cancel_drain(self, device: str) -> DeviceStatus:
        """The device stays; if its server was stopped already, it is started again. Raises
        UnknownDevice, CannotDrain."""
        self._check_open()
        if not self._windows.take_out(device):
            self._removals.cancel(device, lambda done: self._await(done, ACCEPT_S))
        return self._board.device(device)

    def maintain(
        self, devices: Sequence[str], within_s: float, lasts_s: float, notice_s: float = NOTICE_S
    ) -> WindowStatus | None:
        """Each of the devices is out once within that time: drained for at most `notice_s`, removed
        for `lasts_s` or until its drain is cancelled, brought back. Which goes when is chosen so
        that what was promised is kept. Returns at once. Raises UnknownDevice, CannotDrain, Busy."""
        self._check_moves(", ".join(devices), Elastic)
        self._windows.open(devices, within_s, lasts_s, notice_s)
        return self.window()

    def window(self) -> WindowStatus | None:
        """The window that is open, or was last; None: there was none."""
        return self._windows.status()

    def _check_moves(self, device: str, *able: type[Policy]) -> None:
        self._check_open()
        if not isinstance(self._policy, able):
            names = " or ".join(each.__name__.lower() for each in able)
            raise CannotDrain(
                f"{device} cannot be drained: this pool's policy, "
                f"{type(self._policy).__name__}, moves nobody; give the pool the policy {names}"
            )

    def server_pid(self, device: str) -> int:
        """Process id of a device's server."""
        return self._fleet.pid(device)

    def now_s(self) -> float:
        """Seconds since the pool was made; a pool that took over counts on."""
        return self._executor.inbox.now_us() / 1e6

    def timeline(self) -> tuple[Span, ...]:
        """What each device did for whom, so far. Seconds since the pool was made."""
        spans = self._board.spans(self._executor.inbox.now_us())
        seen = self._executor.reconfigured()
        return tuple(sorted((*spans, *seen), key=lambda span: (span.start_s, span.device)))

    # ---- inner

    def _end_lease(self, job_id: int, exit_code: int, message: str) -> None:
        if self._thread is None or self._board.job(job_id).terminal:
            return
        if self._board.job(job_id).epoch:
            self.finish(job_id, exit_code, message)
        else:
            self.cancel(job_id)  # it was never granted

    def _check_open(self) -> None:
        if self._fault is not None:
            raise PoolClosed(f"the scheduler stopped by a fault: {self._fault!r}") from self._fault
        if self._thread is None or self._stopping.is_set():
            raise PoolClosed("the pool is not running; start it, or make another")

    def _await(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Until `done`, False when the time is over. Raises PoolClosed."""
        give_up = time.monotonic() + timeout_s
        with self._board.changed:
            while not done():
                self._check_open()
                left = give_up - time.monotonic()
                if left <= 0:
                    return False
                self._board.changed.wait(left)
        return True
