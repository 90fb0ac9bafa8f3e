"""The server of one device: one process, one thread, one loop over all sessions.

    python -m proxy.server --root R --device opencl:0

Each turn of the loop gives every session the same bounded share; nothing in it waits for one
session. A session is one `hal.Context`. The server outlives its workers: a dead one's session is
closed, or kept for a while if it is durable. What a session does wrong ends that session only.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hal.context import Device
from hal.errors import HalError, Unsupported, UsageError
from proxy import desk, leftovers
from proxy.aside import Aside
from proxy.automatic import Automatic
from proxy.calls import Calls
from proxy.doorbell import fence, sleep_on_any
from proxy.engine import Engine, Library
from proxy.errors import (
    AnyError,
    LeaseExpired,
    LocalProtocolError,
    ProxyError,
    ServerFault,
    ServerGone,
    StaleEpoch,
)
from proxy.fabric import QUANTUM_CYCLES, Fabric
from proxy.hal_tenant import HalTenant
from proxy.info import ServerInfo, read_info
from proxy.limits import Limits
from proxy.liveness import LifeLock, ProcessId
from proxy.loading import MAX_BUILDS
from proxy.native_tenant import LAST_TIMEOUT_S, NativeTenant, reap
from proxy.operations import Operation, begin
from proxy.paths import ServerPaths, checked_name, discard, parked, write_atomically
from proxy.prepare import Prepared, drop_forgotten, drop_prepared
from proxy.redo import Redo
from proxy.segment import Line, Segment, State, refuse
from proxy.session import ServerHalf
from proxy.store import Address, Step, Store
from proxy.swap import Plenty, Swap, shared
from proxy.tenant import Tenant

CORES = ("native", "python")
BATCH = 64  # commands of one session in a turn
PUMP_S = 0.001  # wait for the device while only one session has work there
SHARED_PUMP_S = 0.0002  # when several have
IDLE_S = 0.25  # longest sleep: how soon a dead worker is noticed
MAX_STORED = 2  # checkpoints that are being stored at once
MAX_SESSIONS = 120  # futex_waitv takes 128 words
SWEEP_S = 10.0  # how often to look for suspended sessions whose worker died
REATTACH_S = 120.0  # a durable session is kept for so long after its worker died


class Served:
    """A tenant and what the server keeps beside it."""

    def __init__(self, tenant: Tenant, path: Path, builds: Aside) -> None:
        self.tenant = tenant
        self.calls = Calls(tenant, builds)
        self.path = path
        self.orphaned_at: float | None = None

    def turn(self) -> bool:
        tenant = self.tenant
        progress = tenant.take_commands(BATCH)
        progress |= tenant.pump(0.0)
        tenant.publish()
        return self.calls.answer() or progress


class Server:
    def __init__(
        self,
        root: Path,
        name: str,
        device: Device,
        reattach_s: float = REATTACH_S,
        store_step: Step = lambda name: None,
        quantum_cycles: int = QUANTUM_CYCLES,
        core: str | None = None,
        limits: Limits | None = None,
        checkpoint_every_s: float | None = None,
        store: Address = "",
        redo: bool | None = None,
    ) -> None:
        """`store_step`: see Store. `quantum_cycles`: see Fabric. `core`: "native" or "python", who
        does commands; by default the native engine, where it knows the device. `limits`: its.
        `checkpoint_every_s`: see Automatic; into `store`. `redo`: what sessions do is logged, by
        default if there are checkpoints."""
        self.paths = ServerPaths.under(root, name)
        self.paths.create()
        self._lock = self._locked()
        self.paths.info.unlink(missing_ok=True)  # of one that was killed: who asks waits for ours
        self.device = device
        self.fabric = Fabric(device, quantum_cycles)
        self._limits = limits or Limits()
        self._engine = engine_for(device, core, self._limits)
        self.stopping = False
        self.served: dict[str, Served] = {}
        self.started_s = time.monotonic()
        self.info = ServerInfo(device.info, os.getpid(), time.time_ns())
        self._identity = ProcessId.own()
        self.store_step = store_step
        self.stores: dict[str, Store] = {}
        self.prepared: dict[str, Prepared] = {}  # by session
        self.afterwards: list[Callable[[], None]] = []  # once control's answers are sent
        self.redoing: dict[str, Redo] = {}  # by session
        self._reattach_s = reattach_s
        self._operations: list[Operation] = []
        self._automatic = (
            Automatic(self, store, checkpoint_every_s, redo is not False)
            if redo or checkpoint_every_s is not None
            else None
        )
        self._page = desk.ServerPage(self.paths)
        self.builds = Aside(self._page.bell.ring, MAX_BUILDS)
        self.storing = Aside(self._page.bell.ring, MAX_STORED)
        self.room: Swap | Plenty = Plenty()
        if self._engine is not None:
            memory_bytes = device.info.caps.memory_bytes
            self.room = shared(
                self._engine, memory_bytes, self._limits, name, self._page.bell.ring, self._movable
            )
        self._look_at = self._sweep_at = 0.0
        self._seen: list[int] = []
        leftovers.sort(self)
        if self._engine is not None:
            values = self._engine.values() + self._limits.values()
            write_atomically(self.paths.opencl_values, values)
        write_atomically(self.paths.info, self.info.to_json())

    @property
    def logs(self) -> bool:
        """What sessions do is kept for another server."""
        return self._automatic is not None and self._automatic.logs

    def capture_prints(self) -> None:
        """Of a process that does nothing else: what kernels print goes to their workers."""
        if self._engine is not None:
            self._engine.capture()

    # ---- the loop

    def run(self) -> None:
        while not self.stopping:
            if not self.step() or self._engine is not None:
                self.rest()  # natively that is where the work is done
        self.close()

    def step(self) -> bool:
        """One turn for everybody; False if there was nothing to do."""
        bells = [self._page.bell, *(s.tenant.segment.bell for s in self.served.values())]
        seen = [bell.value for bell in bells]
        progress = False
        now = time.monotonic()
        if seen[:1] != self._seen[:1] or now >= self._look_at:
            self._look_at = now + IDLE_S
            progress |= self._look_around()
        self._seen = seen
        self.fabric.new_round()
        if self._engine is not None:
            progress |= self._serve_natively(self._engine, seen[0])
        progress |= self.room.poll()
        for served in tuple(self.served.values()):
            try:
                if served.tenant.segment[Line.CLOSED]:
                    raise LeaseExpired(f"session {served.tenant.name!r} was closed by its worker")
                progress |= served.turn()
            except Exception as error:  # noqa: BLE001  # one session's end, not everybody's
                self.end(served, _foreseen(error, f"session {served.tenant.name!r}"))
                progress = True
        return self._operate() or progress

    def rest(self, limit_s: float = IDLE_S) -> None:
        """Let devices work, or sleep until someone rings."""
        if self._engine is not None:
            self._rest_natively(self._engine, limit_s)
            return
        flying = [served for served in self.served.values() if served.tenant.can_pump]
        if flying:
            for served in flying:
                try:
                    if served.tenant.pump(PUMP_S if len(flying) == 1 else SHARED_PUMP_S):
                        served.tenant.publish()
                except Exception as error:  # noqa: BLE001  # as above
                    self.end(served, _foreseen(error, f"session {served.tenant.name!r}"))
            return
        if len(self._seen) != 1 + len(self.served):
            return  # someone came or went: look again first
        segments = [served.tenant.segment for served in self.served.values()]
        for segment in segments:
            segment[Line.SERVER_ASLEEP] = 1
        fence()
        if self._operations or self.fabric.waited_for:
            limit_s = min(limit_s, PUMP_S)
        sleep_on_any(
            [self._page.bell, *(segment.bell for segment in segments)], self._seen, limit_s
        )
        for segment in segments:
            segment[Line.SERVER_ASLEEP] = 0

    def _rest_natively(self, engine: Engine, limit_s: float) -> None:
        """Let the engine serve everybody until it needs this loop again."""
        tenants = [served.tenant for served in self.served.values()]
        waits = bool(self._operations) or self.room.waited_for
        if waits or any(tenant.asked != tenant.replied and not tenant.builds for tenant in tenants):
            limit_s = min(limit_s, PUMP_S)
        self._serve_natively(engine, self._seen[0], limit_s)

    def _serve_natively(self, engine: Engine, page_seen: int, limit_s: float = 0.0) -> bool:
        tenants = [served.tenant for served in self.served.values()]
        handles = [tenant.at for tenant in tenants if isinstance(tenant, NativeTenant)]
        return engine.serve(handles, self._page.bell.address, page_seen, limit_s)

    # ---- sessions

    def open_tenant(
        self, name: str, segment: Segment, half: ServerHalf, tail: int | None = None
    ) -> Tenant:
        """Raises HalError."""
        if self._engine is not None:
            limits = self._limits
            return NativeTenant(self._engine, name, segment, self.fabric, half, tail, limits)
        return HalTenant(name, segment, self.fabric, half, tail)

    def _movable(self) -> list[NativeTenant]:
        """Sessions whose memory may be wanted for others, and that may want some of others."""
        found = [served.tenant for served in self.served.values()]
        found += [redo.tenant for redo in self.redoing.values() if redo.goes_on and redo.tenant]
        return [tenant for tenant in found if isinstance(tenant, NativeTenant)]

    def _look_around(self) -> bool:
        progress = False
        for path in sorted(self.paths.incoming.iterdir()):
            if "~" in path.name and not path.name.startswith("."):
                self._accept(path)
                progress = True
        for served in tuple(self.served.values()):
            self._check_worker(served)
        reap()
        if self._look_at >= self._sweep_at:
            self._sweep_at = self._look_at + SWEEP_S
            self._sweep()
        due = None if self._automatic is None else self._automatic.next()
        if due is not None:
            self._operations.append(due)
        for request_id, request in desk.waiting_requests(self.paths):
            progress = True
            try:
                self._operations.append(begin(self, request_id, request))
            except Exception as error:  # noqa: BLE001  # a stranger's request ends nobody
                self._reply(request_id, _foreseen(error, "a control request"))
        return progress

    def _accept(self, path: Path) -> None:
        """Take up a session that a worker put down, or tell it why not."""
        try:
            segment = Segment.open(path)
        except (ProxyError, OSError):
            discard(path)  # whoever put it there gets no answer
            return
        name = path.name.rpartition("~")[0]
        try:
            checked_name(name, "session")
            self._make_way(name)
            segment[Line.EPOCH] = 1
            tenant = self.open_tenant(name, segment, ServerHalf())
            home = self.paths.sessions / name
            if self._automatic is not None:
                self._automatic.begin(tenant)
            path.rename(home)
            self.serve(tenant, home)
        except Exception as error:  # noqa: BLE001  # a stranger's file ends nobody
            refuse(segment, _foreseen(error, f"session {name!r}"))
            discard(path)

    def _make_way(self, name: str) -> None:
        """Raises UsageError if a live worker's session has this name; a dead one's is dropped."""
        if len(self.served) >= MAX_SESSIONS:
            raise UsageError(f"{self.paths.name} serves {MAX_SESSIONS} sessions: no more")
        old = self.served.get(name)
        if old is not None:
            if old.tenant.worker.is_alive():
                raise UsageError(f"session {name!r} is in use on {self.paths.name}; choose another")
            self.end(old, LeaseExpired(f"session {name!r} was begun anew"))
        if name in self.redoing:
            raise UsageError(f"session {name!r} is being taken up again; choose another")
        sleeper = parked(self.paths.root) / name
        if sleeper.exists():
            segment = Segment.open(sleeper)
            if ProcessId(segment[Line.CLIENT_PID], segment[Line.CLIENT_START]).is_alive():
                raise UsageError(f"session {name!r} is suspended; resume or drop it first")
            sleeper.unlink(missing_ok=True)

    def serve(self, tenant: Tenant, path: Path) -> None:
        """The tenant is this server's from now on; its worker is told."""
        segment = tenant.segment
        segment[Line.RECOVERABLE] = int(tenant.redo is not None and not tenant.redo.is_void)
        segment[Line.SERVER_PID] = self._identity.pid
        segment[Line.SERVER_START] = self._identity.start_ticks
        segment.write_home(self.paths.name)
        if tenant.heap is None:
            segment[Line.HEAP] = 0
        segment[Line.STATE] = State.RUNNING
        segment.event.ring()
        self.served[tenant.name] = Served(tenant, path, self.builds)

    def session(self, name: str) -> Served:
        """Raises UsageError."""
        served = self.served.get(name)
        if served is None:
            raise UsageError(
                f"session {name!r} is not served by {self.paths.name}; it serves "
                f"{', '.join(self.served) or 'none'}"
            )
        return served

    def forget(self, served: Served) -> None:
        del self.served[served.tenant.name]

    def end(self, served: Served, reason: AnyError) -> None:
        """The session is over. If someone newer serves it, its file is no longer ours."""
        self.forget(served)
        try:
            served.tenant.end(reason)
        except Exception as error:  # noqa: BLE001  # what it held may stay with the device
            _foreseen(error, f"the end of session {served.tenant.name!r}")
        if not isinstance(reason, StaleEpoch):
            discard(served.path)

    def _check_worker(self, served: Served) -> None:
        tenant = served.tenant
        if tenant.worker.is_alive():
            served.orphaned_at = None
        elif not tenant.durable:
            self.end(served, LeaseExpired(f"the worker of session {tenant.name!r} died"))
        elif served.orphaned_at is None:
            served.orphaned_at = time.monotonic()
        elif time.monotonic() - served.orphaned_at > self._reattach_s:
            self.end(served, LeaseExpired(f"nobody re-attached to {tenant.name!r} in time"))

    def _sweep(self) -> None:
        """Forget suspended sessions that nobody waits in: a resume makes their files anew."""
        drop_forgotten(self)
        for path in parked(self.paths.root).iterdir():
            with suppress(ProxyError, OSError):
                segment = Segment.open(path)
                worker = ProcessId(segment[Line.CLIENT_PID], segment[Line.CLIENT_START])
                segment.close()
                if not worker.is_alive():
                    path.unlink(missing_ok=True)

    # ---- control

    def _operate(self) -> bool:
        """Push control operations on; True if one ended."""
        ended = False
        for operation in tuple(self._operations):
            answer: desk.Reply | AnyError | None
            try:
                answer = operation.poll()
            except Exception as error:  # noqa: BLE001  # the request's failure, nobody else's
                answer = _foreseen(error, "a control request")
            if answer is not None:
                self._operations.remove(operation)
                self._reply(operation.request_id, answer)
                ended = True
        while self.afterwards:
            try:
                self.afterwards.pop()()
            except Exception as error:  # noqa: BLE001  # what it held may stay with the device
                _foreseen(error, "what a control request left to do")
        return ended

    def _reply(self, request_id: str, answer: desk.Reply | AnyError) -> None:
        if not request_id:
            return  # nobody asked
        try:
            desk.reply(self.paths, self._page, request_id, answer)
        except OSError as error:  # no room, or a stranger's file in its way: its asker gives up
            _foreseen(error, "an answer")

    # ---- life

    def _locked(self) -> LifeLock:
        """Raises LocalProtocolError if another server has this name."""
        try:
            return LifeLock(self.paths.lock)
        except LocalProtocolError:
            other = read_info(self.paths.info)
            whose = "" if other is None else f" by pid {other.pid}"
            raise LocalProtocolError(
                f"{self.paths.name} is served already{whose} under {self.paths.root}: stop that "
                "server first (kill it, or Ctrl-C where it runs), or serve by another --name"
            ) from None

    def take_up(self, redo: Redo) -> None:
        """A session whose server died: redone while others are served."""
        self.redoing[redo.name] = redo
        self._operations.append(redo)

    def resumed(self, tenant: Tenant, record: str, store: str) -> None:
        """A session goes on here from this checkpoint, which stays its asker's."""
        if self._automatic is not None:
            self._automatic.log_from(tenant, record, store, lent=True)

    def took_up(self, name: str, record: str) -> None:
        """A session goes on that another server had; `record`: the newest checkpoint that nobody
        asked for."""
        if self._automatic is not None:
            self._automatic.took_up(name, record)

    def close(self) -> None:
        """Tell everybody, release the device."""
        for served in tuple(self.served.values()):
            self.end(served, ServerGone(f"the server of {self.paths.name} was stopped"))
        if self._automatic is not None:
            self._automatic.forget_gone()
        for redo in tuple(self.redoing.values()):
            redo.give_up(ServerGone(f"the server of {self.paths.name} was stopped"))
        self.storing.close(LAST_TIMEOUT_S)
        for name in tuple(self.prepared):
            drop_prepared(self, name)
        self.paths.info.unlink(missing_ok=True)
        self.paths.opencl_values.unlink(missing_ok=True)
        self.fabric.close()
        if self._engine is not None and not reap(LAST_TIMEOUT_S):
            self._engine.close()
        self.device.close()
        self._lock.release()


def engine_for(device: Device, core: str | None, limits: Limits) -> Engine | None:
    """The native engine for `device`, if `core` allows it. Raises UsageError if `core` demands it
    and there is none."""
    if core not in (None, *CORES):
        raise UsageError(f"core {core!r}: one of {', '.join(CORES)}")
    handle = device.native_handle
    if core == "python" or (handle is None and core is None):
        return None
    if handle is None:
        raise UsageError(f"{device.info.uri} is not served natively: OpenCL devices are")
    caps = device.info.caps
    try:
        engine = Engine(Library(), handle, caps.memory_bytes, caps.max_buffer_bytes)
    except (OSError, Unsupported) as error:
        if core is None:
            return None
        raise UsageError(f"the native engine cannot serve {device.info.uri}: {error}") from error
    engine.set(limits.quantum_ms / 1e3, limits.kernel_s)
    return engine


def _foreseen(error: Exception, whose: str) -> AnyError:
    """`error` as one that has a place in the protocol; of any other its traceback is logged."""
    if isinstance(error, HalError | ProxyError):
        return error
    sys.stderr.write(f"{whose}:\n" + "".join(traceback.format_exception(error)))
    sys.stderr.flush()
    return ServerFault(f"the server failed at {whose}: {error!r}; its log has more")


if __name__ == "__main__":
    from proxy.main import main

    raise SystemExit(main())
