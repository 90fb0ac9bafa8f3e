"""Drives one state port in a cocotb bench: whole states in and out, in canonical form.

`save` and `load` begin with the idle edge that the design needs after `sp_run` fell. The clock is
the caller's: `edge` waits for one rising edge and comes back while the clock is low.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rtl_sim.statemap import Memory, ReadRegister, StateMap


@dataclass(frozen=True, slots=True)
class State:
    """Canonical register bits, and each memory's words."""

    flops: bytes
    memories: dict[str, tuple[int, ...]]


def noise(state_map: StateMap, rng: random.Random) -> State:
    """Random bits wherever the design has state."""
    bits = len(state_map.bits)
    return State(
        rng.getrandbits(bits).to_bytes(-(-bits // 8), "little") if bits else b"",
        {
            memory.name: tuple(rng.getrandbits(memory.width) for _ in range(memory.depth))
            for memory in state_map.memories
        },
    )


class StatePort:
    """The signals `<name>_<suffix>` of `dut` as the state port of one frozen design."""

    def __init__(
        self,
        dut: Any,
        suffix: str,
        state_map: StateMap,
        edge: Callable[[], Awaitable[None]],
    ) -> None:
        self._dut, self._suffix, self.map, self._edge = dut, suffix, state_map, edge

    def _signal(self, name: str) -> Any:
        return getattr(self._dut, f"{name}_{self._suffix}")

    async def rotate(self, rows: bytes | None) -> bytes:
        """Turn the chain once: `rows` in, or what comes out if None; returns what was there."""
        size = self.map.row_bytes
        out = bytearray()
        mask = (1 << self.map.lanes) - 1
        self._signal("scan").value = 1
        for row in range(self.map.rows):
            shown = int(self._signal("so").value) & mask
            out += shown.to_bytes(size, "little")
            given = shown
            if rows is not None:
                given = int.from_bytes(rows[row * size : (row + 1) * size], "little")
            self._signal("si").value = given
            await self._edge()
        self._signal("scan").value = 0
        return bytes(out)

    async def read(self, memory: Memory) -> tuple[int, ...]:
        words = []
        self._dut.msel.value = memory.index
        self._signal("mre").value = 1
        for address in range(memory.depth):
            self._dut.maddr.value = address
            await self._edge()
            words.append(int(self._signal("mrd").value))
        self._signal("mre").value = 0
        return tuple(words)

    async def write(self, memory: int, words: tuple[int, ...]) -> None:
        self._dut.msel.value = memory
        self._signal("mwe").value = 1
        for address, word in enumerate(words):
            self._dut.maddr.value = address
            self._dut.mwd.value = word
            await self._edge()
        self._signal("mwe").value = 0

    async def read_register(self, register: ReadRegister) -> bytes:
        self._dut.msel.value = register.select
        await self._edge()
        value = int(self._signal("mrd").value)
        return value.to_bytes(register.size_bytes, "little")

    async def load_register(self, register: ReadRegister, value: bytes) -> None:
        """Through word 0 of its memory, which the caller puts back."""
        await self.write(register.memory, (int.from_bytes(value, "little"),))
        self._dut.msel.value = register.select
        self._dut.maddr.value = 0
        self._signal("mre").value = 1
        await self._edge()
        self._signal("mre").value = 0

    async def save(self) -> State:
        await self._edge()
        rows = await self.rotate(None)
        registers = [await self.read_register(register) for register in self.map.read_registers]
        memories = {memory.name: await self.read(memory) for memory in self.map.memories}
        first = {memory.index: memories[memory.name][:1] for memory in self.map.memories}
        values = dict(zip(self.map.read_registers, registers, strict=True))
        for register in self.map.walked:
            await self.load_register(register, values[register])
            await self.write(register.memory, first[register.memory])
        return State(self.map.gather(rows, registers), memories)

    async def load(self, state: State) -> None:
        await self._edge()
        rows, registers = self.map.scatter(state.flops)
        await self.rotate(rows)
        for register, value in zip(self.map.read_registers, registers, strict=True):
            await self.load_register(register, value)
        for memory in self.map.memories:
            if memory.name in state.memories:
                await self.write(memory.index, state.memories[memory.name])
