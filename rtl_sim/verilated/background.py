"""A library that a process of its own builds, for who cannot stand still for minutes.

    building = Background(design)
    while not building.poll():
        ...

Its product is the cache's entry: `build_library` of the same design finds it there at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from rtl_sim.errors import BuildFailed, SimError
from rtl_sim.verilated.build import Design, build_library

# Less than callers of a proxy wait for an answer (ten minutes): they are told why, not nothing.
TIMEOUT_S: Final = 540.0
LOG_BYTES: Final = 8000  # of a failed build, from its start: the first error explains the others


class Background:
    """One build that goes on by itself. Who does not poll it to its end calls `cancel`."""

    def __init__(self, design: Design, timeout_s: float = TIMEOUT_S) -> None:
        self._what = design.top
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (until `cancel`; a pipe would fill up)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rtl_sim.verilated.background", _to_json(design)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log,
            start_new_session=True,  # a group that can be killed with its compilers
        )  # fmt: skip
        self._timed_out = False

    def poll(self) -> bool:
        """True once it is built, however often it is asked. Raises BuildFailed."""
        status = self._process.poll()
        if status is None:
            if time.monotonic() < self._deadline:
                return False
            self._timed_out = True
            self._kill()
            status = -signal.SIGKILL
        if self._timed_out:
            raise BuildFailed(f"{self._what}: its build was not done after {self._timeout_s:.0f} s")
        if status:
            self._log.seek(0)
            text = self._log.read(LOG_BYTES).decode(errors="replace").strip()
            raise BuildFailed(text or f"{self._what}: its build ended with status {status}")
        return True

    def cancel(self) -> None:
        """Idempotent."""
        self._kill()
        self._log.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _to_json(design: Design) -> str:
    return json.dumps(
        {
            "sources": [str(path.absolute()) for path in design.sources],
            "top": design.top,
            "params": dict(design.params),
            "includes": [str(path.absolute()) for path in design.includes],
            "state_port": design.state_port,
        }
    )


def _from_json(text: str) -> Design:
    given = json.loads(text)
    return Design(
        sources=tuple(map(Path, given["sources"])),
        top=given["top"],
        params=given["params"],
        includes=tuple(map(Path, given["includes"])),
        state_port=given["state_port"],
    )


if __name__ == "__main__":
    try:
        build_library(_from_json(sys.argv[1]))
    except SimError as error:
        sys.exit(str(error))
