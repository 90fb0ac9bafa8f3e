"""A driver that wraps another and fails on plan: at the n-th call, as a real device would.

The plan is data and seeded, so that a test that finds a bug reproduces it. The wrapped driver does
real work; only the planned calls differ. Calls are counted over the driver and all its contexts,
in order; `close` is never failed and not counted, since it must always work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from hal.driver import Driver, DriverContext
from hal.errors import DeviceFault, DeviceLost, OutOfMemory
from hal.types import Arg, Grid, Handle, Overlay, ProgramImage, Seq, Usage

T = TypeVar("T")


class Kind(Enum):
    FAULT = "fault"  # this call raises DeviceFault; the next one works
    MEMORY = "memory"  # this call raises OutOfMemory; the next one works
    LOSS = "loss"  # this call and every later one raise DeviceLost
    TIMEOUT = "timeout"  # this call, a wait or halt, says False at once; others are unharmed


@dataclass(frozen=True, slots=True)
class Fault:
    call: int  # counted from 0
    kind: Kind


@dataclass(slots=True)
class Plan:
    """Which calls fail. `log` tells what was called, with the kind where one was failed."""

    faults: tuple[Fault, ...]
    log: list[tuple[str, Kind | None]] = field(default_factory=list)
    lost: bool = False

    @classmethod
    def seeded(cls, seed: int, calls: int, count: int, kinds: Sequence[Kind] = tuple(Kind)) -> Plan:
        """`count` faults among the first `calls` calls."""
        source = random.Random(seed)
        at = sorted(source.sample(range(calls), count))
        return cls(tuple(Fault(call, source.choice(list(kinds))) for call in at))

    def step(self, name: str) -> Kind | None:
        """Count one call; raise what is planned for it, or return TIMEOUT for a wait or halt."""
        call = len(self.log)
        kind = next((fault.kind for fault in self.faults if fault.call == call), None)
        if kind is Kind.TIMEOUT and name not in ("wait", "halt"):
            kind = None
        self.log.append((name, kind))
        self.lost = self.lost or kind is Kind.LOSS
        if self.lost:
            raise DeviceLost(f"planned: the device is gone since or before call {call} ({name})")
        if kind is Kind.FAULT:
            raise DeviceFault(f"planned: call {call} ({name}) fails", native=-1)
        if kind is Kind.MEMORY:
            raise OutOfMemory(f"planned: call {call} ({name}) finds no memory")
        return kind


class FaultyContext(DriverContext):
    def __init__(self, inner: DriverContext, plan: Plan) -> None:
        self._inner = inner
        self._plan = plan

    def _do(self, name: str, call: Callable[[], T]) -> T:
        self._plan.step(name)
        return call()

    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        return self._do("alloc", lambda: self._inner.alloc(nbytes, usage))

    def free(self, buffer: Handle) -> None:
        self._do("free", lambda: self._inner.free(buffer))

    def load(self, image: ProgramImage) -> Handle:
        return self._do("load", lambda: self._inner.load(image))

    def unload(self, program: Handle) -> None:
        self._do("unload", lambda: self._inner.unload(program))

    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        self._do("write", lambda: self._inner.write(buffer, offset, data))

    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        self._do("read", lambda: self._inner.read(buffer, offset, into))

    def copy(
        self, source: Handle, source_offset: int, target: Handle, target_offset: int, nbytes: int
    ) -> None:
        self._do(
            "copy",
            lambda: self._inner.copy(source, source_offset, target, target_offset, nbytes),
        )

    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        self._do("launch", lambda: self._inner.launch(program, entry, args, grid))

    def signal(self, seq: Seq) -> None:
        self._do("signal", lambda: self._inner.signal(seq))

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        if self._plan.step("wait") is Kind.TIMEOUT:
            return False
        return self._inner.wait(seq, timeout_s)

    def halt(self, timeout_s: float) -> bool:
        if self._plan.step("halt") is Kind.TIMEOUT:
            return False
        return self._inner.halt(timeout_s)

    def save_state(self) -> bytes:
        return self._do("save_state", self._inner.save_state)

    def load_state(self, state: bytes) -> None:
        self._do("load_state", lambda: self._inner.load_state(state))

    def close(self) -> None:
        self._inner.close()


class FaultyDriver(Driver):
    def __init__(self, inner: Driver, plan: Plan) -> None:
        self.info = inner.info
        self._inner = inner
        self._plan = plan

    def open_context(self) -> DriverContext:
        self._plan.step("open_context")
        return FaultyContext(self._inner.open_context(), self._plan)

    def configure(self, overlay: Overlay) -> None:
        self._plan.step("configure")
        self._inner.configure(overlay)

    def close(self) -> None:
        self._inner.close()
