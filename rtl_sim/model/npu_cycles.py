"""Cycle model of the NPU: how long a program takes, without running it.

It walks the program as the golden model does and computes for every row of every chain when it is
issued, multiplied, let into the pipe and through, from what it must wait for: all that lies earlier
in the program. So it costs a few microseconds a row whatever the native dimension is, and predicts
configurations that no simulation holds. A test holds it to the RTL's counters.

The numbers below are those of the RTL: cycles from one event to the first in which another may be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

import numpy as np

from rtl_sim.model.npu_program import Chain, Decoder, Load, Product, SetWindow, Stop
from rtl_sim.spec.npu import ADD_OPS, VV_OPS, Config, Mem, Stat, Status

RESULT: Final = 5  # last beat of a job to its result at the pipe: operands, dot (2), sum, queue
WRITTEN: Final = 15  # a row's entry to the entry of one that reads what it wrote
RETIRED: Final = 17  # and to the beat that reads it as a source vector
OUTPUT: Final = 15  # and to the start of its write
FIRST_BEAT: Final = 1  # read address to first beat, with a memory of latency 0
RESPONSE: Final = 1  # last beat written to the response
JOBS: Final = 2  # rows of products that wait before an engine
LOADS: Final = 2  # matrix chains that wait or are under way
VECTORS: Final = 4  # of device memory that wait on their way in, and out
BURST: Final = 256
PAGE: Final = 512  # in beats
WALKS: Final = (
    4  # through a program, until what is asked of the bus, and when, is what was expected
)


@dataclass(frozen=True, slots=True)
class Memory:
    """Device memory: cycles to the first beat of a read, and to the end of a write; where the
    buffers lie in it, in beats from the beginning of a page."""

    read_latency: int = 0
    write_latency: int = 0
    places: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Read:
    """A transfer that has beats left; `at`: when its next burst may begin."""

    place: int
    left: int
    at: int
    last: int = -1  # cycle of the last beat so far


_Request = tuple[int, int, int]  # when, where, how many beats


@dataclass(slots=True)
class _Requests:
    """What was asked of the bus, in the order of the program."""

    vectors: list[_Request] = field(default_factory=list)
    long: list[_Request] = field(default_factory=list)


class _Bus:
    """The read channel: one burst at a time, those of vectors before those of the long transfer.

    Time and program do not have the same order: a vector may overtake a load that stands before it,
    and a load vectors. So `expected` has what an earlier walk through the program asked for."""

    def __init__(self, latency: int, expected: _Requests) -> None:
        self.latency = latency
        self.expected = expected
        self.asked = _Requests()
        self.early: deque[int] = deque()  # last beats of vectors that were read before their turn
        self.begun = 0  # long transfers, some of them before their turn
        self.free = 0  # when the state machine may choose again
        self.long: _Read | None = None

    def _burst(self, read: _Read) -> None:
        beats = min(read.left, BURST, PAGE - read.place % PAGE)
        last = read.at + FIRST_BEAT + self.latency + beats - 1
        read.place += beats
        read.left -= beats
        read.at = self.free = last + 1
        read.last = last

    def begin_long(self, asked: int, place: int, beats: int) -> None:
        self.asked.long.append((asked, place, beats))
        if self.begun < len(self.asked.long):
            self._begin_long(asked, place, beats)

    def _begin_long(self, asked: int, place: int, beats: int) -> None:
        self.finish_long()
        self.begun += 1
        self.long = _Read(place, beats, max(asked + 1, self.free) + 1)

    def finish_long(self) -> int:
        """The cycle of the last beat of the long transfer."""
        if self.long is None:
            return -1
        while self.long.left:
            turn = len(self.asked.vectors) + len(self.early)
            coming = self.expected.vectors[turn : turn + 1]
            if coming and coming[0][0] + 2 <= self.long.at:
                self.early.append(self._vector(*coming[0]))
            else:
                self._burst(self.long)
        return self.long.last

    def vector(self, asked: int, place: int, beats: int) -> int:
        """The cycle of the last beat of a vector asked for at `asked`."""
        self.asked.vectors.append((asked, place, beats))
        return self.early.popleft() if self.early else self._vector(asked, place, beats)

    def _vector(self, asked: int, place: int, beats: int) -> int:
        coming = self.expected.long[self.begun : self.begun + 1]
        idle = self.long is None or not self.long.left
        if coming and idle and coming[0][0] < asked and self.free <= asked:
            self._begin_long(*coming[0])
        long = self.long
        while long is not None and long.left and long.at <= asked + 1:
            self._burst(long)
        read = _Read(place, beats, max(asked + 1, self.free) + 1)
        while read.left:
            self._burst(read)
        if long is not None:
            long.at = max(long.at, self.free + 1)
        return read.last


@dataclass(slots=True)
class _Engine:
    """One tile engine: recent jobs, as far as later ones wait for them."""

    starts: deque[int]  # of the last JOBS jobs
    takes: deque[int]  # of the last `results` jobs
    last_beat: int = -1


@dataclass(slots=True)
class _Tiles:
    """Lines of MatrixRf that a chain reads or a load writes, and when that is over."""

    begin: int
    end: int
    over: int

    def meets(self, other: _Tiles) -> bool:
        return self.begin < other.end and other.begin < self.end


class CycleModel:
    """One launch. Sizes of the buffers in native vectors; their contents do not matter."""

    def __init__(
        self,
        config: Config,
        memory: Memory,
        sizes: Mapping[Mem, int],
        program: bytes,
        expected: _Requests,
    ) -> None:
        self.config, self.memory, self.sizes = config, memory, sizes
        self.code = np.frombuffer(program, "<u8").tolist()
        self.bus = _Bus(memory.read_latency, expected)
        self.engines = [
            _Engine(deque([-1] * JOBS, JOBS), deque([-1] * config.results, config.results))
            for _ in range(config.engines)
        ]
        self.written = {
            mem: [0] * config.depth(mem) for mem in (Mem.IVRF, Mem.AVRF, Mem.MVRF)
        }  # when a row that uses an entry may enter
        self.readable = [0] * config.ivrf  # when a beat may read it
        self.retired = deque([-1] * config.queue, config.queue)  # of the last chains
        self.readers: deque[_Tiles] = deque(maxlen=config.queue)  # of the last chains' tiles
        self.loads: deque[_Tiles] = deque(maxlen=LOADS)
        self.load_chosen = True  # whether the last one's end is known
        self.entered = -1  # when the last row entered
        self.issued = 0  # when the next chain may be issued
        self.asked = 0  # when the next chain's vectors may be asked for
        self.vector_free = 0  # when the next vector may be asked for
        self.vectors = deque([-1] * VECTORS, VECTORS)  # when the last ones were taken
        self.gone = deque([-1] * VECTORS, VECTORS)  # when the last outputs were written
        self.stats = dict.fromkeys(Stat, 0)
        self.ends: list[tuple[int, int]] = []  # pc and last cycle of every vector chain

    def run(self) -> dict[Stat, int]:
        """The words of the statistics that depend on time."""
        n_instr = len(self.code)
        self.bus.begin_long(1, self.memory.places.get("program", 0), n_instr)
        time = self.bus.finish_long() + 2  # the first instruction
        decoder = Decoder(self.config, self.code, self.sizes)
        self.entered = time - 1
        try:
            for effect in decoder.run():
                if isinstance(effect, Chain):
                    time = max(time, self.retired[0] + 1)
                    self._chain(effect, time)
                    self.ends.append((effect.pc, self.retired[-1]))
                elif isinstance(effect, Load):
                    time = self._load(effect, time)
                elif isinstance(effect, SetWindow):
                    time = max(time, self.issued, *(e.last_beat + 1 for e in self.engines))
                time += 1
        except Stop as stop:
            if stop.status is Status.PROGRAM:
                return self.stats
        # `time`: when the end, or the error, is seen
        quiet = max(time + 1, self.retired[-1] + 1, self.gone[-1] + 1)
        if self.loads:
            quiet = max(quiet, self._loaded() + 1)
        self.stats[Stat.STALL_ISSUE] += max(0, time + 1 - self.entered - 1)
        self.stats[Stat.CYCLES] = quiet + 1
        return self.stats

    # ---- matrix chains

    def _loaded(self) -> int:
        """The cycle of the last beat of the last load."""
        if not self.load_chosen:
            self.loads[-1].over = self.bus.finish_long()
            self.load_chosen = True
        return self.loads[-1].over

    def _load(self, load: Load, time: int) -> int:
        config = self.config
        before = self._loaded() if self.loads else -1
        if len(self.loads) == LOADS:
            time = max(time, self.loads[0].over + 1)
        lines = config.lines(load.engine, load.rows, load.cols)
        tiles = _Tiles(load.line, load.line + lines, 0)
        begin = max(time + 1, before + 1)
        for reader in self.readers:
            if reader.meets(tiles):
                begin = max(begin, reader.over + 1)
        place = self.memory.places.get("weights", 0) + load.vector * config.n // 4
        self.bus.begin_long(begin, place, load.rows * load.cols * config.tile_bytes // 8)
        self.loads.append(tiles)
        self.load_chosen = False
        return time

    # ---- vector chains

    def _chain(self, chain: Chain, pushed: int) -> None:
        here = pushed + 1
        product = chain.product
        fetched = product is None and chain.mem in (Mem.INPUT, Mem.WEIGHTS)
        self.asked = max(self.asked, here) + (0 if fetched else 1)
        if product is not None:
            sources = self._multiply(chain, product, here)
        else:
            self.issued = max(self.issued, here) + 1
            sources = self._fetch(chain) if fetched else repeat(0)
        reads, sinks, output = self._entries(chain)
        for row, source in zip(range(chain.rows), sources, strict=False):
            self._enter(chain, row, here, source, reads, sinks, output)
            if product is not None:
                engine = self.engines[(product.engine + row) % self.config.engines]
                engine.takes.append(self.entered)
            elif fetched:
                self.vectors.append(self.entered)
        self.retired.append(self.entered + RETIRED - 1)
        tiles = _Tiles(0, 0, 0) if product is None else self._tiles(chain, product)
        tiles.over = self.retired[-1]
        self.readers.append(tiles)

    def _tiles(self, chain: Chain, product: Product) -> _Tiles:
        lines = self.config.lines(product.engine, chain.rows, len(product.offsets))
        return _Tiles(product.line, product.line + lines, 0)

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

    def _fetch(self, chain: Chain) -> Iterator[int]:
        """When each vector from device memory is there."""
        beats = self.config.vector_bytes // 8
        name = "input" if chain.mem is Mem.INPUT else "weights"
        place = self.memory.places.get(name, 0) + chain.entry * beats
        for row in range(chain.rows):
            asked = max(self.asked, self.vector_free, self.vectors[0] + 1)
            last = self.bus.vector(asked, place + row * beats, beats)
            self.asked, self.vector_free = asked + 1, last + 1
            yield last + 1

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
            start = max(at + OUTPUT, self.gone[-1] + 1)
            beats = self.config.vector_bytes // 8
            self.gone.append(start + 1 + beats + RESPONSE + self.memory.write_latency)
        self.entered = at

    def _multiply(self, chain: Chain, product: Product, here: int) -> Iterator[int]:
        """When each row's result is at the pipe."""
        self.issued = max(self.issued, here)
        if self.loads:
            tiles = self._tiles(chain, product)
            for load in self.loads:
                if load.meets(tiles):
                    over = self._loaded() if load is self.loads[-1] else load.over
                    self.stats[Stat.STALL_TILES] += max(0, over + 1 - self.issued)
                    self.issued = max(self.issued, over + 1)
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
    expected = _Requests()
    for _ in range(WALKS):
        model = CycleModel(config, memory or Memory(), sizes, program, expected)
        model.run()
        if model.bus.asked == expected or not model.loads:
            break
        expected = model.bus.asked
    return model
