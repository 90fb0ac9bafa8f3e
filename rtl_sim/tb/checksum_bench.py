"""cocotb benches of the checksum overlay: right answers on a slow bus, and no cut that shows.

Run inside the simulator of `overlay_pair.overlay_harness`. Buses are cocotbext-axi's, an
implementation of AXI that is not ours; the environment gives the state maps (BENCH_MAP_A/B) and
the number of cuts (BENCH_CUTS).
"""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cocotb
from cocotb.triggers import RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from rtl_sim.statemap import StateMap
from rtl_sim.tb.state_port import State, StatePort

MEMORY_BYTES: Final = 1 << 16
SOURCE: Final = 0x0FA8  # a burst would cross a page at once
RESULT: Final = 0xFFF0 - 0x2000  # 16 bytes before a page ends: the result takes two bursts
CONTROL, GLOBAL_ENABLE, ENABLE, STATUS = 0x00, 0x04, 0x08, 0x0C
ARG_SOURCE, ARG_RESULT, ARG_NBYTES = 0x10, 0x1C, 0x28
MAX_CYCLES: Final = 20_000  # of one run; more is a hung overlay
ALL_CLOCKS: Final = ("clk", "bus_clk", "clk_k")
SIZES: Final = (0, 1, 8, 13, 255, 1024, 2051)


class Bench:
    """Clock, buses and copies; the clock's own task cuts and moves at the cycles in `cuts`."""

    def __init__(self, dut: Any, seed: int) -> None:
        self.dut, self.rng = dut, random.Random(seed)
        self.cycle = 0
        self.cuts: set[int] = set()
        self.moved = 0
        self.mismatches = 0
        self.stopping = False
        self.current = "a"
        self.clocks: tuple[str, ...] = ALL_CLOCKS
        maps = {
            copy: StateMap.parse(Path(os.environ[f"BENCH_MAP_{build}"]).read_bytes())
            for copy, build in (("k", "A"), ("a", "A"), ("b", "B"))
        }
        self.ports = {c: StatePort(dut, c, state_map, self.edge) for c, state_map in maps.items()}

    async def start(self) -> None:
        dut = self.dut
        for name in ("clk", "bus_clk", "clk_k", "noise", "msel", "maddr", "mwd"):
            getattr(dut, name).value = 0
        for copy in "kab":
            for name in ("scan", "si", "mre", "mwe"):
                getattr(dut, f"{name}_{copy}").value = 0
            getattr(dut, f"run_{copy}").value = 1
        dut.ap_rst_n.value = 0
        dut.current.value = 1
        self.control = AxiLiteMaster(
            AxiLiteBus.from_prefix(dut, "s_axi_control"), dut.bus_clk, dut.ap_rst_n, False
        )
        self.memory = AxiRam(
            AxiBus.from_prefix(dut, "m_axi_gmem"),
            dut.bus_clk,
            dut.ap_rst_n,
            False,
            size=MEMORY_BYTES,
        )
        self.clock = cocotb.start_soon(self.tick())
        await self.cycles(4)
        dut.ap_rst_n.value = 1
        await self.cycles(4)

    def slow_down(self, chance: float) -> None:
        """Wait states at random on every channel of the memory."""

        def pauses() -> Iterator[bool]:
            while True:
                yield self.rng.random() < chance

        write, read = self.memory.write_if, self.memory.read_if
        for channel in (
            *(write.aw_channel, write.w_channel, write.b_channel),
            *(read.ar_channel, read.r_channel),
        ):
            channel.set_pause_generator(pauses())

    async def edge(self) -> None:
        """A rising edge of every clock that is not held, and the falling one."""
        for level in (1, 0):
            for clock in self.clocks:
                getattr(self.dut, clock).value = level
            await Timer(1, "ns")

    async def cycles(self, count: int) -> None:
        """Wait for edges of the bus: what outputs show while frozen is not for looking at."""
        for _ in range(count):
            await RisingEdge(self.dut.bus_clk)

    async def tick(self) -> None:
        """The clock, until `stopping`: compare, perhaps cut, step."""
        await Timer(1, "ns")
        while not self.stopping:
            if self.cycle in self.cuts:
                await self.move()
            if int(self.dut.differs.value) & (0b001 | 0b010 << "ab".index(self.current)):
                self.mismatches += 1
            await self.edge()
            self.cycle += 1

    async def move(self) -> None:
        source, target = self.current, "b" if self.current == "a" else "a"
        await self.freeze()
        state = await self.ports[source].save()
        await self.ports[target].load(self.poison(target))
        await self.ports[target].load(state)
        self.dut.current.value = "ab".index(target) + 1
        await self.release()
        self.current = target
        self.moved += 1

    async def freeze(self) -> None:
        self.clocks = ("clk",)
        self.dut.run_a.value = 0
        self.dut.run_b.value = 0
        await Timer(1, "ns")
        self.dut.noise.value = 1
        for _ in range(self.rng.randrange(4)):
            await self.edge()

    async def release(self) -> None:
        self.dut.noise.value = 0
        await Timer(1, "ns")
        self.clocks = ALL_CLOCKS
        self.dut.run_a.value = 1
        self.dut.run_b.value = 1
        await Timer(1, "ns")

    def poison(self, copy: str) -> State:
        state_map = self.ports[copy].map
        bits = len(state_map.bits)
        return State(
            self.rng.getrandbits(bits).to_bytes(-(-bits // 8), "little"),
            {
                m.name: tuple(self.rng.getrandbits(m.width) for _ in range(m.depth))
                for m in state_map.memories
            },
        )

    async def final_states(self) -> tuple[State, State]:
        """(of the copy never moved, of the current one). Nothing runs afterwards."""
        # Between two cycles: stopped within one, a clock stays high and the next edge is lost.
        self.stopping = True
        await self.clock
        await self.freeze()
        self.dut.run_k.value = 0
        self.clocks = ("clk", "clk_k")
        await Timer(1, "ns")
        states = await self.ports["k"].save(), await self.ports[self.current].save()
        return states

    def difference(self, wanted: State, found: State) -> list[str]:
        """Names of the flip-flops and memories that differ."""
        flops = int.from_bytes(wanted.flops, "little") ^ int.from_bytes(found.flops, "little")
        names = {
            name for index, (name, _) in enumerate(self.ports["k"].map.bits) if flops >> index & 1
        }
        names |= {m for m in wanted.memories if wanted.memories[m] != found.memories[m]}
        return sorted(names)

    async def checksum(self, data: bytes) -> tuple[int, ...]:
        """One run of the kernel, interrupt and registers included; returns the result's fields."""
        self.memory.write(SOURCE, data)
        self.memory.write(RESULT - 8, b"\xaa" * 48)
        for offset, value, size in (
            (ARG_SOURCE, SOURCE, 8),
            (ARG_RESULT, RESULT, 8),
            (ARG_NBYTES, len(data), 4),
            (GLOBAL_ENABLE, 1, 4),
            (ENABLE, 1, 4),
            (CONTROL, 1, 4),
        ):
            await self.control.write(offset, value.to_bytes(size, "little"))
        for _ in range(MAX_CYCLES):
            if int(self.dut.interrupt.value):
                break
            await self.cycles(1)
        else:
            raise AssertionError(f"no interrupt in {MAX_CYCLES} cycles")
        await self.control.write(STATUS, (1).to_bytes(4, "little"))
        assert int.from_bytes((await self.control.read(CONTROL, 4)).data, "little") & 0b110 == 0b110
        assert int.from_bytes((await self.control.read(CONTROL, 4)).data, "little") & 0b010 == 0
        around = self.memory.read(RESULT - 8, 8) + self.memory.read(RESULT + 32, 8)
        assert around == b"\xaa" * 16, "the kernel wrote beside its result"
        return struct.unpack("<IIIIQQ", self.memory.read(RESULT, 32))


def sums(data: bytes) -> tuple[int, int]:
    a = b = 0
    padded = data + bytes(-len(data) % 4)
    for (word,) in struct.iter_unpack("<I", padded):
        a = (a + word) & 0xFFFFFFFF
        b = (b + a) & 0xFFFFFFFF
    return a, b


@cocotb.test()  # type: ignore[untyped-decorator]
async def checksums_are_right_on_a_fast_and_a_slow_bus(dut: Any) -> None:
    bench = Bench(dut, 1)
    await bench.start()
    for chance in (0.0, 0.6):
        bench.slow_down(chance)
        for size in SIZES:
            data = bench.rng.randbytes(size)
            crc, nbytes, a, b, cycles, status = await bench.checksum(data)
            assert (crc, nbytes, a, b, status) == (zlib.crc32(data), size, *sums(data), 0)
            assert (cycles > 0) == (size > 0)
    assert bench.mismatches == 0
    bench.clock.cancel()


@cocotb.test()  # type: ignore[untyped-decorator]
async def cuts_at_random_cycles_do_not_show(dut: Any) -> None:
    bench = Bench(dut, 2)
    await bench.start()
    bench.slow_down(0.4)
    cuts = int(os.environ["BENCH_CUTS"])
    while bench.moved < cuts:
        # A run takes some 600 cycles; the cuts fall anywhere in it, register accesses included.
        ahead = [bench.cycle + bench.rng.randrange(1, 900) for _ in range(4)]
        bench.cuts = set(ahead)
        data = bench.rng.randbytes(bench.rng.randrange(700, 1100))
        crc, _, a, b, _, status = await bench.checksum(data)
        assert (crc, a, b, status) == (zlib.crc32(data), *sums(data), 0)
    bench.cuts = set()
    assert bench.mismatches == 0, f"{bench.mismatches} cycles with other outputs"
    wanted, found = await bench.final_states()
    assert wanted == found, f"the final states differ in {bench.difference(wanted, found)}"
