"""Cycle model of the NPU: how long a program takes, without running it.

It walks the program as the golden model does and computes for every row of every chain when it is
issued, multiplied, let into the pipe and through, from what it must wait for: all that lies earlier
in the program. So it costs a few microseconds a row whatever the native dimension is, and predicts
configurations that no simulation holds. A test holds it to the RTL's counters.

Only the bus knows another order than the program's: loads and vectors race for it. So the parts of
the NPU that may be at different places of the program (decoder, loader, input, pipe) walk by
themselves, each as far as what is known lets it; when none can go on, the bus serves the burst that
is the first in time, which nothing that is still unknown can precede.

The numbers below are those of the RTL: cycles from one event to the first in which another may be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from rtl_sim.model.npu_bus import Memory, ReadBus, WriteBus
from rtl_sim.model.npu_program import Chain, Decoder, Load, Product, SetWindow, Stop
from rtl_sim.spec.npu import ADD_OPS, VV_OPS, Config, Mem, Stat, Status

__all__ = ["CycleModel", "Memory", "predict", "walk"]

RESULT: Final = 5  # last beat of a job to its result at the pipe: operands, dot (2), sum, queue
WRITTEN: Final = 15  # a row's entry to the entry of one that reads what it wrote
RETIRED: Final = 17  # and to the beat that reads it as a source vector
OUTPUT: Final = 15  # and to the queue of outputs
JOBS: Final = 2  # rows of products that wait before an engine
LOADS: Final = 2  # matrix chains that wait or are under way
VECTORS: Final = 8  # of device memory that wait on their way in, and out
GROUP: Final = 4  # of them, that are asked for at a time


@dataclass(slots=True)
class _Engine:
    """One tile engine: recent jobs, as far as later ones wait for them."""

    starts: deque[int]  # of the last JOBS jobs
    takes: deque[int]  # of the last `results` jobs
    last_beat: int = -1


@dataclass(slots=True)
class _Pushed:
    """A vector chain that was decoded; `here`: when all can see it."""

    chain: Chain
    here: int
    loads: tuple[_Loading, ...]  # that stand before it, as far as it waits for them
    reads: tuple[int, int] = (0, 0)  # the lines of MatrixRf, from and to


@dataclass(slots=True)
class _Loading:
    """A matrix chain that was decoded."""

    load: Load
    time: int
    behind: int  # vector chains before it
    writes: tuple[int, int]
    over: int = -1  # when it was done, if that is known


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


class CycleModel:
    """One launch. Sizes of the buffers in native vectors; their contents do not matter."""

    def __init__(
        self, config: Config, memory: Memory, sizes: Mapping[Mem, int], program: bytes
    ) -> None:
        self.config, self.places, self.sizes = config, memory.places, sizes
        self.code = np.frombuffer(program, "<u8").tolist()
        bus = config.vector_beats, config.bus // 64
        self.bus = ReadBus(memory.read_latency, *bus)
        self.writes = WriteBus(memory.write_latency, *bus)
        self.engines = [
            _Engine(deque([-1] * JOBS, JOBS), deque([-1] * config.results, config.results))
            for _ in range(config.engines)
        ]
        self.written = {
            mem: [0] * config.depth(mem) for mem in (Mem.IVRF, Mem.AVRF, Mem.MVRF)
        }  # when a row that uses an entry may enter
        self.readable = [0] * config.ivrf  # when a beat may read it
        self.chains: list[_Pushed] = []
        self.retired: list[int] = []  # cycles, of the chains that are through
        self.loads: list[_Loading] = []
        self.taken: list[int] = []  # when vectors from device memory were
        self.decoded = -1  # when the end, or the error, is seen
        self.entered = -1  # when the last row entered
        self.issued = 0  # when the next chain may be issued
        self.gone = deque([-1] * VECTORS, VECTORS)  # when the last outputs had left
        self.stats = dict.fromkeys(Stat, 0)
        self.steps = 0  # of all walks: who waits makes none
        self.ends: list[tuple[int, int]] = []  # pc and last cycle of every vector chain

    def run(self) -> dict[Stat, int]:
        """The words of the statistics that depend on time."""
        if not 0 < len(self.code) <= self.config.program:
            return self.stats
        walks = [self._decode(), self._load(), self._input(), self._pipe()]
        while walks:
            before = self.steps
            walks = [each for each in walks if next(each, None)]
            if walks and self.steps == before and not self.bus.serve():
                raise AssertionError("the cycle model is in a deadlock")
        quiet = max([self.decoded + 1, self.writes.quiet, *(end + 1 for end in self.retired[-1:])])
        quiet = max([quiet, *(load.over + 1 for load in self.loads[-1:])])
        self.stats[Stat.STALL_ISSUE] += max(0, self.decoded - self.entered)
        self.stats[Stat.CYCLES] = quiet + 1
        return self.stats

    # ---- the walks: each yields while it must wait for what is not known yet

    def _decode(self) -> Iterator[bool]:
        config = self.config
        self.bus.long.ask(1, self.places.get("program", 0), len(self.code))
        self.steps += 1
        while self.bus.long.left:
            yield True
        time = self.bus.long.last + 2  # the first instruction
        self.entered = time - 1
        try:
            for effect in Decoder(config, self.code, self.sizes).run():
                if isinstance(effect, Chain):
                    while len(self.retired) <= len(self.chains) - config.queue:
                        yield True
                    if len(self.chains) >= config.queue:
                        time = max(time, self.retired[len(self.chains) - config.queue] + 1)
                    self._push(effect, time)
                elif isinstance(effect, Load):
                    if len(self.loads) >= LOADS:
                        while self.loads[-LOADS].over < 0:
                            yield True
                        time = max(time, self.loads[-LOADS].over + 1)
                    self._push_load(effect, time)
                elif isinstance(effect, SetWindow):
                    while len(self.retired) < len(self.chains):
                        yield True
                    time = max(time, self.issued, *(e.last_beat + 1 for e in self.engines))
                time += 1
        except Stop as stop:
            assert stop.status is not Status.PROGRAM
        self.decoded = time
        self.steps += 1

    def _push(self, chain: Chain, time: int) -> None:
        pushed = _Pushed(chain, time + 1, ())
        product = chain.product
        if product is not None:
            lines = self.config.lines(product.engine, chain.rows, len(product.offsets))
            pushed.reads = product.line, product.line + lines
            recent = self.loads[-LOADS:]
            pushed.loads = tuple(each for each in recent if _meet(each.writes, pushed.reads))
        self.chains.append(pushed)
        self.steps += 1

    def _push_load(self, load: Load, time: int) -> None:
        lines = self.config.lines(load.engine, load.rows, load.cols)
        writes = load.line, load.line + lines
        self.loads.append(_Loading(load, time, len(self.chains), writes))
        self.steps += 1

    def _load(self) -> Iterator[bool]:
        config, before, done = self.config, -1, 0
        while self.decoded < 0 or done < len(self.loads):
            if done == len(self.loads):
                yield True
                continue
            loading = self.loads[done]
            load = loading.load
            begin = max(loading.time + 1, before + 1)
            for index in range(max(0, loading.behind - config.queue), loading.behind):
                if self.chains[index].chain.product and _meet(
                    self.chains[index].reads, loading.writes
                ):
                    while len(self.retired) <= index:
                        yield True
                    begin = max(begin, self.retired[index] + 1)
            place = self.places.get("weights", 0) + load.vector * config.n // 4
            self.bus.long.ask(begin, place, load.rows * load.cols * config.tile_bytes // 8)
            self.steps += 1
            while self.bus.long.left:
                yield True
            loading.over = before = self.bus.long.last
            self.steps += 1
            done += 1

    def _input(self) -> Iterator[bool]:
        """Asks for vectors, up to GROUP of a chain at a time, when there is room for all."""
        time, done, asked = 0, 0, 0
        vectors, words = self.bus.vectors, self.config.n // 4
        while self.decoded < 0 or done < len(self.chains):
            if done == len(self.chains):
                yield True
                continue
            pushed, done = self.chains[done], done + 1
            chain = pushed.chain
            time = max(time, pushed.here)
            if not self._fetches(chain):
                time += 1
                continue
            name = "input" if chain.mem is Mem.INPUT else "weights"
            for row in range(0, chain.rows, GROUP):
                count = min(GROUP, chain.rows - row)
                asked += count
                while vectors.left or len(self.taken) < asked - VECTORS:
                    yield True
                time = max(time, vectors.ready)
                if asked > VECTORS:
                    time = max(time, self.taken[asked - VECTORS - 1] + 1)
                place = self.places.get(name, 0) + (chain.entry + row) * words
                vectors.ask(time, place, count * self.config.vector_beats)
                self.steps += 1
                time += 1

    @staticmethod
    def _fetches(chain: Chain) -> bool:
        return chain.product is None and chain.mem in (Mem.INPUT, Mem.WEIGHTS)

    def _pipe(self) -> Iterator[bool]:
        """Matrix unit and pipe, both in the order of the program."""
        done = 0
        while self.decoded < 0 or done < len(self.chains):
            if done == len(self.chains):
                yield True
                continue
            pushed, done = self.chains[done], done + 1
            chain, here = pushed.chain, pushed.here
            reads, sinks, output = self._entries(chain)
            if chain.product is not None:
                for load in pushed.loads:
                    while load.over < 0:
                        yield True
                sources = self._multiply(pushed, chain.product)
                for row, source in zip(range(chain.rows), sources, strict=True):
                    self._enter(chain, row, here, source, reads, sinks, output)
                    engine = self.engines[(chain.product.engine + row) % self.config.engines]
                    engine.takes.append(self.entered)
            else:
                self.issued = max(self.issued, here) + 1
                fetches, got = self._fetches(chain), self.bus.vectors.got
                for row in range(chain.rows):
                    while fetches and len(got) <= len(self.taken):
                        yield True
                    source = got[len(self.taken)] + 1 if fetches else 0
                    self._enter(chain, row, here, source, reads, sinks, output)
                    if fetches:
                        self.taken.append(self.entered)
                        self.steps += 1
            self.retired.append(self.entered + RETIRED - 1)
            self.ends.append((chain.pc, self.retired[-1]))
            self.steps += 1

    def _entries(self, chain: Chain) -> tuple[list[tuple[Mem, int]], list[tuple[Mem, int]], bool]:
        """What a row reads and writes on the chip, and whether it goes to the output."""
        reads = []
        if chain.product is None and chain.mem in self.written:
            reads.append((chain.mem, chain.entry))
        for operation in chain.operations:
            if operation.op in VV_OPS:
                mem = Mem.AVRF if operation.op in ADD_OPS else Mem.MVRF
                reads.append((mem, operation.entry))
        sinks = [(sink.mem, sink.entry) for sink in chain.sinks if sink.mem in self.written]
        return reads, sinks, len(sinks) < len(chain.sinks)

    def _enter(
        self,
        chain: Chain,
        row: int,
        here: int,
        source: int,
        reads: list[tuple[Mem, int]],
        sinks: list[tuple[Mem, int]],
        output: bool,
    ) -> None:
        """When a row enters the pipe, and what it waited for."""
        begin = self.entered + 1
        there = max(begin, here)
        have = max(there, source)
        room = max(have, self.gone[0] + 1) if output else have
        written = self.written
        at = room
        for mem, entry in reads:
            at = max(at, written[mem][entry + row])
        for mem, entry in sinks:
            at = max(at, written[mem][entry + row])
        stats = self.stats
        stats[Stat.STALL_ISSUE] += there - begin
        cause = Stat.STALL_MV if chain.product is not None else Stat.STALL_MEM
        stats[cause] += have - there
        stats[Stat.STALL_MEM] += room - have
        stats[Stat.STALL_DEP] += at - room
        for mem, entry in sinks:
            written[mem][entry + row] = at + WRITTEN
            if mem is Mem.IVRF:
                self.readable[entry + row] = at + RETIRED
        if output:
            entry = next(sink.entry for sink in chain.sinks if sink.mem is Mem.OUTPUT) + row
            place = self.places.get("output", 0) + entry * self.config.n // 4
            self.gone.append(self.writes.vector(at + OUTPUT, place))
        self.entered = at

    def _multiply(self, pushed: _Pushed, product: Product) -> Iterator[int]:
        """When each row's result is at the pipe."""
        chain = pushed.chain
        self.issued = max(self.issued, pushed.here)
        for load in pushed.loads:
            self.stats[Stat.STALL_TILES] += max(0, load.over + 1 - self.issued)
            self.issued = max(self.issued, load.over + 1)
        ready = [self.readable[product.source + offset] for offset in product.offsets]
        beats = [
            self._job(product, row, ready) for row in range(chain.rows if chain.in_place else 0)
        ]
        for row in range(chain.rows):
            if chain.in_place:  # nothing is written before everything is read
                yield max(beats[row] + RESULT, max(beats) + 1)
            else:
                yield self._job(product, row, ready) + RESULT

    def _job(self, product: Product, row: int, ready: list[int]) -> int:
        """Issue a row to its engine; the cycle of its last beat."""
        engine = self.engines[(product.engine + row) % self.config.engines]
        issue = max(self.issued, engine.starts[0] + 1)
        self.issued = issue + 1
        start = max(issue + 1, engine.last_beat, engine.takes[0] + 1)
        engine.starts.append(start)
        beat = start
        if max(ready) <= start + 1:
            beat += sum(product.beats)
        else:
            for when, beats in zip(ready, product.beats, strict=True):
                beat = max(beat + 1, when) + beats - 1
        engine.last_beat = beat
        return beat


def predict(
    config: Config,
    program: bytes,
    *,
    weight_vectors: int,
    input_vectors: int,
    output_vectors: int,
    memory: Memory | None = None,
) -> dict[Stat, int]:
    """The statistics that depend on time (TIMING_STATS) of a launch of `program`."""
    sizes = {
        Mem.WEIGHTS: weight_vectors,
        Mem.INPUT: input_vectors,
        Mem.OUTPUT: output_vectors,
    }
    return walk(config, program, sizes, memory).stats


def walk(
    config: Config, program: bytes, sizes: Mapping[Mem, int], memory: Memory | None = None
) -> CycleModel:
    """The model after a launch of `program`; sizes of the buffers in native vectors."""
    model = CycleModel(config, memory or Memory(), sizes, program)
    model.run()
    return model
