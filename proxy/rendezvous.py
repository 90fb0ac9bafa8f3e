"""How a worker and a server meet: finding the server, putting a session down, taking one up."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hal.errors import DeviceLost, UsageError
from proxy.desk import ServerPage
from proxy.errors import ServerGone
from proxy.info import PREFIX, ServerInfo, running_servers
from proxy.liveness import ProcessId
from proxy.paths import ServerPaths
from proxy.segment import Asleep, Line, Segment


def find_server(device_uri: str, root: Path) -> tuple[ServerPaths, ServerInfo]:
    """Raises DeviceLost if no server of that name runs."""
    name = device_uri.removeprefix(PREFIX)
    servers = running_servers(root)
    for paths, info in servers:
        if paths.name == name:
            return paths, info
    running = ", ".join(paths.name for paths, _ in servers) or "none"
    raise DeviceLost(f"no server of {name!r} runs under {root}; running: {running}")


def put_down(
    paths: ServerPaths, name: str, durable: bool, ring_bytes: int, arena_bytes: int
) -> Segment:
    """A new session file where the server looks. Raises ServerGone."""
    temporary = paths.incoming / f".{name}.{os.urandom(6).hex()}"
    try:
        segment = Segment.create(temporary, ring_bytes, arena_bytes, durable)
        _sign(segment)
        temporary.rename(paths.incoming / f"{name}~{os.urandom(6).hex()}")
    except FileNotFoundError as error:
        raise ServerGone(f"no server has ever run at {paths.home}: start one") from error
    ServerPage(paths).bell.ring()
    return segment


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


def _sign(segment: Segment) -> None:
    own = ProcessId.own()
    segment[Line.CLIENT_PID], segment[Line.CLIENT_START] = own.pid, own.start_ticks
