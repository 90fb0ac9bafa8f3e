"""cocotb benches of a whole shell: a kernel frozen anywhere goes on in another shell as if nothing.

Run inside the simulator of `shell_pair.pair` with the checksum overlay in both shells. The host
speaks registers and memory only. Images are left in BENCH_IMAGES for whoever wants to look at them;
BENCH_MAPS holds the two state maps, BENCH_CUTS says how many moves.
"""

from __future__ import annotations

import logging
import mmap
import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiResp

from rtl_sim.shell import Geometry, from_snapshot, to_snapshot
from rtl_sim.shell.protocol import ID, Command, Error, Register, Status
from rtl_sim.snapshot import Snapshot
from rtl_sim.tb.checksum_bench import (
    ARG_NBYTES,
    ARG_RESULT,
    ARG_SOURCE,
    CONTROL,
    ENABLE,
    GLOBAL_ENABLE,
    STATUS,
    sums,
)

MEMORY_BYTES: Final = 1 << 17
SOURCE, RESULT = 0x0FA8, 0xDFF0
IMAGES: Final = (0x10000, 0x14000, 0x18000)
MAX_POLLS: Final = 4000
OVERLAY: Final = "checksum"
# Beyond one cycle a word: the command, the queue and the answer of cocotbext-axi's memory.
SAVE_OVERHEAD, LOAD_OVERHEAD = 5, 6


class Shell:
    """The host's view of one shell."""

    def __init__(self, dut: Any, name: str, memory: mmap.mmap) -> None:
        self.dut, self.name = dut, name
        self.irq = getattr(dut, f"{name}_irq")
        self.shell, self.control = (
            AxiLiteMaster(
                AxiLiteBus.from_prefix(dut, f"{name}_s_axi_{bus}"), dut.clk, dut.rst_n, False
            )
            for bus in ("shell", "control")
        )
        self.rams = [
            AxiRam(
                AxiBus.from_prefix(dut, f"{name}_m_axi_{bus}"), dut.clk, dut.rst_n, False,
                mem=memory,
            )
            for bus in ("gmem", "snap")
        ]  # fmt: skip

    async def read(self, register: Register) -> int:
        answer = await self.shell.read(register, 4)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def write(self, register: Register, value: int) -> None:
        answer = await self.shell.write(register, value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY

    async def status(self) -> Status:
        return Status.of(await self.read(Register.STATUS))

    async def command(self, command: Command, address: int = 0) -> Status:
        """Run a command to its end."""
        await self.write(Register.ADDRESS_LOW, address)
        await self.write(Register.COMMAND, command)
        for _ in range(MAX_POLLS):
            status = await self.status()
            if not status.busy:
                return status
        raise AssertionError(f"{command.name} does not end")

    async def done(self, command: Command, address: int = 0) -> int:
        """Run a command that must succeed; returns its cycles."""
        status = await self.command(command, address)
        assert status.error == Error.NONE, (command.name, status)
        return await self.read(Register.ELAPSED)


class Bench:
    def __init__(self, dut: Any, seed: int) -> None:
        self.dut, self.rng = dut, random.Random(seed)
        maps = [Path(os.environ["BENCH_MAPS"]) / n / "state.json" for n in ("overlay", "boundary")]
        self.geometry = Geometry.of(*(path.read_bytes() for path in maps))
        self.memory = mmap.mmap(-1, MEMORY_BYTES)
        self.images = Path(os.environ["BENCH_IMAGES"])

    async def start(self) -> None:
        dut = self.dut
        logging.getLogger("cocotb.shell_pair").setLevel(logging.WARNING)
        dut.rst_n.value = 0
        dut.fail_read.value = dut.fail_write.value = 0
        self.shells = {name: Shell(dut, name, self.memory) for name in "ab"}
        self.clock = cocotb.start_soon(Clock(dut.clk, 2, "ns").start())
        await self.cycles(4)
        dut.rst_n.value = 1
        for shell in self.shells.values():
            for _ in range(20):  # it gives the fabric its reset
                if (await shell.status()).running:
                    break
            assert (await shell.status()).running

    def stall(self, chance: float) -> None:
        def pauses() -> Iterator[bool]:
            while True:
                yield self.rng.random() < chance

        for shell in self.shells.values():
            for ram in shell.rams:
                for channel in (
                    *(ram.write_if.aw_channel, ram.write_if.w_channel, ram.write_if.b_channel),
                    *(ram.read_if.ar_channel, ram.read_if.r_channel),
                ):
                    channel.set_pause_generator(pauses())

    async def cycles(self, count: int) -> None:
        for _ in range(count):
            await RisingEdge(self.dut.clk)

    def image(self, address: int) -> bytes:
        return self.memory[address : address + self.geometry.image_bytes]

    def put(self, address: int, image: bytes) -> None:
        self.memory[address : address + len(image)] = image

    def poison(self) -> bytes:
        """An image of this geometry full of noise."""
        state, rng = self.geometry, self.rng
        like = to_snapshot(self.image(IMAGES[0]), state, OVERLAY)
        noise = {name: rng.randbytes(len(payload)) for name, payload in like.segments.items()}
        layout = bytes.fromhex(state.boundary.layout_id)
        noise["shell"] = layout + noise["shell"][len(layout) :]
        return from_snapshot(Snapshot(OVERLAY, like.layout_id, 1, noise), state)

    async def launch(self, shell: Shell, data: bytes) -> None:
        self.memory[SOURCE : SOURCE + len(data)] = data
        self.memory[RESULT - 8 : RESULT + 40] = b"\xaa" * 48
        for offset, value, size in (
            (ARG_SOURCE, SOURCE, 8),
            (ARG_RESULT, RESULT, 8),
            (ARG_NBYTES, len(data), 4),
            (GLOBAL_ENABLE, 1, 4),
            (ENABLE, 1, 4),
            (CONTROL, 1, 4),
        ):
            await shell.control.write(offset, value.to_bytes(size, "little"))

    async def finish(self, shell: Shell, data: bytes) -> None:
        for _ in range(MAX_POLLS):
            if int(shell.irq.value):
                break
            await self.cycles(1)
        else:
            raise AssertionError("no interrupt")
        await shell.control.write(STATUS, (1).to_bytes(4, "little"))
        await shell.control.read(CONTROL, 4)
        crc, nbytes, a, b, _, status = struct.unpack("<IIIIQQ", self.memory[RESULT : RESULT + 32])
        assert (crc, nbytes, a, b, status) == (zlib.crc32(data), len(data), *sums(data), 0)
        around = self.memory[RESULT - 8 : RESULT] + self.memory[RESULT + 32 : RESULT + 40]
        assert around == b"\xaa" * 16

    def stop(self) -> None:
        self.clock.cancel()
        self.memory.close()


@cocotb.test()  # type: ignore[untyped-decorator]
async def a_kernel_moves_between_shells_at_any_cycle(dut: Any) -> None:
    bench = Bench(dut, 1)
    await bench.start()
    state = bench.geometry
    here, there = bench.shells["a"], bench.shells["b"]
    assert await here.read(Register.ID) == ID
    assert await here.read(Register.IMAGE_BYTES) == state.image_bytes
    moved, latencies = 0, []
    cuts = int(os.environ["BENCH_CUTS"])
    while moved < cuts:
        bench.stall(bench.rng.choice((0.0, 0.3, 0.6)))
        data = bench.rng.randbytes(bench.rng.randrange(700, 1100))
        await bench.launch(here, data)
        for _ in range(2):
            await bench.cycles(bench.rng.randrange(300))
            latencies.append(await here.done(Command.FREEZE))
            refused = await here.control.read(CONTROL, 4)
            assert refused.resp == AxiResp.SLVERR
            await here.done(Command.SAVE, IMAGES[0])
            await here.done(Command.VERIFY)
            image = bench.image(IMAGES[0])
            (bench.images / f"{moved}.img").write_bytes(image)
            if (await there.status()).running:
                await there.done(Command.FREEZE)
            bench.put(IMAGES[1], bench.poison())
            await there.done(Command.LOAD, IMAGES[1])
            await there.done(Command.LOAD, IMAGES[0])
            await there.done(Command.VERIFY)
            await there.done(Command.SAVE, IMAGES[2])
            assert bench.image(IMAGES[2]) == image, "the state that was loaded is another"
            await there.done(Command.RUN)
            here, there = there, here
            moved += 1
        await bench.finish(here, data)
    cocotb.log.info("%d moves, freeze to frozen %s", moved, sorted(latencies))
    bench.stop()


@cocotb.test()  # type: ignore[untyped-decorator]
async def a_row_or_a_word_moves_every_cycle(dut: Any) -> None:
    bench = Bench(dut, 2)
    await bench.start()
    shell, state = bench.shells["a"], bench.geometry
    await shell.done(Command.FREEZE)
    payload = sum(s.count * s.beats for s in state.segments)
    save = await shell.done(Command.SAVE, IMAGES[0])
    verify = await shell.done(Command.VERIFY)
    load = await shell.done(Command.LOAD, IMAGES[0])
    cocotb.log.info(
        "image of %d words: save %d, verify %d, load %d cycles",
        state.image_beats, save, verify, load,
    )  # fmt: skip
    assert verify == payload + state.walk_cycles + 1
    assert save == state.image_beats + state.walk_cycles + SAVE_OVERHEAD
    assert load == state.image_beats + state.read_registers + LOAD_OVERHEAD
    bench.stop()


@cocotb.test()  # type: ignore[untyped-decorator]
async def what_cannot_be_done_is_refused_and_changes_nothing(dut: Any) -> None:
    bench = Bench(dut, 3)
    await bench.start()
    shell, other = bench.shells["a"], bench.shells["b"]
    data = bench.rng.randbytes(900)
    await bench.launch(shell, data)
    for command in (Command.SAVE, Command.LOAD, Command.VERIFY, Command.RUN, Command.RESET):
        assert (await shell.command(command, IMAGES[0])).error == Error.WRONG_STATE
    assert (await shell.status()).running
    await shell.done(Command.FREEZE)
    assert (await shell.command(Command.FREEZE)).error == Error.WRONG_STATE
    assert (await shell.command(Command.SAVE, IMAGES[0] + 8)).error == Error.MISALIGNED
    await shell.done(Command.SAVE, IMAGES[0])
    image = bench.image(IMAGES[0])

    async def unchanged() -> None:
        status = await shell.command(Command.CHECK, IMAGES[0])
        assert status.error == Error.NONE
        assert (await shell.command(Command.VERIFY)).error == Error.NONE

    # Another geometry, and memory that cannot be read: seen before anything is touched.
    for at in (0, 8, 24):
        wrong = bytearray(image)
        wrong[at] ^= 1
        bench.put(IMAGES[1], bytes(wrong))
        status = await shell.command(Command.LOAD, IMAGES[1])
        assert status.error == Error.OTHER_DESIGN and status.sound
        await unchanged()
    dut.fail_read.value = 1
    status = await shell.command(Command.LOAD, IMAGES[0])
    assert status.error == Error.READ and status.sound
    dut.fail_read.value = 0
    await unchanged()
    # A save that cannot be written leaves the state as it was.
    dut.fail_write.value = 1
    assert (await shell.command(Command.SAVE, IMAGES[2])).error == Error.WRITE
    dut.fail_write.value = 0
    await unchanged()
    # A damaged image: CHECK finds it, and where; LOAD too, too late.
    wrong = bytearray(image)
    wrong[-8 * (len(bench.geometry.segments) + 1) - 1] ^= 1  # the last segment's last byte
    bench.put(IMAGES[1], bytes(wrong))
    status = await shell.command(Command.CHECK, IMAGES[1])
    assert (status.error, status.segment) == (Error.CRC, len(bench.geometry.segments))
    assert status.sound
    assert (await shell.command(Command.VERIFY)).error == Error.VERIFY
    await unchanged()
    status = await shell.command(Command.LOAD, IMAGES[1])
    assert status.error == Error.CRC and not status.sound
    assert (await shell.command(Command.RUN)).error == Error.NO_STATE
    assert (await shell.command(Command.SAVE, IMAGES[2])).error == Error.NO_STATE
    # From which a sound image, or a reset, brings it back.
    await shell.done(Command.RESET)
    assert (await shell.status()).sound
    assert await shell.read(Register.CYCLE_LOW) == 0
    await shell.done(Command.LOAD, IMAGES[0])
    await shell.done(Command.RUN)
    await bench.finish(shell, data)
    # A register that is not there, and part of one that is.
    assert (await shell.shell.read(0x80, 4)).resp == AxiResp.SLVERR
    assert (await shell.shell.write(Register.COMMAND, b"\1")).resp == AxiResp.SLVERR
    assert (await other.status()).running
    await Timer(1, "ns")
    bench.stop()
