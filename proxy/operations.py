"""What a control request does, a bit at every turn of the server's loop.

Suspending waits until the session stands still, resuming until the fabric is free: meanwhile other
sessions go on, which is why these are operations that are polled, and not calls. Each is atomic:
until its last step (one rename) everything is as it was, whatever goes wrong.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from hal.errors import Unsupported, UsageError
from hal.timeline import to_rows
from proxy.desk import Reply
from proxy.errors import LeaseExpired
from proxy.fabric import checked_weight
from proxy.paths import checked_name
from proxy.prepare import Prepare, Unprepare
from proxy.rendezvous import suspended_file
from proxy.resume import Resume
from proxy.segment import Line, Segment, refuse
from proxy.suspend import Suspend

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
            case "weigh":
                return Weigh(server, request_id, str(request["session"]), int(request["weight"]))
            case "bound":
                return Bound(server, request_id, str(request["session"]), int(request["nbytes"]))
            case "drop":
                return Drop(server, request_id, str(request["session"]))
            case "snapshot" | "suspend":
                return Suspend(server, request_id, request)
            case "prepare":
                return Prepare(server, request_id, request)
            case "unprepare":
                return Unprepare(server, request_id, request)
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
        "out_bytes": tenant.out_bytes,
        "overlay": None if tenant.overlay is None else tenant.overlay.digest,
        "kernel_in_flight": tenant.half.kernel_in_flight,
        "halted": tenant.halted,
        "cycles": tenant.cycles,
        "device_ns": tenant.device_ns,
        "weight": tenant.weight,
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


class Weigh:
    """Change the session's share of a device that others want too, from its present turn on."""

    def __init__(self, server: Server, request_id: str, session: str, weight: int) -> None:
        self.request_id = request_id
        self._server = server
        self._session = session
        self._weight = checked_weight(weight)

    def poll(self) -> Reply:
        self._server.session(self._session).tenant.weight = self._weight
        return {}


class Bound:
    """Change how much of the device's memory a session may have; what it has stays."""

    def __init__(self, server: Server, request_id: str, session: str, nbytes: int) -> None:
        self.request_id = request_id
        self._server = server
        self._session = session
        self._nbytes = nbytes
        if not 0 <= nbytes < 2**64:
            raise UsageError(f"{nbytes} bytes: they are a number of 64 bits")

    def poll(self) -> Reply:
        self._server.session(self._session).tenant.bound(self._nbytes)
        return {}


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
        path = suspended_file(self._server.paths.root, self._session)
        if path is None:
            return {"dropped": False}
        refuse(Segment.open(path), reason)
        path.unlink(missing_ok=True)
        return {"dropped": True}
