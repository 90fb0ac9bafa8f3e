"""The exceptions of the proxy.

    ProxyError
     |- RemoteProtocolError  fatal    the other side broke the protocol
     |- LocalProtocolError   caller   this side was about to break it
     |- VersionMismatch      fatal    the shared layout is of another version
     |- Backpressure         retry    ring or arena stayed full       (also a hal DeviceTimeout)
     |- LeaseExpired         migrate  the session was ended or kept too long   (also DeviceLost)
     |- StaleEpoch           migrate  someone newer serves the session         (also DeviceLost)
     |- ServerFault          fatal    the server met what nobody foresaw       (also DeviceLost)
     |- ServerGone           migrate  the device's server died or stopped      (also DeviceLost)
     |- ReplayDiverged       fatal    the log did not recreate what it recorded (also StateError)
     |- CheckpointRefused    caller   damaged, unknown, or of another part     (also StateError)
     |- StoreBusy            retry    a checkpoint store is collecting garbage  (also StateError)
     `- ControlTimeout       retry    a control request was not answered in time

Where the worker meets one through the `hal` interface it is also the fitting HalError, so that
programs which know only `hal.errors` handle it. On the wire an error is its code and message.
"""

from __future__ import annotations

from typing import ClassVar

import hal.errors
from hal.errors import DeviceFault, DeviceLost, DeviceTimeout, HalError, StateError
from proxy.records import Failed


class ProxyError(Exception):
    code: ClassVar[str] = "proxy_error"
    disposition: ClassVar[str] = "fatal"


class RemoteProtocolError(ProxyError):
    code: ClassVar[str] = "remote_protocol_error"
    disposition: ClassVar[str] = "fatal"


class LocalProtocolError(ProxyError):
    code: ClassVar[str] = "local_protocol_error"
    disposition: ClassVar[str] = "caller"


class VersionMismatch(ProxyError):
    code: ClassVar[str] = "version_mismatch"
    disposition: ClassVar[str] = "fatal"


class Backpressure(ProxyError, DeviceTimeout):
    code: ClassVar[str] = "backpressure"
    disposition: ClassVar[str] = "retry"


class LeaseExpired(ProxyError, DeviceLost):
    code: ClassVar[str] = "lease_expired"
    disposition: ClassVar[str] = "migrate"


class StaleEpoch(ProxyError, DeviceLost):
    code: ClassVar[str] = "stale_epoch"
    disposition: ClassVar[str] = "migrate"


class ServerFault(ProxyError, DeviceLost):
    code: ClassVar[str] = "server_fault"
    disposition: ClassVar[str] = "fatal"


class ServerGone(ProxyError, DeviceLost):
    code: ClassVar[str] = "server_gone"
    disposition: ClassVar[str] = "migrate"


class ReplayDiverged(ProxyError, StateError):
    code: ClassVar[str] = "replay_diverged"
    disposition: ClassVar[str] = "fatal"


class CheckpointRefused(ProxyError, StateError):
    code: ClassVar[str] = "checkpoint_refused"
    disposition: ClassVar[str] = "caller"


class StoreBusy(ProxyError, StateError):
    code: ClassVar[str] = "store_busy"
    disposition: ClassVar[str] = "retry"


class StoreFailed(ProxyError, StateError):
    code: ClassVar[str] = "store_failed"
    disposition: ClassVar[str] = "retry"


class ControlTimeout(ProxyError):
    code: ClassVar[str] = "control_timeout"
    disposition: ClassVar[str] = "retry"


AnyError = HalError | ProxyError

_BY_CODE: dict[str, type[HalError] | type[ProxyError]] = {
    found.code: found
    for module in (vars(hal.errors), globals())
    for found in tuple(module.values())
    if isinstance(found, type) and issubclass(found, HalError | ProxyError)
}


def to_wire(error: AnyError) -> dict[str, str]:
    """An error as a JSON-able value."""
    native = getattr(error, "native", None)
    wire = {"code": error.code, "message": str(error)}
    return wire if native is None else wire | {"native": str(native)}


def to_record(error: AnyError, *, sticky: bool = False) -> Failed:
    """An error as a record."""
    native = getattr(error, "native", None)
    return Failed(int(sticky), error.code, str(error), "" if native is None else str(native))


def from_record(record: Failed) -> AnyError:
    """The exception that `to_record` described."""
    wire = {"code": record.code, "message": record.message}
    return from_wire(wire | {"native": record.native} if record.native else wire)


def from_wire(wire: dict[str, str]) -> AnyError:
    """The exception that `to_wire` described; DeviceFault for a code this version lacks."""
    code, message = str(wire.get("code")), str(wire.get("message"))
    found = _BY_CODE.get(code)
    if found is None:
        return DeviceFault(f"{message} (unknown code {code!r})", native=code)
    error = found(message)
    if isinstance(error, HalError):
        error.native = wire.get("native")
    return error
