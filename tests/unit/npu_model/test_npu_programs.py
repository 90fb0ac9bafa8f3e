"""What programs mean, on the golden model: chains, loops, errors, statistics, accuracy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtl_sim.model.npu import Npu
from rtl_sim.model.npu_formats import pack_matrix, pack_vector, unpack_vector
from rtl_sim.model.npu_nets import Net, lstm, mlp
from rtl_sim.model.selftest import lstm_case, mlp_case, vectors
from rtl_sim.spec.npu import CONFIGS, OVERLAYS, Instr, Mem, Op, Scalar, Stat, Status, encode

NANO = CONFIGS["nano"]
SIM = CONFIGS["sim"]
ROWS = Scalar.ROWS
COPY = [Instr(Op.V_RD, Mem.INPUT, 0), Instr(Op.V_WR, Mem.OUTPUT, 0), Instr(Op.END_CHAIN)]
MV = [Instr(Op.V_RD, Mem.IVRF, 0, mv=True), Instr(Op.MV_MUL, Mem.MATRIX, 0)]


def launch(code, inputs=b"", weights=b"", output_vectors=2, config=NANO):
    return Npu(config).launch(encode(code), weights, inputs, output_vectors * config.vector_bytes)


def snr_db(got, exact):
    return 10 * np.log10(np.square(exact).sum() / np.square(got - exact).sum())


def test_a_chain_runs_once_for_each_row_with_addresses_counting_up():
    inputs = pack_vector(NANO, np.arange(48.0))
    code = [Instr(Op.S_WR, ROWS, 3), *COPY]
    assert launch(code, inputs, output_vectors=3).output == inputs


def test_a_sink_in_the_middle_of_a_chain_taps_the_value_and_passes_it_on():
    code = [COPY[0], COPY[1], Instr(Op.V_RELU), Instr(Op.V_WR, Mem.OUTPUT, 1), COPY[2]]
    result = launch(code, pack_vector(NANO, -np.arange(16.0)))
    assert unpack_vector(NANO, result.output, 16).tolist() == [[-x for x in range(16)], [0.0] * 16]


def test_loops_step_addresses_by_their_strides_and_end_at_zero_again():
    body = [
        Instr(Op.V_RD, Mem.INPUT, 0, s0=2, s1=1),
        Instr(Op.V_WR, Mem.OUTPUT, 3, s0=0xFFFE, s1=0xFFFF),  # downwards
        Instr(Op.END_CHAIN),
    ]
    code = [Instr(Op.LOOP, addr=2), Instr(Op.LOOP, addr=2), *body]
    code += [Instr(Op.END_LOOP), Instr(Op.END_LOOP)]
    inputs = pack_vector(NANO, np.repeat(np.arange(4.0), 16).reshape(4, 16))
    result = launch([*code, *code], inputs, output_vectors=4)
    assert result.status is Status.OK
    assert unpack_vector(NANO, result.output, 16)[:, 0].tolist() == [3, 2, 1, 0]


def test_a_product_covers_rows_and_columns_of_tiles():
    rng = np.random.default_rng(0)
    matrix = rng.integers(-3, 4, (32, 48)).astype(float)  # exact in block floating point
    vector = rng.integers(-3, 4, 48).astype(float)
    net = mlp(NANO, [(matrix, np.zeros(32))])
    result = Npu(NANO).launch(net.program, net.weights, pack_vector(NANO, vector), 64)
    assert unpack_vector(NANO, result.output, 32)[0].tolist() == (matrix @ vector).tolist()


def test_memories_keep_their_contents_between_launches():
    npu = Npu(NANO)
    keep = encode([COPY[0], Instr(Op.V_WR, Mem.MVRF, 5), COPY[2]])
    show = encode([Instr(Op.V_RD, Mem.MVRF, 5), *COPY[1:]])
    inputs = pack_vector(NANO, np.arange(16.0))
    npu.launch(keep, b"", inputs, 0)
    assert npu.launch(show, b"", b"", NANO.vector_bytes).output == inputs


END = Instr(Op.END_CHAIN)
ERRORS = {
    "an unknown opcode": (Status.OPCODE, [Instr(0x7F)]),
    "the mv flag where it means nothing": (Status.OPCODE, [Instr(Op.S_WR, 0, 1, mv=True)]),
    "an operation outside a chain": (Status.CHAIN, [Instr(Op.V_RELU)]),
    "a scalar write inside a chain": (Status.CHAIN, [COPY[0], Instr(Op.S_WR, 0, 1)]),
    "a second source": (Status.CHAIN, [COPY[0], COPY[0]]),
    "mv_mul without v_rd.mv": (Status.CHAIN, [COPY[0], MV[1]]),
    "v_rd.mv without mv_mul": (Status.CHAIN, [MV[0], Instr(Op.V_RELU)]),
    "an open chain at the end": (Status.CHAIN, [COPY[0]]),
    "a sink in a matrix chain": (Status.CHAIN, [Instr(Op.M_RD, Mem.WEIGHTS), COPY[1]]),
    "reading the output": (Status.MEMORY, [Instr(Op.V_RD, Mem.OUTPUT)]),
    "an operand from the input": (Status.MEMORY, [COPY[0], Instr(Op.VV_ADD, Mem.INPUT)]),
    "an entry beyond a register file": (
        Status.RANGE,
        [COPY[0], Instr(Op.V_WR, Mem.AVRF, NANO.avrf)],
    ),
    "a vector beyond the input": (Status.RANGE, [Instr(Op.V_RD, Mem.INPUT, 1)]),
    "a tile beyond the weights": (Status.RANGE, [Instr(Op.M_RD, Mem.WEIGHTS, 1)]),
    "a tile beyond MatrixRf": (Status.RANGE, [MV[0], Instr(Op.MV_MUL, Mem.MATRIX, NANO.tiles)]),
    "three loops": (Status.LOOP, [Instr(Op.LOOP, addr=1)] * 3),
    "a loop end without loop": (Status.LOOP, [Instr(Op.END_LOOP)]),
    "an open loop at the end": (Status.LOOP, [Instr(Op.LOOP, addr=1)]),
    "no turns": (Status.VALUE, [Instr(Op.LOOP, addr=0)]),
    "no rows": (Status.VALUE, [Instr(Op.S_WR, ROWS, 0)]),
    "too many rows": (Status.VALUE, [Instr(Op.S_WR, ROWS, 256)]),
    "an unknown scalar register": (Status.VALUE, [Instr(Op.S_WR, 2, 1)]),
    "an empty program": (Status.PROGRAM, []),
    "too long a program": (Status.PROGRAM, [Instr(Op.S_WR, ROWS, 1)] * (NANO.program + 1)),
    "overwriting the source of the product": (
        Status.HAZARD,
        [Instr(Op.S_WR, ROWS, 2), *MV, Instr(Op.V_WR, Mem.IVRF, 0), END],
    ),
}


@pytest.mark.parametrize("what", ERRORS)
def test_a_program_ends_at_its_first_error_and_names_it(what):
    status, code = ERRORS[what]
    weights = pack_matrix(NANO, np.ones((16, 16)))
    result = launch([*COPY, *code] if code else [], bytes(32), weights)
    if status in (Status.CHAIN, Status.LOOP) and what.endswith("at the end"):
        pc = len(COPY) + len(code)
    else:
        pc = len(COPY) + len(code) - (2 if status is Status.HAZARD else 1)
    if status is Status.PROGRAM:
        pc = 0
        assert not result.stats[0, Stat.READ_BEATS]
    assert result.status is status
    assert result.stats[0, Stat.STATUS] >> 16 == pc


def test_a_program_that_fails_has_written_what_it_wrote_before():
    inputs = pack_vector(NANO, np.arange(16.0))
    result = launch([*COPY, Instr(0xFF)], inputs, output_vectors=1)
    assert result.output == inputs
    assert result.stats[0, Stat.INSTRUCTIONS] == 3


def test_statistics_count_what_was_done():
    net, inputs = lstm_case(NANO)
    result = Npu(NANO).launch(
        net.program, net.weights, inputs, net.output_vectors * NANO.vector_bytes
    )
    stats = {stat: int(result.stats[0, stat]) for stat in Stat}
    assert stats[Stat.MV_BEATS] == 8 * 4 * 2  # steps, gates, columns
    assert stats[Stat.TILES] == 8
    assert stats[Stat.VECTOR_OPS] == 8 * 13
    assert stats[Stat.WRITE_BEATS] == len(result.output) // 8
    assert stats[Stat.CYCLES] == 0  # the RTL's affair


def test_a_saturated_vector_is_counted_once_and_clamped():
    add = Instr(Op.VV_ADD, Mem.AVRF, 0)
    code = [COPY[0], Instr(Op.V_WR, Mem.AVRF, 0), add, *COPY[1:]]
    result = launch(code, pack_vector(NANO, np.full(16, 60000.0)), output_vectors=1)
    assert result.stats[0, Stat.SATURATIONS] == 1
    assert unpack_vector(NANO, result.output, 16).tolist() == [[65504.0] * 16]


def test_a_batch_gives_what_single_runs_give():
    net, inputs = mlp_case(SIM, 6)
    single = mlp_case(SIM, 1)[0]  # the same layers
    rows = np.frombuffer(inputs, np.uint8).reshape(6, -1)
    size = SIM.vector_bytes
    batch = Npu(SIM, 6).launch(single.program, single.weights, rows, size)
    looped = Npu(SIM).launch(net.program, net.weights, inputs, 6 * size)
    assert batch.outputs.tobytes() == looped.output


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(ValueError, match="batch 2"):
        Npu(NANO, 2).launch(b"", b"", b"", 0)


# ---- recurrent nets


def random_lstm(hidden, rng, inputs=8):
    bound = 1 / np.sqrt(hidden)
    return [
        rng.uniform(-bound, bound, shape)
        for shape in ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,))
    ]


def float_lstm(weights, x, h, c):
    """Float32 reference: all h, and the last c."""
    wx, wh, bias = (w.astype(np.float32) for w in weights)
    hs = []
    for step in range(x.shape[1]):
        gates = x[:, step].astype(np.float32) @ wx.T + h @ wh.T + bias
        i, f, g, o = np.split(gates, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        hs.append(h)
    return np.stack(hs, 1), c


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
