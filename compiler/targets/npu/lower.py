"""Blocks with places to instructions.

A program is self-contained: it loads every weight it uses and sets every state it reads, so that a
launch means the same on any device, whatever ran there before. Order: [pinned weights]
[loop over samples] block by block, each [its own weights, when streamed] [loop over rows] chains.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.errors import DoesNotFit
from compiler.targets.npu.blocks import Block, Chain, Const, Lstm, Step, Tap
from compiler.targets.npu.emit import Emitter
from compiler.targets.npu.layout import Layout
from compiler.targets.npu.memory import Place
from compiler.targets.npu.plan import (
    ADDRESSES,
    Item,
    Load,
    Plan,
    const_vectors,
    consts_of,
    matrices_of,
    plan,
    tiles_of,
)
from rtl_sim.model.npu_formats import native_count
from rtl_sim.spec.npu import ROWS_MAX, Config, Instr, Mem, Op

PROGRAM_RESOURCE = "program memory instructions"


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a target yields before it is wrapped into an artifact."""

    program: list[Instr]
    weights: bytes
    used: dict[str, tuple[int, int]]
    pinned: bool
    macs: int  # of one sample, padding not counted


def lower(
    blocks: list[Block],
    layout: Layout,
    inputs: dict[str, int],
    outputs: dict[str, int],
    config: Config,
    target: str,
    samples: int,
) -> Lowered:
    """`inputs`, `outputs`: store -> first native vector in its buffer. Raises DoesNotFit."""
    sizes = {
        mem: sum(layout.vectors_of(store) for store in stores)
        for mem, stores in ((Mem.INPUT, inputs), (Mem.OUTPUT, outputs))
    }
    for mem, size in sizes.items():
        if size * samples > ADDRESSES:
            raise DoesNotFit(
                f"{mem.name.lower()} buffer vectors", size * samples, ADDRESSES, target
            )
    for block in blocks:
        if isinstance(block, Chain) and block.row_vectors > ROWS_MAX:
            raise DoesNotFit("native vectors of a row", block.row_vectors, ROWS_MAX, target)
    planned = plan(blocks, layout, frozenset(inputs), config, target, samples)
    lowering = _Lowering(planned, layout, inputs, outputs, config, Emitter(sizes))
    lowering.run(samples)
    program = lowering.emitter.program
    if len(program) > config.program:
        raise DoesNotFit(PROGRAM_RESOURCE, len(program), config.program, target)
    used = planned.used | {PROGRAM_RESOURCE: (len(program), config.program)}
    macs = sum(_macs(item) for item in planned.items)
    return Lowered(program, planned.weights, used, planned.pinned, macs)


def _macs(item: Item) -> int:
    if isinstance(item, Lstm):
        return item.x.rows * 4 * item.hidden * (item.x.features + item.hidden)
    if isinstance(item, Chain) and item.matrix:
        return item.rows * len(item.matrix.weights) * item.source.features
    return 0


class _Lowering:
    def __init__(
        self,
        planned: Plan,
        layout: Layout,
        inputs: dict[str, int],
        outputs: dict[str, int],
        config: Config,
        emitter: Emitter,
    ) -> None:
        self.plan = planned
        self.layout = layout
        self.inputs = inputs
        self.outputs = outputs
        self.config = config
        self.emitter = emitter

    def run(self, samples: int) -> None:
        if self.plan.pinned:
            self._load_weights(self.plan.items)
        with self.emitter.loop("sample", samples):
            for index, item in enumerate(self.plan.items):
                if not self.plan.pinned:
                    self._load_weights([item])
                places = self.plan.temporaries[index].places
                if isinstance(item, Load):
                    self._load_input(item)
                elif isinstance(item, Lstm):
                    self._lstm(item, places)
                else:
                    self._chain(item, places)

    # ---- weights

    def _load_weights(self, items: list[Item]) -> None:
        """Matrices and constants of these items, neighbours joined into one transfer."""
        moves: list[tuple[Mem, int, int, int]] = []  # memory, base, vector, entries
        for item in items:
            for matrix in matrices_of(item):
                rows, cols = tiles_of(matrix, self.config)
                place = self.plan.matrices[matrix]
                moves.append((place.mem, place.base, self.plan.vectors[matrix], rows * cols))
            for const in consts_of(item):
                place = self.plan.consts[const]
                count = const_vectors(const, self.config)
                moves.append((place.mem, place.base, self.plan.vectors[const], count))
        for mem, base, vector, count in _joined(moves, self.config.tile_vectors):
            step = self.config.tile_vectors if mem == Mem.MATRIX else 1
            for start in range(0, count, ROWS_MAX):
                part = min(ROWS_MAX, count - start)
                if mem == Mem.MATRIX:
                    self.emitter.load_tiles(vector + start * step, base + start, part)
                else:
                    self._copy(Place(Mem.WEIGHTS, vector + start), [Place(mem, base + start)], part)

    # ---- vectors

    def _copy(self, source: Place, sinks: list[Place], count: int) -> None:
        self.emitter.scalars(count)
        self.emitter.read(source.mem, source.base)
        for sink in sinks:
            self.emitter.write(sink.mem, sink.base)
        self.emitter.end()

    def _load_input(self, item: Load) -> None:
        size = self.layout.vectors_of(item.store)
        source = Place(Mem.INPUT, self.inputs[item.store])
        self._copy(source, self.plan.sinks(item.store), size)

    def _source(self, store: str | Const) -> Place:
        """Where v_rd finds it."""
        if isinstance(store, Const):
            return Place(Mem.WEIGHTS, self.plan.vectors[store])
        if store in self.inputs:
            return Place(Mem.INPUT, self.inputs[store])
        for how in ("rd", "mv", "vv"):
            if (store, how) in self.plan.stores:
                return self.plan.stores[store, how]
        raise AssertionError(f"nothing keeps {store}")

    def _sinks(self, store: str | None) -> list[Place]:
        """All places a value is written to: on chip and in the output buffer."""
        if store is None:
            return []
        sinks = self.plan.sinks(store)
        if store in self.outputs:
            sinks.append(Place(Mem.OUTPUT, self.outputs[store]))
        return sinks

    # ---- blocks

    def _chain(self, chain: Chain, places: dict[str, Place]) -> None:
        emitter = self.emitter
        with emitter.loop("row", chain.rows):
            source, stride = self._source(chain.source.store), chain.source.row_vectors
            if chain.matrix is None:
                emitter.scalars(chain.row_vectors)
                emitter.read(source.mem, source.base, stride)
            else:
                if "x" in places:  # the matrix unit reads InitialVrf only
                    emitter.scalars(stride)
                    emitter.read(source.mem, source.base, stride)
                    source, stride = places["x"], 0
                    emitter.write(source.mem, source.base)
                    emitter.end()
                else:
                    source = self.plan.stores[chain.source.store, "mv"]
                emitter.scalars(*tiles_of(chain.matrix, self.config))
                emitter.read_for_product(source.base, stride)
                emitter.product(self.plan.matrices[chain.matrix].base)
            for step in chain.steps:
                self._step(step, chain.row_vectors)
            emitter.end()

    def _step(self, step: Step | Tap, stride: int) -> None:
        if isinstance(step, Tap):
            for sink in self._sinks(step.store):
                self.emitter.write(sink.mem, sink.base, stride)
        elif step.operand is None:
            self.emitter.operate(step.op)
        elif isinstance(step.operand, Const):
            stride = 0 if step.operand.per_row else stride
            self.emitter.operate(step.op, self.plan.consts[step.operand], stride)
        else:
            self.emitter.operate(step.op, self.plan.stores[step.operand, "vv"], stride)

    def _lstm(self, layer: Lstm, places: dict[str, Place]) -> None:
        """c = sigm(f) * c + sigm(i) * tanh(g); h = sigm(o) * tanh(c), with [x; h] side by side
        so that each gate is one product."""
        emitter = self.emitter
        width = layer.x.row_vectors
        rows = native_count(self.config, layer.hidden)
        xh = places["xh"]
        h = Place(Mem.IVRF, xh.base + width)
        c = places["c"]
        self._copy(self._source(layer.h0), [h], rows)
        self._copy(self._source(layer.c0), [c], rows)
        x = self._source(layer.x.store)
        with emitter.loop("row", layer.x.rows):
            emitter.scalars(width)
            emitter.read(x.mem, x.base, width)
            emitter.write(xh.mem, xh.base)
            emitter.end()
            emitter.scalars(rows, width + rows)
            for gate, role in (("i", "i"), ("g", "ig"), ("o", "o")):
                self._gate(layer, gate, xh)
                if gate == "g":
                    emitter.operate(Op.VV_MUL, places["i"])
                emitter.write(places[role].mem, places[role].base)
                emitter.end()
            self._gate(layer, "f", xh)
            emitter.operate(Op.VV_MUL, c)
            emitter.operate(Op.VV_ADD, places["ig"])
            emitter.write(c.mem, c.base)
            if rows > 1:  # the rows of a product may not overwrite its own source, which h is
                emitter.end()
                emitter.read(c.mem, c.base)
            emitter.operate(Op.V_TANH)
            emitter.operate(Op.VV_MUL, places["o"])
            for sink in [h, *self._sinks(layer.y)]:
                emitter.write(sink.mem, sink.base, 0 if sink == h else rows)
            emitter.end()
        for state, store in ((h, layer.y_h), (c, layer.y_c)):
            sinks = self._sinks(store)
            if sinks:
                self._copy(state, sinks, rows)

    def _gate(self, layer: Lstm, gate: str, xh: Place) -> None:
        """Product, bias and activation of one gate; the chain stays open."""
        index = "iofg".index(gate)
        self.emitter.read_for_product(xh.base)
        self.emitter.product(self.plan.matrices[layer.gates[index]].base)
        if layer.biases:
            self.emitter.operate(Op.VV_ADD, self.plan.consts[layer.biases[index]])
        self.emitter.operate(Op.V_TANH if gate == "g" else Op.V_SIGM)


def _joined(
    moves: list[tuple[Mem, int, int, int]], tile_vectors: int
) -> list[tuple[Mem, int, int, int]]:
    """Moves whose sources and targets both follow one another become one."""
    joined: list[tuple[Mem, int, int, int]] = []
    for mem, base, vector, count in sorted(moves):
        if joined:
            last_mem, last_base, last_vector, last_count = joined[-1]
            step = tile_vectors if mem == Mem.MATRIX else 1
            if (
                last_mem == mem
                and last_base + last_count == base
                and last_vector + last_count * step == vector
            ):
                joined[-1] = (mem, last_base, last_vector, last_count + count)
                continue
        joined.append((mem, base, vector, count))
    return joined
