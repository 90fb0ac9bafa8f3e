"""The calls a worker waits for: answered from the request area into the reply area.

A call may have to wait (for records before it, for the device to drain, for the fabric): then it is
asked again at the server's next turn, and meanwhile other sessions go on. A call that fails
changes nothing and its error is the reply. Knows the tenant; does no waiting of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from hal.errors import DeviceTimeout, HalError, StateError, UsageError
from hal.types import Overlay, ProgramImage, Seq
from proxy import pending, records, wire
from proxy.aside import Aside
from proxy.bundles import unpack_overlay
from proxy.errors import RemoteProtocolError, to_record
from proxy.loading import Loading
from proxy.pending import SavedState
from proxy.records import Clock, Done, Reply
from proxy.segment import Line
from proxy.session import Flight
from proxy.tenant import Tenant

INBOX_BYTES = 1 << 30  # bounds what one call can carry: overlays and states are far smaller


class Calls:
    def __init__(
        self,
        tenant: Tenant,
        builds: Aside | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`builds`: where programs are built; None: here, while everybody waits."""
        self._tenant = tenant
        self._builds = builds
        self._loading: tuple[records.Load, Loading] | None = None
        self._clock = clock
        self._deadline: float | None = None  # of a call that waits
        self._wanted: Overlay | None = None  # of a configure that waits: large, so unpacked once

    def answer(self) -> bool:
        """Answer the call that waits, if there is one and it can be; True if it was.
        Raises RemoteProtocolError."""
        segment = self._tenant.segment
        number = segment[Line.REQUEST]
        if number == self._tenant.replied:
            return False
        self._tenant.asked = number
        if self._tenant.draining:
            return False
        if self._tenant.half.issued < segment[Line.REQUEST_AFTER]:
            return False
        request = segment.read_request()
        stated, call = wire.decode(request)
        if stated != number or isinstance(call, records.Command):
            raise RemoteProtocolError(f"call {number}: found {type(call).__name__} {stated}")
        try:
            answer = self._do(call)
            if answer is None:
                return False
            reply: Reply = answer
            self._tenant.note_call(number, call, request)
        except HalError as error:
            reply = to_record(error)
        self._deadline = self._wanted = None
        self._tenant.check_epoch()
        segment.write_reply(number, reply)
        self._tenant.replied = number
        segment[Line.REPLY] = number
        self._tenant.wake()
        return True

    def redo(self, call: records.Record) -> bool:
        """One that changed something; False: it must wait. Raises HalError."""
        return self._do(call) is not None

    def _do(self, call: records.Record) -> Done | Clock | None:
        """The answer, None if the call must wait."""
        tenant = self._tenant
        if self._loading is not None and self._loading[0] != call:
            self._loading = None  # its worker died, and another asks for something else
        match call:
            case records.Append():
                if call.first:
                    tenant.inbox.clear()
                if len(tenant.inbox) + call.nbytes > INBOX_BYTES:
                    raise UsageError(f"more than {INBOX_BYTES} bytes for one call")
                tenant.inbox += tenant.arena_range(call.arena, call.nbytes)
                return Done(0)
            case records.Fetch():
                if call.offset + call.nbytes > len(tenant.outbox):
                    raise UsageError(f"fetch beyond the {len(tenant.outbox)} bytes that are there")
                target = tenant.arena_range(call.arena, call.nbytes)
                target[:] = tenant.outbox[call.offset : call.offset + call.nbytes]
                return Done(0)
            case records.Load():
                return self._load(call)
            case records.Configure():
                return self._configure(call)
            case records.Halt():
                return self._halt(call)
            case records.GoOn():
                tenant.halted = False
                return Done(0)
            case records.Peek():
                self._check_halted("peek")
                target = tenant.arena_range(call.arena, call.nbytes)
                target[:] = tenant.peek(call.buffer, call.offset, call.nbytes)
                return Done(0)
            case records.SaveState():
                self._check_halted("save_state")
                tenant.outbox = pending.pack(self._saved())
                return Done(len(tenant.outbox))
            case records.LoadState():
                return self._load_state()
            case records.Describe():
                return self._describe()
            case records.Kernels():
                tenant.outbox = tenant.objects.kernels(call.program)
                return Done(len(tenant.outbox))
            case records.BuildLog():
                tenant.outbox = tenant.objects.build_log(call.program)
                return Done(len(tenant.outbox))
            case records.Printed():
                printed = tenant.printed(call.after, call.upto)
                if printed is None:
                    return None
                tenant.outbox = printed
                return Done(len(printed))
            case records.Times():
                return tenant.clock(call.command)
        raise RemoteProtocolError(f"{type(call).__name__} is not a call")

    def _load(self, call: records.Load) -> Done | None:
        tenant = self._tenant
        if tenant.fault is not None:
            raise tenant.fault
        if call.format == "overlay" and not tenant.acquire_fabric():
            return None
        if self._loading is None:
            image = ProgramImage(call.format, bytes(tenant.inbox), call.options)
            self._loading = call, Loading(tenant, call.program, image, self._builds)
        try:
            if not self._loading[1].poll():
                return None
        except BaseException:
            self._loading = None
            raise
        self._loading = None
        return Done(0)

    def _configure(self, call: records.Configure) -> Done | None:
        """The session's own wish; other sessions keep theirs (see fabric)."""
        tenant = self._tenant
        if not tenant.drained:
            return None
        overlay = self._wanted or unpack_overlay(bytes(tenant.inbox), call.digest)
        self._wanted = overlay
        before = tenant.overlay
        if before == overlay:
            return Done(0)
        tenant.overlay = overlay
        done = False
        try:
            done = tenant.acquire_fabric(anew=True)
        finally:
            if not done:
                tenant.overlay = before
        if not done:
            return None
        tenant.objects.log.overlay = overlay.digest
        return Done(0)

    def _halt(self, call: records.Halt) -> Done | None:
        """Stop taking commands once what may go has gone; a running kernel stops where it is on
        devices that can, and finishes in its own time on others."""
        tenant = self._tenant
        if self._deadline is None:
            self._deadline = self._clock() + call.timeout_us / 1e6
        if not self._stands(call.upto) or not tenant.hoist_allocs():
            if self._clock() >= self._deadline:
                raise DeviceTimeout(f"no halting point reached in {call.timeout_us / 1e6} s")
            return None
        tenant.stand_still()
        tenant.halted = True
        return Done(0)

    def _stands(self, upto: int) -> bool:
        """Nothing moves, or only what can be halted while it moves."""
        tenant = self._tenant
        if tenant.halted:  # it did, and has taken nothing since, perhaps on another server
            return True
        if not tenant.stops_anywhere:
            return tenant.drained
        if tenant.half.issued < upto and not (tenant.blocked and tenant.stays_blocked):
            return False
        dying = records.Free | records.Unload  # a state cannot name what is no longer live
        return not any(isinstance(item.command, dying) for item in tenant.waiting())

    def _check_halted(self, what: str) -> None:
        if not self._tenant.halted:
            raise StateError(f"{what}: the context is not halted; call halt() first")

    def _saved(self) -> SavedState:
        tenant = self._tenant
        half = tenant.half
        return SavedState(
            hidden=tenant.hidden_state(),
            last_seq=tenant.last_seq,
            completed=half.completed,
            flights=tuple((flight.seq, flight.completes) for flight in half.flights),
            pending=pending.to_positions(
                tenant.waiting(),
                list(tenant.objects.log.buffers),
                list(tenant.objects.log.programs),
            ),
        )

    def _load_state(self) -> Done | None:
        tenant = self._tenant
        state = pending.unpack(bytes(tenant.inbox))
        if not tenant.drained:
            return None
        commands = pending.to_handles(
            state.pending,
            list(tenant.objects.log.buffers),
            list(tenant.objects.log.programs),
        )
        if tenant.overlay is not None and not tenant.acquire_fabric():
            return None
        tenant.load_hidden(state.hidden, state.last_seq)
        tenant.adopt(
            [Flight(Seq(seq), 0, completes, True) for seq, completes in state.flights],
            state.completed,
            commands,
        )
        tenant.halted = True
        return Done(0)

    def _describe(self) -> Done:
        tenant, log = self._tenant, self._tenant.objects.log
        objects = {
            "buffers": [[h, entry.nbytes, entry.usage] for h, entry in log.buffers.items()],
            "programs": [
                [h, image.format, image.options, len(image.payload)]
                for h, image in log.programs.items()
            ],
            "highest": tenant.objects.highest,
            "issued": tenant.half.issued,
            "newest_seq": tenant.half.newest_seq,
        }
        payloads = b"".join(image.payload for image in log.programs.values())
        head = json.dumps(objects).encode()
        tenant.outbox = len(head).to_bytes(8, "little") + head + payloads
        return Done(len(tenant.outbox))
