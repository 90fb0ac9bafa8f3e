"""Rings in a graph: found exactly where a slow and obvious method finds them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtl_sim.capture.loops import rings

GRAPHS = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 11), max_size=4), max_size=10)


def _reachable(graph: dict[int, list[int]], start: int) -> set[int]:
    seen: set[int] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


@given(GRAPHS)
def test_the_nodes_on_rings_are_those_that_reach_themselves(graph: dict[int, list[int]]) -> None:
    found = [node for ring in rings(graph) for node in ring]
    assert sorted(found) == sorted(node for node in graph if node in _reachable(graph, node))


@given(GRAPHS)
def test_nodes_of_one_ring_reach_each_other(graph: dict[int, list[int]]) -> None:
    for ring in rings(graph):
        for node in ring:
            assert set(ring) <= _reachable(graph, node)


def test_a_chain_longer_than_pythons_stack_is_followed() -> None:
    length = 50_000
    graph = {node: [node + 1] for node in range(length)}
    assert rings(graph) == []
    graph[length] = [0]
    assert len(rings(graph)[0]) == length + 1
