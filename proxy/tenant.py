"""The server's side of one session: records in, commands to one hal context out.

The worker is not trusted: form is checked by `wire` and `session`, handles by `handles`, ranges and
lifetimes by `hal.Context` itself, which stands between this file and the driver. An error of a
command is kept for the worker's next wait; a broken protocol ends this session and no other.

Records are taken only while the device may have them, so that the undone ones are in the ring,
which outlives the server. Behind a kernel on a device that stops at any cycle everything waits in
the ring, except signals: so a halt in mid-kernel finds one kernel in the device and no read.
"""

from __future__ import annotations

from collections import deque

from hal.errors import HalError, UsageError
from hal.types import Overlay, Preemption
from proxy import records, wire
from proxy.doorbell import fence
from proxy.errors import AnyError, RemoteProtocolError, StaleEpoch, to_record
from proxy.fabric import Fabric
from proxy.known import ANYTHING, ChangeCount
from proxy.liveness import ProcessId
from proxy.objects import Objects
from proxy.pending import Pending
from proxy.ring import Consumer
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
from proxy.session import Flight, ServerHalf

TAKE_BYTES = 64 << 10  # at least one record of any size
WINDOW = 256  # records with the device at once: keeps it busy, and drains soon when halted
BULK_BYTES = 256 << 10  # transfers from this size on complete one by one: the worker copies along
BULK_PUMP_S = 0.001  # such a transfer takes a tenth of that, if the device is free
HALT_TIMEOUT_S = 5.0  # for halts when nothing, or only a kernel that stops at any cycle, runs


class Tenant:
    def __init__(
        self, name: str, segment: Segment, fabric: Fabric, half: ServerHalf, tail: int | None = None
    ) -> None:
        self.name = name
        self.segment = segment
        self.fabric = fabric
        self.half = half
        self.overlay: Overlay | None = None
        self.weight = 1  # its owner's wish by a control request, never the worker's
        self.hidden: bytes | None = None  # the fabric's state while someone else has it
        self.halted = False  # by its worker: nothing goes on until it says so
        self.draining = False  # for a snapshot: nothing new is taken
        self.fault: HalError | None = None
        self.inbox = bytearray()
        self.outbox = b""
        self.backlog: deque[Pending] = deque()  # what a loaded state had queued
        self.epoch = segment[Line.EPOCH]
        self.consumer = Consumer(
            segment.ring, segment.cell(Line.HEAD), segment.cell(Line.TAIL), tail
        )
        self.caps = fabric.device.info.caps
        self._whole_kernels = self.caps.preemption is Preemption.COMMAND
        self._window = min(WINDOW, self.caps.queue_depth)
        self.context = fabric.device.open_context()
        self.context.label = name
        self.objects = Objects(self.context)
        self._dirty = True  # something to publish
        self._slow = False  # the last bulk transfer was not done at once
        self.blocked = False  # the next command waits for the device
        self._told_errors = segment[Line.ERRORS]

    # ---- identity

    @property
    def worker(self) -> ProcessId:
        return ProcessId(self.segment[Line.CLIENT_PID], self.segment[Line.CLIENT_START])

    @property
    def durable(self) -> bool:
        return bool(self.segment[Line.DURABLE])

    @property
    def must_finish(self) -> bool:
        return self.half.kernel_in_flight and not self.halted

    @property
    def has_work(self) -> bool:
        if self.halted or self.draining:
            return False
        return bool(self.half.flights) or self.segment[Line.HEAD] != self.consumer.tail

    @property
    def stops_anywhere(self) -> bool:
        """The device can halt in the middle of a kernel."""
        return not self._whole_kernels

    @property
    def changes(self) -> ChangeCount:
        """Which buffers may have been written to. A kernel that stands in its midst will write."""
        return ANYTHING if self.stops_anywhere else self.objects.changes

    @property
    def cycles(self) -> int:
        """That the device worked for this session, on this server."""
        return self.context.cycles

    def limit_cycles(self, limit: int | None) -> None:
        self.context.cycle_limit = limit

    @property
    def stays_blocked(self) -> bool:
        """What the next command waits for is a kernel, its own or another session's."""
        return self.half.kernel_in_flight or not self.half.flights

    @property
    def drained(self) -> bool:
        return not self.half.flights and not self.half.loose and not self.backlog

    @property
    def can_pump(self) -> bool:
        """The device has something of this session to work on now."""
        half = self.half
        if not half.flights or self.halted or self.fault is not None:
            return False
        return not half.kernel_in_flight or self.fabric.owns(self)

    # ---- the server calls these

    def take_commands(self, limit: int) -> bool:
        """Hand at most `limit` commands to the device; True if any was. Raises ProxyError."""
        taken = 0
        while taken < limit and not self.halted and not self.draining:
            command = self._next()
            self.blocked = command is not None and not self._may_go(command)
            if command is None or self.blocked:
                break
            bulk = self._take(command)
            taken += 1
            if bulk and self.half.loose:
                self._depart()
                if not self._slow:  # else the device is busy with something longer
                    self._slow = not self.pump(BULK_PUMP_S)
                self._dirty = True
                self.publish()
        if self.half.loose:
            self._depart()
        if taken:
            self._dirty = True
        return taken > 0

    def pump(self, timeout_s: float) -> bool:
        """Let the device work; True if something was completed."""
        flights = self.half.flights
        if not flights or self.halted:
            return False
        landed = 0
        try:
            if self.half.kernel_in_flight and not self._may_run():
                return False
            while flights and self.context.wait(flights[0].seq, 0.0 if landed else timeout_s):
                self.half.land()
                landed += 1
        except HalError as error:
            self._broken(error)
            landed += 1
        if landed:
            self._dirty = True
            self._slow = False
        return landed > 0

    def publish(self) -> None:
        """Copy progress to the header and wake the worker if it sleeps. An error that comes while
        the worker has not seen an earlier one is dropped. Raises StaleEpoch."""
        if not self._dirty:
            return
        self.check_epoch()
        half, segment = self.half, self.segment
        error = half.take_error()
        if error is not None and segment[Line.ERRORS_SEEN] >= self._told_errors:
            failed = to_record(error, sticky=self.fault is not None)
            segment.write_error(ERROR_AT, ERROR_BYTES, failed, half.failed)
            self._told_errors += 1
            segment[Line.ERRORS] = self._told_errors
        segment[Line.ISSUED] = half.issued
        segment[Line.RETIRED] = half.retired
        segment[Line.COMPLETED] = half.completed
        self._dirty = False
        self.wake()

    def touched(self) -> None:
        """Something changed that `publish` must tell."""
        self._dirty = True

    def wake(self) -> None:
        self.segment.event.bump()
        fence()
        asleep = self.segment[Line.CLIENT_ASLEEP]
        if asleep == Asleep.FOR_ANYTHING or (
            asleep == Asleep.FOR_SEQ and self.half.completed >= self.segment[Line.WANTED]
        ):
            self.segment.event.wake()

    def check_epoch(self) -> None:
        if self.segment[Line.EPOCH] != self.epoch:
            raise StaleEpoch(
                f"session {self.name} is at epoch {self.segment[Line.EPOCH]}, this server's right "
                f"to it was of epoch {self.epoch}: another server has it now"
            )

    def end(self, reason: AnyError) -> None:
        """Tell the worker that it is over, unless someone newer serves it; release the device."""
        if self.segment[Line.EPOCH] == self.epoch:
            self.segment.write_error(END_AT, END_BYTES, to_record(reason))
            self.segment[Line.STATE] = State.ENDED
            self.segment.event.ring()
        self.release()

    def release(self) -> None:
        """Give back what the session holds on the device. Its file is left as it is."""
        self.fabric.forget(self)
        self.context.close()
        self.segment.close()

    # ---- commands

    def _next(self) -> records.Command | None:
        if self.backlog:
            return self.backlog[0].command
        command = self.half.peek()
        if command is None:
            data = self.consumer.take(TAKE_BYTES)
            if data:
                self.half.receive(data)
                command = self.half.peek()
        return command

    def _may_go(self, command: records.Command) -> bool:
        """False: later, the record stays in the ring."""
        if isinstance(command, records.Signal) or self.fault is not None:
            return True
        if self.half.in_flight >= self._window:
            return False
        if not self._whole_kernels and self.half.kernel_in_flight:
            return False
        if isinstance(command, records.Launch) or (
            self.hidden is not None
            and isinstance(command, records.Alloc | records.Free | records.Unload)
        ):  # a saved state fits the objects that there were
            try:
                return self.fabric.acquire(self)
            except HalError as error:
                self.half.fail(error)  # the launch itself will be refused too
        return True

    def _take(self, command: records.Command) -> bool:
        """Do one command; True if it was a bulk transfer."""
        payload = None
        if self.backlog:
            payload = self.backlog.popleft().payload
        else:
            self.consumer.release(self.half.take())
        if isinstance(command, records.Signal):
            self.half.signalled(command.seq)
            return False
        try:
            if self.fault is not None:
                raise type(self.fault)(str(self.fault), native=self.fault.native)
            if self.objects.apply(command, payload, self.arena_range):
                self.half.handed_over(isinstance(command, records.Launch))
            else:
                self.half.settled()
        except HalError as error:
            self.half.fail(error)
            self.half.settled()
        except (OverflowError, ValueError, TypeError, MemoryError) as error:
            # a driver that chokes on a stranger's numbers is no reason to stop serving others
            self.half.fail(UsageError(f"{type(command).__name__} not possible: {error!r}"))
            self.half.settled()
        return isinstance(command, records.Read | records.Write) and command.nbytes >= BULK_BYTES

    def hoist_allocs(self) -> bool:
        """Do what waits and only creates: a state can then name it, and nothing sees it earlier.
        False: not yet."""
        waiting = [item.command for item in self.waiting()]
        allocs = [command for command in waiting if isinstance(command, records.Alloc)]
        allocs = [command for command in allocs if command.buffer not in self.objects.hoisted]
        if allocs and self.hidden is not None and not self.fabric.acquire(self):
            return False
        for command in allocs:
            try:
                self.objects.alloc(command)
            except HalError as error:
                self.half.fail(error)
            self.objects.hoisted.add(command.buffer)
        return True

    def arena_range(self, offset: int, nbytes: int) -> memoryview:
        size = self.segment.arena_bytes
        if offset > size or nbytes > size - offset:
            raise RemoteProtocolError(
                f"arena range {offset} + {nbytes} outside an arena of {size} bytes"
            )
        return self.segment.arena[offset : offset + nbytes]

    def _depart(self) -> None:
        try:
            self.half.depart(self.context.signal())
        except HalError as error:
            self.half.depart(self.context.last_seq)
            self._broken(error)

    def _broken(self, error: HalError) -> None:
        """The device will complete nothing of this context any more."""
        self.fault = error
        self._dirty = True  # also when it happened in another session's turn
        while self.half.flights:
            self.half.land()
        self.half.fail(error)

    # ---- the fabric, and moving to another device

    def _may_run(self) -> bool:
        """An owner whose turn is over may, too: its kernel stands at its limit or must finish."""
        return self.fabric.owns(self) or self.fabric.acquire(self)

    def leave_fabric(self) -> None:
        try:
            self.context.halt(HALT_TIMEOUT_S)
            self.hidden = self.context.save_state()
        except HalError as error:  # this session's loss, not of the one whose turn it is
            self._broken(error)

    def enter_fabric(self, anew: bool) -> None:
        hidden, self.hidden = self.hidden, None
        if hidden is not None and not anew:
            try:
                self.context.load_state(hidden, self.context.last_seq)
            except HalError as error:  # nothing may be computed without it
                self._broken(error)

    def hidden_state(self) -> bytes:
        """Of the halted context, wherever it is kept now."""
        return self.context.save_state() if self.hidden is None else self.hidden

    def waiting(self) -> list[Pending]:
        """What was not handed to the device, in order, with the bytes that writes refer to.
        Raises RemoteProtocolError."""
        found = list(self.backlog)
        undone, at = self.consumer.undone(), 0
        while (length := wire.record_length(undone, at)) is not None:
            command = wire.decode(undone[at : at + length])[1]
            if not isinstance(command, records.Command):
                raise RemoteProtocolError(f"{type(command).__name__} in the ring")
            payload = b""
            if isinstance(command, records.Write):
                payload = bytes(self.arena_range(command.arena, command.nbytes))
            found.append(Pending(command, payload))
            at += length
        return found

    def adopt(self, flights: list[Flight], completed: int, backlog: list[Pending]) -> None:
        """Go on from a state that another context saved."""
        for flight in flights:
            flight.upto = self.half.issued
        self.half.adopt(flights, completed)
        self.backlog.extend(backlog)
        self._dirty = True
