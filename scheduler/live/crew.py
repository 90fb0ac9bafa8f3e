"""The worker processes of jobs: one for each rank, started together, looked after, ended together.

Knows nothing of sessions and checkpoints. How a rank ended is told when it decides how its job
has: the first that failed, or the last of those that ended well.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from proxy.errors import LocalProtocolError
from proxy.paths import ServerPaths
from proxy.run import environment
from scheduler.core import events
from scheduler.core.jobs import Job, JobState
from scheduler.errors import Infeasible
from scheduler.live.gang import Rank, Run, rank_session
from scheduler.live.inbox import Inbox
from scheduler.live.watch import Watcher
from scheduler.live.worker import Record, Worker, exit_code_of, tail_of

BEGUN = (JobState.RUNNING, JobState.RESIZING, JobState.CHECKPOINTING, JobState.PREEMPTED)


class Crew:
    """`look`: reports servers that died, before the end of a worker is: one that fell with its
    device is to be told from one that failed."""

    def __init__(self, root: Path, state_dir: Path, inbox: Inbox, look: Callable[[], None]) -> None:
        self.root = root
        self.logs = state_dir / "logs"
        self.records = state_dir / "workers"
        self.watcher = Watcher()
        self._inbox = inbox
        self._look = look

    def record_of(self, job: int, rank: int = 0) -> Path:
        return self.records / (f"job-{job}-r{rank}" if rank else f"job-{job}")

    def log_of(self, job: int, rank: int = 0) -> Path:
        return self.logs / (f"job-{job}-r{rank}.log" if rank else f"job-{job}.log")

    def meeting_place(self, run: Run) -> Path:
        """A folder in which the ranks of an attempt find each other; short enough for sockets."""
        return self.root / "meet" / run.session

    # ---- starting and ending

    def spawn(self, run: Run, ranks: Sequence[Rank], epoch: int, checkpoint: str) -> None:
        """All of them. Raises what starting one raised; those that were started then live."""
        self.meeting_place(run).mkdir(mode=0o700, parents=True, exist_ok=True)
        for rank in ranks:
            env = self._environment(run, rank, epoch)
            if checkpoint:  # its session stands ready: the program re-attaches to it
                env["HALTERE_CHECKPOINT"] = checkpoint
            log, record = self.log_of(run.job, rank.number), self.record_of(run.job, rank.number)
            try:
                worker = Worker.start(run.spec, epoch, env, log, record)
            except (ValueError, TypeError) as error:  # words that no process can be given
                raise Infeasible(
                    f"job {run.spec.name!r}: its program cannot be started: {error}"
                ) from error
            self._look_after(run, rank, worker)

    def _environment(self, run: Run, rank: Rank, epoch: int) -> dict[str, str]:
        session = rank_session(run.session, rank.number)
        found = {
            "HALTERE_DEVICE": f"proxy:{rank.device}",
            "HALTERE_SESSION": session,
            "HALTERE_PROXY_ROOT": str(self.root),
            "HALTERE_JOB": str(run.job),
            "HALTERE_EPOCH": str(epoch),
            "HALTERE_RANK": str(rank.number),
            "HALTERE_WORLD_SIZE": str(len(run.ranks)),
            "HALTERE_RENDEZVOUS": str(self.meeting_place(run)),
        }
        if ServerPaths.under(self.root, rank.device).opencl_values.exists():
            # an OpenCL program that knows nothing of haltere has its device, too; if the driver
            # for those is not built, programs that use hal do without
            with suppress(LocalProtocolError):
                found = {**environment(self.root, [rank.device], session, 1), **found}
        return found

    def end(self, run: Run) -> None:
        """Returns when nothing of the workers is left. Idempotent."""
        with run.lock:
            workers = [rank.worker for rank in run.ranks if rank.worker is not None]
            for rank in run.ranks:
                rank.worker = None
        for worker in workers:
            worker.ask_to_end()
        for worker in workers:
            worker.see_to_end()

    def forget(self, run: Run) -> None:
        """That there were any, once they have ended."""
        for rank in run.ranks:
            rank.exit = None
            self.record_of(run.job, rank.number).unlink(missing_ok=True)
        self.clear_meeting_place(run)

    def clear_meeting_place(self, run: Run) -> None:
        if run.session:
            shutil.rmtree(self.meeting_place(run), ignore_errors=True)

    # ---- how they end

    def _look_after(self, run: Run, rank: Rank, worker: Worker) -> None:
        with run.lock:
            rank.worker, rank.exit = worker, None
        self.watcher.watch(worker.runner_pid, lambda: self._on_exit(run, rank, worker))

    def _on_exit(self, run: Run, rank: Rank, worker: Worker) -> None:
        """On the watcher's thread."""
        code = worker.reap()
        self._look()
        words = worker.tail() if code else ""
        with run.lock:
            if rank.worker is not worker:
                return  # we ended it ourselves
            rank.exit = (code, words)
            self.tell_end(run)

    def tell_end(self, run: Run) -> bool:
        """If the job has ended; whether it has."""
        end = run.end
        if end is None:
            return False
        code, words = end
        self._inbox.post(lambda at: events.JobExited(at, run.job, run.epoch, code, words))
        return True

    # ---- after another pool that was killed

    def adopt(self, run: Run, job: Job) -> bool:
        """Take up the ranks that live, and find out how the others have ended. Tells the job's end
        if nobody has heard of it; whether it did."""
        for rank in run.ranks:
            record = self.record_of(run.job, rank.number)
            log = self.log_of(run.job, rank.number)
            worker = Worker.adopt(log, record)
            if worker is not None:
                self._look_after(run, rank, worker)
            elif job.listening:
                rank.exit = self._find_end(run, job, record, log)
        return job.listening and self.tell_end(run)

    def _find_end(self, run: Run, job: Job, record: Path, log: Path) -> tuple[int, str] | None:
        """How a rank of the job's attempt ended; None if it had not begun yet, or was ended."""
        found = Record.read(record)
        if found is not None and found.runner and found.epoch > run.released_epoch:
            code = exit_code_of(record)
            return code, tail_of(log) if code else ""
        if job.state in BEGUN:
            return 1, f"nothing is known of its worker: {record} is not there"
        return None
