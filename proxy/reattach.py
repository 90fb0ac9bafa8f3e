"""Taking over the session of a worker that died: its buffers, programs and seqs go on.

For sessions that were durable, or were resumed from a checkpoint with nobody alive to go on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hal.context import Buffer, Context, Program
from hal.errors import DeviceLost, DeviceTimeout
from hal.types import Handle, ProgramImage, Seq, Usage
from proxy import records
from proxy.channel import Channel
from proxy.client import ProxyContext
from proxy.paths import checked_name, default_root, parked
from proxy.rendezvous import find_server, take_up
from proxy.segment import Line

DONE_TIMEOUT_S = 600.0  # for what the dead worker had enqueued


@dataclass(frozen=True, slots=True)
class Reattached:
    """Objects are in creation order."""

    context: Context
    buffers: tuple[Buffer, ...]
    programs: tuple[Program, ...]


def reattach(
    device_uri: str, session: str, root: Path | None = None, timeout_s: float = DONE_TIMEOUT_S
) -> Reattached:
    """Go on with a session whose worker died. What it had enqueued is done first. Raises DeviceLost
    if there is no such session, UsageError while its worker lives."""
    root = root or default_root()
    paths, info = find_server(device_uri, root)
    try:
        segment = take_up(paths.sessions / checked_name(session, "session"))
    except FileNotFoundError:
        raise DeviceLost(f"{paths.name} serves no session {session!r}") from None
    channel = Channel(segment, root, paths.name)
    channel.call(records.GoOn())
    taken = channel.block(lambda: segment[Line.TAIL] == segment[Line.HEAD], timeout_s)
    raw = channel.download(channel.call(records.Describe()))
    at = 8 + int.from_bytes(raw[:8], "little")
    objects = json.loads(raw[8:at])
    issued = int(objects["issued"])
    if not taken or not channel.block(lambda: segment[Line.RETIRED] >= issued, timeout_s):
        raise DeviceTimeout(f"session {session!r} is still busy after {timeout_s} s; try again")
    programs = []
    for handle, form, options, nbytes in objects["programs"]:
        programs.append((Handle(handle), ProgramImage(form, raw[at : at + nbytes], options)))
        at += nbytes
    buffers = [(Handle(h), nbytes, Usage(usage)) for h, nbytes, usage in objects["buffers"]]
    device = info.proxied(paths.name)
    inner = ProxyContext(
        Channel(segment, root, paths.name, sent=issued),
        device,
        parked(root) / session,
        objects["highest"],
    )
    context = Context(inner, device)
    return Reattached(context, *context.adopt(buffers, programs, Seq(objects["newest_seq"])))
