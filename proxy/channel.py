"""The worker's end of a session: puts records, makes calls, waits. All waits are bounded.

While the session is suspended the worker's clock stands still: a wait goes on as if the time had
not passed, and nothing fails, for up to PARK_LIMIT_S. Waits shorter than POLL_S are polls and
return in time all the same. A dead server is noticed within TICK_S, for its lock is free.
Not thread-safe: one thread, or the caller's own lock, per session.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hal.errors import DeviceLost, DeviceTimeout, HalError
from proxy import records, wire
from proxy.arena import CHUNK_BYTES, Arena, Region, chunks
from proxy.doorbell import fence
from proxy.errors import (
    Backpressure,
    LeaseExpired,
    ProxyError,
    RemoteProtocolError,
    ServerGone,
    from_record,
)
from proxy.liveness import holder_lives
from proxy.paths import ServerPaths
from proxy.records import Done, Failed
from proxy.ring import Producer
from proxy.segment import (
    END_AT,
    END_BYTES,
    ERROR_AT,
    ERROR_BYTES,
    Asleep,
    Line,
    Segment,
    State,
)
from proxy.session import WorkerHalf

TICK_S = 0.1  # longest sleep between two looks at whether the server lives
POLL_S = 1.0  # a wait shorter than this does not stretch while suspended
PARK_LIMIT_S = 24 * 3600.0  # nobody is suspended for ever
BACKPRESSURE_S = 600.0  # as long as the hal waits for anything; gateways choose less
CALL_TIMEOUT_S = 600.0

RESTART_S = 60.0  # a dead server that another can replace is waited for so long
RESTART_VARIABLE = "HALTERE_RESTART_S"

Idle = Callable[[int, float], None]  # (what was seen of the event word, at most so long)


@dataclass(slots=True)
class Transfer:
    """A read or write on its way: its region of the arena, and where a read's bytes go."""

    region: Region
    into: memoryview | None = None


def restart_s() -> float:
    """HALTERE_RESTART_S, in seconds; what is no such number counts as none given."""
    with suppress(ValueError):
        given = float(os.environ.get(RESTART_VARIABLE, ""))
        if 0 <= given < 1e9:
            return given
    return RESTART_S


class Channel:
    def __init__(
        self,
        segment: Segment,
        root: Path,
        server: str,
        backpressure_s: float = BACKPRESSURE_S,
        idle: Idle | None = None,
        sent: int = 0,
    ) -> None:
        self.segment = segment
        self._root = root
        self._server = server
        self._closed = False
        self._half: WorkerHalf[Transfer] = WorkerHalf(sent)
        self._ring = Producer(segment.ring, segment.cell(Line.HEAD), segment.cell(Line.TAIL))
        call_bytes = min(CHUNK_BYTES, segment.arena_bytes // 2)
        self._call_at = segment.arena_bytes - call_bytes  # the arena's end belongs to calls
        self._chunk_bytes = min(CHUNK_BYTES, self._call_at)
        self._call_bytes = call_bytes
        self._arena = Arena(self._call_at)
        self._backpressure_s = backpressure_s
        self._idle = idle or segment.event.sleep
        self._calls = segment[Line.REQUEST]
        self._fault: HalError | ProxyError | None = None
        self._looked_at = time.monotonic()
        self._gone_at: float | None = None  # since when no server has the session

    @property
    def sent(self) -> int:
        return self._half.sent

    @property
    def ended(self) -> bool:
        return self._closed or self.segment[Line.STATE] == State.ENDED

    def server(self) -> str:
        """Who serves the session; while it is suspended, waits to know. After its end: who did."""
        segment = self.segment
        if not self._closed:
            self.block(lambda: segment[Line.STATE] != State.SUSPENDED, CALL_TIMEOUT_S)
            self._server = self._named()
        return self._server

    def _named(self) -> str:
        return self.segment.read_home() or self._server

    # ---- commands

    def put(self, command: records.Command) -> None:
        """Enqueue a command. Raises Backpressure, and whatever ended the session."""
        self._put_record(self._half.record(command))
        self._half.was_put()

    def write(self, buffer: int, offset: int, data: memoryview) -> None:
        if data.nbytes <= wire.INLINE_BYTES:
            self.put(records.WriteInline(buffer, offset, bytes(data)))
            return
        for at, nbytes in chunks(data.nbytes, self._chunk_bytes):
            region = self._take_region(nbytes)
            self.segment.arena[region.offset : region.offset + nbytes] = data[at : at + nbytes]
            command = records.Write(buffer, offset + at, nbytes, region.offset)
            self._put_record(self._half.record(command))
            self._half.was_put(writing=Transfer(region))

    def read(self, buffer: int, offset: int, into: memoryview) -> None:
        for at, nbytes in chunks(into.nbytes, self._chunk_bytes):
            region = self._take_region(nbytes)
            command = records.Read(buffer, offset + at, nbytes, region.offset)
            self._put_record(self._half.record(command))
            self._half.was_put(reading=Transfer(region, into[at : at + nbytes]))

    def wait(self, seq: int, timeout_s: float) -> bool:
        """Until the worker's `seq` completed. Raises the first error of what was enqueued."""
        segment = self.segment
        segment[Line.WANTED] = seq
        done = self.block(lambda: segment[Line.COMPLETED] >= seq, timeout_s, Asleep.FOR_SEQ)
        self._collect()
        self.raise_error()
        return done

    def raise_error(self) -> None:
        """The first error that the worker has not seen, or the one that does not go away."""
        count = self.segment[Line.ERRORS]
        if count != self.segment[Line.ERRORS_SEEN]:
            failed = self.segment.read_error(ERROR_AT, ERROR_BYTES)[1]
            self.segment[Line.ERRORS_SEEN] = count
            error = from_record(failed)
            if failed.sticky:
                self._fault = error
            raise error
        if self._fault is not None:
            raise type(self._fault)(str(self._fault))

    # ---- calls

    def call(self, call: records.Call, after: int = 0, timeout_s: float = CALL_TIMEOUT_S) -> Done:
        """The server's answer, once it has taken record `after`. Raises what it raised."""
        segment = self.segment
        what = type(call).__name__
        if not self.block(lambda: segment[Line.REPLY] == self._calls, self._backpressure_s):
            raise Backpressure(f"{what}: an earlier call is still not answered; try again")
        self._calls += 1
        number = self._calls
        segment.write_request(wire.encode(number, call))
        segment[Line.REQUEST_AFTER] = after
        segment[Line.REQUEST] = number
        self._ring_server()
        if not self.block(lambda: segment[Line.REPLY] == number, timeout_s):
            raise DeviceTimeout(f"{what} was not answered in {timeout_s} s")
        reply = segment.read_reply()
        if isinstance(reply, Failed):
            raise from_record(reply)
        if not isinstance(reply, Done):
            raise RemoteProtocolError(f"{what} was answered by {type(reply).__name__}")
        return reply

    def upload(self, data: bytes) -> None:
        """Fill the server's inbox for the next call."""
        pieces = chunks(len(data), self._call_bytes) if data else ((0, 0),)
        for at, nbytes in pieces:
            self.segment.arena[self._call_at : self._call_at + nbytes] = data[at : at + nbytes]
            self.call(records.Append(self._call_at, nbytes, int(at == 0)))

    def download(self, filled: Done) -> bytes:
        """The server's outbox, which a call filled."""
        data = bytearray()
        for at, size in chunks(filled.nbytes, self._call_bytes):
            self.call(records.Fetch(at, size, self._call_at))
            data += self.segment.arena[self._call_at : self._call_at + size]
        return bytes(data)

    def peek(self, buffer: int, offset: int, into: memoryview) -> None:
        for at, size in chunks(into.nbytes, self._call_bytes):
            self.call(records.Peek(buffer, offset + at, size, self._call_at))
            into[at : at + size] = self.segment.arena[self._call_at : self._call_at + size]

    # ---- waiting

    def block(
        self, ready: Callable[[], bool], timeout_s: float, asleep: Asleep = Asleep.FOR_ANYTHING
    ) -> bool:
        """Until `ready`, False when the time is over. Raises whatever ended the session."""
        segment = self.segment
        begun = now = time.monotonic()
        give_up = now + timeout_s
        while True:
            seen = segment.event.value
            if ready():
                return True
            self._check_alive(now)
            if now >= give_up:
                return False
            segment[Line.CLIENT_ASLEEP] = asleep
            fence()
            self._idle(seen, min(give_up - now, TICK_S))
            segment[Line.CLIENT_ASLEEP] = Asleep.NO
            before, now = now, time.monotonic()
            if segment[Line.STATE] == State.SUSPENDED or self._gone_at is not None:
                if now - begun > PARK_LIMIT_S:
                    raise LeaseExpired(f"the session was suspended for more than {PARK_LIMIT_S} s")
                if timeout_s >= POLL_S:
                    give_up += now - before

    def _check_alive(self, now: float) -> None:
        segment = self.segment
        state = segment[Line.STATE]
        if state == State.ENDED:
            raise from_record(segment.read_error(END_AT, END_BYTES)[1])
        recoverable = segment[Line.RECOVERABLE] and not segment[Line.CLOSED]
        if state == State.SUSPENDED and not recoverable:
            return
        if now - self._looked_at < TICK_S:
            return
        self._looked_at = now
        name = self._named()
        if holder_lives(ServerPaths.under(self._root, name).lock):
            self._gone_at = None
            return
        if recoverable:  # another server may redo what this one did, and nothing is lost
            self._gone_at = now if self._gone_at is None else self._gone_at
            if now - self._gone_at < restart_s():
                return
        elif segment[Line.STATE] == State.SUSPENDED:
            return
        if segment[Line.STATE] != State.ENDED:
            raise ServerGone(
                f"the server of {name} died; what it held is lost. Start it again and begin anew, "
                "or resume from a checkpoint"
            )

    def _put_record(self, record: bytes) -> None:
        if not self._ring.put(record) and not self.block(
            lambda: self._ring.put(record), self._backpressure_s
        ):
            raise Backpressure(
                f"the ring of {self._ring.capacity} bytes stayed full for "
                f"{self._backpressure_s} s: the device does not keep up; try again later"
            )
        self._ring_server()

    def _ring_server(self) -> None:
        segment = self.segment
        segment.bell.bump()
        fence()
        if segment[Line.SERVER_ASLEEP]:
            segment.bell.wake()

    def _take_region(self, nbytes: int) -> Region:
        found: list[Region] = []

        def ready() -> bool:
            self._collect()
            region = self._arena.take(nbytes)
            if region is not None:
                found.append(region)
            return bool(found)

        if not self.block(ready, self._backpressure_s):
            raise Backpressure(
                f"no room for {nbytes} bytes in the arena for {self._backpressure_s} s: the device "
                "does not keep up; try again later"
            )
        return found[0]

    def _collect(self) -> None:
        """Hand over finished reads, free what is not needed any more."""
        segment = self.segment
        for transfer in self._half.finished_writes(segment[Line.ISSUED]):
            self._arena.give(transfer.region)
        for transfer in self._half.finished_reads(segment[Line.RETIRED]):
            region, into = transfer.region, transfer.into
            assert into is not None
            into[:] = segment.arena[region.offset : region.offset + region.nbytes]
            self._arena.give(region)

    # ---- end

    def close(self, timeout_s: float) -> None:
        """Tell the server; return when it has let go, or cannot be reached."""
        segment = self.segment
        segment[Line.CLOSED] = 1
        self._ring_server()
        try:
            if segment[Line.STATE] == State.RUNNING:
                self.block(lambda: False, timeout_s)  # it ends by ENDED, which raises
        except (DeviceLost, ProxyError):
            pass
        self._server = self._named()
        self._closed = True
        segment.close()
