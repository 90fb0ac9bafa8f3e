"""cocotb bench of the snapshot controller on the state port of `shell_port_pair`: every kind of
state goes out, comes back and stays, in the cycles that the formula says, however memory stalls."""

from __future__ import annotations

import logging
import mmap
import random
from collections.abc import Iterator
from typing import Any, Final

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from rtl_sim.shell import to_snapshot
from rtl_sim.shell.protocol import Command, Error, Register, Status
from rtl_sim.tb.shell_port_pair import CLOCKED, CLOCKED_DEPTH, WIDE, WIDE_DEPTH, geometry

MEMORY_BYTES: Final = 1 << 14
ROUNDS: Final = 12
MAX_POLLS: Final = 400


class Bench:
    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(5)
        self.memory = mmap.mmap(-1, MEMORY_BYTES)

    async def start(self) -> None:
        dut = self.dut
        logging.getLogger("cocotb.shell_port_pair").setLevel(logging.WARNING)
        dut.rst_n.value = dut.fill.value = dut.seed.value = 0
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s"), dut.clk, dut.rst_n, False)
        self.ram = AxiRam(AxiBus.from_prefix(dut, "m"), dut.clk, dut.rst_n, False, mem=self.memory)
        self.clock = cocotb.start_soon(Clock(dut.clk, 2, "ns").start())
        for _ in range(4):
            await RisingEdge(dut.clk)
        dut.rst_n.value = 1
        for _ in range(20):
            await RisingEdge(dut.clk)

    async def fill(self) -> int:
        """New noise everywhere; returns all state."""
        await FallingEdge(self.dut.clk)
        self.dut.seed.value = self.rng.getrandbits(32)
        self.dut.fill.value = 1
        await FallingEdge(self.dut.clk)
        self.dut.fill.value = 0
        return int(self.dut.state_o.value)

    async def run(self, command: Command, address: int = 0) -> int:
        await self.host.write(Register.ADDRESS_LOW, address.to_bytes(4, "little"))
        await self.host.write(Register.COMMAND, command.to_bytes(4, "little"))
        for _ in range(MAX_POLLS):
            status = Status.of(
                int.from_bytes((await self.host.read(Register.STATUS, 4)).data, "little")
            )
            if not status.busy:
                assert status.error == Error.NONE, (command.name, status)
                return int.from_bytes((await self.host.read(Register.ELAPSED, 4)).data, "little")
        raise AssertionError(f"{command.name} does not end")

    def stall(self, chance: float) -> None:
        def pauses() -> Iterator[bool]:
            while True:
                yield self.rng.random() < chance

        for channel in (self.ram.write_if.w_channel, self.ram.read_if.r_channel):
            channel.set_pause_generator(pauses())


@cocotb.test()  # type: ignore[untyped-decorator]
async def registers_of_memories_are_read_repaired_and_restored(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    await bench.run(Command.FREEZE)
    shape = geometry()
    payload = sum(s.count * s.beats for s in shape.segments)
    assert payload == 3 + 2 * WIDE_DEPTH + CLOCKED_DEPTH + 2
    for number in range(ROUNDS):
        stalled = number % 3 > 0
        bench.stall(0.3 * (number % 3))
        before = await bench.fill()
        saved = await bench.run(Command.SAVE, 0x1000)
        assert int(dut.state_o.value) == before, "a save changes the state"
        verified = await bench.run(Command.VERIFY)
        assert int(dut.state_o.value) == before
        image = bench.memory[0x1000 : 0x1000 + shape.image_bytes]
        segments = to_snapshot(image, shape, "port").segments
        assert segments["mem:clocked"] == words(before >> 2 * CLOCKED, CLOCKED, CLOCKED_DEPTH)
        assert segments["mem:wide"] == words(
            before >> (CLOCKED_DEPTH + 2) * CLOCKED, WIDE, WIDE_DEPTH
        )
        assert await bench.fill() != before
        await bench.run(Command.CHECK, 0x1000)
        loaded = await bench.run(Command.LOAD, 0x1000)
        assert int(dut.state_o.value) == before, "a load does not restore the state"
        assert verified == payload + shape.walk_cycles + 1
        if not stalled:
            assert saved == shape.image_beats + shape.walk_cycles + 5
            assert loaded == shape.image_beats + shape.read_registers + 6
    bench.clock.cancel()


def words(state: int, width: int, depth: int) -> bytes:
    """The memory in the low bits of `state`, word 0 in the highest place, as a segment."""
    mask = (1 << width) - 1
    return b"".join(
        (state >> (depth - 1 - index) * width & mask).to_bytes(width // 8, "little")
        for index in range(depth)
    )
