"""Runs a Yosys script in a process of its own, where its crashes and exit() calls stay.

Knows nothing of capture: script in, log out, Yosys's own complaint as an exception.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rtl_sim.capture.errors import ElaborationError, ToolError

# Elaborating the largest overlay takes under a minute; ten leave room for a busy machine.
TIMEOUT_S: Final = 600.0
_LOG_TAIL_LINES: Final = 12

_PROGRAM: Final = (
    "import sys\n"
    "from pyosys import libyosys as ys\n"
    "ys.run_pass('script ' + sys.argv[1], ys.Design())\n"
)


def run(script: Sequence[str], directory: Path, name: str = "script") -> str:
    """Run `script` with `directory` as the working directory and return the log.

    Paths in a script are relative to `directory`, so that names which Yosys derives from file
    names, and with them its output, do not depend on where the sources lie.
    """
    if importlib.util.find_spec("pyosys") is None:
        raise ToolError(
            "capture needs Yosys, but the module pyosys is not installed; "
            "install the extra: pip install 'haltere[sim]'"
        )
    path = directory / f"{name}.ys"
    path.write_text("\n".join(script) + "\n", encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, path.name],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise ToolError(f"Yosys ran {name} for more than {TIMEOUT_S:.0f} s and was stopped") from (
            expired
        )
    log = done.stdout + done.stderr
    if done.returncode == 0:
        return log
    errors = re.findall(r"^(?:.*: )?ERROR: .*$", log, flags=re.MULTILINE)
    if errors:
        raise ElaborationError(f"Yosys refused {name}: {errors[-1].strip()}")
    tail = "\n".join(log.splitlines()[-_LOG_TAIL_LINES:])
    raise ToolError(f"Yosys ended {name} with status {done.returncode}; its log ends with:\n{tail}")
