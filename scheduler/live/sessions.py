"""A job's sessions as one: all of them are suspended, or none is.

A worker that opens several contexts has the sessions NAME, NAME.2, NAME.3 on its device. A
checkpoint of the job is one id per session, written `id` or `id,2:id2` (session NAME.2).

Both `suspend` and `resume` may be repeated after their answer was lost: what was done already is
found out from the session's file, and not done again.
"""

from __future__ import annotations

from pathlib import Path

from hal.errors import HalError
from proxy.control import Control
from proxy.errors import ProxyError
from proxy.store import Store
from scheduler.errors import HalfSuspended, NotConnected


def connected(control: Control, name: str) -> list[str]:
    """The sessions of the job that the server serves now."""
    served = [session.name for session in control.status().sessions]
    return [found for found in served if found == name or found.startswith(f"{name}.")]


def suspend(control: Control, name: str, store: Path) -> str:
    """The checkpoint. Raises what suspending raised, with everything running as before; or
    HalfSuspended, when that could not be achieved."""
    done = _parked(control, name, store)
    names = connected(control, name)
    if not names and not done:
        raise NotConnected(f"session {name!r} is not connected to its device; try again later")
    try:
        for session in names:
            try:
                done[session] = control.suspend(session, store)
            except (HalError, ProxyError):
                found = _parked(control, name, store)  # somebody's earlier request did it
                if session not in found:
                    raise
                done[session] = found[session]
    except (HalError, ProxyError) as error:
        _go_on(control, done, store, error)
        raise
    return ",".join(
        checkpoint if session == name else f"{session[len(name) + 1 :]}:{checkpoint}"
        for session, checkpoint in sorted(done.items())
    )


def _parked(control: Control, name: str, store: Path) -> dict[str, str]:
    """Sessions of the job that are suspended -> the checkpoint that each was suspended with."""
    return {
        session: Store(store).find(cut)
        for session, cut in control.parked().items()
        if session == name or session.startswith(f"{name}.")
    }


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
    going = [found for found in members(name, checkpoint) if control.serves(found)]
    for session, found in members(name, checkpoint).items():
        if session in going:
            continue
        try:
            control.resume(session, found, store)
        except (HalError, ProxyError) as error:
            if control.serves(session):  # somebody's earlier request did it
                going.append(session)
                continue
            if not going:
                raise
            raise HalfSuspended(
                f"of the job's sessions {', '.join(going)} went on, {session} could not: {error}"
            ) from error
        going.append(session)
