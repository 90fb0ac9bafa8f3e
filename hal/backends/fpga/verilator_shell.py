"""A shell whose fabric is a Verilated model: everything real but the silicon.

The clock moves in batches inside `wait_irq` and in register accesses. Memory answers with a fixed
latency, by default that of a small DDR controller, so that cycle counts mean something.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitstreams import Bundle
from hal.backends.fpga.guard import refuse_host_access
from hal.backends.fpga.shell import BEAT_BYTES, PAGE_BYTES, DmaBuffer, Space
from hal.driver import Preparation
from hal.errors import DeviceFault, OverlayRejected, StateError
from rtl_sim import cache
from rtl_sim import snapshot as fabric
from rtl_sim.errors import BuildFailed, ModelFault, SnapshotError, ToolMissing
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.background import Background
from rtl_sim.verilated.build import Design, build_library, find_library
from rtl_sim.verilated.model import MemoryWindow, Model

PART = "verilator"
BATCH_CYCLES = 4000  # a few ms at most, so timeouts stay responsive; 0.1 % of overhead
FIRST_BATCH_CYCLES = 100  # a wait of no time is a small step: short kernels can be halted, too
MAX_BUILT = 16  # overlays whose build is remembered: as many as take turns on one fabric
FIRST_ADDRESS = 1 << 32  # a null or truncated address is a bus error


@dataclass(frozen=True, slots=True)
class MemoryTiming:
    """In clock cycles; the chance of a wait state is per channel and cycle, and deterministic."""

    read_latency: int = 16
    write_latency: int = 8
    stall_per_256: int = 0


class VerilatorSpace:
    """Host memory at device addresses. Addresses are never used twice: a kernel that keeps an old
    one gets a bus error, not another buffer."""

    def __init__(self) -> None:
        self._memory: dict[DmaBuffer, NDArray[np.uint64]] = {}
        self._next_address = FIRST_ADDRESS
        self.changes = 0  # lets the shell see that its windows are out of date

    def alloc_dma(self, nbytes: int) -> DmaBuffer:
        memory = np.zeros(-(-nbytes // BEAT_BYTES), np.uint64)
        buffer = DmaBuffer(memory.data.cast("B"), self._next_address)
        self._memory[buffer] = memory
        self._reserve(buffer)
        return buffer

    def free_dma(self, buffer: DmaBuffer) -> None:
        del self._memory[buffer]
        self.changes += 1

    def place(self, buffers: Sequence[tuple[DmaBuffer, int]]) -> None:
        for buffer, address in buffers:
            buffer.device_address = address
            self._reserve(buffer)

    def windows(self) -> list[MemoryWindow]:
        return [
            MemoryWindow(buffer.device_address, memory.nbytes, memory.ctypes.data)
            for buffer, memory in self._memory.items()
        ]

    def close(self) -> None:
        self._memory.clear()
        self.changes += 1

    def _reserve(self, buffer: DmaBuffer) -> None:
        """Later addresses lie above this buffer, a page of nothing between."""
        pages = -(-len(buffer.view) // PAGE_BYTES) + 1
        self._next_address = max(self._next_address, buffer.device_address + pages * PAGE_BYTES)
        self.changes += 1


class VerilatorShell:
    """batch_cycles        the most clock cycles between two looks at the time
    first_batch_cycles  those of the first batch of each wait; then they double
    seed                0: the fabric powers on with zeros; else with noise"""

    def __init__(
        self,
        batch_cycles: int = BATCH_CYCLES,
        first_batch_cycles: int = FIRST_BATCH_CYCLES,
        timing: MemoryTiming | None = None,
        seed: int = 0,
    ) -> None:
        self.batch_cycles = batch_cycles
        self.first_batch_cycles = min(first_batch_cycles, batch_cycles)
        self._timing = timing or MemoryTiming()
        self._seed = seed
        self._bundle: Bundle | None = None
        self._built: dict[str, tuple[Path, StateMap | None]] = {}  # so that overlays swap fast
        self._library = Path()
        self._state_map: StateMap | None = None
        self._model: Model | None = None
        self._space: VerilatorSpace | None = None
        self._seen_changes = -1

    # ---- configuration

    def prepare(self, bundle: Bundle) -> Preparation | None:
        if bundle.digest in self._built:
            return None
        try:
            design = _design(bundle)
            return None if find_library(design) else _Building(bundle.manifest.name, design)
        except (BuildFailed, ToolMissing) as error:
            raise _cannot_be_built(bundle.manifest.name, error) from error

    def program(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        if manifest.part != PART:
            raise OverlayRejected(f"overlay {manifest.name} is for {manifest.part}, not {PART}")
        try:
            built = self._built.get(bundle.digest)
            library, state_map = built or (build_library(_design(bundle)), _state_map(bundle))
            model = Model(library, state_map, self._seed)
        except (BuildFailed, SnapshotError, ModelFault, ToolMissing) as error:
            raise _cannot_be_built(manifest.name, error) from error
        self._bundle, self._library, self._state_map = bundle, library, state_map
        self._built[bundle.digest] = library, state_map
        while len(self._built) > MAX_BUILT:
            del self._built[next(iter(self._built))]
        self._install(model)

    def reset(self) -> None:
        self._install(Model(self._library, self._state_map, self._seed))

    def _install(self, model: Model) -> None:
        if self._model is not None:
            self._model.close()
        timing = self._timing
        model.set_timing(timing.read_latency, timing.write_latency, timing.stall_per_256)
        self._model = model
        self._seen_changes = -1

    # ---- memory

    def open_space(self) -> VerilatorSpace:
        return VerilatorSpace()

    def attach(self, space: Space | None) -> None:
        assert space is None or isinstance(space, VerilatorSpace)
        self._space = space
        self._seen_changes = -1

    # ---- the fabric at work

    def read32(self, offset: int) -> int:
        model = self._ready()
        try:
            return model.read32(offset)
        except ModelFault as error:
            raise DeviceFault(str(error)) from error

    def write32(self, offset: int, value: int) -> None:
        model = self._ready()
        try:
            model.write32(offset, value)
        except ModelFault as error:
            raise DeviceFault(str(error)) from error

    def wait_irq(self, timeout_s: float, max_cycles: int | None = None) -> bool:
        model = self._ready()
        deadline = time.monotonic() + timeout_s
        left = sys.maxsize if max_cycles is None else max_cycles
        step = self.first_batch_cycles
        try:
            while True:
                batch = min(step, left)
                if model.run(batch) < batch or model.interrupt():
                    return True
                left -= batch
                if not left or time.monotonic() >= deadline:
                    return False
                step = min(2 * step, self.batch_cycles)
        except ModelFault as error:
            raise DeviceFault(str(error)) from error

    @property
    def cycle(self) -> int:
        return self._ready().cycle

    @property
    def frozen_cycles(self) -> int:
        return self._ready().frozen_cycles

    # ---- state

    def capture(self) -> bytes:
        model, bundle = self._ready(), self._programmed()
        try:
            return fabric.pack(model.save(bundle.digest))
        except SnapshotError as error:
            raise StateError(f"overlay {bundle.manifest.name}: {error}") from error
        except ModelFault as error:
            raise DeviceFault(str(error)) from error

    def check(self, snapshot: bytes) -> None:
        try:
            self._ready().check(fabric.unpack(snapshot), self._digests())
        except SnapshotError as error:
            raise StateError(str(error)) from error

    def restore(self, snapshot: bytes) -> None:
        try:
            self._ready().load(fabric.unpack(snapshot), self._digests())
        except SnapshotError as error:
            raise StateError(str(error)) from error
        except ModelFault as error:
            raise DeviceFault(str(error)) from error

    def close(self) -> None:
        if self._model is not None:
            self._model.close()
            self._model = None

    # ---- inner

    def _programmed(self) -> Bundle:
        assert self._bundle is not None, "the driver programs before it uses the fabric"
        return self._bundle

    def _digests(self) -> tuple[str, ...]:
        bundle = self._programmed()
        return (bundle.digest, *bundle.manifest.compatible_digests)

    def _ready(self) -> Model:
        """The model, seeing the attached space as it is now."""
        assert self._model is not None, "the driver programs before it uses the fabric"
        space = self._space
        changes = space.changes if space is not None else 0
        if changes != self._seen_changes:
            self._model.set_windows(space.windows() if space is not None else [])
            self._seen_changes = changes
        return self._model


class _Building:
    """An overlay's library on its way into the cache."""

    def __init__(self, name: str, design: Design) -> None:
        self._name = name
        self._build = Background(design)

    def poll(self) -> bool:
        try:
            return self._build.poll()
        except BuildFailed as error:
            raise _cannot_be_built(self._name, error) from error

    def cancel(self) -> None:
        self._build.cancel()


def _cannot_be_built(name: str, error: Exception) -> OverlayRejected:
    return OverlayRejected(f"overlay {name} cannot be built: {error}")


def _state_map(bundle: Bundle) -> StateMap | None:
    manifest = bundle.manifest
    if manifest.state_map is None:
        return None
    state_map = StateMap.parse(bundle.files[manifest.state_map])
    if state_map.layout_id != manifest.state_layout_id:
        raise SnapshotError(
            f"state map has layout {state_map.layout_id[:16]}, the manifest says "
            f"{str(manifest.state_layout_id)[:16]}"
        )
    return state_map


def _design(bundle: Bundle) -> Design:
    """The overlay's RTL, in files that stay in the cache under the bundle's digest."""
    manifest = bundle.manifest
    for path in manifest.sources:
        refuse_host_access(path, bundle.files[path])

    def unpack(folder: Path) -> None:
        for path in manifest.sources:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(bundle.files[path])

    folder = cache.entry("sources", bundle.digest, unpack)
    sources = tuple(folder / path for path in manifest.sources)
    return Design(sources, manifest.top, state_port=manifest.state_map is not None)
