"""A session served by one hal context: records in, commands to any kind of device out.

The worker is not trusted: form is checked by `wire` and `session`, handles by `handles`, ranges and
lifetimes by `hal.Context` itself, which stands between this file and the driver. An error of a
command is kept for the worker's next wait; a broken protocol ends this session and no other.

Records are taken only while the device may have them, so that the undone ones are in the ring,
which outlives the server. Behind a kernel on a device that stops at any cycle everything waits in
the ring, except signals: so a halt in mid-kernel finds one kernel in the device and no read.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from hal.errors import DeviceTimeout, HalError, Unsupported, UsageError
from hal.types import Preemption, Seq
from proxy import records, wire
from proxy.arena import arena_source, arena_target
from proxy.errors import to_record
from proxy.fabric import Fabric
from proxy.known import ANYTHING, ChangeCount
from proxy.objects import Objects
from proxy.pending import Pending
from proxy.redo_log import Kind, RedoLog
from proxy.ring import Consumer
from proxy.segment import ERROR_AT, ERROR_BYTES, Line, Segment
from proxy.session import Flight, ServerHalf
from proxy.tenant import HALT_TIMEOUT_S, Tenant

TAKE_BYTES = 64 << 10  # at least one record of any size
WINDOW = 256  # records with the device at once: keeps it busy, and drains soon when halted
BULK_BYTES = 256 << 10  # transfers from this size on complete one by one: the worker copies along
BULK_PUMP_S = 0.001  # such a transfer takes a tenth of that, if the device is free


class HalTenant(Tenant):
    half: ServerHalf

    def __init__(
        self, name: str, segment: Segment, fabric: Fabric, half: ServerHalf, tail: int | None = None
    ) -> None:
        super().__init__(name, segment, fabric)
        self.halted = False
        self.draining = False
        self.fault = None
        self._backlog: deque[Pending] = deque()
        self.begin(half, segment[Line.TAIL] if tail is None else tail)
        self.caps = fabric.device.info.caps
        self.stops_anywhere = self.caps.preemption is not Preemption.COMMAND
        self._whole_kernels = self.caps.preemption is Preemption.COMMAND
        self._window = min(WINDOW, self.caps.queue_depth)
        self.context = fabric.device.open_context()
        self.context.label = name
        self._objects = Objects(self.context)
        self._dirty = True  # something to publish
        self._slow = False  # the last bulk transfer was not done at once
        self._device_ns = 0
        self._reading: deque[tuple[int, int, int]] = deque()  # number, arena range: not logged yet

    def begin(self, half: ServerHalf, tail: int) -> None:
        segment = self.segment
        self.half = half
        self.epoch = segment[Line.EPOCH]
        self.replied = self.asked = segment[Line.REPLY]
        self.consumer = Consumer(
            segment.ring, segment.cell(Line.HEAD), segment.cell(Line.TAIL), tail
        )
        self._told_errors = segment[Line.ERRORS]

    @property
    def objects(self) -> Objects:
        return self._objects

    @property
    def backlog(self) -> Sequence[Pending]:
        return self._backlog

    @property
    def tail(self) -> int:
        return self.consumer.tail

    @property
    def last_seq(self) -> int:
        return self.context.last_seq

    @property
    def must_finish(self) -> bool:
        return self.half.kernel_in_flight and not self.halted

    @property
    def has_work(self) -> bool:
        if self.halted or self.draining:
            return False
        return bool(self.half.flights) or self.segment[Line.HEAD] != self.consumer.tail

    @property
    def cycles(self) -> int:
        return self.context.cycles

    @property
    def device_ns(self) -> int:
        """These devices work, or are waited for, in `pump`: for one session at a time."""
        return self._device_ns

    def limit_cycles(self, limit: int | None) -> None:
        self.context.cycle_limit = limit

    @property
    def stays_blocked(self) -> bool:
        return self.half.kernel_in_flight or not self.half.flights

    @property
    def changes(self) -> ChangeCount:
        """A kernel that stands in its midst will write."""
        return ANYTHING if self.stops_anywhere else self._objects.changes

    def acquire_fabric(self, anew: bool = False) -> bool:
        return self.fabric.acquire(self, anew)

    @property
    def drained(self) -> bool:
        return not self.half.flights and not self.half.loose and not self._backlog

    @property
    def can_pump(self) -> bool:
        half = self.half
        if not half.flights or self.halted or self.fault is not None:
            return False
        return not half.kernel_in_flight or self.fabric.owns(self)

    # ---- the server calls these

    def take_commands(self, limit: int) -> bool:
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
        flights = self.half.flights
        if not flights or self.halted:
            return False
        landed = 0
        try:
            if self.half.kernel_in_flight and not self._may_run():
                return False
            began_ns = time.perf_counter_ns()
            try:
                while flights and self.context.wait(flights[0].seq, 0.0 if landed else timeout_s):
                    self.half.land()
                    landed += 1
            finally:
                self._device_ns += time.perf_counter_ns() - began_ns
        except HalError as error:
            self._broken(error)
            landed += 1
        if landed:
            self._dirty = True
            self._slow = False
        return landed > 0

    def publish(self) -> None:
        if not self._dirty:
            return
        self.check_epoch()
        half, segment = self.half, self.segment
        while self._reading and self._reading[0][0] <= half.retired:
            number, offset, nbytes = self._reading.popleft()
            self.note(Kind.READ, number, b"", self.arena_range(offset, nbytes))
        error = half.take_error()
        if error is not None:
            self.void_log()  # that it was told cannot be redone
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
        self._dirty = True

    def drive(self) -> None:
        self.take_commands(WINDOW)
        self.pump(BULK_PUMP_S)
        self.publish()

    def rebind(self, segment: Segment) -> None:
        before, self.segment = self.segment, segment
        self.begin(self.half, self.tail)
        before.close()

    def keep(self, log: RedoLog | None) -> None:
        super().keep(log)
        self._reading.clear()

    def release(self) -> None:
        self.fabric.forget(self)
        self.context.close()
        self.segment.close()

    # ---- commands

    def _next(self) -> records.Command | None:
        if self._backlog:
            return self._backlog[0].command
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
        if self._backlog:
            payload = self._backlog.popleft().payload
        else:
            if self.redo is not None:
                self._note(command)
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

    def _note(self, command: records.Command) -> None:
        """Before the worker can see that it was taken."""
        number = self.half.issued + 1
        source, target = arena_source(command), arena_target(command)
        payload = b"" if source is None else self.arena_range(*source)
        self.note(Kind.COMMAND, number, wire.encode(number, command), payload)
        if target is not None and target[1]:
            self._reading.append((number, *target))

    def hoist_allocs(self) -> bool:
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
        return self.context.save_state() if self.hidden is None else self.hidden

    def comes_to_rest(self) -> bool:
        self.pump(0.0)
        if self.fault is not None:
            raise self.fault  # nothing of it can be trusted
        if self.half.loose or (self.half.flights and not self.stops_anywhere):
            return False
        if self.half.flights and not self.half.kernel_in_flight:
            return False
        try:
            self.stand_still()
        except DeviceTimeout:
            return False
        return True

    def stand_still(self) -> None:
        self.context.halt(HALT_TIMEOUT_S)

    def load_hidden(self, hidden: bytes, last_seq: int) -> None:
        self.context.load_state(hidden, Seq(max(last_seq, self.context.last_seq)))

    def peek(self, handle: int, offset: int, nbytes: int) -> bytes:
        return self.context.peek(self.objects.buffers.get(handle), nbytes, offset)

    def undone(self) -> bytes:
        return self.consumer.undone()

    def clocks(self) -> bytes:
        return b""

    def know_clocks(self, clocks: bytes) -> None:
        """They are not told: `clock` is refused."""

    def clock(self, command: int) -> records.Clock:
        raise Unsupported("only sessions of the native engine read the device's clock")

    def adopt(self, flights: list[Flight], completed: int, backlog: Sequence[Pending]) -> None:
        for flight in flights:
            flight.upto = self.half.issued
        self.half.adopt(flights, completed)
        self.queue_up(backlog)
        self._dirty = True

    def queue_up(self, backlog: Sequence[Pending]) -> None:
        self._backlog.extend(backlog)
