"""One session on the server, as the rest of the server sees it: what every kind of tenant shares.

`hal_tenant` serves it with a `hal.Context`, on any device; `native_tenant` with the native engine,
on OpenCL devices. A kind of tenant takes records, lets the device work, publishes progress and
holds the session's objects; identity, errors, epochs and what was not handed to the device yet
are here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hal.errors import HalError, Unsupported
from hal.types import Overlay, ProgramImage
from proxy import records, wire
from proxy.arena import arena_source
from proxy.aside import Aside, Errand, at_once
from proxy.doorbell import fence
from proxy.errors import AnyError, RemoteProtocolError, StaleEpoch, to_record
from proxy.fabric import Fabric
from proxy.heap import Heap
from proxy.known import ANYTHING, ChangeCount, Known
from proxy.liveness import ProcessId
from proxy.pending import Pending
from proxy.redo_log import Kind, RedoLog
from proxy.replay import ReplayLog
from proxy.segment import END_AT, END_BYTES, Asleep, Line, Segment, State
from proxy.session import Flight, Progress, ServerHalf

T = TypeVar("T")

HALT_TIMEOUT_S = 5.0  # for halts when nothing, or only a kernel that stops at any cycle, runs


class Holdings(ABC):
    """What a session holds on the device, by the worker's handles."""

    hoisted: set[int]  # buffers allocated before their record's turn

    @property
    @abstractmethod
    def log(self) -> ReplayLog:
        """How to make again what lives."""

    @property
    @abstractmethod
    def highest(self) -> int:
        """The highest handle that was ever used."""

    @abstractmethod
    def load(self, handle: int, image: ProgramImage) -> None:
        """Raises HalError, RemoteProtocolError."""

    def builder(self, image: ProgramImage) -> Callable[[], None] | None:
        """What a thread may do of `load`, and `adopt` ends; None: nothing. Raises
        RemoteProtocolError."""
        return None

    def adopt(self, handle: int, image: ProgramImage, build: Errand[None]) -> None:
        """Raises what the build raised, and as `load`."""
        raise NotImplementedError

    @abstractmethod
    def kernels(self, program: int) -> bytes:
        """KernelInfo and ArgInfo records."""

    @abstractmethod
    def build_log(self, program: int) -> bytes:
        """What the compiler said of it, at most some KB. Raises HalError."""

    # recreating, in a session that does nothing yet

    @abstractmethod
    def adapt(self, log: ReplayLog) -> None:
        """Free what `log` does not hold, and make what it holds, in its order: buffers, images and
        samplers. Raises HalError."""

    @abstractmethod
    def fill(self, handle: int, offset: int, data: memoryview) -> None:
        """Write to a buffer or image. Raises HalError."""

    def is_shared(self, handle: int) -> bool:
        """The buffer lies in its session's heap, and is as its worker has it: not to be filled."""
        return False

    def device_bytes(self, log: ReplayLog) -> int:
        """Of the device's memory, that what `log` holds takes here."""
        return log.total_bytes

    @abstractmethod
    def settle(self) -> None:
        """Until what was filled needs no memory any more. Raises HalError."""

    @abstractmethod
    def complete(self, log: ReplayLog) -> None:
        """All is here that `log` holds, programs too: numbers go on from there."""


class Tenant(ABC):
    half: Progress
    halted: bool  # by its worker: nothing goes on until it says so
    draining: bool  # for a snapshot: nothing new is taken
    fault: HalError | None  # the device completes nothing of this session any more
    replied: int  # the newest call answered
    asked: int  # the newest call that could not be answered yet
    epoch: int
    blocked = False  # the next command waits for the device
    stops_anywhere = False  # the device can halt in the middle of a kernel
    takes_threads = False  # while it stands still, a thread may use it and others go on

    def __init__(self, name: str, segment: Segment, fabric: Fabric) -> None:
        self.name = name
        self.segment = segment
        self.fabric = fabric
        self.overlay: Overlay | None = None
        self.weight = (
            1  # shares of the device: its owner's wish by a control request, never the worker's
        )
        self.hidden: bytes | None = None  # the fabric's state while someone else has it
        self.inbox = bytearray()
        self.outbox = b""
        self.known = Known()
        self.redo: RedoLog | None = None
        self.heap: Heap | None = None  # where its buffers are, if its worker shares them
        self.errand: Errand[Any] | None = None  # that it is lent to, until it is taken back
        self._stands = False  # for the errand
        self.build: Errand[None] | None = None  # the newest of its programs, which leaves it alone

    # ---- what a kind of tenant does

    @property
    def stays_blocked(self) -> bool:
        """What the next command waits for is a kernel, its own or another session's."""
        return False

    @property
    def cycles(self) -> int:
        """That the device worked for this session, on this server."""
        return 0

    @property
    def changes(self) -> ChangeCount:
        """Which buffers may have been written to."""
        return ANYTHING

    @property
    def device_ns(self) -> int:
        """That the device worked for this session, on this server; 0 where nobody measures it."""
        return 0

    @property
    def out_bytes(self) -> int:
        """Of its buffers' bytes, those that are not on the device now."""
        return 0

    @property
    def builds(self) -> bool:
        """A thread is at a program of it, which rings when it is done."""
        return self.build is not None and not self.build.done

    def lend(self, aside: Aside, work: Callable[[], T], still: bool = False) -> Errand[T] | None:
        """To a thread, one at a time; None: not now, ask again. Once it is done, and only then, who
        asked takes it back. `still`: it drains, and stands still until then."""
        if self.errand is not None:
            return None
        errand = aside.start(work) if self.takes_threads else at_once(work)
        self.errand = errand
        self._stands = still and errand is not None
        return errand

    def take_back(self) -> None:
        self.errand = None
        self._stands = False

    def go_on(self) -> None:
        """It need not drain any more, but for a thread that has it."""
        if not self._stands:
            self.draining = False
            self.touched()  # halting drained it: its worker may wait for that

    def acquire_fabric(self, anew: bool = False) -> bool:
        """True if a kernel may start now; see Fabric. Raises OverlayRejected."""
        return True

    @property
    @abstractmethod
    def objects(self) -> Holdings: ...

    @property
    @abstractmethod
    def tail(self) -> int:
        """Ring bytes released."""

    @property
    @abstractmethod
    def backlog(self) -> Sequence[Pending]:
        """What a loaded state had queued."""

    @property
    @abstractmethod
    def last_seq(self) -> int:
        """Of the device's context."""

    @property
    @abstractmethod
    def drained(self) -> bool:
        """Nothing of it is with the device, or waits to be but in the ring."""

    @property
    @abstractmethod
    def can_pump(self) -> bool:
        """The device has something of this session to work on now."""

    @abstractmethod
    def begin(self, half: ServerHalf, tail: int) -> None:
        """Go on from there, in a session that did nothing here yet. Nothing is in flight, but for
        what a hidden state holds."""

    @abstractmethod
    def take_commands(self, limit: int) -> bool:
        """Hand at most `limit` commands to the device; True if any was. Raises ProxyError."""

    @abstractmethod
    def pump(self, timeout_s: float) -> bool:
        """Let the device work; True if something was completed."""

    @abstractmethod
    def publish(self) -> None:
        """Copy progress to the header and wake the worker if it sleeps. An error that comes while
        the worker has not seen an earlier one is dropped. Raises StaleEpoch."""

    @abstractmethod
    def touched(self) -> None:
        """Something changed that `publish` must tell."""

    @abstractmethod
    def comes_to_rest(self) -> bool:
        """Of one that drains: True once it stands still, False: not yet. Raises HalError."""

    def bound(self, nbytes: int) -> None:
        """Of the device's memory, no more for this session."""
        raise Unsupported(
            f"session {self.name!r}: this server does not count a session's memory; the native "
            "core of OpenCL devices does"
        )

    @abstractmethod
    def stand_still(self) -> None:
        """Halt what may be halted where it is. Raises HalError."""

    @abstractmethod
    def hoist_allocs(self) -> bool:
        """Do what waits and only creates: a state can then name it, and nothing sees it earlier.
        False: not yet."""

    @abstractmethod
    def hidden_state(self) -> bytes:
        """Of the halted context, wherever it is kept now."""

    @abstractmethod
    def load_hidden(self, hidden: bytes, last_seq: int) -> None:
        """Continue a saved context. Raises HalError."""

    @abstractmethod
    def adopt(self, flights: list[Flight], completed: int, backlog: Sequence[Pending]) -> None:
        """Go on from a state that another context saved."""

    @abstractmethod
    def queue_up(self, backlog: Sequence[Pending]) -> None:
        """Commands to be done before those in the ring."""

    @abstractmethod
    def peek(self, handle: int, offset: int, nbytes: int) -> bytes | memoryview:
        """Bytes of a buffer or image, of a session that stands still. Raises HalError."""

    @abstractmethod
    def undone(self) -> bytes:
        """A copy of the part of the ring that was not taken."""

    @abstractmethod
    def clocks(self) -> bytes:
        """Of all timed commands that are still known, for `know_clocks` of wherever it goes."""

    @abstractmethod
    def know_clocks(self, clocks: bytes) -> None:
        """Of commands that were done before it came here. A server without a clock forgets."""

    def printed(self, after: int, upto: int) -> bytes | None:
        """What kernels of these launches printed; None: not all are done. Where nobody tells whose
        it is (the Python core) it stays in the server's log."""
        return b""

    def prints(self) -> bytes:
        """All that the worker has not fetched, for `know_prints` of wherever it goes."""
        return b""

    def know_prints(self, prints: bytes) -> None:  # noqa: B027  # nothing to be known there
        """Of launches that were done before it came here."""

    @abstractmethod
    def clock(self, command: int) -> records.Clock:
        """When the device did a timed command. Raises HalError."""

    @abstractmethod
    def release(self) -> None:
        """Give back what the session holds on the device. Its file is left as it is."""

    @abstractmethod
    def drive(self) -> None:
        """Take, work, publish: of a session that the server's loop does not have."""

    @abstractmethod
    def rebind(self, segment: Segment) -> None:
        """Go on with another file, all that was put in this one being done; this one is closed."""

    def open_heap(self) -> None:
        """The worker may touch its buffers by itself, but of a session that is being stored. In the
        session's turn, no sooner: a log that goes with a checkpoint begins before that, and the
        worker must know that there is one."""
        if self.heap is not None and not self.draining:
            self.heap.open(self.epoch)

    # ---- what a new server would need to do it again

    def keep(self, log: RedoLog | None) -> None:
        """What is done from now on goes to `log`."""
        before, self.redo = self.redo, log
        if before is not None and before is not log:
            before.close()
        self.segment[Line.RECOVERABLE] = int(log is not None and not log.is_void)

    def void_log(self) -> None:
        """Something was done that cannot be done again."""
        if self.redo is not None:
            self.redo.void()
            self.segment[Line.RECOVERABLE] = 0

    def drop_log(self) -> None:
        """Of a session that this server has no more."""
        if self.redo is not None:
            self.redo.path.unlink(missing_ok=True)
            self.keep(None)

    def note_call(self, number: int, call: records.Record, request: bytes) -> None:
        """A call was done, of which the worker does not know yet."""
        payload: bytes | memoryview = b""
        match call:
            case records.Fetch() | records.Peek() | records.Times():
                return
            case records.Append():
                payload = self.arena_range(call.arena, call.nbytes)
            case (
                records.Load()
                | records.Kernels()
                | records.BuildLog()
                | records.Printed()
                | records.Describe()
                | records.Configure()
            ):
                pass
            case _:
                self.void_log()
                return
        self.note(Kind.CALL, number, request, payload)

    def note(self, kind: Kind, number: int, record: bytes, payload: bytes | memoryview) -> None:
        if self.redo is not None and not self.redo.append(kind, number, record, payload):
            self.segment[Line.RECOVERABLE] = 0

    # ---- identity

    @property
    def worker(self) -> ProcessId:
        return ProcessId(self.segment[Line.CLIENT_PID], self.segment[Line.CLIENT_START])

    @property
    def durable(self) -> bool:
        return bool(self.segment[Line.DURABLE])

    def check_epoch(self) -> None:
        if self.segment[Line.EPOCH] != self.epoch:
            raise StaleEpoch(
                f"session {self.name} is at epoch {self.segment[Line.EPOCH]}, this server's right "
                f"to it was of epoch {self.epoch}: another server has it now"
            )

    # ---- the worker

    def wake(self) -> None:
        self.segment.event.bump()
        fence()
        asleep = self.segment[Line.CLIENT_ASLEEP]
        if asleep == Asleep.FOR_ANYTHING or (
            asleep == Asleep.FOR_SEQ and self.half.completed >= self.segment[Line.WANTED]
        ):
            self.segment.event.wake()

    def end(self, reason: AnyError) -> None:
        """Tell the worker that it is over, unless someone newer serves it; release the device."""
        if self.segment[Line.EPOCH] == self.epoch:
            self.drop_log()
            self.segment.write_error(END_AT, END_BYTES, to_record(reason))
            self.segment[Line.STATE] = State.ENDED
            self.segment.event.ring()
        self.release()

    # ---- what is in shared memory

    def arena_range(self, offset: int, nbytes: int) -> memoryview:
        size = self.segment.arena_bytes
        if offset > size or nbytes > size - offset:
            raise RemoteProtocolError(
                f"arena range {offset} + {nbytes} outside an arena of {size} bytes"
            )
        return self.segment.arena[offset : offset + nbytes]

    def waiting(self) -> list[Pending]:
        """What was not handed to the device, in order, with the bytes that writes refer to.
        Raises RemoteProtocolError."""
        found = list(self.backlog)
        undone, at = self.undone(), 0
        while (length := wire.record_length(undone, at)) is not None:
            command = wire.decode(undone[at : at + length])[1]
            if not isinstance(command, records.Command):
                raise RemoteProtocolError(f"{type(command).__name__} in the ring")
            payload = b""
            source = arena_source(command)
            if source is not None:
                payload = bytes(self.arena_range(*source))
            found.append(Pending(command, payload))
            at += length
        return found
