"""A worker process: the tenant's program, started with its device in the environment.

Its parent is not the pool but a small process of its own (`runner.py`), which writes down how it
ended; so a worker outlives a pool that is killed, and another pool takes it up again.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from proxy.liveness import ProcessId, holder_lives
from scheduler.core.values import JobSpec
from scheduler.errors import SchedulerError
from scheduler.live import runner

TERM_S = 2.0  # for a worker to end on SIGTERM before it is killed
KILL_S = 10.0  # for the kernel to end a killed one
WRITE_S = 10.0  # for a runner that was just started to write its first line
LOOK_S = 0.01
TAIL_LINES = 20  # last words kept as the reason of a failure
TAIL_BYTES = 4096
RUNNER = Path(runner.__file__)


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a job's newest worker. File, one fact a line:

    epoch E            the attempt that it was started by; written by the pool
    runner PID         its parent runs, and leads its process group
    refused ERRNO      the program could not be started
    worker PID TICKS   it runs; when it began, so that it is not taken for another
    exit CODE          it ended; minus the signal's number if one ended it

    The runner holds a lock on the file as long as it lives (`holder_lives`)."""

    epoch: int
    runner: int | None = None
    refused: int | None = None
    worker: ProcessId | None = None
    exit: int | None = None

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """None if no worker was started, or all of it is forgotten."""
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            return None
        facts: dict[str, list[Any]] = {}
        for name, *numbers in map(str.split, lines):
            facts[name] = [int(number) for number in numbers]
        if "epoch" not in facts:
            return None
        worker = facts.get("worker")
        return cls(
            facts["epoch"][0],
            runner=facts.get("runner", [None])[0],
            refused=facts.get("refused", [None])[0],
            worker=ProcessId(*worker) if worker else None,
            exit=facts.get("exit", [None])[0],
        )


class Worker:
    """Its own process group, so that what it starts ends with it. Output goes to `log`."""

    def __init__(
        self, runner_pid: int, log: Path, record: Path, process: subprocess.Popen[bytes] | None
    ) -> None:
        self.log = log
        self.record = record
        self.runner_pid = runner_pid
        self.exit_code: int | None = None  # minus the signal's number if one ended it
        self._process = process  # the runner, if we started it
        self._ended = threading.Event()
        self._lock = threading.Lock()  # a reaped process must not be signalled

    @classmethod
    def start(
        cls, spec: JobSpec, epoch: int, env: Mapping[str, str], log: Path, record: Path
    ) -> Self:
        """Returns when the program runs. Raises OSError if it cannot be started."""
        assert spec.argv is not None
        log.parent.mkdir(parents=True, exist_ok=True)
        record.parent.mkdir(parents=True, exist_ok=True)
        read, ready = os.pipe()
        with record.open("wb", buffering=0) as noted, log.open("ab") as output:
            fcntl.flock(noted, fcntl.LOCK_EX)  # the runner inherits it
            noted.write(b"epoch %d\n" % epoch)
            try:
                words = [sys.executable, "-I", "-S", str(RUNNER), str(noted.fileno()), str(ready)]
                process = subprocess.Popen(
                    (*words, *spec.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=spec.cwd or None,
                    env={**os.environ, **dict(spec.env), **env},
                    start_new_session=True,
                    pass_fds=(noted.fileno(), ready),
                )
            except BaseException:
                os.close(read)
                record.unlink()
                raise
            finally:
                os.close(ready)
        with open(read, "rb") as until:  # noqa: PTH123  # a descriptor
            until.read()
        found = Record.read(record)
        if found is not None and found.refused is not None:
            process.wait(KILL_S)
            record.unlink()
            raise OSError(found.refused, os.strerror(found.refused), spec.argv[0])
        return cls(process.pid, log, record, process)

    @classmethod
    def adopt(cls, log: Path, record: Path) -> Self | None:
        """The worker that an earlier pool started, if it or its runner still lives."""
        give_up = time.monotonic() + WRITE_S
        while holder_lives(record):
            found = Record.read(record)
            if found is not None and found.runner is not None:
                return cls(found.runner, log, record, None)
            if time.monotonic() > give_up:
                raise SchedulerError(
                    f"{record} is locked by a process that has not said who it is in {WRITE_S} s: "
                    "find it (fuser FILE) and end it"
                )
            time.sleep(LOOK_S)
        return None

    @property
    def pid(self) -> int:
        """Of the program itself."""
        found = Record.read(self.record)
        return found.worker.pid if found and found.worker else self.runner_pid

    def reap(self) -> int:
        """The exit code of a worker whose runner has ended; what it left behind in its group ends
        too. One thread calls this, once, when the runner has ended: until then, if it is our
        child, its number cannot be given to another."""
        with self._lock:
            if self._process is not None:
                self._kill_group(signal.SIGKILL)
                self._process.wait(KILL_S)
            self.exit_code = exit_code_of(self.record)
            self._ended.set()
        return self.exit_code

    def end(self) -> None:
        """SIGTERM, then SIGKILL, to the whole group; returns when it was reaped. Idempotent."""
        self.ask_to_end()
        self.see_to_end()

    def ask_to_end(self) -> None:
        self._signal(signal.SIGTERM)

    def see_to_end(self) -> None:
        """Of one that was asked to end."""
        if not self._ended.wait(TERM_S):
            self._signal(signal.SIGKILL)
            self._ended.wait(KILL_S)

    def tail(self) -> str:
        """The end of its log."""
        return tail_of(self.log)

    def _signal(self, number: int) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._kill_group(number)

    def _kill_group(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.runner_pid, number)


def exit_code_of(record: Path) -> int:
    """The exit code of a worker whose runner is gone. If the runner was killed before it could
    write it, the worker is not looked after by anybody: it is ended, and counts as killed."""
    found = Record.read(record)
    if found is not None and found.exit is not None:
        return found.exit
    if found is not None and found.worker is not None and found.worker.is_alive():
        with suppress(ProcessLookupError):
            os.kill(found.worker.pid, signal.SIGKILL)
    return 127 if found is not None and found.refused is not None else -signal.SIGKILL


def tail_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - TAIL_BYTES, 0))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])
