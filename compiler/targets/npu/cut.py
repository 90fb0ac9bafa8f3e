"""Cut chains that write more than a chain can: at two places, and into each memory once.

Where a store lies follows from who reads it. The rest of a chain that is cut goes on from what the
first part wrote.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.targets.npu.blocks import Block, Chain, Pool, Step, Steps, Tap, reads
from compiler.targets.npu.layout import View
from rtl_sim.spec.npu import Mem

SCRATCH = (Mem.MVRF, Mem.AVRF, Mem.IVRF)  # where a value lies that any memory would do for


def homes(blocks: list[Block], wanted: set[str]) -> dict[str, set[Mem]]:
    """Store -> the memories it is written to."""
    table: dict[str, set[Mem]] = {store: {Mem.OUTPUT} for store in wanted}
    for block in blocks:
        for store, mem in reads(block):
            table.setdefault(store, set()).add(mem)
    return table


def cut_chains(blocks: list[Block], wanted: set[str]) -> list[Block]:
    table = homes(blocks, wanted)
    cut: list[Block] = []
    for block in blocks:
        while isinstance(block, Chain | Pool):
            at = _first_misfit(block.steps, table)
            if at is None:
                break
            before, after = block.steps[:at], block.steps[at:]
            store = next(step.store for step in reversed(before) if isinstance(step, Tap))
            end = before.index(Tap(store)) + 1
            after = before[end:] + after
            table.setdefault(store, set()).add(Mem.NONE)
            cut.append(replace(block, steps=before[:end], output=store))
            block = _continued(block, store, after)
        cut.append(block)
    return cut


def _continued(block: Chain | Pool, store: str, steps: Steps) -> Chain:
    if isinstance(block, Pool):
        rows, vectors = block.height * block.width, block.source.row_vectors
    else:
        rows, vectors = block.rows, block.row_vectors
    source = View(store, rows, 0, vectors, vectors, 0, block.source.columns)
    return Chain(block.name, "rest", source, None, rows, vectors, steps, block.output)


def _first_misfit(steps: Steps, table: dict[str, set[Mem]]) -> int | None:
    """Index of the first tap that has no room in this chain."""
    used: set[Mem] = set()
    places: set[int] = set()  # by the number of operations before
    for index, step in enumerate(steps):
        if not isinstance(step, Tap):
            continue
        mems = table.get(step.store, set()) - {Mem.NONE}
        places.add(sum(isinstance(each, Step) for each in steps[:index]))
        if len(places) > 2 or mems & used:
            return index
        used |= mems or set(SCRATCH[:1])
    return None
