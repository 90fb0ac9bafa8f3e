"""Loaded before a user's cocotb module: moves the design's state while the user's tests run.

The top is the wrapper of prove/wrapper.py, with two captured copies of which one runs. A task
beside each test moves the state from one to the other: within one instant, while every clock is
low, by writes that settle without time, with a clock of its own. What the user's tests await
passes as without it. A test may end within a move; the next one begins when that is done.

HALTERE_MOVES names a JSON file: bench (the user's module), maps (state maps of a and b), seed,
moves (at most), shares (tests among which they are shared), result (a file for counts).
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
import types
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, Final

import cocotb
from cocotb.regression import Test, TestGenerator
from cocotb.triggers import FallingEdge, ReadWrite
from cocotb.utils import get_sim_time

from rtl_sim.statemap import StateMap
from rtl_sim.tb.state_port import StatePort, noise

SETTINGS: Final[dict[str, Any]] = json.loads(Path(os.environ["HALTERE_MOVES"]).read_text())
COPIES: Final = "ab"
# Moves come ever rarer in a test, so that long tests are covered and short ones are not missed.
FIRST_GAP: Final = 3  # cycles, at most
GAP_SHARE: Final = 12  # a gap is at most this part of the test so far


class _Own:
    """The wrapper's signals by the names that `StatePort` expects."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dut, f"haltere_{name}")


@types.coroutine
def _settle() -> Generator[None]:
    """Until what was written has settled; no time passes."""
    yield


class Mover:
    def __init__(self, dut: Any) -> None:
        self.top = _Own(dut)
        maps = [StateMap.parse(Path(path).read_bytes()) for path in SETTINGS["maps"]]
        self.clocks = [getattr(dut, name) for name in maps[0].clocks]
        self.ports = {
            copy: StatePort(self.top, copy, state_map, self.edge)
            for copy, state_map in zip(COPIES, maps, strict=True)
        }
        self.current = "a"
        self.tests, self.moves = 0, 0
        self.trouble = ""
        self._unfinished: Coroutine[None, None, None] | None = None

    async def edge(self) -> None:
        for level in (0, 1, 0):  # low first: the state port's inputs settle while it is
            self.top.mclk.value = level
            await _settle()

    async def run(self, name: str, moves: int) -> None:
        """Beside one test: at most `moves` moves."""
        self.rng = random.Random(f"{SETTINGS['seed']} {name}")
        cycle = 0
        last = self.moves + moves
        falling = FallingEdge(self.clocks[0])
        while self.moves < last and not self.trouble:
            gap = self.rng.randint(1, max(FIRST_GAP, cycle // GAP_SHARE))
            for _ in range(gap):
                await falling
            cycle += gap
            self._unfinished = self._move()
            await self.finish()

    async def finish(self) -> None:
        """Do what is left of a move. The coroutine is none of the test's, whose end ends tasks."""
        while self._unfinished is not None:
            await ReadWrite()
            try:
                self._unfinished.send(None)
            except StopIteration:
                self._unfinished = None

    async def _move(self) -> None:
        top, source = self.top, self.current
        target = COPIES[1 - COPIES.index(source)]
        began = get_sim_time("step")
        top.hold.value = 1
        await _settle()
        if not self._high():
            self._let_run(source, False)
            await _settle()
            state = await self.ports[source].save()
            await self.ports[target].load(noise(self.ports[target].map, self.rng))
            await self.ports[target].load(state)
            top.active.value = COPIES.index(target)
            self._let_run(target, True)
            await _settle()
            self.current = target
            self.moves += 1
            if self._high() or get_sim_time("step") != began:
                self.trouble = f"a clock rose in the instant of a move, {began} steps after start"
        top.hold.value = 0
        await _settle()

    def _let_run(self, copy: str, running: bool) -> None:
        at_first = copy == COPIES[0]
        getattr(self.top, f"flip_{copy}").value = int(running != at_first)

    def _high(self) -> bool:
        return any(int(clock.value) for clock in self.clocks)

    def write(self) -> None:
        counts = {
            "moves": self.moves, "cycles": int(self.top.cycles.value), "tests": self.tests,
            "trouble": self.trouble,
        }  # fmt: skip
        Path(SETTINGS["result"]).write_text(json.dumps(counts), encoding="utf-8")


@functools.cache
def _mover(dut: Any) -> Mover:
    return Mover(dut)


def _moving(test: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(test)
    async def moving(dut: Any, *args: Any, **kwargs: Any) -> Any:
        mover = _mover(dut)
        await mover.finish()
        mover.tests += 1
        left = SETTINGS["moves"] - mover.moves
        tests_left = max(1, SETTINGS["shares"] - mover.tests + 1)
        cocotb.start_soon(mover.run(f"{name} {mover.tests}", -(-left // tests_left)))
        try:
            return await test(dut, *args, **kwargs)
        finally:
            mover.write()

    return moving


def _wrap(module: Any) -> None:
    for found in vars(module).values():
        if isinstance(found, Test | TestGenerator):
            found.func = _moving(found.func, found.name)


_wrap(importlib.import_module(SETTINGS["bench"]))
