"""cocotb benches: a captured design is its original, and moving its state changes nothing.

Run inside the simulator of `captured_pair.harness`. The environment says which design (BENCH_WHICH,
BENCH_MAP_A, BENCH_MAP_B: its number and the state maps of both builds) and how much (BENCH_CYCLES,
BENCH_CUTS).
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import cocotb
from cocotb.triggers import Timer

from rtl_sim.statemap import StateMap
from rtl_sim.tb.state_port import State, StatePort, noise

RESET_CYCLES: Final = 4
FROZEN_CYCLES: Final = 6  # at most, before the state is touched
WARM_UP_CYCLES: Final = 50
DROPPED_CUTS: Final = 4  # one may by chance fall where the segment does not matter


def _map(build: str) -> StateMap:
    return StateMap.parse(Path(os.environ[f"BENCH_MAP_{build}"]).read_bytes())


@dataclass
class Bench:
    dut: Any
    rng: random.Random
    current: str = "a"
    ports: dict[str, StatePort] = field(default_factory=dict)
    mismatches: int = 0

    async def start(self) -> None:
        dut = self.dut
        for name in (
            "clk",
            "held",
            "held_k",
            "rst",
            "x",
            "noise_rst",
            "noise_x",
            "msel",
            "maddr",
            "mwd",
        ):
            getattr(dut, name).value = 0
        dut.which.value = int(os.environ["BENCH_WHICH"])
        maps = {"k": _map("A"), "a": _map("A"), "b": _map("B")}
        for copy, state_map in maps.items():
            for name in ("scan", "si", "mre", "mwe"):
                getattr(dut, f"{name}_{copy}").value = 0
            getattr(dut, f"run_{copy}").value = 1
            self.ports[copy] = StatePort(dut, copy, state_map, self.edge)
        await Timer(1, "ns")
        # Memories hold what an earlier bench left: `ref` and `kept` the same, the others not.
        await self.freeze()
        kept = await self.kept_state()
        for copy in "ab":
            await self.ports[copy].load(kept)
        await self.release()
        dut.rst.value = 1
        await Timer(1, "ns")
        for _ in range(RESET_CYCLES):
            await self.edge()
        dut.rst.value = 0
        await Timer(1, "ns")

    async def edge(self) -> None:
        """One rising edge; afterwards the clock is low and everything has settled."""
        self.dut.clk.value = 1
        await Timer(1, "ns")
        self.dut.clk.value = 0
        await Timer(1, "ns")

    async def run(self, cycles: int, compared: str) -> None:
        """Random inputs, resets among them, and a look at every output before every edge."""
        mask = sum(1 << "kab".index(copy) for copy in compared)
        for _ in range(cycles):
            self.dut.x.value = self.rng.getrandbits(32)
            self.dut.rst.value = self.rng.random() < 0.03
            await Timer(1, "ns")
            if int(self.dut.differs.value) & mask:
                self.mismatches += 1
            await self.edge()

    async def freeze(self) -> None:
        """Stop everything; noise on all inputs, resets too, must not reach a frozen design."""
        self.dut.held.value = 1
        self.dut.held_k.value = 1
        self.dut.run_a.value = 0
        self.dut.run_b.value = 0
        await Timer(1, "ns")
        for _ in range(self.rng.randrange(FROZEN_CYCLES)):
            self.noise()
            await self.edge()

    def noise(self) -> None:
        self.dut.noise_x.value = self.rng.getrandbits(32)
        self.dut.noise_rst.value = self.rng.getrandbits(1)

    async def release(self) -> None:
        self.dut.noise_x.value = 0
        self.dut.noise_rst.value = 0
        await Timer(1, "ns")
        self.dut.run_a.value = 1
        self.dut.run_b.value = 1
        self.dut.held.value = 0
        self.dut.held_k.value = 0
        await Timer(1, "ns")

    def poison(self, copy: str) -> State:
        """A state of noise that fits `copy`."""
        return noise(self.ports[copy].map, self.rng)

    async def move(self, drop: str | None) -> None:
        """Freeze, save, poison the other copy, restore there; `current` is the other then."""
        source, target = self.current, "b" if self.current == "a" else "a"
        await self.freeze()
        state = await self.ports[source].save()
        poison = self.poison(target)
        await self.ports[target].load(poison)
        if drop == "flops":
            state = replace(state, flops=poison.flops)
        elif drop is not None:
            state.memories[drop] = poison.memories[drop]
        self.noise()
        await self.ports[target].load(state)
        await self.release()
        self.current = target

    async def cut_and_move(self, cuts: int, drop: str | None) -> tuple[int, bool]:
        """(cycles with other outputs, whether the final state is that of the uninterrupted run)"""
        await self.start()
        await self.run(WARM_UP_CYCLES, "kab")
        for _ in range(cuts):
            # The copy that was saved goes on too: saving must leave it as it was.
            before = self.current
            await self.move(drop)
            both = self.current if drop else before + self.current
            await self.run(self.rng.randrange(1, 60), f"k{both}")
        await self.freeze()
        wanted = await self.kept_state()
        found = await self.ports[self.current].save()
        await self.release()
        return self.mismatches, wanted == found

    async def kept_state(self) -> State:
        """The state of the copy that is never moved, everything being frozen."""
        self.dut.run_k.value = 0
        self.dut.held_k.value = 0
        await Timer(1, "ns")
        state = await self.ports["k"].save()
        self.dut.held_k.value = 1
        self.dut.run_k.value = 1
        await Timer(1, "ns")
        return state


@cocotb.test()  # type: ignore[untyped-decorator]
async def the_captured_design_is_its_original(dut: Any) -> None:
    bench = Bench(dut, random.Random(1))
    await bench.start()
    await bench.run(int(os.environ["BENCH_CYCLES"]), "kab")
    assert bench.mismatches == 0, f"{bench.mismatches} cycles with other outputs"


@cocotb.test()  # type: ignore[untyped-decorator]
async def moving_the_state_changes_nothing(dut: Any) -> None:
    """Cut, move, go on; every output of every cycle, and at the end the state, must be equal."""
    bench = Bench(dut, random.Random(2))
    mismatches, same_state = await bench.cut_and_move(int(os.environ["BENCH_CUTS"]), None)
    assert mismatches == 0, f"{mismatches} cycles with other outputs"
    assert same_state, "the final states differ"


@cocotb.test()  # type: ignore[untyped-decorator]
async def a_segment_that_is_not_moved_is_noticed(dut: Any) -> None:
    """The control for the bench itself: each segment in turn is noise instead of what was saved."""
    segments = ["flops", *(memory.name for memory in _map("A").memories)]
    for number, segment in enumerate(segments):
        bench = Bench(dut, random.Random(100 + number))
        mismatches, same_state = await bench.cut_and_move(DROPPED_CUTS, segment)
        assert mismatches or not same_state, f"segment {segment} was dropped and nothing noticed"


@cocotb.test()  # type: ignore[untyped-decorator]
async def every_bit_of_state_can_be_written_and_read(dut: Any) -> None:
    """Noise and its complement both read back, so each bit was seen as 0 and as 1."""
    bench = Bench(dut, random.Random(3))
    await bench.start()
    await bench.freeze()
    for copy in "ab":
        port = bench.ports[copy]
        state = bench.poison(copy)
        count = len(port.map.bits)
        flops = int.from_bytes(state.flops, "little") ^ ((1 << count) - 1)
        opposite = State(
            flops.to_bytes(-(-count // 8), "little"),
            {
                memory.name: tuple(
                    word ^ ((1 << memory.width) - 1) for word in state.memories[memory.name]
                )
                for memory in port.map.memories
            },
        )
        for pattern in (state, opposite):
            await port.load(pattern)
            bench.noise()
            assert await port.save() == pattern
            assert await port.save() == pattern, "reading changed the state"
