"""Who lives where and when: requests for on-chip memory, and the order weights are stored in.

From the blocks comes the lifetime of every store, constant, matrix and temporary; the allocator
turns them into places. Weights are pinned from the first block to the last when they all fit;
otherwise each block loads its own just before it runs ("streamed").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from compiler.errors import DoesNotFit
from compiler.targets.npu.blocks import Block, Chain, Const, Lstm, Matrix, Step, Tap
from compiler.targets.npu.layout import Layout
from compiler.targets.npu.memory import RESOURCES, Memories, Place
from rtl_sim.model.npu_formats import native_count, pack_matrix, pack_vector
from rtl_sim.spec.npu import Config, Mem

OPERAND_MEMS = (Mem.AVRF, Mem.MVRF)  # where the vv operations find their operands
ANY_MEMS = (Mem.AVRF, Mem.MVRF, Mem.IVRF)
ADDRESSES = (1 << 16) - 1  # native vectors of a buffer, and turns of a loop: 16-bit fields


@dataclass
class Load:
    """Copy an input of the model on chip, because an operation reads it as its operand."""

    store: str


Item = Block | Load


@dataclass
class Temporaries:
    """What one block needs while it runs, by role."""

    places: dict[str, Place] = field(default_factory=dict)


@dataclass
class Plan:
    """Everything that has a place, and what is loaded before which block."""

    items: list[Item]
    pinned: bool
    stores: dict[tuple[str, str], Place]  # (store, "mv" | "vv" | "rd")
    matrices: dict[Matrix, Place]
    consts: dict[Const, Place]
    temporaries: list[Temporaries]  # one an item
    vectors: dict[Matrix | Const, int]  # first native vector in the weights buffer
    weights: bytes
    used: dict[str, tuple[int, int]]

    def sinks(self, store: str) -> list[Place]:
        """Where a store is written on chip."""
        return list(dict.fromkeys(self.stores[key] for key in self.stores if key[0] == store))


def tiles_of(matrix: Matrix, config: Config) -> tuple[int, int]:
    """(rows, columns) of tiles."""
    rows, cols = matrix.weights.shape
    return native_count(config, rows), native_count(config, cols)


def const_vectors(const: Const, config: Config) -> int:
    return const.rows.size // config.n


def plan(
    blocks: list[Block],
    layout: Layout,
    inputs: frozenset[str],
    config: Config,
    target: str,
    samples: int,
) -> Plan:
    """Raises DoesNotFit."""
    items = _with_loads(blocks, inputs)
    try:
        return _Planner(items, layout, inputs, config, target, pinned=True).run()
    except DoesNotFit:
        if samples > 1:  # would load every weight again for every sample
            raise
    return _Planner(items, layout, inputs, config, target, pinned=False).run()


def _with_loads(blocks: list[Block], inputs: frozenset[str]) -> list[Item]:
    items: list[Item] = []
    loaded: set[str] = set()
    for block in blocks:
        for store, how in _reads(block):
            if how == "vv" and store in inputs and store not in loaded:
                loaded.add(store)
                items.append(Load(store))
        items.append(block)
    return items


def _reads(item: Item) -> list[tuple[str, str]]:
    """(store, how) of everything an item reads: "mv" product, "vv" operand, "rd" anything."""
    if isinstance(item, Load):
        return []
    if isinstance(item, Lstm):
        states = [state for state in (item.h0, item.c0) if isinstance(state, str)]
        return [(store, "rd") for store in (item.x.store, *states)]
    source = (item.source.store, "rd" if item.matrix is None else "mv")
    operands = [
        (step.operand, "vv")
        for step in item.steps
        if isinstance(step, Step) and isinstance(step.operand, str)
    ]
    return [source, *operands]


def _writes(item: Item) -> list[str]:
    if isinstance(item, Load):
        return [item.store]
    if isinstance(item, Lstm):
        return [store for store in (item.y, item.y_h, item.y_c) if store]
    return [step.store for step in item.steps if isinstance(step, Tap)]


def consts_of(item: Item) -> list[Const]:
    if isinstance(item, Load):
        return []
    if isinstance(item, Lstm):
        return list(item.biases)
    return [
        step.operand
        for step in item.steps
        if isinstance(step, Step) and isinstance(step.operand, Const)
    ]


def matrices_of(item: Item) -> list[Matrix]:
    if isinstance(item, Lstm):
        return list(item.gates)
    return [item.matrix] if isinstance(item, Chain) and item.matrix else []


def states(item: Item) -> list[Const]:
    """Constants read straight from the weights buffer, never pinned."""
    if not isinstance(item, Lstm):
        return []
    return [state for state in (item.h0, item.c0) if isinstance(state, Const)]


class _Planner:
    def __init__(
        self,
        items: list[Item],
        layout: Layout,
        inputs: frozenset[str],
        config: Config,
        target: str,
        *,
        pinned: bool,
    ) -> None:
        self.items = items
        self.layout = layout
        self.inputs = inputs
        self.config = config
        self.target = target
        self.pinned = pinned
        self.memories = Memories(config, target)
        self.matrices: dict[Matrix, Place] = {}
        self.consts: dict[Const, Place] = {}
        self.stores: dict[tuple[str, str], Place] = {}

    def run(self) -> Plan:
        if self.pinned:
            for index in range(len(self.items)):
                self._place_weights(index, 0, len(self.items) - 1)
        temporaries = []
        for index, item in enumerate(self.items):
            if not self.pinned:
                self._place_weights(index, index, index)
            temporaries.append(self._temporaries(index, item))
            for store in _writes(item):
                self._place_store(index, store)
        vectors, weights = self._pack()
        return Plan(
            self.items,
            self.pinned,
            self.stores,
            self.matrices,
            self.consts,
            temporaries,
            vectors,
            weights,
            self.memories.used(),
        )

    def _place_weights(self, index: int, first: int, last: int) -> None:
        needed = [prod(tiles_of(each, self.config)) for each in matrices_of(self.items[index])]
        if sum(needed) > self.config.tiles:  # say what the whole block needs, not its first part
            raise DoesNotFit(RESOURCES[Mem.MATRIX], sum(needed), self.config.tiles, self.target)
        for matrix in matrices_of(self.items[index]):
            count = prod(tiles_of(matrix, self.config))
            self.matrices[matrix] = self.memories.place([Mem.MATRIX], count, first, last)
        for const in consts_of(self.items[index]):
            count = const_vectors(const, self.config)
            self.consts[const] = self.memories.place(OPERAND_MEMS, count, first, last)

    def _place_store(self, index: int, store: str) -> None:
        """A place for every way in which later items read it."""
        last: dict[str, int] = {}
        for later in range(index, len(self.items)):
            for read, how in _reads(self.items[later]):
                if read == store:
                    last[how] = later
        if not last:
            return
        size = self.layout.vectors_of(store)
        until = max(last.values())
        if store in self.inputs:
            last = {"vv": last["vv"]}  # other readers find it in the input buffer
        for how in ("mv", "vv"):
            if how in last:
                mems = [Mem.IVRF] if how == "mv" else OPERAND_MEMS
                self.stores[store, how] = self.memories.place(mems, size, index, until)
        if "rd" in last and store not in self.inputs:
            kept = [place for (name, _), place in self.stores.items() if name == store]
            place = kept[0] if kept else self.memories.place(ANY_MEMS, size, index, until)
            self.stores[store, "rd"] = place

    def _temporaries(self, index: int, item: Item) -> Temporaries:
        """Room for a block's own use."""
        wanted: dict[str, tuple[tuple[Mem, ...], int]] = {}
        if isinstance(item, Lstm):
            hidden = native_count(self.config, item.hidden)
            wanted["xh"] = ((Mem.IVRF,), item.x.row_vectors + hidden)
            for role in ("c", "i", "o", "ig"):
                wanted[role] = (OPERAND_MEMS, hidden)
        elif isinstance(item, Chain) and item.matrix and item.source.store in self.inputs:
            wanted["x"] = ((Mem.IVRF,), item.source.row_vectors)
        return Temporaries(
            {
                role: self.memories.place(mems, size, index, index)
                for role, (mems, size) in wanted.items()
            }
        )

    def _pack(self) -> tuple[dict[Matrix | Const, int], bytes]:
        """The weights buffer: tiles first, then vectors by place, so that loads can be joined."""
        vectors: dict[Matrix | Const, int] = {}
        parts: list[bytes] = []
        at = 0

        def append(key: Matrix | Const, data: bytes) -> None:
            nonlocal at
            vectors[key] = at
            parts.append(data)
            at += len(data) // self.config.vector_bytes

        for matrix in self.matrices:
            append(matrix, pack_matrix(self.config, matrix.weights))
        for const in sorted(
            self.consts, key=lambda each: (self.consts[each].mem, self.consts[each].base)
        ):
            append(const, pack_vector(self.config, const.rows))
        for item in self.items:
            for state in dict.fromkeys(states(item)):
                append(state, pack_vector(self.config, state.rows))
        if at > ADDRESSES:
            raise DoesNotFit("weights buffer vectors", at, ADDRESSES, self.target)
        return vectors, b"".join(parts)
