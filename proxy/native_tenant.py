"""A session served by the native engine: records are taken, checked and done in C++.

Python asks for what is rare: calls, snapshots, restores, the end. What both know of a session are
the words of `engine.Words`; what lives is the engine's knowledge, what programs were made of is
kept here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from hal.errors import DeviceFault, DeviceTimeout, HalError, StateError
from hal.types import ProgramImage
from proxy import engine as native
from proxy import records, wire
from proxy.engine import Engine, Words
from proxy.errors import AnyError, RemoteProtocolError, to_record
from proxy.fabric import Fabric
from proxy.heap import Heap
from proxy.limits import Limits
from proxy.pending import Pending
from proxy.redo_log import RedoLog
from proxy.replay import BufferEntry, ImageEntry, ReplayLog
from proxy.ring import Consumer
from proxy.segment import Line, Segment
from proxy.session import Flight, ServerHalf
from proxy.store.runs import room
from proxy.tenant import Holdings, Tenant

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


class NativeChanges:
    """The engine's count as `known.ChangeCount`: each command that may write counts."""

    def __init__(self, tenant: NativeTenant) -> None:
        self._tenant = tenant

    @property
    def count(self) -> int:
        return self._tenant.words.changes

    def newest(self, buffer: int) -> int:
        return int(self._tenant.library.changed(self._tenant.at, buffer))


class NativeObjects(Holdings):
    def __init__(self, tenant: NativeTenant) -> None:
        self.hoisted = set()
        self._tenant = tenant
        self._library = tenant.library
        self._images: dict[int, ProgramImage] = {}

    @property
    def log(self) -> ReplayLog:
        log = ReplayLog()
        loaded = {}
        for found in self._live():
            handle = found.handle
            if found.kind == native.BUFFER:
                log.buffers[handle] = BufferEntry(found.nbytes, found.values[0])
            elif found.kind == native.IMAGE:
                log.images[handle] = ImageEntry(found.nbytes, records.CreateImage(*found.values))
            elif found.kind == native.SAMPLER:
                log.samplers[handle] = records.CreateSampler(*found.values[:4])
            else:
                loaded[handle] = self._images[handle]
        self._images = log.programs = loaded
        log.highest_buffer, log.highest_program, log.highest_sampler = self._highest()
        return log

    @property
    def highest(self) -> int:
        return max(self._highest())

    def load(self, handle: int, image: ProgramImage) -> None:
        payload, options = image.payload, image.options.encode()
        if b"\0" in options:
            raise RemoteProtocolError("build options with a zero byte")
        self._library.check(
            self._library.load(
                self._tenant.at, handle, image.format.encode(), payload, len(payload), options
            )
        )
        self._images[handle] = image

    def kernels(self, program: int) -> bytes:
        self._library.check(self._library.kernels(self._tenant.at, program))
        return self._library.taken()

    def build_log(self, program: int) -> bytes:
        self._library.check(self._library.build_log(self._tenant.at, program))
        return self._library.taken()

    def adapt(self, log: ReplayLog) -> None:
        library, at = self._library, self._tenant.at
        wanted = {native.PROGRAM: set(log.programs), native.SAMPLER: set(log.samplers)}
        memory = log.buffers.keys() | log.images.keys()
        have = self._live()
        for found in have:
            if found.handle not in wanted.get(found.kind, memory):
                library.check(library.forget(at, found.kind, found.handle))
        samplers = {found.handle for found in have if found.kind == native.SAMPLER}
        for handle, sampler in log.samplers.items():
            if handle not in samplers:
                library.check(library.create_sampler(at, _values(sampler)))
        there = {found.handle for found in have if found.kind in (native.BUFFER, native.IMAGE)}
        for handle in sorted(memory - there):
            if (entry := log.buffers.get(handle)) is not None:
                library.check(library.alloc(at, handle, entry.nbytes, entry.usage))
            else:
                image = log.images[handle].made
                if image.buffer and image.buffer not in log.buffers:
                    raise StateError(f"image {handle} lies in a buffer that was freed: not movable")
                library.check(library.create_image(at, _values(image)))

    def fill(self, handle: int, offset: int, data: memoryview) -> None:
        self._tenant.transfer(handle, offset, data, write=True)

    def is_shared(self, handle: int) -> bool:
        return bool(self._library.in_heap(self._tenant.at, handle))

    def settle(self) -> None:
        """Each transfer is done when it returns."""

    def complete(self, log: ReplayLog) -> None:
        highest = (log.highest_buffer, log.highest_program, log.highest_sampler)
        self._library.highest(self._tenant.at, (ctypes.c_uint64 * 3)(*highest), 1)

    def _live(self) -> list[native.Live]:
        """In creation order."""
        room = self._library.live(self._tenant.at, None, 0)
        found = (native.Live * room)()
        self._library.live(self._tenant.at, found, room)
        return sorted(found, key=lambda live: live.handle)

    def _highest(self) -> tuple[int, int, int]:
        found = (ctypes.c_uint64 * 3)()
        self._library.highest(self._tenant.at, found, 0)
        return found[0], found[1], found[2]


def _values(record: records.CreateImage | records.CreateSampler) -> ctypes.Array[ctypes.c_uint64]:
    return (ctypes.c_uint64 * len(record))(*record)


class NativeTenant(Tenant):
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
        self._objects = NativeObjects(self)
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
        self.take_commands(0)
        if (fault := self.fault) is not None:
            raise fault  # nothing of it can be trusted
        if self.words.flights or not (self.heap is None or self.heap.is_still):
            return False
        self.library.count_writes(self.at)
        return True

    @property
    def changes(self) -> NativeChanges:
        return NativeChanges(self)

    @property
    def device_ns(self) -> int:
        return self.words.device_ns

    @property
    def weight(self) -> int:
        return self.words.weight

    @weight.setter
    def weight(self, weight: int) -> None:
        self.words.weight = weight

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
        into = room(nbytes)
        self.transfer(handle, offset, into, write=False)
        return into

    def transfer(self, handle: int, offset: int, data: memoryview, write: bool) -> None:
        if not data.nbytes:
            return
        at = np.frombuffer(data, np.uint8).ctypes.data
        self.library.check(
            self.library.transfer(self.at, handle, offset, data.nbytes, at, int(write))
        )

    def undone(self) -> bytes:
        segment = self.segment
        head, tail = segment.cell(Line.HEAD), segment.cell(Line.TAIL)
        return Consumer(segment.ring, head, tail, self.words.tail).undone()

    def clocks(self) -> bytes:
        self.library.check(self.library.tenant_clocks(self.at))
        return self.library.taken()

    def know_clocks(self, clocks: bytes) -> None:
        self.library.tenant_know(self.at, clocks, len(clocks))

    def clock(self, command: int) -> records.Clock:
        found = (ctypes.c_uint64 * 4)()
        self.library.tenant_clock(self.at, command, found)
        return records.Clock(*found)

    def release(self) -> None:
        if not self.let_go(0.0):
            _leaving.append(self)

    def let_go(self, timeout_s: float) -> bool:
        """False: the device is not done with it."""
        if not self.library.tenant_close(self.at, int(timeout_s * 1e6)):
            return False
        self.segment.close()
        if self.heap is not None:
            self.heap.close()
        return True
