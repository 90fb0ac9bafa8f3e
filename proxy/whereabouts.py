"""Where a job's worker opens new sessions, once those that it had were moved or have ended.

    <root>/whereabouts/<session>   the name of the server where that session's job is now

A worker was told its device when it was started (HALTERE_DEVICE, HALTERE_SESSION). Whoever moves a
job says here where it went; so another process of the job, or one that opens its device anew, comes
to where the job is and not to where it began. native/opencl/rendezvous.cpp reads it, too.
"""

from __future__ import annotations

import os
from pathlib import Path

from proxy.info import PREFIX, ServerInfo, running_servers
from proxy.paths import SESSION_VARIABLE, ServerPaths, checked_name, write_atomically

DEVICE_VARIABLE = "HALTERE_DEVICE"


def note(root: Path, session: str, server: str) -> None:
    path = _path(root, session)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, server.encode())


def forget(root: Path, session: str) -> None:
    _path(root, session).unlink(missing_ok=True)


def own_servers(root: Path) -> dict[str, tuple[ServerPaths, ServerInfo]]:
    """Servers that run, by the names by which this process knows them: its job's device, as it was
    told, is the one where the job is now."""
    found = {paths.name: (paths, info) for paths, info in running_servers(root)}
    session, device = os.environ.get(SESSION_VARIABLE), os.environ.get(DEVICE_VARIABLE, "")
    if session and device.startswith(PREFIX):
        try:
            now = found.get(_path(root, session).read_text())
        except FileNotFoundError:  # it was never moved
            now = None
        if now is not None:
            found[device.removeprefix(PREFIX)] = now
    return found


def _path(root: Path, session: str) -> Path:
    return root / "whereabouts" / checked_name(session, "session")
