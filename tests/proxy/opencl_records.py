"""A session spoken to in records, as the OpenCL driver does: for what hal has no words for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hal import Context
from hal.types import Arg
from proxy import records, wire
from proxy.channel import Channel
from proxy.client import ProxyContext
from proxy.loopback import Loopback
from proxy.records import AnyArg
from proxy.segment import Line

Bytes = npt.NDArray[np.uint8]


class Speaker:
    """Mints handles, puts records, waits for record numbers."""

    def __init__(self, loop: Loopback, session: str, arena_bytes: int = 1 << 20) -> None:
        self.device = loop.connect(session, arena_bytes=arena_bytes)
        self.context: Context = self.device.open_context()
        inner = self.context._driver
        assert isinstance(inner, ProxyContext)
        self.channel: Channel = inner._channel
        self._mint = inner._mint
        self.arena = self.channel.segment.arena

    def handle(self) -> int:
        return self._mint.new()

    def put(self, *commands: records.Command) -> int:
        """The number of the last."""
        for command in commands:
            self.channel.put(command)
        return self.channel.sent

    def done(self, number: int | None = None) -> None:
        """Until the device is done with it; raises what went wrong."""
        number = self.channel.sent if number is None else number
        segment = self.channel.segment
        assert self.channel.block(lambda: segment[Line.RETIRED] >= number, 20.0)
        self.channel.raise_error()

    def buffer(self, data: bytes | npt.NDArray[np.generic] | int) -> int:
        handle = self.handle()
        nbytes = data if isinstance(data, int) else memoryview(data).nbytes
        self.put(records.Alloc(handle, nbytes, 15))
        if not isinstance(data, int):
            self.channel.write(handle, 0, memoryview(data).cast("B"))
        return handle

    def bytes_of(self, buffer: int, nbytes: int, offset: int = 0) -> bytes:
        into = bytearray(nbytes)
        self.channel.read(buffer, offset, memoryview(into))
        self.done()
        self.channel._collect()
        return bytes(into)

    def program(self, source: str, options: str = "", form: str = "opencl-c") -> int:
        handle = self.handle()
        self.channel.upload(source.encode())
        self.channel.call(records.Load(handle, form, options))
        return handle

    def launch(
        self,
        program: int,
        entry: str,
        args: tuple[AnyArg | Arg, ...],
        size: tuple[int, ...],
        local: tuple[int, ...] = (),
        offset: tuple[int, ...] = (),
    ) -> int:
        return self.put(records.Launch(program, entry, args, size, local, offset))

    def kernels(self, program: int) -> list[records.Record]:
        raw = self.channel.download(self.channel.call(records.Kernels(program)))
        return split(raw)

    def times(self, command: int) -> records.Clock:
        channel = self.channel
        channel._calls += 1
        number, segment = channel._calls, channel.segment
        segment.write_request(wire.encode(number, records.Times(command)))
        segment[Line.REQUEST_AFTER] = 0
        segment[Line.REQUEST] = number
        assert channel.block(lambda: segment[Line.REPLY] == number, 20.0)
        clock = segment.read_reply()
        assert isinstance(clock, records.Clock)
        return clock


def split(raw: bytes) -> list[records.Record]:
    found, at = [], 0
    while (length := wire.record_length(raw, at)) is not None:
        found.append(wire.decode(raw[at : at + length])[1])
        at += length
    assert at == len(raw)
    return found
