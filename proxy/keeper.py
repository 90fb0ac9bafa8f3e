"""A server that is started again when a signal killed it: what it served goes on (see `redo`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

SERVER = (sys.executable, "-m", "proxy.server")


def keep(options: Sequence[str], restarts: int, command: Sequence[str] = SERVER) -> int:
    """Run the server with these options; at most so many more after it. The last one's exit code.
    One that ends by itself, or was told to, is not started again."""
    stopping = False
    process: subprocess.Popen[bytes] | None = None

    def stop(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        if process is not None:
            process.terminate()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    for left in range(restarts, -1, -1):
        process = subprocess.Popen(  # of a session of its own: the terminal's Ctrl-C comes by us
            [*command, *options, "--tied-to", str(os.getpid())], start_new_session=True
        )
        if stopping:  # it was told so while this one was being started
            process.terminate()
        code = process.wait()
        if code >= 0 or stopping:
            return max(code, 0)
        then = f"starting another ({left - 1} more after it)" if left else "that was the last"
        sys.stderr.write(f"the server was killed by signal {-code}; {then}\n")
        sys.stderr.flush()
    return 1
