"""How a worker and a server meet: finding the server, putting a session down, taking one up."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from hal.errors import DeviceLost, UsageError
from proxy.channel import TICK_S, restart_s
from proxy.desk import ServerPage
from proxy.errors import ProxyError, ServerGone
from proxy.info import PREFIX, ServerInfo, running_servers
from proxy.liveness import ProcessId, holder_lives
from proxy.paths import ServerPaths, all_servers, parked
from proxy.segment import Asleep, Line, Segment, State


def find_server(device_uri: str, root: Path) -> tuple[ServerPaths, ServerInfo]:
    """Waits for one that its keeper starts. Raises DeviceLost if no server of that name runs."""
    name = device_uri.removeprefix(PREFIX)
    give_up = time.monotonic() + restart_s()
    while True:
        is_kept = holder_lives(ServerPaths.under(root, name).keeper)
        servers = running_servers(root)
        for paths, info in servers:
            if paths.name == name:
                return paths, info
        if not is_kept or time.monotonic() > give_up:
            break
        time.sleep(TICK_S)
    running = ", ".join(paths.name for paths, _ in servers) or "none"
    raise DeviceLost(
        f"no server of {name!r} runs under {root}: start one (haltere proxy); running: {running}"
    )


def put_down(
    paths: ServerPaths, name: str, durable: bool, ring_bytes: int, arena_bytes: int
) -> Segment:
    """A new session file where the server looks. Raises ServerGone."""
    temporary = paths.incoming / f".{name}.{os.urandom(6).hex()}.{os.getpid()}"
    try:
        segment = Segment.create(temporary, ring_bytes, arena_bytes, durable)
        _sign(segment)
        temporary.rename(paths.incoming / f"{name}~{os.urandom(6).hex()}")
    except FileNotFoundError as error:
        raise ServerGone(
            f"no server of {paths.name} has ever run: start one (haltere proxy)"
        ) from error
    ServerPage(paths).bell.ring()
    return segment


def is_being_made(path: Path) -> bool:
    """True of a session file that a worker which lives has not put down yet."""
    pid = path.name.rpartition(".")[2]
    return path.name.startswith(".") and pid.isdecimal() and ProcessId.of(int(pid)).is_alive()


def take_up(path: Path) -> Segment:
    """Make this process the worker of an existing session. Raises FileNotFoundError, UsageError."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two who want it: the second sees the first
        segment = Segment.open(path)
        before = ProcessId(segment[Line.CLIENT_PID], segment[Line.CLIENT_START])
        if before.is_alive():
            segment.close()
            raise UsageError(f"session {path.name!r} has a live worker, process {before.pid}")
        _sign(segment)
        segment[Line.CLIENT_ASLEEP] = Asleep.NO
    return segment


def suspended_file(root: Path, name: str) -> Path | None:
    """The file of a suspended session: parked, or with a server that died when it had just let go
    of it, or had not yet begun with it."""
    path = parked(root) / name
    if path.exists():
        return path
    for paths in all_servers(root):
        path = paths.sessions / name
        if not path.exists() or holder_lives(paths.lock):
            continue
        with suppress(ProxyError, OSError):
            segment = Segment.open(path)
            is_suspended = segment[Line.STATE] == State.SUSPENDED
            segment.close()
            if is_suspended:
                return path
    return None


def suspended_names(root: Path) -> set[str]:
    """Sessions that are suspended, see `suspended_file`."""
    homes = (paths for paths in all_servers(root) if not holder_lives(paths.lock))
    folders = (parked(root), *(paths.sessions for paths in homes))
    found: set[str] = set()
    for folder in folders:
        with suppress(FileNotFoundError):
            found.update(path.name for path in folder.iterdir())
    return {name for name in found if suspended_file(root, name) is not None}


def session_file(root: Path, name: str) -> Path | None:
    """The file of a session that runs, or is suspended."""
    running = (paths.sessions / name for paths, _ in running_servers(root))
    return next((path for path in running if path.exists()), None) or suspended_file(root, name)


def _sign(segment: Segment) -> None:
    own = ProcessId.own()
    segment[Line.CLIENT_PID], segment[Line.CLIENT_START] = own.pid, own.start_ticks
