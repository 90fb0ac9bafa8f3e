"""A server that is started again when a signal killed it: what it served goes on (see `redo`).

    python -m proxy.keeper --restarts 1 --device opencl:0 ...     # and all else that a server takes

Imports little, so that it is there at once, and small while it waits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from proxy.liveness import LifeLock
from proxy.paths import ServerPaths, default_root

SERVER = (sys.executable, "-m", "proxy.server")
PARENT_CHECK_S = 0.5


def keep(
    options: Sequence[str],
    restarts: int,
    store: str | None = None,
    tied_to: int | None = None,
    command: Sequence[str] = SERVER,
) -> int:
    """Run the server with these options; at most so many more after it. The last one's exit code.
    One that ends by itself, or was told to, is not started again. What sessions do is kept but by
    the last: nobody would do it again. Their checkpoints go to `store`, or to a folder that goes at
    the end. `tied_to`: stop when this process is gone."""
    lock = _lock(options)  # who finds no server waits for the next as long as it is held
    keeper = _Keeper(command)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup has it
            signal.signal(signum, keeper.stop)
    if tied_to is not None:
        threading.Thread(target=_watch, args=(keeper, tied_to), daemon=True).start()
    folder = None if store else tempfile.mkdtemp(prefix="haltere-redo-")
    own = ["--store", store or str(folder), "--tied-to", str(os.getpid())]
    try:
        return keeper.run([*options, "--restarts", "0", *own], restarts)  # of two the last counts
    finally:
        lock.release()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _Keeper:
    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self, signum: int = 0, frame: object = None) -> None:
        self._stopping = True
        if self._process is not None:
            self._process.terminate()

    def run(self, options: Sequence[str], restarts: int) -> int:
        for left in range(restarts, -1, -1):
            redo = "--redo" if left else "--no-redo"
            self._process = subprocess.Popen(  # a session of its own: Ctrl-C comes by us
                [*self._command, *options, redo], start_new_session=True
            )
            if self._stopping:  # it was told so while this one was being started
                self._process.terminate()
            code = self._process.wait()
            if code >= 0 or self._stopping:
                return max(code, 0)
            then = f"starting another ({left - 1} more after it)" if left else "that was the last"
            sys.stderr.write(f"the server was killed by signal {-code}; {then}\n")
            sys.stderr.flush()
        return 1


def _lock(options: Sequence[str]) -> LifeLock:
    """Raises LocalProtocolError if another keeps this server."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--root", type=Path, default=default_root())
    parser.add_argument("--device", default="")
    parser.add_argument("--name")
    given, _ = parser.parse_known_args(options)
    paths = ServerPaths.under(given.root, given.name or given.device)
    paths.create()
    return LifeLock(paths.keeper)


def _watch(keeper: _Keeper, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    keeper.stop()


def main(argv: Sequence[str] | None = None) -> int:
    options = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser("python -m proxy.keeper", allow_abbrev=False)
    parser.add_argument("--restarts", type=int, required=True)
    parser.add_argument("--store")
    parser.add_argument("--tied-to", type=int)
    given, _ = parser.parse_known_args(options)
    return keep(options, given.restarts, given.store, given.tied_to)


if __name__ == "__main__":
    sys.exit(main())
