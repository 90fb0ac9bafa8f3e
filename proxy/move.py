"""Moving a session to another device while it runs: most of it is there before it stops.

Rounds: the source stores a checkpoint, most of it while the session runs; the target makes its
objects from it. Each round has less to do, until little is left or it does not get less. Then the
session is suspended, which stores what it wrote since, and resumed at the target. Each round's
checkpoint is a whole one: whatever dies, the session goes on at the source, or from a checkpoint.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hal.errors import HalError, StateError, Unsupported
from proxy.control import TIMEOUT_S, Control, Stored
from proxy.errors import CheckpointRefused, ProxyError, ServerGone
from proxy.rendezvous import suspended_file
from proxy.segment import Line, Segment
from proxy.store import Address, Store

ROUNDS = 4
SMALL_BYTES = 16 << 20  # so much in the last round is not worth another
SHRINKS = 0.7  # a round that is not smaller by so much shows that another will not help


@dataclass(frozen=True, slots=True)
class Round:
    read_bytes: int  # from the source's device
    changed_bytes: int  # that the round before did not have
    stored_bytes: int
    uploaded_bytes: int  # to the target's device


@dataclass(frozen=True, slots=True)
class Moved:
    checkpoint: str  # of the suspension
    epoch: int
    pause_s: float  # from when the session was told to stand still until it went on
    rounds: tuple[Round, ...]  # the last one in the pause


def move(
    root: Path,
    session: str,
    source: str,
    target: str,
    store: Address,
    rounds: int = ROUNDS,
    timeout_s: float = TIMEOUT_S,
) -> Moved:
    """From the server `source` to `target`, both under `root`. `rounds`: at most so many before
    the session stops; 0: it stops at once. Raises what went wrong; the session then goes on at
    the source, or the error says which checkpoint to resume."""
    return _Move(root, session, source, target, store, timeout_s).run(rounds)


def left_behind(root: Path, session: str, store: Address) -> str | None:
    """The checkpoint of a suspension of which nobody was told: server or caller died before."""
    path = suspended_file(root, session)
    if path is None:
        return None
    with suppress(CheckpointRefused, ProxyError, OSError):
        segment = Segment.open(path)
        cut = segment[Line.CUT]
        segment.close()
        return Store(store).find(f"{cut:016x}")
    return None


class _Move:
    def __init__(
        self, root: Path, session: str, source: str, target: str, store: Address, timeout_s: float
    ) -> None:
        self._root = root
        self._session = session
        self._names = source, target
        self._old, self._new = Control(root, source), Control(root, target)
        self._address = store
        self._timeout_s = timeout_s
        self._done: list[Round] = []
        self._made: list[str] = []  # checkpoints of rounds

    def run(self, rounds: int) -> Moved:
        try:
            self._go_ahead(rounds)
            stored = self._suspend()
        except BaseException:
            with suppress(HalError, ProxyError, OSError):
                self._new.unprepare(self._session)
            raise
        moved = self._resume(stored)
        found = Store(self._address)
        for checkpoint in self._made:
            if checkpoint != moved.checkpoint:
                found.forget(checkpoint)
        return moved

    def _go_ahead(self, rounds: int) -> None:
        before = 0
        for _ in range(rounds):
            stored = self._old.store("snapshot", self._session, self._address, self._timeout_s)
            self._made.append(stored.checkpoint)
            try:
                uploaded = self._new.prepare(
                    self._session, stored.checkpoint, self._address, self._timeout_s
                )
            except Unsupported:
                return  # of no use there; suspending will do
            self._done.append(_round(stored, uploaded))
            changed = stored.changed_bytes
            if changed <= SMALL_BYTES or (before and changed > SHRINKS * before):
                return
            before = changed

    def _suspend(self) -> Stored:
        try:
            return self._old.store("suspend", self._session, self._address, self._timeout_s)
        except ServerGone as error:
            checkpoint = left_behind(self._root, self._session, self._address)
            if checkpoint is None:
                newest = self._made[-1] if self._made else "none"
                raise ServerGone(
                    f"{self._names[0]} died while {self._session!r} was being moved; its newest "
                    f"checkpoint from before: {newest} ({error})"
                ) from error
            return Stored(checkpoint, 0, 0, 0, 0, 0, 0.0)

    def _resume(self, stored: Stored) -> Moved:
        checkpoint = stored.checkpoint
        try:
            resumed = self._new.resumed(self._session, checkpoint, self._address, self._timeout_s)
        except (HalError, ProxyError) as error:
            try:
                self._old.resume(self._session, checkpoint, self._address, self._timeout_s)
            except (HalError, ProxyError) as second:
                raise StateError(
                    f"{self._session!r} could go on neither on {self._names[1]} ({error}) nor on "
                    f"{self._names[0]} ({second}): it is suspended, resume it from checkpoint "
                    f"{checkpoint}"
                ) from error
            raise
        last = _round(stored, resumed.uploaded_bytes)
        pause_s = resumed.resumed_at - stored.halted_at if stored.halted_at else 0.0
        return Moved(checkpoint, resumed.epoch, pause_s, (*self._done, last))


def _round(stored: Stored, uploaded_bytes: int) -> Round:
    return Round(stored.read_bytes, stored.changed_bytes, stored.stored_bytes, uploaded_bytes)
