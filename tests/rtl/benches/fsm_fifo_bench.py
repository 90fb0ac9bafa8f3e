"""A bench as a user writes it: knows nothing of halting. Packets through designs/fsm_fifo.sv."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, RisingEdge
from cocotb.utils import get_sim_time

PACKETS = 30


async def reset(dut: Any) -> None:
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value = 1
    dut.x.value = 0
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0


@cocotb.test()
async def good_packets_are_counted(dut: Any) -> None:
    await reset(dut)
    rng = random.Random(3)
    good = 0
    for _ in range(PACKETS):
        body = [rng.randrange(256) for _ in range(rng.randrange(8))]
        head = rng.randrange(32) << 3 | len(body)
        check = rng.randrange(256)
        good += (check ^ (head + sum(body))) & 3 == 0
        for byte in (head, *body, check):
            dut.x.value = 0x100 | (rng.randrange(4) and 0x200) | byte  # push, and mostly pop
            await RisingEdge(dut.clk)
            dut.x.value = 0x200
            await ClockCycles(dut.clk, rng.randrange(3))
    await ClockCycles(dut.clk, 12)
    await FallingEdge(dut.clk)
    await ReadOnly()
    assert int(dut.y.value) & 1, "the queue is not empty"
    assert int(dut.y.value) >> 16 == good


@cocotb.test()
async def a_full_queue_stays_full(dut: Any) -> None:
    await reset(dut)
    dut.x.value = 0x1AA
    await ClockCycles(dut.clk, 10)
    dut.x.value = 0
    for _ in range(100):
        await FallingEdge(dut.clk)
        await ReadOnly()
        assert int(dut.y.value) & 3 == 2


@cocotb.test()
async def time_passes_as_it_should(dut: Any) -> None:
    await reset(dut)
    began = get_sim_time("step")
    outputs: list[float] = []

    async def watch() -> None:
        while True:
            await dut.y.value_change
            outputs.append(get_sim_time("step"))

    cocotb.start_soon(watch())
    await ClockCycles(dut.clk, 50)
    assert get_sim_time("step") - began == 50 * 10_000
    assert outputs == [], "outputs changed in a design that is still"
