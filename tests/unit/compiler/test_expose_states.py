"""What recurrent layers remember becomes inputs and outputs, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.frontend import load_graph
from compiler.ir import verify
from compiler.passes import run_passes
from compiler.passes.expose_states import expose_states
from compiler.reference import interpret

HIDDEN, FEATURES = 6, 3


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights(prefix: str = "") -> dict[str, np.ndarray]:
    return {
        f"{prefix}w": floats(1, 1, 4 * HIDDEN, FEATURES),
        f"{prefix}r": floats(2, 1, 4 * HIDDEN, HIDDEN),
    }


def halves_are_the_whole(model: bytes, half: bytes) -> None:
    """The states that the first half leaves make the second half go on."""
    x = floats(7, 8, 1, FEATURES)
    whole = interpret(load_graph(model), {"x": x})
    graph, states, reason = expose_states(load_graph(half))
    assert reason == ""
    verify(graph)
    graph = run_passes(graph)
    values = {state.input: state.initial for state in states}
    first = interpret(graph, {"x": x[:4], **values})
    values = {s.input: first[s.output].reshape(s.initial.shape) for s in states}
    second = interpret(graph, {"x": x[4:], **values})
    for name in load_graph(model).outputs:
        parts = [second[name]] if name in ("y_h", "y_c", "p") else [first[name], second[name]]
        np.testing.assert_array_equal(np.concatenate(parts), whole[name])


def test_a_model_that_says_nothing_of_its_states_gives_them_out(models):
    graph, states, _ = expose_states(load_graph(models.lstm(3, 6, 4, classes=2)))
    assert graph.inputs == ("x", "LSTM_0.h", "LSTM_0.c")
    assert graph.outputs == ("p", "y_h", "y_c")
    assert [(s.declared, s.initial.shape) for s in states] == [(False, (1, 1, 6))] * 2
    halves_are_the_whole(models.lstm(3, 6, 8, classes=2), models.lstm(3, 6, 4, classes=2))


def test_states_that_the_file_declares_keep_their_names(models):
    graph, states, _ = expose_states(load_graph(models.lstm(3, 6, 4, states=True)))
    assert graph.inputs == ("x", "h0", "c0") and graph.outputs == ("y", "y_h", "y_c")
    assert [(s.input, s.output, s.declared) for s in states] == [
        ("h0", "y_h", True),
        ("c0", "y_c", True),
    ]
    halves_are_the_whole(models.lstm(3, 6, 8), models.lstm(3, 6, 4, states=True))


def learned(models, steps: int) -> bytes:
    """An LSTM whose initial states are constants, as training may make them."""
    nodes = [models.node("LSTM", ["x", "w", "r", "", "", "h0", "c0"], ["y"], hidden_size=HIDDEN)]
    constants = weights() | {"h0": floats(3, 1, 1, HIDDEN), "c0": floats(4, 1, 1, HIDDEN)}
    outputs = {"y": [steps, 1, 1, HIDDEN]}
    return models.build(nodes, {"x": [steps, 1, FEATURES]}, outputs, constants)


def test_a_constant_initial_state_is_where_a_sequence_begins(models):
    graph, states, _ = expose_states(load_graph(learned(models, 4)))
    assert "h0" not in graph.inputs
    np.testing.assert_array_equal(states[0].initial, floats(3, 1, 1, HIDDEN))
    halves_are_the_whole(learned(models, 8), learned(models, 4))


def relabelled(models, *, twice: bool = False, computed: bool = False) -> bytes:
    """An initial state that comes as [1, HIDDEN] and is reshaped, shared or computed on its way."""
    node, shape = models.node, np.array([1, 1, HIDDEN], np.int64)
    nodes = [node("Reshape", ["state", "shape"], ["h0"])]
    if computed:
        nodes = [node("Tanh", ["state"], ["t"]), node("Reshape", ["t", "shape"], ["h0"])]
    h0s = ["h0", "h0" if twice else ""]
    nodes.append(node("LSTM", ["x", "w", "r", "", "", *h0s], ["y"], hidden_size=HIDDEN, name="rnn"))
    inputs = {"x": [4, 1, FEATURES], "state": [1, HIDDEN]}
    constants = {**weights(), "shape": shape}
    return models.build(nodes, inputs, {"y": [4, 1, 1, HIDDEN]}, constants)


def test_a_state_is_found_behind_relabellings_and_has_the_inputs_shape(models):
    _, states, reason = expose_states(load_graph(relabelled(models)))
    assert reason == ""
    assert [(s.input, s.declared, s.initial.shape) for s in states] == [
        ("state", True, (1, HIDDEN)),
        ("rnn.c", False, (1, 1, HIDDEN)),
    ]


@pytest.mark.parametrize(
    ("how", "told"),
    [({"computed": True}, "computes the initial state 'h0' of 'rnn'"), ({"twice": True}, "one")],
)
def test_a_state_that_cannot_be_handed_on_is_said_and_not_lost(models, how, told):
    graph, _, reason = expose_states(load_graph(relabelled(models, **how)))
    assert told in reason
    verify(graph)


def test_layers_and_names_that_clash_are_kept_apart(models):
    node = models.node
    nodes = [
        node("LSTM", ["x", "w", "r"], ["rnn.h"], hidden_size=HIDDEN, name="rnn"),
        node("Reshape", ["rnn.h", "shape"], ["mid"]),
        node("LSTM", ["mid", "w2", "r"], ["y"], hidden_size=HIDDEN, name="rnn"),
    ]
    constants = weights() | {
        "w2": floats(5, 1, 4 * HIDDEN, HIDDEN),
        "shape": np.array([4, 1, HIDDEN], np.int64),
    }
    outputs = {"y": [4, 1, 1, HIDDEN]}
    model = models.build(nodes, {"x": [4, 1, FEATURES]}, outputs, constants)
    graph, states, _ = expose_states(load_graph(model))
    verify(graph)
    names = [each for state in states for each in (state.input, state.output)]
    assert len(set(names)) == len(names) == 8


def test_a_model_without_memory_is_left_as_it_is(models):
    graph = load_graph(models.mlp(8, 4))
    assert expose_states(graph) == (graph, (), "")
