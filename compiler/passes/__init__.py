"""Passes: each takes a verified graph and returns another that computes the same.

One pass a file, with one function named like the file. `run_passes` verifies after each, so that a
fault is blamed on the pass that made it.
"""

from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, verify
from compiler.passes.drop_dead import drop_dead
from compiler.passes.fold_affine import fold_affine
from compiler.passes.fold_constants import fold_constants
from compiler.passes.fold_views import fold_views
from compiler.passes.form_linear import form_linear
from compiler.passes.settle_transposes import settle_transposes

Pass = Callable[[Graph], Graph]

PASSES: tuple[Pass, ...] = (
    fold_constants,
    fold_views,
    form_linear,
    settle_transposes,
    fold_views,
    drop_dead,  # a value that nobody reads any more must not count as a reader
    fold_affine,
    drop_dead,
)


def run_passes(graph: Graph) -> Graph:
    verify(graph)
    for each in PASSES:
        before = (graph.inputs, graph.outputs)
        graph = each(graph)
        verify(graph)
        assert (graph.inputs, graph.outputs) == before, f"{each.__name__} changed the interface"
    return graph
