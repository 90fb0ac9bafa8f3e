"""An FPGA whose contexts are halted inside their kernels and moved, unseen by who uses them.

Stands under a `Context` like any driver. At the cycles of its plan a context is halted, its
buffers and its hidden state are carried to a new device whose fabric is full of noise, and it goes
on there. An undisturbed device does the same commands beside it; after each kernel both must have
taken the same number of cycles and hold the same bytes, in the fabric too.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import bitstreams
from hal.backends.fpga import backend
from hal.backends.fpga import state as states
from hal.backends.fpga.context import FpgaContext
from hal.backends.fpga.driver import FpgaDriver
from hal.backends.fpga.verilator_shell import BATCH_CYCLES, VerilatorShell
from hal.driver import Driver, DriverContext
from hal.errors import DeviceTimeout
from hal.testing.halts import Diverged, Halts
from hal.testing.state import decoded, listed
from hal.types import Arg, BufferArg, Grid, Handle, Overlay, ProgramImage, Seq, Usage
from rtl_sim import snapshot as fabric
from rtl_sim.statemap import StateMap

__tracebackhide__ = True  # a failure is shown where the test stands

FINISH_TIMEOUT_S: Final = 600.0  # of a kernel that another command waits for
NONE: Final = Seq(0)  # completed before anything was signalled
NEVER: Final = Seq(1 << 62)  # never completes: waiting for it is letting the clock run


class MovingDriver(Driver):
    """Without `halts` a plain simulated FPGA."""

    def __init__(self, halts: Halts | None) -> None:
        self.info = backend.probe()[0]
        self._halts = halts
        self._overlay: Overlay | None = None
        self._plain = None if halts else FpgaDriver(self.info, VerilatorShell())
        self.contexts: list[MovingContext] = []

    def configure(self, overlay: Overlay) -> None:
        self._overlay = overlay
        if self._plain:
            self._plain.configure(overlay)

    def open_context(self) -> DriverContext:
        if self._plain:
            return self._plain.open_context()
        assert self._halts is not None
        assert self._overlay is not None, "configured before a context is opened"
        context = MovingContext(self._overlay, self._halts)
        self.contexts.append(context)
        return context

    def close(self) -> None:
        if self._plain:
            self._plain.close()
        for context in self.contexts:
            context.close()


class _Side:
    """One device with one context: a fabric of its own, whose clock is moved cycle by cycle."""

    def __init__(self, overlay: Overlay, seed: int) -> None:
        self.shell = VerilatorShell(seed=seed)
        self._driver = FpgaDriver(backend.probe()[0], self.shell)
        self._driver.configure(overlay)
        self.context: FpgaContext = self._driver.open_context()

    def run(self, cycles: int) -> int:
        """Let the kernel run so many cycles, or to its end; returns how many those were."""
        self.shell.first_batch_cycles = cycles
        before = self.shell.cycle
        self.context.wait(NEVER, 0.0)
        return self.shell.cycle - before

    def close(self) -> None:
        self._driver.close()


@dataclass(slots=True)
class _Buffer:
    here: Handle  # on the device that is moved
    there: Handle  # on the undisturbed one
    size_bytes: int
    usage: Usage


@dataclass(slots=True)
class _Program:
    here: Handle
    there: Handle
    image: ProgramImage


class MovingContext(DriverContext):
    """Handles given out are this context's own: those beneath change with every move."""

    def __init__(self, overlay: Overlay, halts: Halts) -> None:
        self._overlay, self._halts = overlay, halts
        bundle = bitstreams.verified(overlay.manifest, overlay.files, overlay.digest)
        self._name, map_file = bundle.manifest.name, bundle.manifest.state_map
        self._state_map = StateMap.parse(overlay.files[map_file]) if map_file else None
        self._here, self._there = _Side(overlay, seed=0), _Side(overlay, seed=0)
        self._handles = itertools.count(1)
        self._buffers: dict[Handle, _Buffer] = {}
        self._programs: dict[Handle, _Program] = {}
        self._reads: list[tuple[_Buffer, int, memoryview]] = []  # queued behind the kernel
        self._signalled = self._completed = NONE
        self._kernel = ""  # in flight
        self._taken = 0  # its cycles so far
        self._cycle = 0  # of all kernels
        self.moves: list[int] = []

    # ---- memory and programs

    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        handle = Handle(next(self._handles))
        here, there = (side.context.alloc(nbytes, usage) for side in self._sides)
        self._buffers[handle] = _Buffer(here, there, nbytes, usage)
        return handle

    def free(self, buffer: Handle) -> None:
        self._finish()
        freed = self._buffers.pop(buffer)
        self._here.context.free(freed.here)
        self._there.context.free(freed.there)

    def load(self, image: ProgramImage) -> Handle:
        handle = Handle(next(self._handles))
        here, there = (side.context.load(image) for side in self._sides)
        self._programs[handle] = _Program(here, there, image)
        return handle

    def unload(self, program: Handle) -> None:
        gone = self._programs.pop(program)
        self._here.context.unload(gone.here)
        self._there.context.unload(gone.there)

    # ---- the queue

    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        self._finish()
        known = self._buffers[buffer]
        self._here.context.write(known.here, offset, data)
        self._there.context.write(known.there, offset, data)

    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        known, context = self._buffers[buffer], self._here.context
        if self._kernel and not context.halted:
            self._reads.append((known, offset, into))
        context.read(known.here, offset, into)

    def copy(
        self, source: Handle, source_offset: int, target: Handle, target_offset: int, nbytes: int
    ) -> None:
        self._finish()
        a, b = self._buffers[source], self._buffers[target]
        self._here.context.copy(a.here, source_offset, b.here, target_offset, nbytes)
        self._there.context.copy(a.there, source_offset, b.there, target_offset, nbytes)

    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        self._finish()
        known = self._programs[program]
        here = [self._on(arg, True) for arg in args]
        there = [self._on(arg, False) for arg in args]
        self._here.context.launch(known.here, entry, here, grid)
        self._there.context.launch(known.there, entry, there, grid)
        self._kernel, self._taken = entry, 0

    def signal(self, seq: Seq) -> None:
        for side in self._sides:
            side.context.signal(seq)
        self._signalled = seq
        if not self._kernel:
            self._completed = seq

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        self._here.context.wait(NONE, 0.0)  # goes on, should it have been halted
        while self._kernel and seq > self._completed:
            due = self._halts.due(self._cycle)
            if due == 0:
                self._move()
                continue
            self._run(min(due or BATCH_CYCLES, BATCH_CYCLES))
            if self._kernel and time.monotonic() >= deadline:
                return False
        return True

    # ---- halting, by who uses the context

    def halt(self, timeout_s: float) -> bool:
        return self._here.context.halt(timeout_s)

    def save_state(self) -> bytes:
        return self._here.context.save_state()

    def load_state(self, state: bytes) -> None:
        for side in self._sides:
            side.context.load_state(state)
        loaded = states.unpack(state)
        self._kernel, self._taken = loaded.kernel, 0
        self._completed = Seq(loaded.completed)
        self._signalled = Seq(max((loaded.completed, *loaded.pending)))

    def close(self) -> None:
        for side in self._sides:
            side.close()

    # ---- for the plugin

    def check_end(self) -> None:
        """A test shorter than its plan is moved all the same. Raises Diverged."""
        self._finish()
        if not self.moves:
            self._move()
        self._compare(f"after {self._cycle} cycles of kernels")

    def story(self) -> str:
        return f"overlay {self._name}: {self._cycle} cycles of kernels, {self._halts}"

    # ---- inner

    @property
    def _sides(self) -> tuple[_Side, _Side]:
        return self._here, self._there

    def _on(self, arg: Arg, here: bool) -> Arg:
        if not isinstance(arg, BufferArg):
            return arg
        known = self._buffers[arg.buffer]
        return replace(arg, buffer=known.here if here else known.there)

    def _finish(self) -> None:
        """Before a command that could change what the kernel in flight sees."""
        if self._kernel and not self.wait(NEVER, FINISH_TIMEOUT_S):
            raise DeviceTimeout(f"kernel {self._kernel!r} is not done after {FINISH_TIMEOUT_S} s")

    def _move(self) -> None:
        """Everything to a new device; the one that was left is gone."""
        self._compare(f"at cycle {self._cycle}")
        left = self._here
        left.context.halt(0.0)
        state = left.context.save_state()
        self._here = _Side(self._overlay, seed=self._halts.rng.randrange(1, 1 << 31))
        fresh = self._here.context
        for buffer in self._buffers.values():
            content = bytearray(buffer.size_bytes)
            left.context.read(buffer.here, 0, memoryview(content))
            buffer.here = fresh.alloc(buffer.size_bytes, buffer.usage)
            fresh.write(buffer.here, 0, memoryview(content))
        for program in self._programs.values():
            program.here = fresh.load(program.image)
        fresh.load_state(state)
        fresh.wait(NONE, 0.0)  # goes on, so that reads queue behind the kernel again
        for buffer, offset, into in self._reads:
            fresh.read(buffer.here, offset, into)
        left.close()
        self.moves.append(self._cycle)
        self._halts.took(self._cycle)

    def _run(self, cycles: int) -> None:
        """Both sides so far; should one kernel end, so must the other, at the same cycle."""
        here, there = (side.run(cycles) for side in self._sides)
        self._cycle += here
        self._taken += here
        ended = [not side.context.kernel for side in self._sides]
        if here != there or ended[0] != ended[1]:
            at = self._taken - here + min(here, there)
            first = "it" if here < there or ended[0] else "that"
            raise Diverged(
                f"overlay {self._name} was {self._halts}: kernel {self._kernel!r} differs from the "
                f"undisturbed run at cycle {at}, where {first} is done"
            )
        if ended[0]:
            what = f"after kernel {self._kernel!r}, {self._taken} cycles,"
            self._kernel, self._completed = "", self._signalled
            self._reads.clear()
            self._compare(what)

    def _compare(self, what: str) -> None:
        wrong = []
        for index, buffer in enumerate(self._buffers.values()):
            here, there = (bytearray(buffer.size_bytes) for _ in range(2))
            self._here.context.read(buffer.here, 0, memoryview(here))
            self._there.context.read(buffer.there, 0, memoryview(there))
            if here != there:
                at = next(
                    i for i, pair in enumerate(zip(here, there, strict=True)) if len(set(pair)) > 1
                )
                wrong.append(
                    f"buffer {index} at byte {at} is {here[at]:#x}, undisturbed {there[at]:#x}"
                )
        wrong += self._fabric_differences()
        if wrong:
            raise Diverged(
                f"overlay {self._name} was {self._halts}: {what} its state is not that of the "
                f"undisturbed run:\n{listed(wrong)}"
            )

    def _fabric_differences(self) -> list[str]:
        """Of registers and memories, where both sides' buffers lie at the same addresses: only
        then must registers that hold addresses be equal."""
        for side in self._sides:
            side.context.halt(0.0)
        here, there = (states.unpack(side.context.save_state()) for side in self._sides)
        for side in self._sides:
            side.context.wait(NONE, 0.0)
        if here.buffers != there.buffers or self._state_map is None or not there.fabric:
            return []
        found, wanted = (
            decoded(fabric.unpack(each.fabric), self._state_map) for each in (here, there)
        )
        return [f"{name} is {a}, undisturbed {b}" for name, a, b in found.differences(wanted)]
