"""A session served by the native engine: records are taken, checked and done in C++.

Python asks for what is rare: calls, snapshots, restores, the end. What both know of a session are
the words of `engine.Words`; `native_objects` is what it holds on the device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from hal.errors import DeviceFault, DeviceTimeout, HalError, StateError
from proxy import records, wire
from proxy.engine import Engine, Words
from proxy.errors import AnyError, to_record
from proxy.fabric import Fabric
from proxy.heap import Heap
from proxy.limits import Limits
from proxy.native_objects import NativeChanges, NativeObjects
from proxy.pending import Pending
from proxy.redo_log import RedoLog
from proxy.ring import Consumer
from proxy.segment import Line, Segment
from proxy.session import Flight, ServerHalf
from proxy.tenant import Tenant

DRIVEN = 64  # records taken at once of a session that is redone
LAST_TIMEOUT_S = 10.0  # of a server that stops: a kernel that still runs then is abandoned
_STALE, _VIOLATION = -1, -2

# Sessions that ended with something on its way: the device still uses their memory and mappings.
_leaving: list[NativeTenant] = []


def reap(timeout_s: float = 0.0) -> int:
    """Let go of ended sessions that the device is done with; how many it is not done with."""
    _leaving[:] = [tenant for tenant in _leaving if not tenant.let_go(timeout_s)]
    return len(_leaving)


class NativeHalf:
    """The engine's numbers as `session.Progress`."""

    def __init__(self, tenant: NativeTenant) -> None:
        self._words = tenant.words
        self._tenant = tenant

    @property
    def issued(self) -> int:
        return self._words.issued

    @property
    def retired(self) -> int:
        return self._words.retired

    @property
    def completed(self) -> int:
        return self._words.completed

    @property
    def newest_seq(self) -> int:
        return self._words.newest_seq

    @property
    def failed(self) -> int:
        return self._words.failed

    @property
    def flights(self) -> Sequence[Flight]:
        return ()  # of a session that stands still there are none

    @property
    def kernel_in_flight(self) -> bool:
        return bool(self._words.kernels)

    @property
    def error(self) -> AnyError | None:
        library = self._tenant.library
        return library.failure() if library.tenant_error(self._tenant.at) else None

    @error.setter
    def error(self, error: AnyError | None) -> None:
        if error is not None:
            found = to_record(error)
            number = int(found.native) if found.native.lstrip("-").isdigit() else 0
            self._tenant.library.tenant_set_error(
                self._tenant.at, found.code.encode(), found.message.encode(), number
            )


class NativeTenant(Tenant):
    takes_threads = True
    lost = ""  # why it cannot go on

    def __init__(
        self,
        engine: Engine,
        name: str,
        segment: Segment,
        fabric: Fabric,
        half: ServerHalf,
        tail: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`half`, `tail`: where to go on from; nothing is in flight there."""
        self.library = engine.library
        self._limits = limits or Limits()
        allowed = self._limits.session_bytes
        self.words = Words(
            weight=1,
            limit_bytes=2**64 - 1 if allowed is None else allowed,
            dirty=1,
        )
        super().__init__(name, segment, fabric)
        self._set_words(half, segment[Line.TAIL] if tail is None else tail)
        self.at = self.library.tenant_open(
            engine.at,
            name.encode(),
            segment.address,
            segment.ring_bytes,
            segment.arena_bytes,
            ctypes.byref(self.words),
        )
        self.library.check(self.at)
        self.heap = Heap.of(segment) if engine.shares else None
        if self.heap is not None:
            self.library.tenant_heap(self.at, self.heap.address, self.heap.nbytes)
        self.half = NativeHalf(self)
        self._objects = NativeObjects(self.library, self.at)
        self._last_seq = 0
        self._backlog: list[Pending] = []

    def begin(self, half: ServerHalf, tail: int) -> None:
        self._set_words(half, tail)
        self.library.tenant_begin(self.at)

    def _set_words(self, half: ServerHalf, tail: int) -> None:
        segment, words = self.segment, self.words
        words.issued = words.retired = half.issued
        words.completed, words.newest_seq = half.completed, half.newest_seq
        words.tail = tail
        words.epoch = segment[Line.EPOCH]
        words.replied = words.asked = segment[Line.REPLY]
        words.errors_told = segment[Line.ERRORS]

    # ---- the words

    @property
    def objects(self) -> NativeObjects:
        return self._objects

    @property
    def tail(self) -> int:
        return self.words.tail

    @property
    def last_seq(self) -> int:
        return self._last_seq

    @property
    def backlog(self) -> Sequence[Pending]:
        return self._backlog[len(self._backlog) - self.words.backlog :]

    @property
    def drained(self) -> bool:
        return not self.words.flights and not self.words.backlog

    @property
    def can_pump(self) -> bool:
        return bool(self.words.flights) and not self.fault

    @property
    def fault(self) -> HalError | None:  # type: ignore[override]
        if not self.words.fault:
            return None
        self.library.tenant_fault(self.at)
        found = self.library.failure()
        assert isinstance(found, HalError)
        return found

    @property
    def halted(self) -> bool:
        return bool(self.words.halted)

    @halted.setter
    def halted(self, halted: bool) -> None:
        self.words.halted = halted

    @property
    def draining(self) -> bool:
        return bool(self.words.draining)

    @draining.setter
    def draining(self, draining: bool) -> None:
        self.words.draining = draining
        if draining and self.heap is not None:
            self.heap.forbid(self.epoch)
        self.words.asked = self.words.replied  # calls that waited for its end may go

    @property
    def replied(self) -> int:
        return self.words.replied

    @replied.setter
    def replied(self, number: int) -> None:
        self.words.replied = number

    @property
    def asked(self) -> int:
        return self.words.asked

    @asked.setter
    def asked(self, number: int) -> None:
        self.words.asked = number

    @property
    def epoch(self) -> int:
        return self.words.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.words.epoch = epoch

    @property
    def out_bytes(self) -> int:
        return self.words.out_bytes

    @property
    def there_bytes(self) -> int:
        """Of the device's memory, that it has now."""
        return self.words.used_bytes - self.words.out_bytes - self.words.shared_bytes

    @property
    def has_records(self) -> bool:
        return self.segment[Line.HEAD] != self.words.tail or bool(self.words.backlog)

    # ---- the server calls these

    def take_commands(self, limit: int) -> bool:
        """The engine takes them, in its own rounds: this publishes, and raises what ends it."""
        self.open_heap()
        return self._turn(0)

    def drive(self) -> None:
        self._turn(DRIVEN)

    def _turn(self, limit: int) -> bool:
        turn = self.library.tenant_turn(self.at, limit)
        if turn == _VIOLATION:
            raise self.library.failure()
        if turn == _STALE:
            self.check_epoch()
        if self.lost:
            raise DeviceFault(f"session {self.name!r}: {self.lost}")
        if self.words.overdue:
            raise DeviceFault(
                f"session {self.name!r}: the device has been at {self._culprit()} for more than "
                f"{self._limits.kernel_s} s, and OpenCL can stop no kernel. The session is over; "
                "the device may stay busy with it until it ends by itself, or its server is "
                "stopped and started"
            )
        return bool(turn)

    def _culprit(self) -> str:
        kernel = self.library.tenant_kernel(self.at).decode(errors="replace")
        command = f"command {self.words.overdue}"
        return f"kernel {kernel!r} ({command})" if kernel else command

    def pump(self, timeout_s: float) -> bool:
        return False  # a turn does it

    def publish(self) -> None:
        if self.words.dirty:
            self._turn(0)

    def touched(self) -> None:
        self.words.dirty = 1

    def rebind(self, segment: Segment) -> None:
        before, self.segment = self.segment, segment
        words = self.words
        half = ServerHalf(words.issued, words.completed)
        half.newest_seq = words.newest_seq
        self.library.tenant_rebind(self.at, segment.address)
        self.begin(half, words.tail)
        before.close()

    def keep(self, log: RedoLog | None) -> None:
        if log is None:
            self.library.tenant_keep(self.at, None, 0, -1, 0)
        else:
            self.library.tenant_keep(self.at, log.address, log.log_bytes, log.fd, log.offset)
        super().keep(log)

    def comes_to_rest(self) -> bool:
        self._turn(0)
        if (fault := self.fault) is not None:
            raise fault  # nothing of it can be trusted
        if self.words.flights or not (self.heap is None or self.heap.is_still):
            return False
        self.library.count_writes(self.at)
        return True

    @property
    def changes(self) -> NativeChanges:
        return NativeChanges(self.library, self.at, self.words)

    @property
    def device_ns(self) -> int:
        return self.words.device_ns

    @property
    def weight(self) -> int:
        return self.words.weight

    @weight.setter
    def weight(self, weight: int) -> None:
        self.words.weight = weight

    def bound(self, nbytes: int) -> None:
        allowed = self._limits.session_bytes
        self.words.limit_bytes = nbytes if allowed is None else min(nbytes, allowed)

    def stand_still(self) -> None:
        if self.words.flights:
            raise DeviceTimeout("the device is not done with what it has")

    def hoist_allocs(self) -> bool:
        return True  # of what was halted between commands all was taken

    def hidden_state(self) -> bytes:
        return b""

    def load_hidden(self, hidden: bytes, last_seq: int) -> None:
        if hidden:
            raise StateError(
                f"{len(hidden)} bytes of hidden state: this device stops between commands and has "
                "none; the state is another kind of device's"
            )
        self._last_seq = max(last_seq, self._last_seq)

    def adopt(self, flights: list[Flight], completed: int, backlog: Sequence[Pending]) -> None:
        newest = max([completed, *(flight.completes for flight in flights)])
        self.words.completed = self.words.newest_seq = newest  # halted means drained
        self.queue_up(backlog)
        self.touched()

    def queue_up(self, backlog: Sequence[Pending]) -> None:
        self._backlog = [*self.backlog, *backlog]
        for item in backlog:
            record = wire.encode(0, item.command)
            self.library.check(
                self.library.tenant_push(
                    self.at, record, len(record), item.payload, len(item.payload)
                )
            )

    def peek(self, handle: int, offset: int, nbytes: int) -> memoryview:
        return self._objects.read(handle, offset, nbytes)

    def undone(self) -> bytes:
        segment = self.segment
        head, tail = segment.cell(Line.HEAD), segment.cell(Line.TAIL)
        return Consumer(segment.ring, head, tail, self.words.tail).undone()

    def clocks(self) -> bytes:
        self.library.check(self.library.tenant_clocks(self.at))
        return self.library.taken()

    def know_clocks(self, clocks: bytes) -> None:
        self.library.tenant_know(self.at, clocks, len(clocks))

    def printed(self, after: int, upto: int) -> bytes | None:
        if self.words.retired < upto and not self.fault:
            return None
        self.library.check(self.library.tenant_printed(self.at, after, upto))
        return self.library.taken()

    def prints(self) -> bytes:
        self.library.check(self.library.tenant_prints(self.at))
        return self.library.taken()

    def know_prints(self, prints: bytes) -> None:
        self.library.tenant_know_prints(self.at, prints, len(prints))

    def clock(self, command: int) -> records.Clock:
        found = (ctypes.c_uint64 * 4)()
        self.library.tenant_clock(self.at, command, found)
        return records.Clock(*found)

    def release(self) -> None:
        if not self.let_go(0.0):
            _leaving.append(self)

    def let_go(self, timeout_s: float) -> bool:
        """False: the device, or a thread, is not done with it."""
        for thread in (self.errand, self.build):
            if thread is not None and not thread.wait(timeout_s):
                return False
        if not self.library.tenant_close(self.at, int(timeout_s * 1e6)):
            return False
        self._objects.drop_out()
        self.segment.close()
        if self.heap is not None:
            self.heap.close()
        return True
