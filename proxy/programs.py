"""Programs by name: all sessions of one, wherever they are, halted, moved and resumed together.

A program that is run under a name has sessions NAME, NAME.2, NAME.3, ... A program that is halted
is told by a note under the root for each session, which says from which checkpoint it goes on.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hal.errors import HalError, UsageError
from proxy.control import Control
from proxy.errors import ProxyError, RemoteProtocolError
from proxy.info import running_servers
from proxy.liveness import ProcessId
from proxy.move import ROUNDS, Moved, left_behind
from proxy.move import move as move_session
from proxy.paths import checked_name, parked, write_atomically
from proxy.segment import Line, Segment
from proxy.store import Address, address_of


@dataclass(frozen=True, slots=True)
class Found:
    """One session of a program. `server`: who serves it, or did until it was halted."""

    session: str
    server: str
    pid: int
    state: str  # running, idle, halted, orphaned
    buffers: int
    buffer_bytes: int
    out_bytes: int = 0  # of them, swapped out of the device's memory


@dataclass(frozen=True, slots=True)
class Note:
    """How a halted session goes on."""

    session: str
    server: str
    checkpoint: str
    store: str
    buffers: int
    buffer_bytes: int


def sessions(root: Path, program: str | None = None) -> list[Found]:
    """Sessions of one program or of all, those that run and those that are halted."""
    found = [*_served(root), *_halted(root)]
    wanted = [each for each in found if program is None or _of(program, each.session)]
    return sorted(wanted, key=lambda each: _order(each.session))


def halt(root: Path, program: str, store: Address) -> list[Note]:
    """Halt, save and release all sessions; the program waits. All or none. Raises UsageError."""
    running = [each for each in _known(root, program) if each.state != "halted"]
    if not running:
        raise UsageError(f"{program!r} is halted already; resume it: haltere resume {program}")
    notes: list[Note] = []
    try:
        for each in running:
            checkpoint = Control(root, each.server).suspend(each.session, store)
            note = Note(
                each.session,
                each.server,
                checkpoint,
                address_of(store),
                each.buffers,
                each.buffer_bytes,
            )
            notes.append(note)
            _write_note(root, note)
    except BaseException:
        for note in notes:
            with suppress(HalError, ProxyError):  # it stays halted; the first error is what is told
                _resume(root, note, note.server)
        raise
    return notes


def resume(
    root: Path, program: str, target: str | None = None, store: Address | None = None
) -> list[tuple[str, str]]:
    """Go on with all halted sessions, where they were or on `target`: (session, server) of each.
    What cannot be resumed stays halted. `store`: where the checkpoint of a session is whose halt
    or move was interrupted before it left a note. Raises UsageError."""
    found = _known(root, program)
    notes = [note for note in _notes(root) if _of(program, note.session)]
    noted = {note.session for note in notes}
    for each in found:
        if each.state == "halted" and each.session not in noted:
            notes.append(_note_of(root, each, store))
    if not notes:
        raise UsageError(f"{program!r} is not halted")
    done = []
    for note in sorted(notes, key=lambda note: _order(note.session)):
        server = target or note.server
        _resume(root, note, server)
        done.append((note.session, server))
    return done


def move(
    root: Path,
    program: str,
    target: str,
    store: Address,
    source: str | None = None,
    rounds: int = ROUNDS,
) -> list[tuple[str, Moved]]:
    """All sessions (of `source` only, if given) go on on `target`, copied ahead in at most so many
    rounds while they run; those that were moved. What cannot go there goes on where it was. Raises
    UsageError."""
    moved = []
    for each in _known(root, program):
        if each.server == target or (source is not None and each.server != source):
            continue
        if each.state == "halted":
            raise UsageError(f"{each.session!r} is halted: haltere resume {program} --to {target}")
        done = move_session(root, each.session, each.server, target, store, rounds)
        moved.append((each.session, done))
    return moved


def snapshot(root: Path, program: str, store: Address) -> list[tuple[str, str]]:
    """(session, checkpoint) of each session; they go on."""
    return [
        (each.session, Control(root, each.server).snapshot(each.session, store))
        for each in _known(root, program)
        if each.state != "halted"
    ]


def bury(root: Path, program: str) -> None:
    """End the sessions that a dead process of this name left; other processes may have it too."""
    for each in sessions(root, program):
        if each.state == "orphaned":
            with suppress(HalError, ProxyError):
                Control(root, each.server).drop(each.session)


# ---- inner


def _of(program: str, session: str) -> bool:
    return re.fullmatch(re.escape(program) + r"(\.[0-9]+)?", session) is not None


def _order(session: str) -> tuple[str, int]:
    name, _, number = session.rpartition(".")
    return (name, int(number)) if name and number.isdecimal() else (session, 1)


def _known(root: Path, program: str) -> list[Found]:
    found = sessions(root, program)
    if not found:
        names = sorted({_order(each.session)[0] for each in sessions(root)})
        there = ", ".join(names) or "none"
        raise UsageError(f"no program {program!r} under {root}; there are: {there}")
    return found


def _served(root: Path) -> list[Found]:
    found = []
    for paths, _ in running_servers(root):
        with suppress(ProxyError):  # a server that has just ended serves nothing
            for each in Control(root, paths.name).status().sessions:
                busy = each.kernel_in_flight or each.retired < each.issued or each.waiting_bytes
                state = "orphaned" if not each.worker_alive else "running" if busy else "idle"
                found.append(
                    Found(
                        each.name,
                        paths.name,
                        each.worker_pid,
                        state,
                        each.buffers,
                        each.buffer_bytes,
                        each.out_bytes,
                    )
                )
    return found


def _halted(root: Path) -> list[Found]:
    notes = {note.session: note for note in _notes(root)}
    found = []
    for path in sorted(parked(root).glob("*")) if parked(root).is_dir() else []:
        try:
            segment = Segment.open(path)
        except (OSError, ProxyError):
            continue
        worker = ProcessId(segment[Line.CLIENT_PID], segment[Line.CLIENT_START])
        server = segment.read_home()
        segment.close()
        note = notes.get(path.name)
        sizes = (note.buffers, note.buffer_bytes) if note else (0, 0)
        if worker.is_alive():
            found.append(Found(path.name, server, worker.pid, "halted", *sizes))
    return found


def _note_path(root: Path, session: str) -> Path:
    return root / "halted" / checked_name(session, "session")


def _write_note(root: Path, note: Note) -> None:
    path = _note_path(root, note.session)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(path, json.dumps(asdict(note)).encode())


def _notes(root: Path) -> list[Note]:
    found = []
    for path in sorted((root / "halted").glob("*")):
        try:
            note = Note(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            continue
        except (TypeError, ValueError) as error:
            raise RemoteProtocolError(f"{path} is damaged: {error}") from error
        if (parked(root) / note.session).exists():
            found.append(note)
        else:  # resumed by other means, or its program is dead
            path.unlink(missing_ok=True)
    return found


def _note_of(root: Path, found: Found, store: Address | None) -> Note:
    checkpoint = None if store is None else left_behind(root, found.session, store)
    if store is None or checkpoint is None:
        where = "any store" if store is None else address_of(store)
        raise UsageError(
            f"{found.session!r} is halted, but its checkpoint is not in {where}: name the store "
            f"that it was halted to (haltere resume --store)"
        )
    return Note(found.session, found.server, checkpoint, address_of(store), 0, 0)


def _resume(root: Path, note: Note, server: str) -> None:
    Control(root, server).resume(note.session, note.checkpoint, note.store)
    _note_path(root, note.session).unlink(missing_ok=True)
