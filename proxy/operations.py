"""What a control request does, a bit at every turn of the server's loop.

Suspending waits until the session stands still, resuming until the fabric is free: meanwhile other
sessions go on, which is why these are operations that are polled, and not calls. Each is atomic:
until its last step (one rename) everything is as it was, whatever goes wrong.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hal.errors import DeviceTimeout, StateError, Unsupported, UsageError
from hal.timeline import to_rows
from proxy import checkpoint, snapshot
from proxy.desk import Reply
from proxy.errors import CheckpointRefused, LeaseExpired, from_wire
from proxy.info import running_servers
from proxy.liveness import ProcessId
from proxy.paths import checked_name, parked
from proxy.ring import Producer
from proxy.segment import Line, Segment, State, refuse
from proxy.store import Store
from proxy.tenant import Tenant

if TYPE_CHECKING:
    from proxy.server import Served, Server


class Operation(Protocol):
    request_id: str

    def poll(self) -> Reply | None:
        """The answer once there is one. Raises HalError, ProxyError."""
        ...


def begin(server: Server, request_id: str, request: Reply) -> Operation:
    """Raises UsageError for what is not a request."""
    try:
        match request["do"]:
            case "status":
                return Status(server, request_id)
            case "timeline":
                return DeviceRecord(server, request_id)
            case "stop":
                return Stop(server, request_id)
            case "drop":
                return Drop(server, request_id, str(request["session"]))
            case "snapshot" | "suspend":
                return Suspend(server, request_id, request)
            case "resume":
                return Resume(server, request_id, request)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"control request {request}: {error!r}") from error
    raise UsageError(f"control request {request['do']!r} is not known")


class Status:
    def __init__(self, server: Server, request_id: str) -> None:
        self.request_id = request_id
        self._server = server

    def poll(self) -> Reply:
        server = self._server
        return {
            "name": server.paths.name,
            "pid": server.info.pid,
            "uptime_s": time.monotonic() - server.started_s,
            "overlay_swaps": server.fabric.swaps,
            "kernel_slices": server.fabric.slices,
            "quantum_cycles": server.fabric.quantum_cycles,
            "sessions": [_session(served) for served in server.served.values()],
        }


def _session(served: Served) -> Reply:
    tenant = served.tenant
    log = tenant.objects.log
    return {
        "name": tenant.name,
        "worker_pid": tenant.worker.pid,
        "worker_alive": tenant.worker.is_alive(),
        "durable": tenant.durable,
        "epoch": tenant.epoch,
        "issued": tenant.half.issued,
        "retired": tenant.half.retired,
        "waiting_bytes": tenant.segment[Line.HEAD] - tenant.tail,
        "buffers": len(log.buffers),
        "buffer_bytes": log.total_bytes,
        "overlay": None if tenant.overlay is None else tenant.overlay.digest,
        "kernel_in_flight": tenant.half.kernel_in_flight,
        "halted": tenant.halted,
        "cycles": tenant.cycles,
    }


class DeviceRecord:
    """What the device did for whom."""

    def __init__(self, server: Server, request_id: str) -> None:
        self.request_id = request_id
        self._server = server

    def poll(self) -> Reply:
        found = self._server.device.timeline
        if found is None:
            raise Unsupported(f"{self._server.device.info.uri} records no timeline; FPGAs do")
        return {"spans": to_rows(found.spans()), "dropped": found.dropped}


class Stop:
    def __init__(self, server: Server, request_id: str) -> None:
        self.request_id = request_id
        self._server = server

    def poll(self) -> Reply:
        self._server.stopping = True
        return {}


class Drop:
    def __init__(self, server: Server, request_id: str, session: str) -> None:
        self.request_id = request_id
        self._server = server
        self._session = checked_name(session, "session")

    def poll(self) -> Reply:
        reason = LeaseExpired(f"session {self._session!r} was dropped by its owner")
        served = self._server.served.get(self._session)
        if served is not None:
            self._server.end(served, reason)
            return {"dropped": True}
        path = parked(self._server.paths.root) / self._session
        if not path.exists():
            return {"dropped": False}
        refuse(Segment.open(path), reason)
        path.unlink(missing_ok=True)
        return {"dropped": True}


class Suspend:
    """Halt, snapshot, commit; then park the session, or let it go on."""

    def __init__(self, server: Server, request_id: str, request: Reply) -> None:
        self.request_id = request_id
        self._server = server
        self._release = request["do"] == "suspend"
        self._name = str(request["session"])
        self._store = Store(_folder(request), server.store_step)
        self._deadline = time.monotonic() + float(request["timeout_s"])
        self._timeout_s = float(request["timeout_s"])

    def poll(self) -> Reply | None:
        served = self._server.served.get(self._name)
        if served is None:
            raise UsageError(
                f"session {self._name!r} is not served by {self._server.paths.name}; it serves "
                f"{', '.join(self._server.served) or 'none'}"
            )
        tenant = served.tenant
        try:
            if not snapshot.halt(tenant):
                if time.monotonic() < self._deadline:
                    return None
                raise DeviceTimeout(
                    f"session {self._name!r} reached no halting point in {self._timeout_s} s; it "
                    "goes on"
                )
            tenant.publish()
            record = checkpoint.write(*snapshot.take(tenant), self._store)
        except OSError as error:
            tenant.draining = False
            raise StateError(f"checkpoint could not be stored: {error}; the session goes on") from (
                error
            )
        except Exception:
            tenant.draining = False
            raise
        answer = {"checkpoint": record, "issued": tenant.half.issued, "epoch": tenant.epoch}
        if self._release:
            self._park(served, record)
        tenant.draining = False
        return answer

    def _park(self, served: Served, record: str) -> None:
        tenant = served.tenant
        tenant.check_epoch()
        tenant.segment[Line.CUT] = _cut(record)
        tenant.segment[Line.STATE] = State.SUSPENDED
        try:
            served.path.rename(parked(self._server.paths.root) / tenant.name)
        except OSError as error:
            tenant.segment[Line.STATE] = State.RUNNING
            tenant.draining = False
            raise StateError(f"session could not be parked: {error}; it goes on") from error
        tenant.segment.event.ring()
        self._server.forget(served)
        tenant.release()


class Resume:
    """Verify everything, recreate on this device, and only then take the session over."""

    def __init__(self, server: Server, request_id: str, request: Reply) -> None:
        self.request_id = request_id
        self._server = server
        self._name = checked_name(str(request["session"]), "session")
        self._deadline = time.monotonic() + float(request["timeout_s"])
        self._checkpoint = checkpoint.read(str(request["checkpoint"]), Store(_folder(request)))
        self._path = parked(server.paths.root) / self._name
        self._was_parked = self._path.exists()
        self._owned = False  # the file at `_path` is this operation's: made anew, or claimed
        self._check()
        self._tenant: Tenant | None = None

    def poll(self) -> Reply | None:
        try:
            self._check_not_running()
            tenant = self._tenant or self._open()
            self._tenant = tenant
            if tenant.overlay is not None and not tenant.acquire_fabric():
                if time.monotonic() < self._deadline:
                    return None
                raise DeviceTimeout(f"{self._server.paths.name}: the fabric did not become free")
            self._recreate(tenant)
            self._take_over(tenant)
        except Exception:
            if self._owned:
                self._path.unlink(missing_ok=True)
            if self._tenant is not None:
                self._tenant.release()
            raise
        return {"epoch": tenant.epoch, "issued": tenant.half.issued}

    def _check(self) -> None:
        position = self._checkpoint.snapshot.position
        info = self._server.device.info
        if position.session != self._name:
            raise CheckpointRefused(
                f"checkpoint {self._checkpoint.id} is of session {position.session!r}, not "
                f"{self._name!r}"
            )
        if position.part != info.part:
            raise CheckpointRefused(
                f"checkpoint is of part {position.part!r}; {self._server.paths.name} is "
                f"{info.part!r}: resume it on a device of its own part"
            )
        self._check_not_running()

    def _check_not_running(self) -> None:
        """Others may have resumed it since this was asked for: looked at again and again."""
        for paths, _ in running_servers(self._server.paths.root):
            if (paths.sessions / self._name).exists():
                raise StateError(
                    f"session {self._name!r} is running on {paths.name}: suspend or drop it first"
                )

    def _open(self) -> Tenant:
        shot = self._checkpoint.snapshot
        position = shot.position
        segment = self._parked_segment() or self._fresh_segment()
        tenant = self._server.open_tenant(
            self._name, segment, snapshot.half_of(shot), position.tail
        )
        tenant.overlay = shot.overlay
        return tenant

    def _parked_segment(self) -> Segment | None:
        position = self._checkpoint.snapshot.position
        try:
            segment = Segment.open(self._path)
        except FileNotFoundError:
            if self._was_parked:
                raise self._gone() from None
            return None
        if segment[Line.NONCE] == position.nonce and self._is_of_the_cut(segment):
            return segment
        worker = ProcessId(segment[Line.CLIENT_PID], segment[Line.CLIENT_START])
        segment.close()
        if worker.is_alive():
            raise CheckpointRefused(
                f"session {self._name!r} was suspended at another point than this checkpoint's, "
                "and its worker lives: resume it from the checkpoint of its suspension"
            )
        return None

    def _is_of_the_cut(self, segment: Segment) -> bool:
        """The file was parked with this very checkpoint: its worker's memory is of that moment."""
        position = self._checkpoint.snapshot.position
        stands = (segment[Line.TAIL], segment[Line.CUT])
        return stands == (position.tail, _cut(self._checkpoint.id))

    def _gone(self) -> StateError:
        return StateError(
            f"session {self._name!r} was resumed or dropped by someone else meanwhile"
        )

    def _fresh_segment(self) -> Segment:
        """For a worker that will re-attach: ring and arena as they were at the cut."""
        shot = self._checkpoint.snapshot
        position = shot.position
        self._path = self._server.paths.incoming / f".{self._name}.{self.request_id}"
        self._owned = True
        segment = Segment.create(
            self._path, position.ring_bytes, position.arena_bytes, durable=True
        )
        _fill_ring(segment, position.tail, shot.undone)
        for offset, data in shot.payloads:
            segment.arena[offset : offset + len(data)] = data
        return segment

    def _recreate(self, tenant: Tenant) -> None:
        shot = self._checkpoint.snapshot
        tenant.objects.replay(shot.log, self._checkpoint.contents)
        tenant.load_hidden(shot.hidden or b"", shot.position.last_seq)
        tenant.inbox[:] = shot.inbox
        tenant.outbox = shot.outbox
        tenant.halted = shot.position.halted
        tenant.objects.hoisted = set(shot.position.hoisted)
        tenant.queue_up(shot.backlog)
        tenant.half.error = None if shot.error is None else from_wire(shot.error)

    def _take_over(self, tenant: Tenant) -> None:
        """The rename out of `parked` is the claim: of many servers one succeeds. It overwrites
        nothing, for only this server puts files into its home, and none was there just now."""
        home = self._server.paths.sessions / self._name
        segment = tenant.segment
        self._check_not_running()
        if not self._owned and not self._is_of_the_cut(segment):
            raise self._gone()  # resumed and suspended again since it was opened
        try:
            self._path.rename(home)
        except FileNotFoundError:
            raise self._gone() from None
        self._path, self._owned = home, True
        tenant.epoch = self._checkpoint.snapshot.position.epoch + 1
        segment[Line.EPOCH] = tenant.epoch
        segment[Line.TAIL] = tenant.tail
        tenant.touched()
        tenant.publish()
        self._server.serve(tenant, home)


def _folder(request: Reply) -> Path:
    given = request["store"]
    if not isinstance(given, str) or "\0" in given:
        raise ValueError(f"store {given!r} is not a path")
    return Path(given)


def _cut(record: str) -> int:
    """A checkpoint's id as a word of the header."""
    return int(record[:16], 16)


def _fill_ring(segment: Segment, tail: int, undone: bytes) -> None:
    """Put `undone` where a worker would have."""
    segment[Line.HEAD] = segment[Line.TAIL] = tail
    put = Producer(segment.ring, segment.cell(Line.HEAD), segment.cell(Line.TAIL)).put(undone)
    assert put, "the undone part of a ring fits a ring of the same size"
