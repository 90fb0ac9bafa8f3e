"""A worker process: the tenant's program, started with its device in the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from scheduler.core.values import JobSpec

TERM_S = 2.0  # for a worker to end on SIGTERM before it is killed
KILL_S = 10.0  # for the kernel to end a killed one
TAIL_LINES = 20  # last words kept as the reason of a failure
TAIL_BYTES = 4096


class Worker:
    """Its own process group, so that what it starts ends with it. Output goes to `log`."""

    def __init__(self, spec: JobSpec, env: Mapping[str, str], log: Path) -> None:
        """Raises OSError if the program cannot be started."""
        assert spec.argv is not None
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                tuple(spec.argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=spec.cwd or None,
                env={**os.environ, **dict(spec.env), **env},
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.exit_code: int | None = None  # minus the signal's number if one ended it
        self._ended = threading.Event()
        self._lock = threading.Lock()  # a reaped process must not be signalled

    def reap(self) -> int:
        """The exit code of a worker that has ended; what it left behind in its group ends too.
        One thread calls this, once, when the process has ended: until then its number cannot be
        given to another."""
        with self._lock:
            self._kill_group(signal.SIGKILL)
            self.exit_code = self._process.wait(KILL_S)
            self._ended.set()
        return self.exit_code

    def end(self) -> None:
        """SIGTERM, then SIGKILL, to the whole group; returns when it was reaped. Idempotent."""
        self._signal(signal.SIGTERM)
        if not self._ended.wait(TERM_S):
            self._signal(signal.SIGKILL)
            self._ended.wait(KILL_S)

    def tail(self) -> str:
        """The end of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self.log.stat().st_size - TAIL_BYTES, 0))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.strip().splitlines()[-TAIL_LINES:])

    def _signal(self, number: int) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._kill_group(number)

    def _kill_group(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)
