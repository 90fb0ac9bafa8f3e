"""Runs NPU programs on the Verilated RTL, kernel registers and memory included.

A bare launcher without a driver: one region of memory, buffers laid out anew for each launch.
Used by tests and benchmarks; the hal's driver does the same for users.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from rtl_sim.spec.npu import BUFFER_ARGS, SCALAR_ARGS, SOURCES, STATS_BYTES, Config, Stat, Status
from rtl_sim.verilated.build import Design, build_library
from rtl_sim.verilated.model import MemoryWindow, Model

RTL: Final = Path(__file__).parents[1] / "rtl/npu"
BEHIND: Final = Path(__file__).parent / "npu_behind.sv"
RESPONSE_SHIFT: Final = 40  # of an address: the response that npu_behind.sv gives
MEMORY_BYTES: Final = 1 << 20
BASE: Final = 0x1_0000_0000  # above 4 GiB: all address bits that matter are exercised
MAX_CYCLES: Final = 4_000_000  # the longest test program takes a small part of it
POISON: Final = 0xA5  # memory that nothing may read as if it were zero


def design(config: Config) -> Design:
    """The RTL of a configuration as written, not instrumented."""
    sources = tuple(RTL / name for level in SOURCES for name in level)
    return Design(sources, "npu", config.params)


def design_behind(config: Config) -> Design:
    """The same behind npu_behind.sv: any width of the bus, and errors on demand."""
    plain = design(config)
    return Design((*plain.sources, BEHIND), "npu_behind", config.params)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launch left behind."""

    output: bytes
    stats: tuple[int, ...]
    cycles: int  # of the clock, from the first register write to the interrupt
    places: dict[str, int]  # of the buffers in memory, in bytes from the beginning of a page

    @property
    def status(self) -> Status:
        return Status(self.stats[Stat.STATUS] & 0xFF)


class Bench:
    """One instance of the RTL with its memory."""

    def __init__(self, config: Config, library: Path | None = None, seed: int = 0) -> None:
        self.config = config
        self.model = Model(library or build_library(design(config)), seed=seed)
        self.memory = np.full(MEMORY_BYTES, POISON, np.uint8)
        self._window = MemoryWindow(BASE, MEMORY_BYTES, self.memory.ctypes.data)
        self.model.set_windows([self._window])

    def launch(
        self,
        program: bytes,
        weights: bytes,
        inputs: bytes,
        output_bytes: int,
        *,
        gap: int = 64,
        n_instr: int | None = None,
        misalign: str = "",
        failing: str = "",
        response: int = 0,
    ) -> Launch:
        """Run a program to its end. `gap` bytes lie between the buffers; `misalign` names a
        buffer whose address is spoilt. Behind npu_behind.sv, all accesses to the buffer `failing`
        are answered with the AXI code `response`."""
        self.memory[:] = POISON
        contents = {
            "program": program,
            "weights": weights,
            "input": inputs,
            "output": bytes(output_bytes),
            "stats": bytes(STATS_BYTES),
        }
        places: dict[str, int] = {}
        beat = self.config.bus // 8
        place = -(-gap // beat) * beat
        for name, data in contents.items():
            places[name] = place
            self.memory[place : place + len(data)] = np.frombuffer(data, np.uint8)
            place += -(-(len(data) + gap) // beat) * beat
        if place > MEMORY_BYTES:
            raise ValueError(f"the launch needs {place} bytes of {MEMORY_BYTES}")
        vector = self.config.vector_bytes
        sizes = {
            "n_instr": len(program) // 8 if n_instr is None else n_instr,
            "n_weights": len(weights) // vector,
            "n_input": len(inputs) // vector,
            "n_output": output_bytes // vector,
        }
        before = self.model.cycle
        for name, offset in BUFFER_ARGS.items():
            address = BASE + places[name] + (4 if name == misalign else 0)
            if name == failing:
                address |= response << RESPONSE_SHIFT
            self.model.write32(offset, address & 0xFFFFFFFF)
            self.model.write32(offset + 4, address >> 32)
        for name, offset in SCALAR_ARGS.items():
            self.model.write32(offset, sizes[name])
        self.model.write32(0x04, 1)
        self.model.write32(0x08, 1)
        self.model.write32(0x00, 1)
        self.model.run(MAX_CYCLES)
        if not self.model.interrupt():
            raise TimeoutError(f"the program did not end within {MAX_CYCLES} cycles")
        cycles = self.model.cycle - before
        self.model.write32(0x0C, 1)
        control = self.model.read32(0x00)
        assert control == 0b1110, f"control register after the end: {control:#x}"
        raw = self.memory[places["stats"] : places["stats"] + STATS_BYTES].view("<u4")
        output = self.memory[places["output"] : places["output"] + output_bytes]
        self._check_gaps(places, contents)
        return Launch(bytes(output), tuple(int(word) for word in raw), cycles, places)

    def _check_gaps(self, places: dict[str, int], contents: dict[str, bytes]) -> None:
        """Nothing was written outside the output and the statistics."""
        after = self.memory.copy()
        for name, place in places.items():
            size = len(contents[name])
            if name not in ("output", "stats"):
                assert bytes(after[place : place + size]) == contents[name], f"{name} was written"
            after[place : place + size] = POISON
        assert (after == POISON).all(), "memory outside the buffers was written"

    def close(self) -> None:
        self.model.close()
