"""Finds combinational loops: cells whose output reaches their own input without a register.

First by cells, which is fast; where cells form a ring, bit by bit, because a ring of words need
not be one of bits (`c[i+1]` from `c[i]` in one vector operation).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rtl_sim.capture import cells
from rtl_sim.capture.netlist import Bit, Bits, Cell, Module
from rtl_sim.capture.ports import read_ports

Graph = Mapping[int, Sequence[int]]


def word_rings(module: Module) -> list[Cell]:
    """Cells in rings of whole words, whether or not their bits loop too."""
    drivers = {
        bit: index
        for index, cell in enumerate(module.cells)
        for _, output in _paths(cell)
        for bit in output
    }
    graph = {
        index: sorted(
            {drivers[bit] for inputs, _ in _paths(cell) for bit in inputs if bit in drivers}
        )
        for index, cell in enumerate(module.cells)
    }
    return [module.cells[index] for ring in rings(graph) for index in ring]


def combinational_loops(module: Module) -> list[Cell]:
    """The cells that are on a true loop, empty if there is none."""
    suspects = word_rings(module)
    sources: dict[int, list[int]] = {}
    for cell in suspects:
        for inputs, outputs in _paths(cell):
            for index, bit in enumerate(outputs):
                reach = _reach(cell, inputs, index, len(outputs))
                numbers = [source for source in reach if isinstance(source, int)]
                sources.setdefault(int(bit), []).extend(numbers)
    looping = {bit for ring in rings(sources) for bit in ring}
    return [
        cell
        for cell in suspects
        if any(looping.intersection(map(int, outputs)) for _, outputs in _paths(cell))
    ]


def _paths(cell: Cell) -> Iterator[tuple[Bits, Bits]]:
    """Pairs (input bits, output bits) with a combinational path between them."""
    if cell.kind == "$mem_v2":
        yield from ((port.address, port.data) for port in read_ports(cell) if not port.clock)
    elif cell.kind not in cells.REMEMBERING and cell.kind not in cells.SILENT:
        for pin in cell.inputs:
            for output in cell.outputs:
                if cell.passes(pin, output):
                    yield cell.pins[pin], cell.pins[output]


def _reach(cell: Cell, inputs: Bits, index: int, width: int) -> Bits:
    """The bits of `inputs` that output bit `index` (of `width`) can depend on."""
    if cell.kind not in cells.BITWISE or inputs == cell.pins.get("S"):
        return inputs
    if cell.kind == "$pmux" and inputs == cell.pins["B"]:
        return inputs[index::width]
    return inputs[index : index + 1] or inputs[-1:]  # a shorter operand repeats its sign bit


def rings(graph: Graph) -> list[list[int]]:
    """Strongly connected components of more than one node or with an edge to itself.

    Tarjan's algorithm without recursion: netlists are deeper than Python's stack. Nodes that are
    no key of `graph` lead nowhere.
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    waiting: list[int] = []
    inside: set[int] = set()
    found: list[list[int]] = []
    for root in graph:
        if root in order:
            continue
        trail: list[tuple[int, Iterator[int]]] = []
        _enter(root, graph, order, low, waiting, inside, trail)
        while trail:
            node, rest = trail[-1]
            following = next(rest, None)
            if following is None:
                trail.pop()
                if trail:
                    low[trail[-1][0]] = min(low[trail[-1][0]], low[node])
                if low[node] == order[node]:
                    ring = _leave(node, waiting, inside)
                    if len(ring) > 1 or node in graph[node]:
                        found.append(sorted(ring))
            elif following not in order:
                if following in graph:
                    _enter(following, graph, order, low, waiting, inside, trail)
            elif following in inside:
                low[node] = min(low[node], order[following])
    return found


def _enter(
    node: int,
    graph: Graph,
    order: dict[int, int],
    low: dict[int, int],
    waiting: list[int],
    inside: set[int],
    trail: list[tuple[int, Iterator[int]]],
) -> None:
    order[node] = low[node] = len(order)
    waiting.append(node)
    inside.add(node)
    trail.append((node, iter(graph[node])))


def _leave(node: int, waiting: list[int], inside: set[int]) -> list[int]:
    ring: list[int] = []
    while not ring or ring[-1] != node:
        ring.append(waiting.pop())
        inside.discard(ring[-1])
    return ring


def topological(module: Module) -> list[Cell]:
    """Cells with combinational paths, each after those that feed it; rings in netlist order."""
    drivers: dict[Bit, int] = {
        bit: index
        for index, cell in enumerate(module.cells)
        for _, output in _paths(cell)
        for bit in output
    }
    done: dict[int, bool] = {}  # False while being visited
    ordered: list[Cell] = []
    for root in range(len(module.cells)):
        trail = [] if root in done else [(root, _feeders(module.cells[root], drivers))]
        done.setdefault(root, False)
        while trail:
            node, feeders = trail[-1]
            feeder = next((f for f in feeders if f not in done), None)
            if feeder is None:
                trail.pop()
                done[node] = True
                ordered.append(module.cells[node])
            else:
                done[feeder] = False
                trail.append((feeder, _feeders(module.cells[feeder], drivers)))
    return ordered


def _feeders(cell: Cell, drivers: Mapping[Bit, int]) -> Iterator[int]:
    return (drivers[bit] for inputs, _ in _paths(cell) for bit in inputs if bit in drivers)
