"""Going on with a session whose server died: doing again what it did since its newest checkpoint,
or since it began if there is none.

All that is redone happens in a file of its own that nobody else sees. Only when it came out as
before, read by read, does the tenant take up the worker's file, whose ring, arena and words are as
the dead server left them: the worker saw a stall. Anything else ends the session with an error.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator
from pathlib import Path
from typing import TYPE_CHECKING

from hal.errors import DeviceTimeout, HalError
from proxy import checkpoint, records, snapshot, wire
from proxy.arena import arena_source, arena_target
from proxy.calls import Calls
from proxy.checkpoint import Checkpoint
from proxy.desk import Reply
from proxy.errors import AnyError, ProxyError, ReplayDiverged, ServerGone, StoreBusy
from proxy.prepare import Prepared, Steps, check_part
from proxy.redo_log import Begun, Entry, Kind, RedoLog, read
from proxy.ring import Producer
from proxy.segment import ERROR_AT, ERROR_BYTES, Line, Segment, State, refuse
from proxy.session import ServerHalf
from proxy.suspend import store_of
from proxy.tenant import Tenant

if TYPE_CHECKING:
    from proxy.server import Server

SLICE_S = 0.01  # other sessions wait for so long at most, and for one more step
MAX_ATTEMPTS = 3  # servers that a session may take along when what it does kills them
STALL_S = 600.0  # without progress: given up


def begin_log(
    tenant: Tenant, path: Path, record: str = "", store: str = "", lent: bool = False
) -> None:
    """From the checkpoint just taken on, or from the session's beginning, what it does is kept.
    `lent`: others may want that checkpoint later. Raises OSError."""
    if tenant.backlog:  # it is of no ring that a new server would find
        tenant.drop_log()
    elif tenant.redo is None:
        tenant.keep(RedoLog.create(path, Begun(tenant.segment[Line.NONCE], record, store, lent)))
    else:
        tenant.redo.begin(record, store, lent)
        tenant.keep(tenant.redo)


class Redo:
    """An operation that nobody asked for: take up the session at `path`. Raises ServerGone if
    there is no way."""

    request_id = ""

    def __init__(self, server: Server, path: Path, segment: Segment) -> None:
        self._server = server
        self._path = path
        self.name = path.name
        self._log_path = server.paths.redo / self.name
        self._segment = segment
        self.tenant: Tenant | None = None
        self.goes_on = False  # all is restored, and being done again
        self._scratch = server.paths.incoming / f".{self.name}.redo"
        try:
            found = read(self._log_path)
        except (ProxyError, OSError) as error:
            raise self._gone(error) from error
        if found is None:
            raise self._gone("what it did since its checkpoint, or its beginning, was not kept")
        self._begun, self._entries = found
        if self._begun.nonce != segment[Line.NONCE]:
            raise self._gone("the redo log is of another session of that name")
        self._log = RedoLog.open(self._log_path)
        self.died = self._log.attempts  # servers, while they did this
        if self.died >= MAX_ATTEMPTS:
            raise self._gone(
                f"{self.died} servers were killed while trying, perhaps by its commands"
            )
        self._begun_it = False
        self._steps = self._redo()
        segment[Line.CUT] = 0
        segment[Line.STATE] = State.SUSPENDED  # its clock stands still

    @staticmethod
    def is_possible(segment: Segment) -> bool:
        return bool(segment[Line.RECOVERABLE]) and not segment[Line.CLOSED]

    @property
    def _may_begin(self) -> bool:
        """Once a server died over some of them, they have their turns one by one, so that only who
        brings servers down is charged for it: the least suspect first."""
        others = self._server.redoing.values()
        if not any(each.died for each in others):
            return True
        return self is min(others, key=lambda each: (each.died, each.name))

    def poll(self) -> Reply | None:
        if not self._begun_it:
            if not self._may_begin:
                return None
            self._begun_it = True
            self._log.attempts += 1
        until = time.monotonic() + SLICE_S
        try:
            while time.monotonic() < until:
                if next(self._steps):
                    return None
        except StopIteration:
            return {}
        except Exception as error:
            reason = error if isinstance(error, ReplayDiverged) else self._gone(error)
            self.give_up(reason)
            raise
        return None

    def give_up(self, reason: AnyError) -> None:
        self._server.redoing.pop(self.name, None)
        if self.tenant is not None:
            self.tenant.release()
        for path in (self._path, self._scratch, self._log_path):
            path.unlink(missing_ok=True)
        self._segment[Line.RECOVERABLE] = 0
        refuse(self._segment, reason)

    def _gone(self, why: object) -> ServerGone:
        return ServerGone(
            f"the server of {self._server.paths.name} died; this is another, and session "
            f"{self.name!r} could not be redone: {why}. Begin anew, or resume from a checkpoint"
        )

    # ---- doing it again

    def _redo(self) -> Steps:
        number = yield from self._restore()
        self.goes_on = True
        tenant, scratch = self._opened(), self._opened().segment
        put = Producer(scratch.ring, scratch.cell(Line.HEAD), scratch.cell(Line.TAIL))
        delivered = {e.number: e.payload for e in self._entries if e.kind == Kind.READ}
        undelivered: dict[int, tuple[int, bytes]] = {}
        answered = self._segment[Line.REPLY]
        seen = self._segment[Line.RETIRED]
        for entry in self._entries:
            if entry.kind == Kind.CALL:
                if entry.number <= answered:  # else it waits in the request area
                    yield from self._until(Line.ISSUED, number)
                    yield from self._call(tenant, entry)
            elif entry.kind == Kind.COMMAND:
                number += 1
                command = _command(entry, number)
                source, target = arena_source(command), arena_target(command)
                if source is not None and source[1]:
                    tenant.arena_range(*source)[:] = entry.payload
                while not put.put(entry.record):
                    yield from self._step()
                if (source or target or (0, 0))[1]:
                    yield from self._until(Line.RETIRED, number)
                if target is not None and target[1]:
                    again = bytes(tenant.arena_range(*target))
                    self._compare(number, again, delivered.get(number), number <= seen)
                    if number > seen:
                        undelivered[number] = (target[0], again)
                yield False
        yield from self._until(Line.RETIRED, number)
        self._take_over(tenant, undelivered, delivered.keys())

    def _opened(self) -> Tenant:
        assert self.tenant is not None, "restored first"
        return self.tenant

    def _restore(self) -> Generator[bool, None, int]:
        """The record at which the log begins."""
        if not self._begun.checkpoint:
            self._open(ServerHalf(), 0)
            return 0
        store = store_of(self._server, {"store": self._begun.store})
        give_up = time.monotonic() + STALL_S
        while True:
            try:
                with store.reading():
                    found = checkpoint.read(self._begun.checkpoint, store)
                    yield from self._recreate(found)
                    return found.snapshot.position.issued
            except StoreBusy:
                if time.monotonic() > give_up:
                    raise
                yield True

    def _open(self, half: ServerHalf, tail: int) -> Tenant:
        self._scratch.unlink(missing_ok=True)
        sizes = self._segment.ring_bytes, self._segment.arena_bytes
        scratch = Segment.create(self._scratch, *sizes)
        self._scratch.unlink()
        scratch[Line.HEAD] = scratch[Line.TAIL] = tail
        scratch[Line.PRINTS] = self._segment[Line.PRINTS]
        self.tenant = self._server.open_tenant(self.name, scratch, half, tail)
        return self.tenant

    def _recreate(self, found: Checkpoint) -> Steps:
        server, shot = self._server, found.snapshot
        position = shot.position
        if (position.session, position.nonce) != (self.name, self._segment[Line.NONCE]):
            raise ReplayDiverged(f"checkpoint {found.id} is of another session")
        check_part(server, found)
        tenant = self._open(snapshot.half_of(shot), position.tail)
        tenant.weight = position.weight
        tenant.overlay = shot.overlay
        while tenant.overlay is not None and not tenant.acquire_fabric():
            yield True
        while not server.room.has_room(self, tenant.objects.device_bytes(shot.log)):
            yield True
        yield from Prepared(tenant).become(found, server.builds)
        snapshot.put_back(shot, tenant)

    def _step(self) -> Steps:
        tenant = self._opened()
        tenant.drive()
        if tenant.segment[Line.ERRORS]:
            failed = tenant.segment.read_error(ERROR_AT, ERROR_BYTES)[1]
            raise ReplayDiverged(
                f"session {self.name!r}: its server died, and what had succeeded there failed when "
                f"another did it again: {failed.message}. Resume from a checkpoint"
            )
        yield False

    def _until(self, line: Line, number: int) -> Steps:
        segment, stalled_at = self._opened().segment, time.monotonic() + STALL_S
        while segment[line] < number:
            if time.monotonic() > stalled_at:
                raise DeviceTimeout(f"record {number} was not done again in {STALL_S} s")
            yield from self._step()

    def _call(self, tenant: Tenant, entry: Entry) -> Steps:
        call = wire.decode(entry.record)[1]
        if isinstance(call, records.Append):
            if call.first:
                tenant.inbox.clear()
            tenant.inbox += entry.payload
            return
        calls = Calls(tenant, self._server.builds)
        try:
            while not calls.redo(call):
                tenant.drive()
                yield True
        except HalError as error:
            raise ReplayDiverged(
                f"{type(call).__name__} failed when it was done again: {error}"
            ) from error

    def _compare(self, number: int, again: bytes, before: bytes | None, is_due: bool) -> None:
        if before is None and is_due:
            raise ReplayDiverged(f"session {self.name!r}: the redo log lacks read {number}")
        if before is not None and before != again:
            raise ReplayDiverged(
                f"session {self.name!r}: its server died, and read {number} gave other bytes when "
                "another server did it again, so its kernels do not compute the same each time. "
                "Resume from a checkpoint"
            )

    def _take_over(
        self, tenant: Tenant, reads: dict[int, tuple[int, bytes]], logged: Collection[int]
    ) -> None:
        segment = self._segment
        stands = (segment[Line.ISSUED], segment[Line.RETIRED], segment[Line.TAIL])
        if stands[0] > tenant.half.issued or stands[2] > tenant.tail:
            raise ReplayDiverged(
                f"session {self.name!r}: the redo log ends at record {tenant.half.issued}, the "
                f"session stood at {stands[0]}"
            )
        tenant.rebind(segment)
        log = self._log
        for number, (offset, data) in reads.items():
            tenant.arena_range(offset, len(data))[:] = data
            if number not in logged:
                log.append(Kind.READ, number, b"", data)
        tenant.epoch = segment[Line.EPOCH] + 1
        segment[Line.EPOCH] = tenant.epoch
        segment[Line.TAIL] = tenant.tail
        log.attempts = 0
        tenant.keep(log)
        tenant.touched()
        tenant.publish()
        del self._server.redoing[self.name]
        self._server.serve(tenant, self._path)
        if not self._server.logs:
            tenant.drop_log()  # nobody would come after this server
        self._server.took_up(self.name, "" if self._begun.lent else self._begun.checkpoint)


def _command(entry: Entry, number: int) -> records.Command:
    stated, command = wire.decode(entry.record)
    if stated != number or entry.number != number or not isinstance(command, records.Command):
        raise ReplayDiverged(f"record {number} is missing in the redo log: {entry.number} follows")
    source = arena_source(command)
    if source is not None and source[1] != len(entry.payload):
        raise ReplayDiverged(f"record {number} lacks its bytes in the redo log")
    return command
