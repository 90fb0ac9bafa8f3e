"""A running Verilated overlay: `Model`, the shim's C ABI through ctypes.

Calls are batched (thousands of cycles each) and release the interpreter lock. Not thread-safe:
one thread at a time per model. Knows nothing of drivers, contexts or files.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rtl_sim import snapshot as fabric
from rtl_sim.errors import ModelFault, SnapshotError
from rtl_sim.snapshot import Snapshot
from rtl_sim.statemap import Memory, ReadRegister, StateMap

ABI_VERSION = 2
NO_ANSWER = (1 << 64) - 1
REGISTER_CYCLES = 10_000  # an AXI-Lite access answers in a handful; more is a hung overlay
FAULT_KINDS = {
    1: "access outside the context's buffers",
    2: "bus protocol violation",
    3: "model stopped",
}
_TIMING = struct.Struct("<IIQ")
_FAULT = struct.Struct("<IIQQ")
_FAULT_BYTES = 24  # the fault record ends ShellState (shim/state.h)


@dataclass(frozen=True, slots=True)
class MemoryWindow:
    """Device addresses [base, base + size) are the host memory at `host`, which the caller keeps
    alive. `size_bytes` is a multiple of 8."""

    base: int
    size_bytes: int
    host: int


class _Window(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("host", ctypes.c_void_p),
    )


class Model:
    """One instance of a library that rtl_sim.verilated.build made; it starts in reset state.

    seed  0: registers and memories that reset does not set are zero; else noise from this seed
    """

    def __init__(self, library: Path, state_map: StateMap | None = None, seed: int = 0) -> None:
        self._handle: int | None = None
        self._library = _load(library)
        self._state_map = state_map
        if state_map is not None and not self._library.haltere_has_state_port():
            raise ModelFault(f"{library} was built without a state port")
        self._handle = self._library.haltere_create(seed)
        if not self._handle:
            raise ModelFault(f"{library}: the model cannot be created")
        self._windows: ctypes.Array[_Window] = (_Window * 0)()
        self._shell = ctypes.create_string_buffer(self._library.haltere_shell_bytes())

    # ---- running

    def run(self, max_cycles: int, stop_on_irq: bool = True) -> int:
        """Clock up to `max_cycles`; returns how many. Raises ModelFault once a fault shows."""
        done: int = self._library.haltere_run(self._handle, max_cycles, stop_on_irq)
        if done < max_cycles:
            self.check_fault()
        return done

    def interrupt(self) -> bool:
        return bool(self._library.haltere_interrupt(self._handle))

    def read32(self, offset: int) -> int:
        """A register read over AXI-Lite; costs functional cycles."""
        value: int = self._library.haltere_read32(self._handle, offset, REGISTER_CYCLES)
        if value == NO_ANSWER:
            self.check_fault()
            raise ModelFault(f"read of register {offset:#x}: no answer in {REGISTER_CYCLES} cycles")
        return value

    def write32(self, offset: int, value: int) -> None:
        if not self._library.haltere_write32(self._handle, offset, value, REGISTER_CYCLES):
            self.check_fault()
            raise ModelFault(
                f"write of register {offset:#x}: no answer in {REGISTER_CYCLES} cycles"
            )

    @property
    def cycle(self) -> int:
        """Functional cycles since reset; restored with a snapshot; frozen cycles do not count."""
        return int(_TIMING.unpack_from(self._save_shell())[2])

    # ---- memory

    def set_windows(self, windows: Sequence[MemoryWindow]) -> None:
        """What the overlay's memory master can reach from now on."""
        self._windows = (_Window * len(windows))(
            *(_Window(window.base, window.size_bytes, window.host) for window in windows)
        )
        self._library.haltere_set_windows(self._handle, self._windows, len(windows))

    def set_timing(
        self, read_latency: int = 0, write_latency: int = 0, stall_per_256: int = 0
    ) -> None:
        """Cycles from address to first beat and from last beat to response, and the chance of a
        wait state (deterministic). Travels with a snapshot."""
        self._library.haltere_set_timing(self._handle, read_latency, write_latency, stall_per_256)

    # ---- state

    def save(self, overlay: str) -> Snapshot:
        """The whole state, now; the model stands where it stood. `overlay` names it."""
        state_map = self._require_map()
        with self._frozen():
            segments = self._read_state(state_map)
        segments[fabric.SHELL] = self._save_shell()
        return Snapshot(overlay, state_map.layout_id, self.cycle, segments)

    def check(self, snapshot: Snapshot, overlays: Sequence[str]) -> None:
        """Raises SnapshotError unless `load` would take it. Changes nothing."""
        fabric.verify(snapshot, self._require_map(), overlays, len(self._shell))
        if not self._library.haltere_check_shell(snapshot.segments[fabric.SHELL]):
            raise SnapshotError("snapshot's shell segment is of another version, or damaged")

    def load(self, snapshot: Snapshot, overlays: Sequence[str]) -> None:
        """Put `snapshot` in place: checked first, then streamed in, read back and compared."""
        self.check(snapshot, overlays)
        state_map = self._require_map()
        rows, registers = state_map.scatter(snapshot.segments[fabric.FLOPS])
        with self._frozen():
            self._rotate(rows)
            for register, value in zip(state_map.read_registers, registers, strict=True):
                self._load_register(register, value)
            for memory in state_map.memories:
                self._write_memory(memory, snapshot.segments[fabric.MEMORY_PREFIX + memory.name])
        self._state_call("haltere_load_shell", snapshot.segments[fabric.SHELL])
        found = self.save(snapshot.overlay)
        for name, payload in snapshot.segments.items():
            if found.segments[name] != payload:
                raise ModelFault(f"restored state reads back otherwise in segment {name}")

    @property
    def frozen_cycles(self) -> int:
        """Cycles spent frozen so far: one for each row, word and register that was moved."""
        return int(self._library.haltere_frozen_cycles(self._handle))

    def close(self) -> None:
        """Idempotent."""
        if self._handle:
            self._library.haltere_destroy(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self.close()

    # ---- inner

    def check_fault(self) -> None:
        """Raises ModelFault if the model is in fault."""
        shell = self._save_shell()
        kind, is_write, address, cycle = _FAULT.unpack_from(shell, len(shell) - _FAULT_BYTES)
        if kind:
            log = self._library.haltere_log(self._handle).decode(errors="replace").strip()
            what = f"{FAULT_KINDS.get(kind, kind)} at cycle {cycle}"
            if kind != 3:
                what += f": {'write' if is_write else 'read'} at device address {address:#x}"
            raise ModelFault(f"{what}\n{log}" if log else what)

    def _require_map(self) -> StateMap:
        if self._state_map is None:
            raise SnapshotError("this model has no state port: build it from captured RTL")
        return self._state_map

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        self._state_call("haltere_freeze")
        try:
            yield
        finally:
            self._library.haltere_release(self._handle)

    def _read_state(self, state_map: StateMap) -> dict[str, bytes]:
        """Reads everything, then repairs the registers that walking the memories went through."""
        rows = self._rotate(None)
        registers = [self._read_register(register) for register in state_map.read_registers]
        segments = {fabric.FLOPS: state_map.gather(rows, registers)}
        words = {memory.index: self._read_memory(memory) for memory in state_map.memories}
        for memory in state_map.memories:
            segments[fabric.MEMORY_PREFIX + memory.name] = words[memory.index]
        values = dict(zip(state_map.read_registers, registers, strict=True))
        memories = {memory.index: memory for memory in state_map.memories}
        for register in state_map.walked:
            self._load_register(register, values[register])
            self._write_memory(memories[register.memory], words[register.memory], 1)
        return segments

    def _read_memory(self, memory: Memory) -> bytes:
        words = ctypes.create_string_buffer(memory.size_bytes)
        self._state_call(
            "haltere_read_memory", memory.index, memory.word_bytes, memory.depth, words
        )
        return words.raw

    def _write_memory(self, memory: Memory, words: bytes, count: int | None = None) -> None:
        """The first `count` words (None: all)."""
        count = memory.depth if count is None else count
        self._state_call("haltere_write_memory", memory.index, memory.word_bytes, count, words)

    def _read_register(self, register: ReadRegister) -> bytes:
        value = ctypes.create_string_buffer(register.size_bytes)
        self._state_call("haltere_read_register", register.select, register.size_bytes, value)
        return value.raw

    def _load_register(self, register: ReadRegister, value: bytes) -> None:
        self._state_call(
            "haltere_load_register", register.select, register.memory, register.size_bytes, value
        )

    def _rotate(self, rows: bytes | None) -> bytes:
        """Turn the chain once, putting `rows` in (None: what is there); returns what was there."""
        state_map = self._require_map()
        out = ctypes.create_string_buffer(max(state_map.rows * state_map.row_bytes, 1))
        self._state_call("haltere_rotate", out, rows, state_map.rows, state_map.row_bytes)
        return out.raw[: state_map.rows * state_map.row_bytes]

    def _state_call(self, name: str, *arguments: object) -> None:
        if not getattr(self._library, name)(self._handle, *arguments):
            self.check_fault()
            raise ModelFault(f"{name} failed")

    def _save_shell(self) -> bytes:
        self._library.haltere_save_shell(self._handle, self._shell)
        return self._shell.raw


@lru_cache(maxsize=64)  # a library is never unloaded; one process uses a handful
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.haltere_abi_version.restype = ctypes.c_uint32
    if library.haltere_abi_version() != ABI_VERSION:
        raise ModelFault(f"{path}: C ABI {library.haltere_abi_version()}, not {ABI_VERSION}")
    handle, u32, u64, data = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_char_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "haltere_has_state_port": (u32, []),
        "haltere_create": (handle, [u32]),
        "haltere_destroy": (None, [handle]),
        "haltere_run": (u64, [handle, u64, u32]),
        "haltere_interrupt": (u32, [handle]),
        "haltere_read32": (u64, [handle, u32, u64]),
        "haltere_write32": (u32, [handle, u32, u32, u64]),
        "haltere_set_windows": (None, [handle, ctypes.POINTER(_Window), u64]),
        "haltere_set_timing": (None, [handle, u32, u32, u32]),
        "haltere_shell_bytes": (u64, []),
        "haltere_save_shell": (None, [handle, data]),
        "haltere_check_shell": (u32, [data]),
        "haltere_load_shell": (u32, [handle, data]),
        "haltere_log": (data, [handle]),
    }
    if library.haltere_has_state_port():
        signatures |= {
            "haltere_freeze": (u32, [handle]),
            "haltere_release": (u32, [handle]),
            "haltere_frozen_cycles": (u64, [handle]),
            "haltere_rotate": (u32, [handle, data, data, u32, u32]),
            "haltere_read_memory": (u32, [handle, u32, u32, u32, data]),
            "haltere_write_memory": (u32, [handle, u32, u32, u32, data]),
            "haltere_read_register": (u32, [handle, u32, u32, data]),
            "haltere_load_register": (u32, [handle, u32, u32, u32, data]),
        }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library
