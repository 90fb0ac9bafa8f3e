"""Nets as programs of the golden model: as accurate as their formats allow; what they remember."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtl_sim.model.npu import Npu
from rtl_sim.model.npu_formats import pack_vector, unpack_vector
from rtl_sim.model.npu_nets import Net, gru, lstm, mlp, rnn
from rtl_sim.model.selftest import vectors
from rtl_sim.spec.npu import CONFIGS, OVERLAYS, Status

NANO = CONFIGS["nano"]
SIM, SIM4 = CONFIGS["sim"], CONFIGS["sim4"]


def snr_db(got, exact):
    return 10 * np.log10(np.square(exact).sum() / np.square(got - exact).sum())


def random_gates(count, hidden, rng, inputs=8, biases=None):
    bound = 1 / np.sqrt(hidden)
    return [
        rng.uniform(-bound, bound, shape)
        for shape in (
            (count * hidden, inputs),
            (count * hidden, hidden),
            ((biases or count) * hidden,),
        )
    ]


def random_lstm(hidden, rng):
    return random_gates(4, hidden, rng)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def float_lstm(weights, x, h, c):
    """Float32 reference: all h, and the last c."""
    wx, wh, bias = (w.astype(np.float32) for w in weights)
    hs = []
    for step in range(x.shape[1]):
        gates = x[:, step].astype(np.float32) @ wx.T + h @ wh.T + bias
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
    return np.stack(hs, 1), c


def float_gru(weights, x, h):
    wx, wh, bias = (w.astype(np.float32) for w in weights)
    hs = []
    for step in range(x.shape[1]):
        left = np.split(x[:, step].astype(np.float32) @ wx.T, 3, axis=1)
        right = np.split(h @ wh.T, 3, axis=1)
        biases = np.split(bias, 4)
        r, z = (sigmoid(left[k] + right[k] + biases[k]) for k in range(2))
        n = np.tanh(left[2] + biases[2] + r * (right[2] + biases[3]))
        h = (1 - z) * n + z * h
        hs.append(h)
    return np.stack(hs, 1)


def float_rnn(weights, x, h):
    wx, wh, bias = (w.astype(np.float32) for w in weights)
    hs = []
    for step in range(x.shape[1]):
        h = np.tanh(x[:, step].astype(np.float32) @ wx.T + h @ wh.T + bias)
        hs.append(h)
    return np.stack(hs, 1)


@pytest.mark.parametrize("config", [SIM, SIM4])
@pytest.mark.parametrize(
    ("make", "exact", "gates", "biases"), [(gru, float_gru, 3, 4), (rnn, float_rnn, 1, 1)]
)
def test_other_recurrent_nets_are_as_accurate(config, make, exact, gates, biases):
    rng = np.random.default_rng(9)
    hidden, steps = 70, 6
    weights = random_gates(gates, hidden, rng, inputs=40, biases=biases)
    x = rng.standard_normal((2, steps, 40))
    h = rng.standard_normal((2, hidden)).astype(np.float32) * 0.3
    net = make(config, *weights, steps=steps, samples=2)
    inputs = b"".join(pack_vector(config, x[k]) + pack_vector(config, h[k]) for k in range(2))
    size = net.output_vectors * config.vector_bytes
    result = Npu(config).launch(net.program, net.weights, inputs, size)
    assert result.status is Status.OK
    got = unpack_vector(config, result.output, hidden).reshape(2, steps, hidden)
    assert snr_db(got, exact(weights, x, h)) >= 37


def run_lstm(config, net: Net, hidden, x, h, c):
    rows = [
        pack_vector(config, x[b]) + pack_vector(config, h[b]) + pack_vector(config, c[b])
        for b in range(len(x))
    ]
    inputs = np.stack([np.frombuffer(row, np.uint8) for row in rows])
    size = net.output_vectors * config.vector_bytes
    result = Npu(config, len(x)).launch(net.program, net.weights, inputs, size)
    assert result.status is Status.OK
    out = unpack_vector(config, result.outputs.tobytes(), hidden).reshape(len(x), -1, hidden)
    return out[:, :-1], out[:, -1]


@pytest.mark.parametrize("hidden", [32, 64])
@pytest.mark.parametrize("mant", range(2, 8))
def test_random_lstms_are_as_accurate_as_their_mantissa_allows(mant, hidden):
    config = replace(SIM, mant=mant)
    rng = np.random.default_rng(hidden)
    weights = random_lstm(hidden, rng)
    x = rng.standard_normal((64, 8, 8))
    h, c = rng.standard_normal((2, 64, hidden)).astype(np.float32) * 0.3
    exact_h, exact_c = float_lstm(weights, x, h, c)
    got_h, got_c = run_lstm(config, lstm(config, *weights, steps=8), hidden, x, h, c)
    assert snr_db(got_h, exact_h) >= 6 * mant - 5
    assert snr_db(got_c, exact_c) >= 6 * mant - 5


def test_an_lstm_goes_on_from_the_state_that_it_returned():
    rng = np.random.default_rng(7)
    hidden = 16
    weights = random_lstm(hidden, rng)
    x = rng.standard_normal((3, 6, 8))
    zero = np.zeros((3, hidden))
    whole = run_lstm(NANO, lstm(NANO, *weights, steps=6), hidden, x, zero, zero)
    half = lstm(NANO, *weights, steps=3)
    first_h, first_c = run_lstm(NANO, half, hidden, x[:, :3], zero, zero)
    then_h, then_c = run_lstm(NANO, half, hidden, x[:, 3:], first_h[:, -1], first_c)
    assert np.array_equal(np.concatenate([first_h, then_h], 1), whole[0])
    assert np.array_equal(then_c, whole[1])


def test_an_mlp_is_accurate():
    rng = np.random.default_rng(3)
    layers = [
        (rng.standard_normal((32, 64)) / 8, rng.standard_normal(32) * 0.1),
        (rng.standard_normal((10, 32)) / 6, rng.standard_normal(10) * 0.1),
    ]
    x = rng.random((200, 64))
    exact = np.maximum(x @ layers[0][0].T + layers[0][1], 0) @ layers[1][0].T + layers[1][1]
    net = mlp(SIM, layers, 200)
    result = Npu(SIM).launch(
        net.program, net.weights, pack_vector(SIM, x), net.output_vectors * SIM.vector_bytes
    )
    assert snr_db(unpack_vector(SIM, result.output, 10), exact) >= 37


@pytest.mark.parametrize("name", OVERLAYS)
def test_self_test_vectors_fit_the_kernel_and_are_not_trivial(name):
    made = vectors(f"npu-{name}", CONFIGS[name].params)
    assert {vector["name"] for vector in made} == {"mlp", "lstm", "long"}
    for vector in made:
        kinds = [kind for kind, _ in vector["args"]]
        assert kinds == ["in", "in", "in", "out", "in", *["scalar"] * 4]
        assert len(vector["expected"][0]) == vector["args"][3][1]
        assert any(vector["expected"][0])


def test_self_test_vectors_of_another_build_are_refused():
    with pytest.raises(ValueError, match="parameters"):
        vectors("npu-nano", CONFIGS["sim"].params)
