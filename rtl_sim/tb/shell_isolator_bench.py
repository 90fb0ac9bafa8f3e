"""cocotb benches of the isolators: a fabric that stops at any cycle is invisible outside.

Run inside the simulator of `shell_isolators.sv`. The fabric is cocotbext-axi's masters on a clock
that stops at random, and noise while it stands. All data must arrive as if nothing had stopped,
and `shell_axi_watch.sv` must see no rule of AXI broken.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from typing import Any, Final

import cocotb
from cocotb.triggers import RisingEdge, Timer
from cocotbext.axi import (
    AxiBus,
    AxiLiteBus,
    AxiLiteMaster,
    AxiLiteRam,
    AxiMaster,
    AxiRam,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

BURST_BEATS: Final = 64  # the isolator's buffers hold one such burst
REGION_BYTES: Final = 0x1800  # per writer; six of them
WRITERS: Final = 6
MAX_QUIET_CYCLES: Final = 6000  # of a slow memory; more is a freeze that does not end
MAX_CYCLES: Final = 60_000
FREEZES: Final = int(os.environ.get("BENCH_FREEZES", "36"))


class Bench:
    """Both clocks, driven by one task that also stops the fabric at random."""

    def __init__(self, dut: Any, seed: int) -> None:
        self.dut, self.rng = dut, random.Random(seed)
        self.running = True
        self.freezes = 0
        self.longest = 0  # cycles from the stop to quiet
        self.cycle = 0

    async def start(self, freezing: bool = True) -> None:
        dut = self.dut
        logging.getLogger("cocotb.shell_isolators").setLevel(logging.WARNING)
        for name in ("clk", "fab_clk", "rst_n", "park", "noise"):
            getattr(dut, name).value = 0
        dut.run.value = 1
        self.master = AxiMaster(
            AxiBus.from_prefix(dut, "fab"), dut.fab_clk, dut.rst_n, False,
            max_burst_len=BURST_BEATS,
        )  # fmt: skip
        self.memory = AxiRam(
            AxiBus.from_prefix(dut, "out"), dut.clk, dut.rst_n, False, size=1 << 16
        )
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "host"), dut.clk, dut.rst_n, False)
        self.registers = AxiLiteRam(
            AxiLiteBus.from_prefix(dut, "reg"), dut.fab_clk, dut.rst_n, False, size=1 << 12
        )
        self.streams = {
            name: kind(AxiStreamBus.from_prefix(dut, name), clock, dut.rst_n, False)
            for name, kind, clock in (
                ("fabout", AxiStreamSource, dut.fab_clk),
                ("sink", AxiStreamSink, dut.clk),
                ("source", AxiStreamSource, dut.clk),
                ("fabin", AxiStreamSink, dut.fab_clk),
            )
        }
        self.clock = cocotb.start_soon(self.tick(freezing))
        for _ in range(4):
            await RisingEdge(dut.clk)
        await Timer(1, "ns")
        dut.rst_n.value = 1
        for _ in range(2):
            await RisingEdge(dut.clk)

    def stall(self, chance: float) -> None:
        def pauses() -> Iterator[bool]:
            while True:
                yield self.rng.random() < chance

        for port in (self.memory, self.master):
            write, read = port.write_if, port.read_if
            for channel in (
                *(write.aw_channel, write.w_channel, write.b_channel),
                *(read.ar_channel, read.r_channel),
            ):
                channel.set_pause_generator(pauses())
        for stream in self.streams.values():
            stream.set_pause_generator(pauses())

    async def edge(self, fabric: bool) -> None:
        self.dut.clk.value = 1
        if fabric:
            self.dut.fab_clk.value = 1
        await Timer(1, "ns")
        self.dut.clk.value = 0
        self.dut.fab_clk.value = 0
        await Timer(1, "ns")
        self.cycle += 1

    async def tick(self, freezing: bool) -> None:
        while self.running:
            for _ in range(self.rng.randrange(1, 120)):
                await self.edge(fabric=True)
            if freezing and int(self.dut.rst_n.value):
                await self.freeze()

    async def freeze(self) -> None:
        """Stop the fabric at once and park; mostly until quiet and beyond, at times not so long."""
        dut, began = self.dut, self.cycle
        dut.park.value = 1
        await Timer(1, "ns")
        while not int(dut.control_idle.value):  # an access of the host ends first
            await self.edge(fabric=True)
            assert self.cycle < began + 200
        dut.run.value = 0
        stopped = self.cycle
        patience = MAX_QUIET_CYCLES if self.rng.random() < 0.8 else self.rng.randrange(40)
        while not (int(dut.quiet.value) and int(dut.stream_quiet.value)):
            if self.cycle - stopped >= patience:
                break
            dut.noise.value = self.rng.getrandbits(1)
            await self.edge(fabric=False)
        else:
            self.longest = max(self.longest, self.cycle - stopped)
            bursts = int(dut.bursts.value)
            for _ in range(self.rng.randrange(30)):
                dut.noise.value = self.rng.getrandbits(1)
                await self.edge(fabric=False)
                assert int(dut.quiet.value) and int(dut.stream_quiet.value)
            assert int(dut.bursts.value) == bursts, "a burst began while quiet"
            self.freezes += 1
        assert patience < MAX_QUIET_CYCLES or self.cycle - stopped < patience, "never quiet"
        dut.noise.value = 0
        dut.run.value = 1
        dut.park.value = 0
        await Timer(1, "ns")

    def finish(self) -> None:
        assert int(self.dut.broken.value) == 0, f"rules broken: {int(self.dut.broken.value):#09b}"
        self.running = False
        self.clock.cancel()


async def traffic(bench: Bench, writer: int, rounds: int) -> None:
    """Writes and reads of one region, compared with what a dictionary of bytes would say."""
    rng = random.Random(bench.rng.getrandbits(32))
    base = writer * REGION_BYTES + 0x100
    expected = bytearray(REGION_BYTES)
    await bench.master.write(base, bytes(expected))
    for _ in range(rounds):
        at = rng.randrange(REGION_BYTES - 1)
        size = rng.randrange(1, min(rng.choice((8, 8, 64, 1400)), REGION_BYTES - at) + 1)
        if rng.random() < 0.5:
            data = rng.randbytes(size)
            expected[at : at + size] = data
            answer = await bench.master.write(base + at, data)
            assert answer.resp == AxiResp.OKAY
        else:
            got = await bench.master.read(base + at, size)
            assert got.data == expected[at : at + size], f"writer {writer} reads other bytes"
    assert bench.memory.read(base, REGION_BYTES) == expected, f"writer {writer}'s memory differs"


async def all_of(bench: Bench, tasks: list[Any]) -> None:
    """Waits for `tasks`, for at most MAX_CYCLES from now."""
    end = bench.cycle + MAX_CYCLES
    while not all(task.done() for task in tasks):
        await RisingEdge(bench.dut.clk)
        assert bench.cycle < end, "the bus hangs"
    for task in tasks:
        task.result()


@cocotb.test()  # type: ignore[untyped-decorator]
async def no_burst_is_broken_and_no_byte_lost(dut: Any) -> None:
    bench = Bench(dut, 1)
    await bench.start()
    for chance in (0.0, 0.3, 0.6):
        bench.stall(chance)
        bench.longest = 0
        wanted = bench.freezes + FREEZES // 3
        while bench.freezes < wanted:
            await all_of(bench, [cocotb.start_soon(traffic(bench, w, 3)) for w in range(WRITERS)])
        cocotb.log.info("stall %s: %d freezes, %d bursts, quiet after at most %d cycles",
                        chance, bench.freezes, int(dut.bursts.value), bench.longest)  # fmt: skip
    assert int(dut.bursts.value) > 50
    bench.finish()


@cocotb.test()  # type: ignore[untyped-decorator]
async def stream_beats_pass_once_each_and_in_order(dut: Any) -> None:
    bench = Bench(dut, 11)
    await bench.start()
    bench.stall(0.4)
    rng = random.Random(12)
    while bench.freezes < FREEZES // 3:
        for source, sink in (("fabout", "sink"), ("source", "fabin")):
            frames = [rng.randbytes(4 * rng.randrange(1, 40)) for _ in range(4)]
            for frame in frames:
                await bench.streams[source].send(AxiStreamFrame(frame))

            async def receive(name: str = sink, wanted: list[bytes] = frames) -> None:
                for frame in wanted:
                    assert bytes((await bench.streams[name].recv()).tdata) == frame

            await all_of(bench, [cocotb.start_soon(receive())])
    bench.finish()


@cocotb.test()  # type: ignore[untyped-decorator]
async def register_accesses_reach_the_fabric_once_or_are_refused(dut: Any) -> None:
    bench = Bench(dut, 21)
    await bench.start()
    rng, expected = random.Random(22), bytearray(256)
    refused = 0
    bench.registers.write(0, bytes(256))
    while bench.freezes < FREEZES // 3 or not refused:
        at = 4 * rng.randrange(64)
        if rng.random() < 0.5:
            data = rng.randbytes(4)
            if (await bench.host.write(at, data)).resp == AxiResp.OKAY:
                expected[at : at + 4] = data
            else:
                refused += 1
        else:
            got = await bench.host.read(at, 4)
            if got.resp == AxiResp.OKAY:
                assert got.data == expected[at : at + 4]
            else:
                refused += 1
        assert bench.cycle < MAX_CYCLES
    assert bench.registers.read(0, 256) == expected
    bench.finish()


@cocotb.test()  # type: ignore[untyped-decorator]
async def a_fabric_that_does_not_answer_cannot_hang_the_host(dut: Any) -> None:
    bench = Bench(dut, 31)
    await bench.start(freezing=False)
    write = bench.registers.write_if
    hung = True

    def pause() -> Iterator[bool]:
        while True:
            yield hung

    for channel in (write.aw_channel, write.w_channel):
        channel.set_pause_generator(pause())
    assert (await bench.host.write(0, b"late")).resp == AxiResp.SLVERR
    assert (await bench.host.write(4, b"none")).resp == AxiResp.SLVERR  # the first still waits
    await bench.freeze()
    hung = False
    for _ in range(20):
        await RisingEdge(dut.clk)
    assert bench.registers.read(0, 8) == b"late" + bytes(4)
    assert (await bench.host.write(8, b"well")).resp == AxiResp.OKAY
    assert bytes((await bench.host.read(8, 4)).data) == b"well"
    bench.finish()
