"""The two halves of a session's protocol, without I/O: no memory, no clock, no device.

The worker's half turns calls into records and knows which reads to hand over when. The server's
half turns bytes into checked records, counts what was taken and what the device is done with, and
keeps the first error until the worker has seen it. Record numbers run 1, 2, 3, ... for the life of
a session, across servers: `issued` (taken), `retired` (done), `sent` are such numbers, and the
cut of a snapshot is one. The hal's seqs travel in Signal records; `completed` is the newest done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hal.types import Seq
from proxy import records, wire
from proxy.errors import AnyError, RemoteProtocolError

T = TypeVar("T")


class WorkerHalf(Generic[T]):
    """T: what the worker needs to hand over a finished read."""

    def __init__(self, sent: int = 0) -> None:
        self.sent = sent
        self._reads: deque[tuple[int, T]] = deque()
        self._writes: deque[tuple[int, T]] = deque()
        self._encode = wire.Encoder().encode

    def record(self, command: records.Command) -> bytes:
        """The bytes to put in the ring. Call `was_put` once they are there."""
        return self._encode(self.sent + 1, command)

    def was_put(self, *, reading: T | None = None, writing: T | None = None) -> None:
        """The record is in the ring; `reading` comes back when it retired, `writing` when it was
        taken."""
        self.sent += 1
        if reading is not None:
            self._reads.append((self.sent, reading))
        if writing is not None:
            self._writes.append((self.sent, writing))

    def finished_reads(self, retired: int) -> list[T]:
        return _pop_until(self._reads, retired)

    def finished_writes(self, issued: int) -> list[T]:
        return _pop_until(self._writes, issued)

    @property
    def reads_pending(self) -> bool:
        return bool(self._reads)


def _pop_until(queue: deque[tuple[int, T]], number: int) -> list[T]:
    done = []
    while queue and queue[0][0] <= number:
        done.append(queue.popleft()[1])
    return done


@dataclass(slots=True)
class Flight:
    """Commands handed to the device together, up to one seq of the server's context."""

    seq: Seq  # of the server's context
    upto: int  # record number: all up to it are done when `seq` completes
    completes: int  # the worker's newest seq among them, 0 if none
    kernel: bool  # there is a launch among them


class Progress(Protocol):
    """How far a session is; see the module's docstring."""

    error: AnyError | None  # first one the worker has not been told of

    @property
    def issued(self) -> int: ...
    @property
    def retired(self) -> int: ...
    @property
    def completed(self) -> int: ...
    @property
    def newest_seq(self) -> int: ...
    @property
    def flights(self) -> Sequence[Flight]: ...
    @property
    def failed(self) -> int:
        """The command that the error is of."""
        ...

    @property
    def kernel_in_flight(self) -> bool: ...


class ServerHalf:
    """`issued` etc. are what was last published; the I/O around copies them to the header."""

    def __init__(self, issued: int = 0, completed: int = 0) -> None:
        self.issued = issued
        self.retired = issued
        self.completed = completed
        self.flights: deque[Flight] = deque()
        self.error: AnyError | None = None  # first one the worker has not been told of
        self.failed = 0  # the command it is of
        self._decode = wire.Decoder().decode
        self._bytes = b""
        self._at = 0
        self._next: tuple[records.Command, int] | None = None
        self.newest_seq = completed  # the newest signalled
        self.loose = False  # something was handed to the device that no flight covers
        self._loose_completes = 0
        self._loose_kernel = False

    # ---- bytes in

    def receive(self, data: bytes) -> None:
        """More bytes of the ring. At most one read's worth is kept: call when `peek` gave None."""
        self._bytes = self._bytes[self._at :] + data
        self._at = 0

    def peek(self) -> records.Command | None:
        """The next record, None while it is incomplete. Raises RemoteProtocolError."""
        if self._next is None:
            length = wire.record_length(self._bytes, self._at)
            if length is None or len(self._bytes) - self._at < length:
                return None
            number, record = self._decode(self._bytes[self._at : self._at + length])
            if number != self.issued + 1:
                raise RemoteProtocolError(
                    f"record number {number} after {self.issued}: numbers rise by one"
                )
            if not isinstance(record, records.Command):
                raise RemoteProtocolError(f"{type(record).__name__} is a call, not a command")
            self._next = record, length
        return self._next[0]

    def take(self) -> int:
        """The peeked record was handed on; the ring bytes it held."""
        assert self._next is not None, "take without peek"
        length = self._next[1]
        self._next = None
        self._at += length
        self.issued += 1
        return length

    # ---- progress

    @property
    def in_flight(self) -> int:
        """Records taken of which the device is not done."""
        return self.issued - self.retired

    @property
    def kernel_in_flight(self) -> bool:
        return self._loose_kernel or any(flight.kernel for flight in self.flights)

    def handed_over(self, kernel: bool = False) -> None:
        """The record just taken is with the device."""
        self.loose = True
        self._loose_kernel |= kernel

    def settled(self) -> None:
        """The record just taken needs nothing from the device, or failed."""
        if self.loose:
            return
        if self.flights:
            self.flights[-1].upto = self.issued
        else:
            self.retired = self.issued

    def signalled(self, seq: int) -> None:
        """The record just taken is a signal. Raises RemoteProtocolError."""
        if seq <= self.newest_seq:
            raise RemoteProtocolError(f"signal {seq} after {self.newest_seq}: seqs rise")
        self.newest_seq = seq
        if self.loose:
            self._loose_completes = seq
        elif self.flights:
            self.flights[-1].completes = seq
        else:
            self.completed = seq
        self.settled()

    def depart(self, seq: Seq) -> None:
        """All that is loose completes with the context's `seq`."""
        assert self.loose, "an empty flight"
        self.flights.append(Flight(seq, self.issued, self._loose_completes, self._loose_kernel))
        self.loose = self._loose_kernel = False
        self._loose_completes = 0

    def land(self) -> None:
        """The oldest flight is done."""
        flight = self.flights.popleft()
        self.retired = flight.upto
        self.completed = max(self.completed, flight.completes)

    def adopt(self, flights: list[Flight], completed: int) -> None:
        """Take over what another context had with its device."""
        self.flights.extend(flights)
        self.completed = completed
        self.newest_seq = max([completed, *(flight.completes for flight in flights)])

    # ---- errors

    def fail(self, error: AnyError) -> None:
        """A command failed; the first error is kept, for later ones follow from it."""
        if self.error is None:
            self.error = error
            self.failed = self.issued

    def take_error(self) -> AnyError | None:
        error, self.error = self.error, None
        return error
