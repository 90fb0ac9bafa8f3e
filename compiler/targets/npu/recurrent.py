"""RNN, GRU and LSTM as blocks: which products and biases the chains of a step need.

A step is: the input's products for all gates in one chain (they do not wait for the state, so the
matrix unit does them while the last step drains through the pipe), then a chain for each matrix of
the state:

    rnn                      h = act(R h + pre)
    lstm                     i, o = sigm;  sigm(f) * c;  c = tanh(g) * i + that, h = tanh(c) * o
    gru, reset after         z, r = sigm;  n = tanh(r * (R h + b) + pre);  h = (h - n) * z + n
    gru, reset before        r * h = sigm(r) * h;  z = sigm;  n = tanh(R (r * h) + pre);  h as above
"""

from __future__ import annotations

import numpy as np

from compiler.ir import GATES, Array, Graph, Node
from compiler.targets.npu.blocks import Const, Matrix, Recurrent, pad_columns
from compiler.targets.npu.layout import Layout, View
from rtl_sim.spec.npu import Op

ACTIVATION_OPS = {"relu": Op.V_RELU, "sigmoid": Op.V_SIGM, "tanh": Op.V_TANH}

# gates by their position in ONNX, chain by chain
_RNN = ((0,),)
_LSTM = ((0, 1), (2,), (3,))  # i and o; f; g, which alone waits for the others
_GRU = ((0, 1), (2,))  # z and r; n
_GRU_RESET_FIRST = ((1,), (0,), (2,))  # r; z; n


def form_recurrent(node: Node, graph: Graph, layout: Layout) -> Recurrent:
    names = (*node.inputs, "", "", "")[:6]
    constants = graph.constants
    x = layout.view(names[0])
    w, r = constants[names[1]][0], constants[names[2]][0]
    hidden, count, n = r.shape[1], GATES[node.op], layout.n
    reset_first = node.op == "gru" and not node.attr_int("linear_before_reset")
    chains = {"rnn": _RNN, "lstm": _LSTM, "gru": _GRU_RESET_FIRST if reset_first else _GRU}[node.op]
    order = [gate for chain in chains for gate in chain]

    ws, rs = (each.reshape(count, hidden, -1) for each in (w, r))
    state_view = _plain(hidden, n)
    input_matrix = Matrix(f"{node.name}.input", _stacked(ws[order], x, n), w.size)
    state = tuple(
        Matrix(
            f"{node.name}.state{index}",
            _stacked(rs[list(chain)], state_view, n),
            len(chain) * hidden * hidden,
        )
        for index, chain in enumerate(chains)
    )
    bias, state_bias = None, None
    if names[3]:
        of_input, of_state = constants[names[3]][0].reshape(2, count, hidden)
        apart = node.op == "gru" and not reset_first
        both = of_input + of_state
        if apart:  # the reset takes in the state's own bias
            both[2] = of_input[2]
            state_bias = Const(f"{node.name}.state_bias", natural(of_state[2], n))
        rows = np.concatenate([natural(both[gate], n) for gate in order], axis=1)
        bias = Const(f"{node.name}.bias", rows)

    zeros = Const(f"{node.name}.zeros", natural(np.zeros(hidden, np.float32), n))

    def initial(name: str) -> str | Const:
        if not name:
            return zeros
        if name in constants:
            return Const(name, natural(constants[name], n))
        return layout.store_of(name)

    y, y_h, y_c = (name or None for name in (*node.outputs, "", "")[:3])
    activation = node.attr_text("activation") if node.op == "rnn" else "tanh"
    return Recurrent(
        name=node.name,
        op=node.op,
        x=x,
        hidden=hidden,
        input=input_matrix,
        state=state,
        bias=bias,
        reset_first=reset_first,
        state_bias=state_bias,
        activation=ACTIVATION_OPS[activation],
        h0=initial(names[4]),
        c0=initial(names[5]),
        y=y,
        y_h=y_h,
        y_c=y_c,
        output=y or y_h or y_c or "",
    )


def _plain(features: int, n: int) -> View:
    """One row, padded at its end."""
    vectors = -(-features // n)
    columns = np.full(vectors * n, -1, np.int64)
    columns[:features] = np.arange(features)
    return View("", 1, features, vectors, vectors, features - (vectors - 1) * n, columns)


def _stacked(gates: Array, view: View, n: int) -> Array:
    """Gates [count, hidden, features] below one another, each of whole native vectors."""
    padded = [pad_columns(gate, view) for gate in gates]
    missing = -gates.shape[1] % n
    return np.concatenate([np.pad(gate, ((0, missing), (0, 0))) for gate in padded])


def natural(vector: Array, n: int) -> Array:
    """One vector, padded at its end."""
    flat = vector.reshape(1, -1)
    return np.pad(flat, ((0, 0), (0, -flat.size % n)))
