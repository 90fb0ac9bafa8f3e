"""A job's sessions as one: all of them are suspended, or none is.

A worker that opens several contexts has the sessions NAME, NAME.2, NAME.3 on its device. A
checkpoint of the job is one id per session, written `id` or `id,2:id2` (session NAME.2).
"""

from __future__ import annotations

from pathlib import Path

from hal.errors import HalError
from proxy.control import Control
from proxy.errors import ProxyError
from scheduler.errors import HalfSuspended, NotConnected


def connected(control: Control, name: str) -> list[str]:
    """The sessions of the job that the server serves now."""
    served = [session.name for session in control.status().sessions]
    return [found for found in served if found == name or found.startswith(f"{name}.")]


def suspend(control: Control, name: str, store: Path) -> str:
    """The checkpoint. Raises what suspending raised, with everything running as before; or
    HalfSuspended, when that could not be achieved."""
    done: dict[str, str] = {}
    names = connected(control, name)
    if not names:
        raise NotConnected(f"session {name!r} is not connected to its device; try again later")
    try:
        for session in names:
            done[session] = control.suspend(session, store)
    except (HalError, ProxyError) as error:
        _go_on(control, done, store, error)
        raise
    return ",".join(
        checkpoint if session == name else f"{session[len(name) + 1 :]}:{checkpoint}"
        for session, checkpoint in done.items()
    )


def _go_on(
    control: Control, done: dict[str, str], store: Path, cause: HalError | ProxyError
) -> None:
    try:
        for session, checkpoint in done.items():
            control.resume(session, checkpoint, store)
    except (HalError, ProxyError) as error:
        raise HalfSuspended(
            f"of the job's sessions {', '.join(done)} could be suspended, another could not "
            f"({cause}), and the former could not go on ({error})"
        ) from error


def members(name: str, checkpoint: str) -> dict[str, str]:
    """Session -> id of its snapshot."""
    pairs = (item.rpartition(":") for item in checkpoint.split(","))
    return {f"{name}.{suffix}" if suffix else name: found for suffix, _, found in pairs}


def resume(control: Control, name: str, checkpoint: str, store: Path) -> None:
    """Go on here. Raises what resuming raised, with everything suspended as before; or
    HalfSuspended, if only some sessions went on."""
    going: list[str] = []
    for session, found in members(name, checkpoint).items():
        try:
            control.resume(session, found, store)
        except (HalError, ProxyError) as error:
            if not going:
                raise
            raise HalfSuspended(
                f"of the job's sessions {', '.join(going)} went on, {session} could not: {error}"
            ) from error
        going.append(session)
