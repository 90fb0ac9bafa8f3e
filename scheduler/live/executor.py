"""The executor of the live pool: commands become process starts and control calls to proxies.

Everything slow (starting, suspending, resuming, ending) runs on a bounded set of threads, never on
the loop's. The commands of one job run in the order given, those of different jobs side by side.
Results come back as events, through the inbox.

A job is *started* when its worker is connected to its device: only then can it be halted. A lease
has no worker process: its holder connects when it likes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hal.errors import HalError
from proxy import checkpoint
from proxy.errors import ProxyError
from proxy.paths import ServerPaths
from proxy.store import Store
from proxy.store.garbage import collect
from scheduler.core import events
from scheduler.core.commands import Checkpoint, Command, Release, Save, Start, WakeAt
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.values import JobSpec
from scheduler.errors import HalfSuspended, Infeasible, NotALease, SchedulerError
from scheduler.live import sessions
from scheduler.live.fleet import Fleet
from scheduler.live.inbox import Inbox
from scheduler.live.watch import Watcher
from scheduler.live.worker import Record, Worker, exit_code_of, tail_of

MAX_THREADS = 32  # slow operations under way; each waits for a server or a process
CONNECT_S = 60.0  # for a worker to connect; then it counts as started, since it may not need to
LOOK_S = 0.005  # between two looks for its session
OPERATION_ERRORS = (HalError, ProxyError, SchedulerError, OSError)


@dataclass(slots=True, eq=False)
class Run:
    """What the executor knows of one job. `lock` guards `todo`, `busy`, `worker`, `exit`."""

    job: int
    spec: JobSpec
    epoch: int  # of the newest Start
    released_epoch: int = 0  # of the newest Release: whoever waits for older ones may stop
    todo: deque[Command] = field(default_factory=deque)
    busy: bool = False  # a thread works `todo` off
    session: str = ""
    device: str = ""
    checkpoint: str = ""
    worker: Worker | None = None
    exit: tuple[int, str] | None = None  # code and last words, when it ended by itself
    lock: threading.Lock = field(default_factory=threading.Lock)


class LiveExecutor:
    """See the module. `tag` makes session names unique under a root that others use too."""

    def __init__(self, root: Path, state_dir: Path, tag: str) -> None:
        self.root = root
        self.store = state_dir / "store"
        self.logs = state_dir / "logs"
        self.records = state_dir / "workers"
        self.fleet: Fleet | None = None
        self.tag = tag
        self.inbox = Inbox()
        self._runs: dict[int, Run] = {}
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="executor")
        self.watcher = Watcher()

    # ---- devices

    def device_added(self, uri: str, kind: str, part: str, slice_count: int) -> None:
        self.inbox.post(lambda at: events.DeviceAdded(at, uri, kind, part, slice_count))

    def device_lost(self, uri: str, reason: str) -> None:
        self.inbox.post(lambda at: events.DeviceLost(at, uri, reason))

    # ---- the loop's side

    def poll(self, timeout_us: int) -> Sequence[events.Event]:
        return self.inbox.poll(timeout_us)

    def execute(self, command: Command) -> None:
        if isinstance(command, WakeAt):
            self.inbox.wake_at(command.at_us)
            return
        run = self._runs.get(command.job)
        if run is None:
            assert isinstance(command, Start), f"{command} of a job that was never started"
            run = self._runs[command.job] = Run(command.job, command.spec, command.epoch)
        with run.lock:
            if isinstance(command, Start):
                run.epoch = command.epoch
            elif isinstance(command, Release):
                run.released_epoch = command.epoch
            run.todo.append(command)
            if run.busy:
                return
            run.busy = True
        self.background(lambda: self._work_off(run))

    def background(self, work: Callable[[], None]) -> None:
        """Run slow work on another thread. Its failure is a fault of the program: it ends the
        loop, and is not swallowed."""
        self._threads.submit(work).add_done_callback(self._check)

    def _check(self, done: Future[None]) -> None:
        fault = None if done.cancelled() else done.exception()
        if fault is not None:
            self.inbox.fail(fault)

    def _work_off(self, run: Run) -> None:
        while True:
            with run.lock:
                if not run.todo:
                    run.busy = False
                    return
                command = run.todo.popleft()
            match command:
                case Start():
                    self._start(run, command)
                case Checkpoint():
                    self._checkpoint(run, command)
                case Save():
                    self._refuse_to_save(command)
                case Release():
                    self._release(run, command)

    # ---- after another pool that was killed

    def recall(self, runs: Mapping[int, Run], machine: Machine) -> set[int]:
        """What an earlier pool's journal tells of its runs, and of all jobs. Its workers are taken
        up again; ends that nobody has heard of are reported: those jobs are returned. Before the
        loop starts, and after the devices."""
        ended = set()
        self._runs.update(runs)
        for job in machine.jobs.values():
            run = runs.get(job.id)
            if job.spec.argv is None:
                ended.add(job.id)
                self._end_orphaned_lease(job)
            elif run is not None and not self._adopt(run):
                found = self._find_end(run, job)
                if found is not None:
                    ended.add(job.id)
                    run.exit = found
                    self._post_exit(run, *found)
        return ended

    def _adopt(self, run: Run) -> bool:
        worker = Worker.adopt(self.log_of(run.job), self.record_of(run.job))
        if worker is not None:
            self._look_after(run, worker)
        return worker is not None

    def _find_end(self, run: Run, job: Job) -> tuple[int, str] | None:
        """How the worker of the job's attempt ended; None if it had not begun yet, or was ended."""
        if not job.listening:
            return None
        record = Record.read(self.record_of(run.job))
        if record is not None and record.runner and record.epoch > run.released_epoch:
            code = exit_code_of(self.record_of(run.job))
            return code, tail_of(self.log_of(run.job)) if code else ""
        if job.state in (JobState.RUNNING, JobState.CHECKPOINTING, JobState.PREEMPTED):
            return 1, f"nothing is known of its worker: {self.record_of(run.job)} is not there"
        return None

    def _end_orphaned_lease(self, job: Job) -> None:
        """Who held it or waited for it was a thread of the pool's own process."""
        if job.state is JobState.QUEUED:
            self.inbox.post(lambda at: events.CancelRequested(at, job.id))
        elif not job.state.terminal:
            words = "its holder ended with the pool's process"
            self.inbox.post(lambda at: events.JobExited(at, job.id, job.epoch, 1, words))

    def leave(self) -> None:
        """Leave everything as it is."""
        self._threads.shutdown(wait=True)
        self.watcher.close()

    # ---- operations, each on a thread of its own

    def _start(self, run: Run, start: Start) -> None:
        assert len(start.slices) == 1, "the pool refuses gangs when they are submitted"
        try:
            self._bring_up(run, start, start.slices[0].device)
        except OPERATION_ERRORS as error:
            code, disposition = _kind(error)
            text = str(error)
            self.inbox.post(
                lambda at: events.StartFailed(at, start.job, start.epoch, code, disposition, text)
            )

    def _bring_up(self, run: Run, start: Start, device: str) -> None:
        if start.checkpoint:
            if run.exit is not None:  # while it was suspended, and told of an older epoch
                self._post_exit(run, *run.exit)
                return
            sessions.resume(self._fleet.control(device), run.session, start.checkpoint, self.store)
        else:
            run.session = session_name(self.tag, run.job, start.epoch)
        run.device = device
        if run.spec.argv is not None:
            if run.worker is None:
                self._spawn(run, start, device)
            self._wait_until_connected(run, start.epoch)
        self.inbox.post(lambda at: events.JobStarted(at, start.job, start.epoch))

    def _spawn(self, run: Run, start: Start, device: str) -> None:
        env = {
            "HALTERE_DEVICE": f"proxy:{device}",
            "HALTERE_SESSION": run.session,
            "HALTERE_PROXY_ROOT": str(self.root),
            "HALTERE_JOB": str(start.job),
            "HALTERE_EPOCH": str(start.epoch),
        }
        if start.checkpoint:  # its session stands ready: the program re-attaches to it
            env["HALTERE_CHECKPOINT"] = start.checkpoint
        try:
            worker = Worker.start(
                run.spec, start.epoch, env, self.log_of(run.job), self.record_of(run.job)
            )
        except (ValueError, TypeError) as error:  # words that no process can be given
            raise Infeasible(
                f"job {run.spec.name!r}: its program cannot be started: {error}"
            ) from error
        self._look_after(run, worker)

    def _look_after(self, run: Run, worker: Worker) -> None:
        with run.lock:
            run.worker, run.exit = worker, None
        self.watcher.watch(worker.runner_pid, lambda: self._on_exit(run, worker))

    def _wait_until_connected(self, run: Run, epoch: int) -> None:
        """Or until it is of no use to wait on. A look is a stat: the server is not disturbed. If
        it dies meanwhile, the fleet says so, and the worker ends."""
        session = ServerPaths.under(self.root, run.device).sessions / run.session
        give_up = time.monotonic() + CONNECT_S
        while time.monotonic() < give_up and run.released_epoch < epoch and run.exit is None:
            if session.exists():
                return
            time.sleep(LOOK_S)

    def _checkpoint(self, run: Run, command: Checkpoint) -> None:
        control = self._fleet.control(run.device)
        try:
            found = sessions.suspend(control, run.session, self.store)
        except HalfSuspended as error:
            text = str(error)  # the worker can neither go on nor be moved
            self.inbox.post(lambda at: events.JobExited(at, command.job, command.epoch, 1, text))
        except OPERATION_ERRORS as error:
            code, disposition = _kind(error)
            text = str(error)
            self.inbox.post(
                lambda at: events.CheckpointFailed(
                    at, command.job, command.epoch, code, disposition, text
                )
            )
        else:
            if run.checkpoint != found:
                self._forget(run)
            run.checkpoint = found
            self.inbox.post(
                lambda at: events.JobCheckpointed(at, command.job, command.epoch, found)
            )

    def _refuse_to_save(self, command: Save) -> None:
        """No policy of the pool asks for it (`ElasticParams.saves`)."""
        words = "live jobs are checkpointed when they are halted, and not meanwhile"
        self.inbox.post(
            lambda at: events.SaveFailed(
                at, command.job, command.epoch, "unsupported", "fatal", words
            )
        )

    def _release(self, run: Run, command: Release) -> None:
        self._end_worker(run)
        run.exit = None
        self.record_of(run.job).unlink(missing_ok=True)
        helped = False  # any server can drop what is suspended; what is connected, its own alone
        for device in dict.fromkeys((run.device, *self._fleet.up())):
            if not helped or self._is_connected(run, device):
                helped |= self._drop_sessions(run, device)
        if command.final:
            self._forget(run)
        self.inbox.post(lambda at: events.LeaseReleased(at, command.job, command.epoch))

    def _is_connected(self, run: Run, device: str) -> bool:
        """A job may be on a server that it was not given: its resuming failed halfway, or its
        program went there. Like the wait above, this looks without disturbing the server."""
        name = run.session
        try:
            found = [path.name for path in ServerPaths.under(self.root, device).sessions.iterdir()]
        except OSError:
            return False
        return any(each == name or each.startswith(f"{name}.") for each in found)

    def _drop_sessions(self, run: Run, device: str) -> bool:
        """False if the server of `device` is of no help; a dead one holds nothing any more."""
        names = {run.session}
        if run.checkpoint:
            names.update(sessions.members(run.session, run.checkpoint))
        try:
            control = self._fleet.control(device)
            for session in sorted(names.union(sessions.connected(control, run.session))):
                control.drop(session)
        except OPERATION_ERRORS:
            return False
        return True

    def _forget(self, run: Run) -> None:
        """Remove the job's checkpoint, and blobs that nobody has needed for a while."""
        if not run.checkpoint:
            return
        store = Store(self.store)
        for found in sessions.members(run.session, run.checkpoint).values():
            store.forget(found)
        run.checkpoint = ""
        with suppress(*OPERATION_ERRORS):  # a damaged record of another job: garbage stays
            collect(store, checkpoint.blobs_of)

    # ---- workers

    def _end_worker(self, run: Run) -> None:
        with run.lock:
            worker, run.worker = run.worker, None
        if worker is not None:
            worker.end()

    def _on_exit(self, run: Run, worker: Worker) -> None:
        """On the watcher's thread."""
        code = worker.reap()
        self._fleet.look()
        words = worker.tail() if code else ""
        with run.lock:
            if run.worker is not worker:
                return  # we ended it ourselves
            run.exit = (code, words)
            self._post_exit(run, code, words)

    def _post_exit(self, run: Run, code: int, words: str) -> None:
        self.inbox.post(lambda at: events.JobExited(at, run.job, run.epoch, code, words))

    # ---- for the pool

    @property
    def _fleet(self) -> Fleet:
        assert self.fleet is not None, "the pool gives the executor its fleet before it starts"
        return self.fleet

    def record_of(self, job: int) -> Path:
        return self.records / f"job-{job}"

    def log_of(self, job: int) -> Path:
        return self.logs / f"job-{job}.log"

    def session_of(self, job: int) -> str:
        """Name of the job's session; empty before its first start."""
        run = self._runs.get(job)
        return run.session if run else ""

    def worker_pid(self, job: int) -> int | None:
        """Process id of the job's worker, if it has one now."""
        run = self._runs.get(job)
        worker = run.worker if run else None
        return worker.pid if worker else None

    def finish_lease(self, job: int, exit_code: int, message: str) -> None:
        """The holder of a lease is done with it."""
        run = self._runs.get(job)
        if run is None or run.spec.argv is not None:
            raise NotALease(f"job {job} is no lease that was granted")
        with run.lock:
            run.exit = (exit_code, message)
            self._post_exit(run, exit_code, message)

    def end_workers(self) -> None:
        for run in tuple(self._runs.values()):
            run.released_epoch = run.epoch
            self._end_worker(run)

    def close(self) -> None:
        """Finish what is under way. Idempotent. Before it: end the workers, stop the servers."""
        self._threads.shutdown(wait=True)
        self.end_workers()  # those that were being started
        self.watcher.close()


def session_name(tag: str, job: int, epoch: int) -> str:
    """Of the job's session that its attempt `epoch` began."""
    return f"{tag}-j{job}-e{epoch}"


def _kind(error: BaseException) -> tuple[str, str]:
    """Code and disposition. A program that cannot be started is its owner's affair."""
    if isinstance(error, HalError | ProxyError | SchedulerError):
        return error.code, error.disposition
    caller = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
    return "os_error", "caller" if caller else "retry"
