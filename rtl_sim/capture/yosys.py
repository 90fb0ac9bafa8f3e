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

_COMPLAINT: Final = re.compile(r"^(?:.*: )?ERROR: ?.*$", flags=re.MULTILINE)
# slang's reader warns where it drops a statement; nothing is dropped here.
_DROPPED: Final = re.compile(r"^.*will not be synthesized.*$", flags=re.MULTILINE)
# Where slang's reader comes upon what it has no code for, it shows the line and then gives up.
_LINE: Final = re.compile(r"^Source line (.+?:\d+)(?::\d+)?: (.*)$", flags=re.MULTILINE)
_SUMMARY: Final = "Design elaboration failed"
_MAX_COMPLAINTS: Final = 20

_PROGRAM: Final = (
    "import sys\n"
    "from pyosys import libyosys as ys\n"
    "ys.run_pass('script ' + sys.argv[1], ys.Design())\n"
)


def run(
    script: Sequence[str], directory: Path, name: str = "script", timeout_s: float = TIMEOUT_S
) -> str:
    """Run `script` with `directory` as the working directory; return the log, also in `name`.log.

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
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # in one stream: complaints stand before the lines they mean
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise ToolError(f"Yosys ran {name} for more than {timeout_s:.0f} s and was stopped") from (
            expired
        )
    log = done.stdout
    (directory / f"{name}.log").write_text(log, encoding="utf-8")
    dropped = _DROPPED.findall(log)
    if done.returncode == 0 and not dropped:
        return log
    at = _LINE.search(log)
    if at:
        raise ElaborationError(f"Yosys refused ({name}): {at[1]}: ERROR: cannot be made: {at[2]}")
    if done.returncode == 0:
        raise ElaborationError(f"Yosys refused ({name}): {dropped[0].strip()}")
    complaints = dict.fromkeys(map(str.strip, _COMPLAINT.findall(log)))
    if complaints:
        # Only where nothing says more is the last, general one of use.
        named = [line for line in complaints if _SUMMARY not in line] or list(complaints)
        more = (
            f"\n  and {len(named) - _MAX_COMPLAINTS} more" if len(named) > _MAX_COMPLAINTS else ""
        )
        listed = "\n  ".join(named[:_MAX_COMPLAINTS])
        raise ElaborationError(f"Yosys refused ({name}): {listed}{more}")
    tail = "\n".join(log.splitlines()[-_LOG_TAIL_LINES:])
    raise ToolError(f"Yosys ended {name} with status {done.returncode}; its log ends with:\n{tail}")
