"""The proxy's client: a hal device whose commands run in another process.

`connect("opencl:0")` gives a `hal.Device`. Everything a driver does becomes records in a session's
shared memory; enqueuing never waits for the server unless ring or arena are full; an error of a
command is raised at the next wait. Capabilities are those of the device behind.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hal.context import Device
from hal.driver import Driver, DriverContext
from hal.errors import DeviceTimeout
from hal.types import (
    Arg,
    DeviceInfo,
    Grid,
    Handle,
    Overlay,
    Preemption,
    ProgramImage,
    Seq,
    Usage,
)
from proxy import records
from proxy.bundles import pack_overlay
from proxy.channel import BACKPRESSURE_S, Channel, Idle
from proxy.errors import ServerGone
from proxy.handles import Mint
from proxy.info import PREFIX
from proxy.paths import SESSION_VARIABLE, ServerPaths, checked_name, default_root, parked
from proxy.rendezvous import find_server, put_down
from proxy.segment import ARENA_BYTES, RING_BYTES, Line, State
from proxy.whereabouts import own_servers

ATTACH_TIMEOUT_S = 60.0  # a server may be busy building another session's program
CLOSE_TIMEOUT_S = 5.0
HALT_GRACE_S = 5.0  # beyond a halt's own timeout, for the answer to arrive
REHALT_TIMEOUT_S = 60.0


class ProxyContext(DriverContext):
    def __init__(
        self, channel: Channel, info: DeviceInfo, path: Path | None = None, last_handle: int = 0
    ) -> None:
        self._channel = channel
        self._whole_kernels = info.caps.preemption is Preemption.COMMAND
        self._mint = Mint(last_handle)
        self._parked_path = path
        self._halted = False
        self._closed = False

    # ---- memory and programs

    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        handle = self._mint.new()
        self._put(records.Alloc(handle, nbytes, int(usage)))
        return Handle(handle)

    def free(self, buffer: Handle) -> None:
        self._put(records.Free(buffer))

    def load(self, image: ProgramImage) -> Handle:
        """Waits, so that a build log arrives where it belongs."""
        handle = self._mint.new()
        self._channel.upload(image.payload)
        self._channel.call(records.Load(handle, image.format, image.options))
        return Handle(handle)

    def unload(self, program: Handle) -> None:
        self._put(records.Unload(program))

    # ---- the queue

    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        self._go_on()
        self._channel.write(buffer, offset, data)

    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        if self._halted:
            self._channel.peek(buffer, offset, into)
        else:
            self._channel.read(buffer, offset, into)

    def copy(
        self, source: Handle, source_offset: int, target: Handle, target_offset: int, nbytes: int
    ) -> None:
        self._put(records.Copy(source, source_offset, target, target_offset, nbytes))

    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        self._put(
            records.Launch(program, entry, tuple(args), grid.global_size, grid.local_size or ())
        )

    def signal(self, seq: Seq) -> None:
        self._put(records.Signal(seq))

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        self._go_on()
        return self._channel.wait(seq, timeout_s)

    # ---- halting

    def halt(self, timeout_s: float) -> bool:
        after = self._channel.sent if self._whole_kernels else 0
        call = records.Halt(int(timeout_s * 1e6), self._channel.sent)
        try:
            self._channel.call(call, after, timeout_s + HALT_GRACE_S)
        except DeviceTimeout:
            return False
        self._halted = True
        return True

    def save_state(self) -> bytes:
        if not self._halted and not self.halt(REHALT_TIMEOUT_S):  # buffers were read since
            raise DeviceTimeout(f"no halting point reached in {REHALT_TIMEOUT_S} s")
        return self._channel.download(self._channel.call(records.SaveState()))

    def load_state(self, state: bytes) -> None:
        self._go_on()
        self._channel.upload(state)
        self._channel.call(records.LoadState(), self._channel.sent)
        self._halted = True

    def configure(self, overlay: Overlay) -> None:
        self._go_on()
        self._channel.upload(pack_overlay(overlay))
        self._channel.call(records.Configure(overlay.digest), self._channel.sent)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        suspended = self._channel.segment[Line.STATE] == State.SUSPENDED
        self._channel.close(CLOSE_TIMEOUT_S)
        if suspended and self._parked_path is not None:
            self._parked_path.unlink(missing_ok=True)

    # ---- inner

    def _put(self, command: records.Command) -> None:
        self._go_on()
        self._channel.put(command)

    def _go_on(self) -> None:
        if self._halted:
            self._halted = False
            self._channel.call(records.GoOn())


class ProxyDriver(Driver):
    """One device behind a server. Each context is a session of its own."""

    def __init__(
        self,
        info: DeviceInfo,
        paths: ServerPaths,
        session: str | None = None,
        backpressure_s: float = BACKPRESSURE_S,
        ring_bytes: int = RING_BYTES,
        arena_bytes: int = ARENA_BYTES,
        idle: Idle | None = None,
    ) -> None:
        """`session`: name of the first context's session, which is durable then; further ones
        get a number behind it. `idle`: how to wait; the loopback steps its server instead."""
        self.info = info
        self._paths = paths
        self._durable = session is not None
        self._session = checked_name(session or f"w{os.urandom(6).hex()}", "session")
        self._backpressure_s = backpressure_s
        self._ring_bytes = ring_bytes
        self._arena_bytes = arena_bytes
        self._idle = idle
        self._opened = 0
        self._overlay: Overlay | None = None
        self._contexts: list[ProxyContext] = []
        self._spare: ProxyContext | None = None  # opened to configure, not yet asked for

    def open_context(self) -> DriverContext:
        if self._spare is not None:
            context, self._spare = self._spare, None
            return context
        context = self._new_session()
        if self._overlay is not None:
            context.configure(self._overlay)
        return context

    def configure(self, overlay: Overlay) -> None:
        """Every session of this device, present and to come, uses `overlay`."""
        open_contexts = [context for context in self._contexts if not context._closed]
        if not open_contexts:
            self._spare = self._new_session()
            open_contexts = [self._spare]
        for context in open_contexts:
            context.configure(overlay)
        self._overlay = overlay

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        self._spare = None

    def _new_session(self) -> ProxyContext:
        self._opened += 1
        name = self._session if self._opened == 1 else f"{self._session}.{self._opened}"
        paths = self._whereabouts()
        segment = put_down(paths, name, self._durable, self._ring_bytes, self._arena_bytes)
        channel = Channel(segment, paths.root, paths.name, self._backpressure_s, self._idle)
        taken = channel.block(lambda: segment[Line.STATE] == State.RUNNING, ATTACH_TIMEOUT_S)
        if not taken:
            segment.close()
            raise ServerGone(
                f"{paths.name} did not take up session {name!r} in {ATTACH_TIMEOUT_S} s: "
                "it hangs, or is of another release"
            )
        context = ProxyContext(channel, self.info, parked(paths.root) / name)
        self._contexts.append(context)
        return context

    def _whereabouts(self) -> ServerPaths:
        """The server that the worker's sessions were moved to: where its oldest live one is, else
        where its last one was. Waits while that is suspended."""
        channels = [context._channel for context in self._contexts]
        living = [channel for channel in channels if not channel.ended]
        for channel in living[:1] or channels[-1:]:
            return ServerPaths.under(self._paths.root, channel.server())
        return self._paths


def connect(
    device_uri: str,
    root: Path | None = None,
    session: str | None = None,
    backpressure_s: float = BACKPRESSURE_S,
    ring_bytes: int = RING_BYTES,
    arena_bytes: int = ARENA_BYTES,
) -> Device:
    """The device behind the server of `device_uri` ("opencl:0" or "proxy:opencl:0"). `session`
    defaults to HALTERE_SESSION, else a random name. Raises DeviceLost if no server runs."""
    root = root or default_root()
    own = own_servers(root).get(device_uri.removeprefix(PREFIX))
    paths, info = own or find_server(device_uri, root)
    session = session or os.environ.get(SESSION_VARIABLE) or None
    device = info.proxied(paths.name)
    return Device(ProxyDriver(device, paths, session, backpressure_s, ring_bytes, arena_bytes))
