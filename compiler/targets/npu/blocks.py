"""What a program is made of, before anything has a place: blocks of chains over stores.

A block is one layer of the model with the element-wise operators that ride on its chains. No
addresses here: a `Step` names the store or constant of its operand, a `Tap` the store that the
vector is written to at that point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from compiler.ir import Array, Window
from compiler.targets.npu.layout import View
from rtl_sim.spec.npu import ADD_OPS, VV_OPS, Mem, Op, next_slot


@dataclass(eq=False)
class Matrix:
    """Weights, [out, padded in]; for recurrent layers the gates of one chain below one another,
    each padded to whole native vectors. `real`: how many of them are the model's."""

    name: str
    weights: Array = field(repr=False)
    real: int


@dataclass(eq=False)
class Const:
    """Vectors, as padded rows. `per_row`: the same one for every row of a loop."""

    name: str
    rows: Array = field(repr=False)  # [count, whole native vectors]
    per_row: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One operation in a chain; `operand` is a store, a constant, or nothing."""

    op: Op
    operand: str | Const | None = None

    @property
    def mem(self) -> Mem:
        """Where the operand must lie."""
        assert self.op in VV_OPS
        return Mem.AVRF if self.op in ADD_OPS else Mem.MVRF


@dataclass(frozen=True, slots=True)
class Tap:
    """Write the vector as it is here to a store."""

    store: str


Steps = list[Step | Tap]


@dataclass
class Chain:
    """rows times: a row of `source`, or a product with it, then the steps."""

    name: str
    op: str  # of the IR, for reports
    source: View
    matrix: Matrix | None
    rows: int
    row_vectors: int  # native vectors of a row of the result
    steps: Steps
    output: str  # value of the graph that it makes, for reports


@dataclass
class Conv(Chain):
    """rows = height x width products, each with the pixels under a window."""

    matrix: Matrix
    window: Window
    lines: int  # of the source
    height: int  # of the result
    width: int
    pixel_macs: int  # of one pixel, without what padding and groups leave out


@dataclass
class Pool:
    """The greatest, or the sum, of the vectors under a window, then the steps."""

    name: str
    op: str
    source: View
    window: Window
    combine: Op
    lines: int  # of the source
    height: int  # of the result
    width: int
    steps: Steps
    output: str


@dataclass
class Recurrent:
    """A layer over time. `state` has a matrix for each chain of a step, see recurrent.py."""

    name: str
    op: str  # rnn, gru, lstm
    x: View
    hidden: int
    input: Matrix  # of all gates, in the order of the chains
    state: tuple[Matrix, ...]
    bias: Const | None  # of all gates
    reset_first: bool  # gru: the state is reset before the product, not after it
    state_bias: Const | None  # gru, reset after the product: what is added to the state's part
    activation: Op  # rnn
    h0: str | Const
    c0: str | Const  # lstm
    y: str | None
    y_h: str | None
    y_c: str | None
    output: str


@dataclass
class Load:
    """Copy an input of the model on chip, because products or operations read it."""

    store: str
    name: str = "input"
    op: str = "load"


Block = Chain | Conv | Pool | Recurrent
Item = Block | Load


def slots_left(steps: Steps, op: Op, begin: int = 0) -> bool:
    """Whether a chain with these steps, behind `begin` slots that are taken, can do `op` too."""
    passed: int | None = begin
    for step in (*steps, Step(op)):
        if isinstance(step, Step):
            slot = next_slot(step.op, passed or 0)
            if slot is None:
                return False
            passed = slot + 1
    return True


def pad_columns(rows: Array, view: View) -> Array:
    """Rows of features as rows of whole native vectors, zeros where the padding is."""
    padded = np.zeros((len(rows), len(view.columns)), np.float32)
    used = view.columns >= 0
    padded[:, used] = rows[:, view.columns[used]]
    return padded


# ---- what a block reads and writes


def reads(item: Item) -> Iterator[tuple[str, Mem]]:
    """(store, where it must lie) of everything an item reads; Mem.NONE: anywhere, device memory
    included."""
    if isinstance(item, Recurrent):
        yield item.x.store, Mem.IVRF
        yield from ((state, Mem.NONE) for state in (item.h0, item.c0) if isinstance(state, str))
    elif isinstance(item, Pool):
        yield item.source.store, Mem.AVRF
    elif isinstance(item, Chain):
        yield item.source.store, Mem.NONE if item.matrix is None else Mem.IVRF
    if isinstance(item, Chain | Pool):
        for step in item.steps:
            if isinstance(step, Step) and isinstance(step.operand, str):
                yield step.operand, step.mem


def writes(item: Item) -> list[str]:
    if isinstance(item, Load):
        return [item.store]
    if isinstance(item, Recurrent):
        return [store for store in (item.y, item.y_h, item.y_c) if store]
    return [step.store for step in item.steps if isinstance(step, Tap)]


def consts(item: Item) -> list[tuple[Const, Mem]]:
    """Constants that must lie on chip, and where."""
    if isinstance(item, Load):
        return []
    if isinstance(item, Recurrent):
        return [(each, Mem.AVRF) for each in (item.bias, item.state_bias) if each]
    return [
        (step.operand, step.mem)
        for step in item.steps
        if isinstance(step, Step) and isinstance(step.operand, Const)
    ]


def states(item: Item) -> list[Const]:
    """Constants read straight from the weights buffer."""
    if not isinstance(item, Recurrent):
        return []
    return [state for state in (item.h0, item.c0) if isinstance(state, Const)]


def matrices(item: Item) -> list[Matrix]:
    """In the order in which they are first needed."""
    if isinstance(item, Recurrent):
        return [item.input, *item.state]
    return [item.matrix] if isinstance(item, Chain) and item.matrix else []


def macs(item: Item) -> int:
    """Multiply-accumulates of one sample as the model means them, padding not counted."""
    if isinstance(item, Recurrent):
        return item.x.rows * sum(matrix.real for matrix in matrices(item))
    if isinstance(item, Conv):
        return item.rows * item.pixel_macs
    if isinstance(item, Chain) and item.matrix:
        return item.rows * item.matrix.real
    return 0
