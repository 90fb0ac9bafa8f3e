"""Make what recurrent layers remember inputs and outputs of the graph: every initial state goes in,
every last state comes out.

So a caller can end a launch, keep the states, and go on from them, whatever the model's file says
of them: nothing, a constant, or inputs and outputs of its own. Not a pass of the pipeline: it
changes the interface.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compiler.ir import Array, Graph, Node, Shape

FIRST_INPUT = 4  # x, w, r and the bias stand before
FIRST_OUTPUT = 1  # y stands before
STATES = {"lstm": ("h", "c"), "gru": ("h",), "rnn": ("h",)}


@dataclass(frozen=True)
class ExposedState:
    """input     the graph's input where the state goes in; what users call it
    output    the graph's output where it comes out, elements in the same order
    initial   where a sequence begins, in the input's shape
    declared  the model's file has this input
    """

    input: str
    output: str
    initial: Array
    declared: bool


def expose_states(graph: Graph) -> tuple[Graph, tuple[ExposedState, ...], str]:
    """The graph, its states, and why they are not all that it remembers, if so ("" if they are):
    then a state is made anew by each launch, and nothing is handed on."""
    work = _Exposing(graph)
    nodes = tuple(work.exposed(node) if node.op in STATES else node for node in graph.nodes)
    outputs = tuple(dict.fromkeys((*graph.outputs, *(each.output for each in work.states))))
    added = [each for each in work.states if not each.declared]
    shapes: dict[str, Shape] = {name: graph.shapes[name] for name in graph.inputs}
    shapes |= {each.input: each.initial.shape for each in added}
    wider = replace(graph, inputs=tuple(shapes), outputs=outputs, shapes=shapes)
    return wider.with_nodes(nodes, graph.constants), tuple(work.states), work.reason


class _Exposing:
    def __init__(self, graph: Graph) -> None:
        self.states: list[ExposedState] = []
        self.reason = ""
        self._graph = graph
        self._producers = graph.producers()
        self._taken = set(graph.shapes)
        recurrent = [node for node in graph.nodes if node.op in STATES]
        roots = [
            self._root(name) for node in recurrent for name in node.inputs[FIRST_INPUT:] if name
        ]
        self._shared = {root for root in roots if roots.count(root) > 1}

    def exposed(self, node: Node) -> Node:
        """The node with every state as an input and an output, of which a record is kept."""
        suffixes = STATES[node.op]
        inputs = [*node.inputs, *[""] * len(suffixes)][: FIRST_INPUT + len(suffixes)]
        outputs = [*node.outputs, *[""] * len(suffixes)][: FIRST_OUTPUT + len(suffixes)]
        label = node.name or next(name for name in node.outputs if name)
        for index, suffix in enumerate(suffixes):
            given = inputs[FIRST_INPUT + index]
            initial, name = self._initial(node, given), f"{label}.{suffix}"
            if initial is None:
                continue
            declared = given != "" and given not in self._graph.constants
            if declared:
                name = self._root(given)
            else:
                name = self._fresh(name)
                inputs[FIRST_INPUT + index] = name
            output = outputs[FIRST_OUTPUT + index] or self._fresh(f"{name}.next")
            outputs[FIRST_OUTPUT + index] = output
            self.states.append(ExposedState(name, output, initial, declared))
        return replace(node, inputs=tuple(inputs), outputs=tuple(outputs))

    def _initial(self, node: Node, given: str) -> Array | None:
        """Where the state begins; None where each launch makes it anew."""
        graph = self._graph
        if not given:
            return np.zeros((1, 1, graph.shapes[node.inputs[2]][2]), np.float32)
        if given in graph.constants:
            return graph.constants[given]
        root = self._root(given)
        if root not in graph.inputs:
            self.reason = f"the model itself computes the initial state {given!r} of {node.name!r}"
        elif root in self._shared:
            self.reason = f"several recurrent states begin with one input, {root!r}"
        else:
            return np.zeros(graph.shapes[root], np.float32)
        return None

    def _root(self, name: str) -> str:
        """Where a value comes from, relabellings aside. A transpose only moves axes of length 1
        about here, the state having one axis that is longer: the elements' order stays."""
        while (node := self._producers.get(name)) and node.op in ("reshape", "transpose"):
            name = node.inputs[0]
        return name

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name
