"""The executor of the live pool: commands become process starts and control calls to proxies.

Everything slow (`operations`) runs on a bounded set of threads, never on the loop's. The commands
of one job run in the order given, those of different jobs side by side. Results come back as
events, through the inbox.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from proxy.control import Control
from scheduler.core import events
from scheduler.core.commands import Checkpoint, Command, Release, Resize, Save, Start, WakeAt
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.errors import NotALease
from scheduler.live.crew import Crew
from scheduler.live.fleet import Fleet
from scheduler.live.gang import Run, job_of
from scheduler.live.inbox import Inbox
from scheduler.live.operations import Operations
from scheduler.live.paces import Paces
from scheduler.live.reconfigured import reconfigured
from scheduler.live.sessions import ERRORS, Sessions
from scheduler.live.shares import Shares
from scheduler.timeline import Span

MAX_THREADS = 32  # slow operations under way; each waits for a server or a process


class LiveExecutor:
    """See the module. `tag` makes session names unique under a root that others use too."""

    def __init__(self, root: Path, state_dir: Path, tag: str) -> None:
        self.fleet: Fleet | None = None
        self.inbox = Inbox()
        self.crew = Crew(root, state_dir, self.inbox, lambda: self._fleet.look())
        self._sessions = Sessions(root, state_dir / "store", lambda: self._fleet.up())
        self._shares = Shares(
            root,
            lambda uri: self._fleet.slice_count(uri) > 1,
            lambda uri: self._fleet.memory_bytes(uri) // self._fleet.slice_count(uri),
        )
        self._operations = Operations(
            self.crew,
            self._sessions,
            self._shares,
            self.inbox,
            tag,
            lambda: self._fleet.up(),
            lambda uri: self._fleet.restart(uri),
        )
        self._runs: dict[int, Run] = {}
        self.paces = Paces(root, self.inbox, lambda: (*self._runs.values(),), self._up)
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="executor")

    # ---- devices

    def device_added(self, uri: str, kind: str, part: str, slice_count: int) -> None:
        cpu_milli, memory_mib = self._fleet.host(uri)
        self.inbox.post(
            lambda at: events.DeviceAdded(at, uri, kind, part, slice_count, cpu_milli, memory_mib)
        )

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
            if run.busy and isinstance(command, Release):
                self._cut_short(run, command)
            if run.busy:
                return
            run.busy = True
        self.background(lambda: self._work_off(run))

    def _cut_short(self, run: Run, command: Release) -> None:
        """What is under way for an attempt that is over may hang for long: its workers and its
        sessions are ended beside it, on a thread that nobody else can keep busy."""
        cut = run.cut = threading.Event()

        def end() -> None:
            try:
                self._operations.end(run, command)
            except BaseException as error:  # noqa: BLE001  # told as those of `background` are
                self.inbox.fail(error)
            finally:
                cut.set()

        threading.Thread(target=end, name="cut short", daemon=True).start()

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
                    self._operations.start(run, command)
                case Checkpoint():
                    self._operations.checkpoint(run, command)
                case Save():
                    self._operations.save(run, command)
                case Resize():
                    self._operations.resize(run, command)
                case Release():
                    if run.cut is not None:
                        run.cut.wait()
                        run.cut = None
                    self._operations.release(run, command)

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
            elif run is not None:
                run.littered = True
                if self.crew.adopt(run, job):
                    ended.add(job.id)
                elif job.state in (JobState.RUNNING, JobState.RESIZING):
                    self._shares.enter(run, anew=True)
        return ended

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
        self.crew.watcher.close()

    # ---- for the pool

    def _up(self) -> list[str]:
        return self._fleet.up()

    @property
    def _fleet(self) -> Fleet:
        assert self.fleet is not None, "the pool gives the executor its fleet before it starts"
        return self.fleet

    @property
    def tag(self) -> str:
        return self._operations.tag

    @tag.setter
    def tag(self, tag: str) -> None:
        self._operations.tag = tag

    def session_of(self, job: int) -> str:
        """Name of the job's session, of its first rank; empty before its first start."""
        run = self._runs.get(job)
        return run.session if run else ""

    def worker_pid(self, job: int, rank: int) -> int | None:
        """Process id of that rank's worker, if it has one now."""
        run = self._runs.get(job)
        worker = run.ranks[rank].worker if run else None
        return worker.pid if worker else None

    def reconfigured(self) -> list[Span]:
        """By servers that live: a record ends with its server."""
        found: list[Span] = []
        for uri in self._fleet.up():
            if self._fleet.infos[uri].caps.configurable:
                with suppress(*ERRORS):  # it has just died
                    record = Control(self._sessions.root, uri).timeline()
                    found += reconfigured(uri, record, self.inbox.began_ns, self._run_of)
        return found

    def _run_of(self, session: str) -> Run | None:
        return self._runs.get(job_of(self.tag, session))

    def finish_lease(self, job: int, exit_code: int, message: str) -> None:
        """The holder of a lease is done with it."""
        run = self._runs.get(job)
        if run is None or run.spec.argv is not None:
            raise NotALease(f"job {job} is no lease that was granted")
        with run.lock:
            run.ranks[0].exit = (exit_code, message)
            self.crew.tell_end(run)

    def end_workers(self) -> None:
        for run in tuple(self._runs.values()):
            run.released_epoch = run.epoch
            self.crew.end(run)

    def close(self) -> None:
        """Finish what is under way. Idempotent. Before it: end the workers, stop the servers."""
        self._threads.shutdown(wait=True)
        self.end_workers()  # those that were being started
        for run in self._runs.values():
            self.crew.clear_meeting_place(run)
        self.crew.watcher.close()
