"""Blocks with places to instructions.

A program is self-contained: it loads every weight it uses and sets every state it reads, so that a
launch means the same on any device, whatever ran there before. Order: constants, [all matrices, if
they are pinned and several samples share them], [loop over samples] item by item, each [constants]
[borders of what it makes] [matrices, some items ahead] its chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from compiler.artifact import Layer
from compiler.errors import DoesNotFit
from compiler.targets.npu.blocks import (
    Block,
    Chain,
    Const,
    Conv,
    Load,
    Matrix,
    Pool,
    Recurrent,
    consts,
    macs,
    matrices,
    writes,
)
from compiler.targets.npu.chains import Chains
from compiler.targets.npu.layout import Layout
from compiler.targets.npu.memory import Place
from compiler.targets.npu.plan import ADDRESSES, Plan, const_vectors, plan
from compiler.targets.npu.pools import lower_pool
from compiler.targets.npu.steps import lower_recurrent
from rtl_sim.spec.npu import ROWS_MAX, Config, Instr, Mem

LOADS_AHEAD = 2  # that the NPU has waiting or under way
PROGRAM_RESOURCE = "program memory instructions"


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a target yields before it is wrapped into an artifact."""

    program: list[Instr]
    weights: bytes
    used: dict[str, tuple[int, int]]
    pinned: bool
    macs: int  # of one sample, padding not counted
    input_vectors: int  # of one sample, with what a last step reads ahead
    layers: tuple[Layer, ...]


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
    _check_rows(blocks, target)
    in_size = _input_size(blocks, layout, inputs)
    out_size = sum(map(layout.vectors_of, outputs))
    for name, size in (("input", in_size), ("output", out_size)):
        if size * samples > ADDRESSES:
            raise DoesNotFit(f"{name} buffer vectors", size * samples, ADDRESSES, target)
    planned = plan(blocks, layout, frozenset(inputs), config, target)
    lowering = _Lowering(Chains(planned, layout, inputs, outputs, config))
    lowering.run(samples, in_size, out_size)
    emitter = lowering.chains.emitter
    if len(emitter.program) > config.program:
        raise DoesNotFit(PROGRAM_RESOURCE, len(emitter.program), config.program, target)
    used = planned.used | {PROGRAM_RESOURCE: (len(emitter.program), config.program)}
    return Lowered(
        emitter.program,
        planned.weights,
        used,
        planned.pinned,
        sum(macs(item) for item in planned.items),
        in_size,
        tuple(emitter.layers),
    )


def _check_rows(blocks: list[Block], target: str) -> None:
    """That no product has more source vectors than an instruction can name."""
    for block in blocks:
        cols = 0
        if isinstance(block, Conv):
            cols = block.source.row_vectors * block.window.kernel[0] * block.window.kernel[1]
        elif isinstance(block, Chain) and block.matrix:
            cols = block.source.row_vectors
        elif isinstance(block, Recurrent):
            cols = max(
                block.x.row_vectors,
                -(-block.hidden // (len(block.x.columns) // block.x.row_vectors)),
            )
        if cols > ROWS_MAX:
            raise DoesNotFit("native vectors of a row", cols, ROWS_MAX, target)


def _input_size(blocks: list[Block], layout: Layout, inputs: dict[str, int]) -> int:
    """A recurrent layer reads its next step ahead, after the last one too."""
    size = sum(map(layout.vectors_of, inputs))
    for block in blocks:
        if isinstance(block, Recurrent) and block.x.store in inputs and block.x.rows > 1:
            end = inputs[block.x.store] + (block.x.rows + 1) * block.x.row_vectors
            size = max(size, end)
    return size


class _Lowering:
    def __init__(self, chains: Chains) -> None:
        self.chains = chains
        self.plan: Plan = chains.plan
        self.config = chains.config
        self.emitter = chains.emitter
        # groups of matrices to load before the first product of each item
        self.loads: list[list[list[Matrix]]] = [[] for _ in self.plan.items]

    def run(self, samples: int, in_size: int, out_size: int) -> None:
        needed = list(self.plan.fills.values())
        if self.plan.pinned:
            needed += [const for item in self.plan.items for const, _ in consts(item)]
        self._load_consts(needed)
        if self.plan.pinned and samples > 1:
            self.chains.pending = [[each for item in self.plan.items for each in matrices(item)]]
            self.chains.load_pending()
        else:
            self._order_loads()
        self.emitter.loop("sample", samples, self._items, (in_size, out_size))

    def _order_loads(self) -> None:
        """Each item's matrices by themselves, some items ahead: as many loads as the loader has
        under way, so that it never rests."""
        plan = self.plan
        products = [index for index, item in enumerate(plan.items) if matrices(item)]
        distance = LOADS_AHEAD if plan.pinned else 1
        for turn, index in enumerate(products):
            if not plan.ahead[index]:
                self.loads[index].append(matrices(plan.items[index]))
            first = 1 if turn == 0 else distance
            for following in products[turn + first : turn + distance + 1]:
                if plan.ahead[following]:
                    self.loads[index].append(matrices(plan.items[following]))

    def _items(self) -> None:
        for index, item in enumerate(self.plan.items):
            output = item.store if isinstance(item, Load) else item.output
            steps = item.x.rows if isinstance(item, Recurrent) else 1
            layer = Layer(item.name, item.op, output, 0, 0, macs(item), steps)
            self.emitter.layer(layer, partial(self._item, index))

    def _item(self, index: int) -> None:
        plan, item = self.plan, self.plan.items[index]
        if not plan.pinned:
            self._load_consts([const for const, _ in consts(item)])
        self.chains.pending = self.loads[index]
        for store in writes(item):
            self.chains.surround(store)
        temporaries = plan.temporaries[index]
        if isinstance(item, Load):
            self.chains.load(item)
        elif isinstance(item, Recurrent):
            lower_recurrent(self.chains, item, temporaries)
        elif isinstance(item, Pool):
            lower_pool(self.chains, item, temporaries)
        elif isinstance(item, Conv):
            self.chains.conv(item)
        elif item.matrix is None:
            self.chains.elementwise(item)
        else:
            self.chains.linear(item, temporaries)

    # ---- weights

    def _load_consts(self, needed: list[Const]) -> None:
        """Neighbours in one transfer."""
        moves = sorted(
            (place.mem, place.base, self.plan.vectors[const], const_vectors(const, self.config))
            for const in dict.fromkeys(needed)
            for place in [self.plan.consts[const]]
        )
        joined: list[tuple[Mem, int, int, int]] = []
        for mem, base, vector, count in moves:
            if joined:
                mem_, base_, vector_, count_ = joined[-1]
                if (mem_, base_ + count_, vector_ + count_) == (mem, base, vector):
                    joined[-1] = (mem, base_, vector_, count_ + count)
                    continue
            joined.append((mem, base, vector, count))
        for mem, base, vector, count in joined:
            self.chains.copy(Place(Mem.WEIGHTS, vector), [Place(mem, base)], count)
