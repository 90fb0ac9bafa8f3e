"""Who lives where and when: requests for on-chip memory, and the order weights are stored in.

From the blocks comes the lifetime of every store, constant, matrix and temporary; the allocator
turns them into places. Weights are pinned from the first item to the last when they all fit.
Otherwise each item's are loaded for it, while the item before it runs if there is room for both;
and an item whose matrices do not fit at once has the rest *spilled*: they stay in device memory and
are loaded strip by strip each time they are used.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import numpy as np

from compiler.errors import DoesNotFit
from compiler.targets.npu.blocks import (
    Block,
    Chain,
    Const,
    Conv,
    Item,
    Load,
    Matrix,
    Pool,
    Recurrent,
    consts,
    matrices,
    reads,
    states,
    writes,
)
from compiler.targets.npu.cut import SCRATCH
from compiler.targets.npu.layout import Border, Layout
from compiler.targets.npu.memory import RESOURCES, Memories, Place, Tiles
from rtl_sim.model.npu_formats import native_count, pack_matrix, pack_vector
from rtl_sim.spec.npu import WEIGHT_ADDRESS_BITS, Config, Mem

ADDRESSES = (1 << 16) - 1  # native vectors of a buffer, and turns of a loop: 16-bit fields
WEIGHT_ADDRESSES = (1 << WEIGHT_ADDRESS_BITS) - 1


@dataclass(frozen=True, slots=True)
class Strips:
    """A spilled matrix: `rows` rows of tiles at a time, in turn into these places."""

    rows: int
    buffers: tuple[Tiles, ...]


@dataclass
class Plan:
    """Everything that has a place, and what is loaded before which item."""

    items: list[Item]
    homes: dict[tuple[str, Mem], Place]  # of stores
    matrices: dict[Matrix, Tiles | Strips]
    consts: dict[Const, Place]
    temporaries: list[dict[str, Place]]  # one an item, by role
    fills: dict[float, Const]  # vectors of borders, by value
    ahead: list[bool]  # of each item: its matrices are loaded before an item before it runs
    pinned: bool
    vectors: dict[Matrix | Const, int] = field(default_factory=dict)  # in the weights buffer
    weights: bytes = b""
    used: dict[str, tuple[int, int]] = field(default_factory=dict)

    def sinks(self, store: str) -> list[Place]:
        """Where a store is written on chip."""
        return [place for (name, _), place in self.homes.items() if name == store]


def tiles_of(matrix: Matrix, config: Config) -> tuple[int, int]:
    """(rows, columns) of tiles."""
    rows, cols = matrix.weights.shape
    return native_count(config, rows), native_count(config, cols)


def const_vectors(const: Const, config: Config) -> int:
    return const.rows.size // config.n


def plan(
    blocks: list[Block], layout: Layout, inputs: frozenset[str], config: Config, target: str
) -> Plan:
    """Raises DoesNotFit."""
    items = _with_loads(blocks, inputs)
    with contextlib.suppress(DoesNotFit):
        return _Planner(items, layout, inputs, config, target, pinned=True).run()
    return _Planner(items, layout, inputs, config, target, pinned=False).run()


def _with_loads(blocks: list[Block], inputs: frozenset[str]) -> list[Item]:
    items: list[Item] = []
    loaded: set[str] = set()
    for block in blocks:
        for store, mem in reads(block):
            if store in inputs and mem and store not in loaded and not _streams(block, store):
                loaded.add(store)
                items.append(Load(store))
        items.append(block)
    return items


def _streams(item: Item, store: str) -> bool:
    """Whether an item takes this input of the model step by step from device memory."""
    return isinstance(item, Recurrent) and item.x.store == store


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
        self.memories = Memories(config, target)
        self.plan = Plan(items, {}, {}, {}, [], {}, [False] * len(items), pinned)

    def run(self) -> Plan:
        plan, last = self.plan, len(self.items) - 1
        for border in self.layout.borders.values():
            if border.value not in plan.fills:
                rows = np.full((1, self.config.n), border.value, np.float32)
                fill = Const(f"border of {border.value}", rows)
                plan.fills[border.value] = fill
                plan.consts[fill] = self.memories.place([Mem.AVRF], 1, 0, last)
        if plan.pinned:
            for index in range(len(self.items)):
                self._place_consts(index, 0, last)
                if not self._place_matrices(index, 0, last):
                    raise DoesNotFit(RESOURCES[Mem.MATRIX], 1, 0, self.target)  # try otherwise
        before = None  # the last item with products
        for index, item in enumerate(self.items):
            plan.ahead[index] = plan.pinned and before is not None
            if not plan.pinned:
                self._place_consts(index, index, index)
                if before is not None:
                    plan.ahead[index] = self._place_matrices(index, before, index)
                if not plan.ahead[index] and not self._place_matrices(index, index, index):
                    self._spill(index)
            if matrices(item):
                before = index
            for store in writes(item):
                self._place_store(index, store)
            plan.temporaries.append(self._temporaries(index, item))
        self._pack()
        plan.used = self.memories.used()
        return plan

    # ---- weights

    def _place_consts(self, index: int, first: int, last: int) -> None:
        for const, mem in consts(self.items[index]):
            count = const_vectors(const, self.config)
            self.plan.consts[const] = self.memories.place([mem], count, first, last)

    def _place_matrices(self, index: int, first: int, last: int) -> bool:
        """All of an item's, or none."""
        snapshot = self.memories.snapshot()
        for matrix in matrices(self.items[index]):
            tiles = self.memories.place_tiles(*tiles_of(matrix, self.config), first, last)
            if tiles is None:
                self.memories.restore(snapshot)
                return False
            self.plan.matrices[matrix] = tiles
        return True

    def _spill(self, index: int) -> None:
        """Two buffers for strips first, then as many whole matrices as there is room for."""
        sizes = {each: tiles_of(each, self.config) for each in matrices(self.items[index])}
        cols = max(size[1] for size in sizes.values())
        height = min(self.config.engines, max(size[0] for size in sizes.values()))
        buffers: tuple[Tiles, ...] = ()
        for rows, count in ((height, 2), (height, 1), (1, 1)):
            snapshot = self.memories.snapshot()
            found = [self.memories.place_tiles(rows, cols, index, index) for _ in range(count)]
            buffers = tuple(tiles for tiles in found if tiles)
            if len(buffers) == count:
                break
            self.memories.restore(snapshot)
            buffers = ()
        if not buffers:
            raise DoesNotFit("MatrixRf tiles in a row", cols, self.config.tiles, self.target)
        for matrix, (rows_, cols_) in sizes.items():
            tiles = self.memories.place_tiles(rows_, cols_, index, index)
            self.plan.matrices[matrix] = tiles or Strips(rows, buffers)

    # ---- stores

    def _place_store(self, index: int, store: str) -> None:
        """A place in every memory where later items look for it."""
        item = self.items[index]
        last: dict[Mem, int] = {}
        for later in range(index, len(self.items)):
            for read, mem in reads(self.items[later]):
                if read == store and not (
                    store in self.inputs and _streams(self.items[later], read)
                ):
                    last[mem] = later
        if store in self.inputs:
            last.pop(Mem.NONE, None)  # it lies in the input buffer
        anywhere = last.pop(Mem.NONE, None)
        if anywhere is not None and not last:
            others = {
                place.mem
                for name in writes(item)
                if name != store
                for place in self.plan.sinks(name)
            }
            # a recurrent layer's result is its state, which lies where products read it
            kept = isinstance(item, Recurrent) and store == item.y
            mems = [Mem.IVRF] if kept else [mem for mem in SCRATCH if mem not in others]
            size = self.layout.vectors_of(store)
            self._place_home(store, mems, size, index, anywhere)
            return
        until = max([*last.values(), anywhere or 0])
        for mem in last:
            self._place_home(store, [mem], self.layout.vectors_of(store), index, until)

    def _place_home(self, store: str, mems: list[Mem], size: int, first: int, last: int) -> None:
        border = self.layout.borders.get((store, mems[0]))
        item = self.items[first]
        front = 0
        if isinstance(item, Recurrent) and store == item.y and mems == [Mem.IVRF]:
            front = native_count(self.config, item.hidden)  # the state before the first step
        try:
            if border:
                place = self._bordered(mems, border, size, first, last)
            else:
                place = self.memories.place(mems, size + front, first, last).shifted(front)
        except DoesNotFit:
            if isinstance(item, Load) and mems == [Mem.IVRF] and self._row_by_row(store):
                return
            raise
        self.plan.homes[store, place.mem] = place

    def _bordered(self, mems: list[Mem], border: Border, size: int, first: int, last: int) -> Place:
        top, left, bottom, right = border.pads
        pixel = size // (border.lines * border.width)
        pitch = (border.width + left + right) * pixel
        whole = (border.lines + top + bottom) * pitch
        place = self.memories.place(mems, whole, first, last)
        return Place(place.mem, place.base + top * pitch + left * pixel, border.lines, pitch)

    def _row_by_row(self, store: str) -> bool:
        """Whether all products that read this input can take one row of it at a time."""
        return all(
            isinstance(item, Chain) and not isinstance(item, Conv)
            for item in self.items
            for read, mem in reads(item)
            if read == store and mem is Mem.IVRF and not _streams(item, store)
        )

    def _temporaries(self, index: int, item: Item) -> dict[str, Place]:
        """Room for an item's own use."""
        wanted: dict[str, tuple[Mem, int]] = {}
        if isinstance(item, Recurrent):
            wanted = self._recurrent(item)
        elif isinstance(item, Pool):
            home = self.plan.homes[item.source.store, Mem.AVRF]
            line = home.pitch or self.layout.vectors_of(item.source.store) // item.lines
            if item.window.kernel[0] > 1:
                wanted["line"] = (Mem.AVRF, line)
            if item.window.kernel[1] > 3:
                wanted["pixel"] = (Mem.AVRF, item.source.row_vectors)
        elif (
            isinstance(item, Chain)
            and item.matrix is not None
            and (item.source.store, Mem.IVRF) not in self.plan.homes
        ):
            wanted["x"] = (Mem.IVRF, item.source.row_vectors)  # one row at a time
        return {
            role: self.memories.place([mem], size, index, index)
            for role, (mem, size) in wanted.items()
        }

    def _recurrent(self, item: Recurrent) -> dict[str, tuple[Mem, int]]:
        size = native_count(self.config, item.hidden)
        wanted = {"pre": (Mem.AVRF, native_count(self.config, len(item.input.weights)))}
        if (item.y, Mem.IVRF) not in self.plan.homes:
            wanted["h"] = (Mem.IVRF, size)
        if (item.x.store, Mem.IVRF) not in self.plan.homes or item.x.store in self.inputs:
            wanted["x"] = (Mem.IVRF, item.x.row_vectors)
        if item.op == "lstm":
            wanted |= {"io": (Mem.MVRF, 2 * size), "c": (Mem.MVRF, size), "kept": (Mem.AVRF, size)}
        if item.op == "gru":
            wanted |= {"n": (Mem.AVRF, size)}
            if item.reset_first:
                wanted |= {"h*": (Mem.MVRF, size), "z": (Mem.MVRF, size), "rh": (Mem.IVRF, size)}
            else:
                wanted |= {"zr": (Mem.MVRF, 2 * size)}
        if item.op != "gru" and "h" in wanted and not self.in_place(item):
            wanted["new"] = (Mem.AVRF, size)
        return wanted

    def in_place(self, item: Recurrent) -> bool:
        """Whether the last product of a step may overwrite the state that it reads."""
        size = native_count(self.config, item.hidden)
        whole = isinstance(self.plan.matrices[item.state[-1]], Tiles)
        return whole and size <= self.config.in_place_rows

    # ---- the weights buffer

    def _pack(self) -> None:
        """Tiles first, then vectors by place, so that loads can be joined."""
        plan, parts, at = self.plan, [], 0

        def append(key: Matrix | Const, data: bytes) -> None:
            nonlocal at
            plan.vectors[key] = at
            parts.append(data)
            at += len(data) // self.config.vector_bytes

        need = sum(
            rows * cols * self.config.tile_vectors
            for rows, cols in (tiles_of(matrix, self.config) for matrix in plan.matrices)
        )
        if need > WEIGHT_ADDRESSES:
            raise DoesNotFit("weights buffer vectors", need, WEIGHT_ADDRESSES, self.target)
        for matrix in plan.matrices:
            append(matrix, pack_matrix(self.config, matrix.weights))
        for const in sorted(
            plan.consts, key=lambda each: plan.consts[each].mem << 16 | plan.consts[each].base
        ):
            append(const, pack_vector(self.config, const.rows))
        for item in self.items:
            for state in dict.fromkeys(states(item)):
                append(state, pack_vector(self.config, state.rows))
        if at > WEIGHT_ADDRESSES:
            raise DoesNotFit("weights buffer vectors", at, WEIGHT_ADDRESSES, self.target)
        plan.weights = b"".join(parts)
