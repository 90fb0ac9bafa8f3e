"""What one session holds on the device, by the worker's handles, and doing its commands to it.

The worker is not trusted: handles are looked up here, ranges and lifetimes are checked by the
`hal.Context` below. The replay log is kept beside the objects, so that they can be recreated.
"""

from __future__ import annotations

from collections.abc import Callable

from hal.context import Buffer, Context, Program
from hal.errors import HalError, Unsupported
from hal.types import Arg, BufferArg, Grid, ProgramImage, Usage
from proxy import records
from proxy.handles import HandleTable
from proxy.known import Changes
from proxy.replay import ReplayLog
from proxy.tenant import Holdings

ArenaRange = Callable[[int, int], memoryview]  # (offset, size); raises RemoteProtocolError


class Objects(Holdings):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.buffers: HandleTable[Buffer] = HandleTable("buffer")
        self.programs: HandleTable[Program] = HandleTable("program")
        self._log = ReplayLog()
        self.changes = Changes()
        self.hoisted: set[int] = set()  # buffers allocated before their record's turn

    def apply(self, command: records.Command, payload: bytes | None, arena: ArenaRange) -> bool:
        """Do a command; True if the device has something to complete. `payload`: what a write
        writes, if it is not in the arena. Raises HalError, RemoteProtocolError."""
        self.changes.note(command)
        match command:
            case records.Launch():
                program = self.programs.get(command.program)
                grid = Grid(command.global_size, command.local_size or None)
                args = [self._real(arg) for arg in command.args]
                self.context.launch(program, command.entry, args, grid)
            case records.Write():
                data = arena(command.arena, command.nbytes) if payload is None else payload
                self.context.write(self.buffers.get(command.buffer), data, command.offset)
            case records.WriteInline():
                self.context.write(self.buffers.get(command.buffer), command.data, command.offset)
            case records.Read():
                into = arena(command.arena, command.nbytes)
                self.context.read_into(self.buffers.get(command.buffer), into, command.offset)
            case records.Copy():
                self.context.copy(
                    self.buffers.get(command.source),
                    self.buffers.get(command.target),
                    command.nbytes,
                    command.source_offset,
                    command.target_offset,
                )
            case _:
                self._manage(command)
                return False
        return True

    def _manage(self, command: records.Command) -> None:
        match command:
            case records.Alloc():
                if command.buffer in self.hoisted:
                    self.hoisted.discard(command.buffer)
                else:
                    self.alloc(command)
            case records.Free():
                buffer = self.buffers.remove(command.buffer)
                if buffer is not None:
                    self._log.freed(command.buffer)
                    buffer.free()
            case records.Unload():
                program = self.programs.remove(command.program)
                if program is not None:
                    self._log.unloaded(command.program)
                    self.context.unload(program)
            case _:
                raise Unsupported(
                    f"{type(command).__name__}: only sessions of the native engine, on OpenCL "
                    "devices, have it"
                )

    def alloc(self, command: records.Alloc) -> None:
        self.buffers.check_new(command.buffer)
        usage = Usage(command.usage & Usage.ALL)
        try:  # all usages: a snapshot must read it, a restore must write it
            buffer = self.context.alloc(command.nbytes, Usage.ALL)
        except HalError:
            self.buffers.add_failed(command.buffer)
            raise
        self.buffers.add(command.buffer, buffer)
        self._log.allocated(command.buffer, command.nbytes, int(usage))

    def load(self, handle: int, image: ProgramImage) -> None:
        self.programs.check_new(handle)
        try:
            program = self.context.load(image)
        except HalError:
            self.programs.add_failed(handle)
            raise
        self.programs.add(handle, program)
        self._log.loaded(handle, image)

    @property
    def log(self) -> ReplayLog:
        return self._log

    @property
    def highest(self) -> int:
        return max(self.buffers.highest, self.programs.highest)

    def kernels(self, program: int) -> bytes:
        raise Unsupported("only sessions of the native engine describe kernels")

    def build_log(self, program: int) -> bytes:
        return b""  # hal keeps none

    def adapt(self, log: ReplayLog) -> None:
        if log.images or log.samplers:
            raise Unsupported(
                "the checkpoint holds images or samplers: only a server with the native engine, "
                "on an OpenCL device, can go on from it"
            )
        for handle, buffer in self.buffers.items():
            if handle not in log.buffers:
                self.buffers.remove(handle)
                buffer.free()
        for handle, program in self.programs.items():
            if handle not in log.programs:
                self.programs.remove(handle)
                self.context.unload(program)
        have = {handle for handle, _ in self.buffers.items()}
        for handle, entry in log.buffers.items():
            if handle not in have:
                self.buffers.add(handle, self.context.alloc(entry.nbytes, Usage.ALL))

    def fill(self, handle: int, offset: int, data: memoryview) -> None:
        self.context.write(self.buffers.get(handle), data, offset)

    def settle(self) -> None:
        self.context.finish()

    def complete(self, log: ReplayLog) -> None:
        self._log = log
        self.buffers.raise_to(log.highest_buffer)
        self.programs.raise_to(log.highest_program)

    def _real(self, arg: records.AnyArg) -> Arg:
        if isinstance(arg, records.LocalArg | records.ObjectArg):
            raise Unsupported(f"{type(arg).__name__}: only sessions of the native engine have it")
        if isinstance(arg, BufferArg):
            return BufferArg(self.buffers.get(arg.buffer).handle, arg.offset)
        return arg
