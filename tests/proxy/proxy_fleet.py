"""Server and worker processes of one test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from proxy.control import Control
from proxy.info import running_servers
from proxy.launcher import ServerProcess, spawn
from proxy.paths import ServerPaths
from proxy.segment import Line, Segment
from tests.waiting import until

WORKER = Path(__file__).with_name("mix_worker.py")
CRASHING_SERVER = """
import os, signal, sys
from pathlib import Path
from hal import open_device
from proxy.server import Server

left = int(sys.argv[2])

def step(name):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

Server(Path(sys.argv[1]), "fragile", open_device("cpu:0"), store_step=step).run()
"""


class Fleet:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.servers: dict[str, ServerProcess] = {}
        self._workers: list[subprocess.Popen[str]] = []

    def start(
        self,
        device: str,
        name: str | None = None,
        quantum_cycles: int | None = None,
        core: str | None = None,
    ) -> ServerProcess:
        server = spawn(device, self.root, name, True, quantum_cycles, core)
        self.servers[name or device] = server
        return server

    def start_fragile(self, fatal: int) -> subprocess.Popen[bytes]:
        """A server "fragile", of cpu:0, which is killed at its durable step number `fatal`."""
        process = subprocess.Popen(
            [sys.executable, "-c", CRASHING_SERVER, str(self.root), str(fatal)]
        )
        until(lambda: self.pids("fragile"), "it did not start")
        return process

    def control(self, name: str) -> Control:
        return Control(self.root, name)

    def worker(self, device: str, session: str, steps: int) -> subprocess.Popen[str]:
        """A process that runs mix_worker.py; see there."""
        return self.run(WORKER, device, session, str(steps))

    def run(self, script: Path, *arguments: str) -> subprocess.Popen[str]:
        """A process that runs a worker's script on this fleet's root."""
        process = subprocess.Popen(
            [sys.executable, str(script), str(self.root), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._workers.append(process)
        return process

    def pids(self, name: str) -> list[int]:
        """Of the server of that name, if one is running."""
        return [info.pid for paths, info in running_servers(self.root) if paths.name == name]

    def kill_kept(self, name: str) -> None:
        """The server, which its keeper replaces. Waits for the next one."""
        (pid,) = self.pids(name)
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pids(name) not in ([], [pid]), "no other server came")

    def redo_log(self, name: str, session: str) -> Path:
        """The session's log on that server, once there is one from which it could go on."""
        paths = ServerPaths.under(self.root, name)
        log, home = paths.redo / session, paths.sessions / session
        until(lambda: log.exists() and Segment.open(home)[Line.RECOVERABLE], "no log")
        return log

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.communicate()
        for server in self.servers.values():
            server.stop()


def read_until(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdout is not None
    for found in worker.stdout:
        if found.strip() == line:
            return
    assert worker.stderr is not None
    raise AssertionError(f"the worker ended before {line!r}: {worker.stderr.read()}")


def result_of(worker: subprocess.Popen[str], timeout_s: float = 120.0) -> str:
    out, err = worker.communicate(timeout=timeout_s)
    assert worker.returncode == 0, err
    return out.strip().splitlines()[-1]
