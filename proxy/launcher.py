"""Starting server processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from hal.types import DeviceInfo
from proxy.errors import ServerGone
from proxy.info import PREFIX, read_info
from proxy.limits import Limits
from proxy.liveness import ProcessId, holder_lives, parent_of
from proxy.paths import ServerPaths
from proxy.store import Address, address_of

START_TIMEOUT_S = 120.0  # a first OpenCL start compiles kernels of its own
STOP_TIMEOUT_S = 20.0
LOOK_S = 0.01
LOG_TAIL_BYTES = 2000


class ServerProcess:
    """A server that we started, or who keeps it."""

    def __init__(self, process: subprocess.Popen[bytes], paths: ServerPaths) -> None:
        self._process = process
        self.paths = paths
        self.pid = process.pid

    @property
    def uri(self) -> str:
        """What a worker opens."""
        return PREFIX + self.paths.name

    @property
    def device(self) -> DeviceInfo:
        info = read_info(self.paths.info)
        if info is None:
            raise ServerGone(f"{self.paths.name} is not running")
        return info.proxied(self.paths.name)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it cleanly; kill it if it does not end. Idempotent."""
        if self.is_alive():
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9, as a crash would. Idempotent."""
        self._process.kill()
        self._process.wait(STOP_TIMEOUT_S)


class FoundServer(ServerProcess):
    """A server that somebody else started, and that outlived them perhaps."""

    def __init__(self, pid: int, paths: ServerPaths) -> None:
        self.paths = paths
        self.pid = pid
        self.process_id = ProcessId.of(pid)

    def is_alive(self) -> bool:
        return self.process_id.is_alive()

    def stop(self) -> None:
        self._end(signal.SIGTERM)
        if self.is_alive():
            self.kill()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        give_up = time.monotonic() + STOP_TIMEOUT_S
        with suppress(ProcessLookupError):
            if self.is_alive():
                os.kill(self.pid, number)
        while self.is_alive() and time.monotonic() < give_up:
            time.sleep(LOOK_S)


def find(root: Path, name: str) -> FoundServer | None:
    """The server of that name under `root`, if one lives and serves."""
    paths = ServerPaths.under(root, name)
    info = read_info(paths.info)
    if info is None or not holder_lives(paths.lock):
        return None
    found = FoundServer(info.pid, paths)
    return found if found.is_alive() else None


def spawn(
    device_uri: str,
    root: Path,
    name: str | None = None,
    tied: bool = False,
    quantum_cycles: int | None = None,
    core: str | None = None,
    limits: Limits | None = None,
    checkpoint_every_s: float | None = None,
    store: Address = "",
    restarts: int = 0,
) -> ServerProcess:
    """Start a server and wait until it serves. `name`: what workers call it, if not the device's
    URI (two servers may share a device). `tied`: it stops when this process is gone.
    `quantum_cycles`: see proxy.fabric. `core`, `limits`: see proxy.server. `checkpoint_every_s`,
    `store`: see proxy.automatic. `restarts`: others that a keeper starts when one was killed, see
    proxy.keeper. Raises ServerGone with the end of its log."""
    paths = ServerPaths.under(root, name or device_uri)
    paths.create()
    command = [sys.executable, "-m", "proxy.keeper" if restarts else "proxy.server"]
    command += ["--root", str(root.absolute())]
    command += ["--device", device_uri, "--name", paths.name]
    if quantum_cycles is not None:
        command += ["--quantum-cycles", str(quantum_cycles)]
    if core is not None:
        command += ["--core", core]
    if limits is not None:
        command += ["--quantum-ms", str(limits.quantum_ms), "--kernel-s", str(limits.kernel_s)]
        for name_of in ("session_bytes", "device_bytes", "swap_bytes", "swap_to"):
            if (bound := getattr(limits, name_of)) is not None:
                command += [f"--{name_of.replace('_', '-')}", str(bound)]
    if checkpoint_every_s is not None:
        command += ["--checkpoint-every", str(checkpoint_every_s)]
    if store:
        command += ["--store", address_of(store)]
    if restarts:
        command += ["--restarts", str(restarts)]
    if tied:
        command += ["--tied-to", str(os.getpid())]
    with paths.log.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    server = ServerProcess(process, paths)
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        info = read_info(paths.info)
        is_ours = info is not None and process.pid in (info.pid, parent_of(info.pid))
        if is_ours and holder_lives(paths.lock):
            return server
        if process.poll() is not None:
            break
        time.sleep(LOOK_S)
    process.kill()
    process.wait(STOP_TIMEOUT_S)
    tail = paths.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
    raise ServerGone(f"the server of {device_uri} did not start: {tail or 'it wrote no log'}")
