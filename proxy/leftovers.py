"""What a server that died left at its place, sorted by the next one as it begins.

Sessions that can be redone are taken up; those that a worker has just put down are left for their
turn, and suspended ones parked, for their checkpoints stand. All others are lost, and their workers
are told.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.errors import ProxyError, ServerGone
from proxy.liveness import ProcessId
from proxy.paths import discard, parked
from proxy.redo import Redo
from proxy.rendezvous import is_being_made
from proxy.segment import Line, Segment, State, refuse

if TYPE_CHECKING:
    from proxy.server import Server


def sort(server: Server) -> None:
    """Before it serves anybody."""
    paths = server.paths
    gone = ServerGone(f"the server of {paths.name} died; this is another")
    for folder in (paths.sessions, paths.incoming):
        for path in folder.iterdir():
            if is_being_made(path):
                continue
            with suppress(ProxyError, OSError):  # not a session file, or of another release
                segment = Segment.open(path)
                if _redo(server, path, segment) or _is_new(server, path, segment):
                    continue
                if segment[Line.STATE] == State.SUSPENDED:  # its checkpoint stands
                    path.rename(parked(paths.root) / path.name)
                    continue
                refuse(segment, gone)
            discard(path)
    for path in paths.redo.iterdir():
        if path.name not in server.redoing:
            discard(path)
    for path in paths.control.iterdir():
        discard(path)


def _redo(server: Server, path: Path, segment: Segment) -> bool:
    """True if the session's end is decided: it is being redone, or was told why not."""
    if path.parent != server.paths.sessions or not Redo.is_possible(segment):
        return False
    if segment[Line.STATE] == State.ENDED or not _worker_of(segment).is_alive():
        return False
    try:
        redo = Redo(server, path, segment)
    except ServerGone as error:
        segment[Line.RECOVERABLE] = 0
        refuse(segment, error)
        discard(path)
        return True
    server.take_up(redo)
    return True


def _is_new(server: Server, path: Path, segment: Segment) -> bool:
    """True if its worker has just put it down: it is accepted in its turn."""
    is_put_down = path.parent == server.paths.incoming and segment[Line.STATE] == State.NEW
    return is_put_down and _worker_of(segment).is_alive()


def _worker_of(segment: Segment) -> ProcessId:
    return ProcessId(segment[Line.CLIENT_PID], segment[Line.CLIENT_START])
