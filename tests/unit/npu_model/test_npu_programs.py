"""What programs mean, on the golden model: chains, loops, errors, statistics."""

from __future__ import annotations

import numpy as np
import pytest

from rtl_sim.model.npu import Npu
from rtl_sim.model.npu_formats import pack_matrix, pack_vector, unpack_vector
from rtl_sim.model.npu_nets import mlp
from rtl_sim.model.selftest import lstm_case, mlp_case
from rtl_sim.spec.npu import CONFIGS, Instr, Mem, Op, Scalar, Stat, Status, encode

NANO = CONFIGS["nano"]
SIM, SIM4 = CONFIGS["sim"], CONFIGS["sim4"]
ROWS = Scalar.ROWS
COPY = [Instr(Op.V_RD, Mem.INPUT, 0), Instr(Op.V_WR, Mem.OUTPUT, 0), Instr(Op.END_CHAIN)]
MV = [Instr(Op.V_RD, Mem.IVRF, 0, mv=True), Instr(Op.MV_MUL, Mem.MATRIX, 0)]


def launch(code, inputs=b"", weights=b"", output_vectors=2, config=NANO):
    return Npu(config).launch(encode(code), weights, inputs, output_vectors * config.vector_bytes)


def test_a_chain_runs_once_for_each_row_with_addresses_counting_up():
    inputs = pack_vector(NANO, np.arange(48.0))
    code = [Instr(Op.S_WR, ROWS, 3), *COPY]
    assert launch(code, inputs, output_vectors=3).output == inputs


def test_a_sink_in_the_middle_of_a_chain_taps_the_value_and_passes_it_on():
    code = [COPY[0], Instr(Op.V_WR, Mem.MVRF, 0), Instr(Op.V_RELU), *COPY[1:]]
    code += [Instr(Op.V_RD, Mem.MVRF, 0), Instr(Op.V_WR, Mem.OUTPUT, 1), COPY[2]]
    result = launch(code, pack_vector(NANO, -np.arange(16.0)))
    assert unpack_vector(NANO, result.output, 16).tolist() == [[0.0] * 16, [-x for x in range(16)]]


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


def test_a_loop_may_move_the_buffers_on_and_then_the_inner_two_of_three_have_strides():
    copy = [
        Instr(Op.V_RD, Mem.INPUT, 0, s0=2, s1=1),
        Instr(Op.V_WR, Mem.OUTPUT, 0, s0=1, s1=2),
        Instr(Op.END_CHAIN),
    ]
    code = [Instr(Op.LOOP, addr=2, s0=4, s1=4), Instr(Op.LOOP, addr=2), Instr(Op.LOOP, addr=2)]
    code += [*copy, *[Instr(Op.END_LOOP)] * 3]
    inputs = pack_vector(NANO, np.repeat(np.arange(8.0), 16).reshape(8, 16))
    result = launch(code, inputs, output_vectors=8)
    assert result.status is Status.OK
    assert unpack_vector(NANO, result.output, 16)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("config", [NANO, SIM4])
def test_a_product_covers_rows_and_columns_of_tiles(config):
    rng = np.random.default_rng(0)
    n = config.n
    matrix = rng.integers(-3, 4, (5 * n, 3 * n - 5)).astype(float)  # exact in block floating point
    if config is NANO:
        matrix = matrix[: 2 * n]
    vector = rng.integers(-3, 4, 3 * n - 5).astype(float)
    net = mlp(config, [(matrix, np.zeros(len(matrix)))])
    size = net.output_vectors * config.vector_bytes
    result = Npu(config).launch(net.program, net.weights, pack_vector(config, vector), size)
    got = unpack_vector(config, result.output, len(matrix))[0]
    assert got.tolist() == (matrix @ vector).tolist()
    rows, beats = net.output_vectors, 2 * config.beats + -(-(n - 5) // config.lanes)
    assert result.stats[0, Stat.MV_BEATS] == rows * beats


def test_a_window_gathers_runs_of_vectors_at_two_pitches():
    rng = np.random.default_rng(1)
    maps = rng.integers(-3, 4, (4, 4, 16)).astype(float)  # rows, columns, channels
    kernel = rng.integers(-2, 3, (16, 2, 2, 16)).astype(float)  # every other row and column
    scalars = {
        Scalar.RUN: 1,
        Scalar.WIN_X: 2,
        Scalar.WIN_Y: 2,
        Scalar.PITCH_X: 2,
        Scalar.PITCH_Y: 8,
    }
    code = [
        Instr(Op.S_WR, ROWS, 16),
        Instr(Op.V_RD, Mem.INPUT, 0),
        Instr(Op.V_WR, Mem.IVRF, 0),
        Instr(Op.END_CHAIN),
        Instr(Op.S_WR, ROWS, 1),
        Instr(Op.S_WR, Scalar.COLS, 4),
        Instr(Op.M_RD, Mem.WEIGHTS, 0),
        Instr(Op.M_WR, Mem.MATRIX, 0),
        Instr(Op.END_CHAIN),
        *(Instr(Op.S_WR, scalar, value) for scalar, value in scalars.items()),
        Instr(Op.LOOP, addr=2),
        Instr(Op.LOOP, addr=2),
        Instr(Op.V_RD, Mem.IVRF, 0, s0=4, s1=1, mv=True, window=True),
        Instr(Op.MV_MUL, Mem.MATRIX, 0),
        Instr(Op.V_WR, Mem.OUTPUT, 0, s0=2, s1=1),
        Instr(Op.END_CHAIN),
        Instr(Op.END_LOOP),
        Instr(Op.END_LOOP),
    ]
    weights = pack_matrix(NANO, kernel.reshape(16, 64))
    result = launch(code, pack_vector(NANO, maps.reshape(16, 16)), weights, output_vectors=4)
    assert result.status is Status.OK
    got = unpack_vector(NANO, result.output, 16).reshape(2, 2, 16)
    for y in range(2):
        for x in range(2):
            assert got[y, x].tolist() == [
                (each * maps[y : y + 3 : 2, x : x + 3 : 2]).sum() for each in kernel
            ]


def test_a_tail_leaves_out_the_last_elements_of_each_run():
    config = CONFIGS["nano8"]
    ones = np.ones(32)
    code = [
        Instr(Op.S_WR, Scalar.COLS, 2),
        Instr(Op.M_RD, Mem.WEIGHTS, 0),
        Instr(Op.M_WR, Mem.MATRIX, 0),
        Instr(Op.END_CHAIN),
        Instr(Op.S_WR, ROWS, 2),
        Instr(Op.V_RD, Mem.INPUT, 0),
        Instr(Op.V_WR, Mem.IVRF, 0),
        Instr(Op.END_CHAIN),
        Instr(Op.S_WR, ROWS, 1),
        Instr(Op.S_WR, Scalar.TAIL, 1),
        Instr(Op.S_WR, Scalar.WIN_X, 2),
        Instr(Op.S_WR, Scalar.PITCH_X, 1),
    ]
    for window in (False, True):
        code += [
            Instr(Op.V_RD, Mem.IVRF, 0, mv=True, window=window),
            Instr(Op.MV_MUL, Mem.MATRIX, 0),
            Instr(Op.V_WR, Mem.OUTPUT, int(window)),
            Instr(Op.END_CHAIN),
        ]
    weights = pack_matrix(config, np.ones((16, 32)))
    result = launch(code, pack_vector(config, ones), weights, config=config)
    assert unpack_vector(config, result.output, 16)[:, 0].tolist() == [24, 16]


def test_a_chain_reads_its_operands_before_it_writes_and_each_row_sees_the_rows_before():
    inputs = pack_vector(NANO, np.repeat(np.arange(1.0, 4.0), 16).reshape(3, 16))
    code = [
        Instr(Op.S_WR, ROWS, 3),
        Instr(Op.V_RD, Mem.INPUT, 0),
        Instr(Op.V_WR, Mem.AVRF, 0),
        Instr(Op.END_CHAIN),
        Instr(Op.V_RD, Mem.INPUT, 0),
        Instr(Op.V_WR, Mem.AVRF, 1),  # the operand below is what stood there before
        Instr(Op.VV_ADD, Mem.AVRF, 1),
        Instr(Op.V_WR, Mem.OUTPUT, 0),
        Instr(Op.END_CHAIN),
        Instr(Op.V_RD, Mem.AVRF, 0),
        Instr(Op.VV_ADD, Mem.AVRF, 0),
        Instr(Op.V_WR, Mem.AVRF, 1),  # doubles run on from row to row
        Instr(Op.V_WR, Mem.OUTPUT, 3),
        Instr(Op.END_CHAIN),
    ]
    result = launch(code, inputs, output_vectors=6)
    got = unpack_vector(NANO, result.output, 16)[:, 0].tolist()
    # AVRF[3] starts as 0
    assert got == [1 + 2, 2 + 3, 3 + 0, 2, 4, 8]


def test_a_product_is_formed_before_its_chain_overwrites_the_source():
    matrix = np.concatenate([np.eye(32)[16:], np.eye(32)[:16]])  # swaps the halves
    net = mlp(NANO, [(matrix, np.zeros(32))])  # leaves the matrix, and the source at IVRF 0
    npu = Npu(NANO)
    npu.launch(net.program, net.weights, pack_vector(NANO, np.arange(32.0)), 64)
    code = [
        Instr(Op.S_WR, ROWS, 2),
        Instr(Op.S_WR, Scalar.COLS, 2),
        *MV,
        Instr(Op.V_WR, Mem.IVRF, 0),
        Instr(Op.END_CHAIN),
        Instr(Op.V_RD, Mem.IVRF, 0),
        Instr(Op.V_WR, Mem.OUTPUT, 0),
        Instr(Op.END_CHAIN),
    ]
    result = npu.launch(encode(code), b"", b"", 64)
    got = unpack_vector(NANO, result.output, 32)[0].tolist()
    assert got == [*range(16, 32), *range(16)]


def test_memories_keep_their_contents_between_launches():
    npu = Npu(NANO)
    keep = encode([COPY[0], Instr(Op.V_WR, Mem.MVRF, 5), COPY[2]])
    show = encode([Instr(Op.V_RD, Mem.MVRF, 5), *COPY[1:]])
    inputs = pack_vector(NANO, np.arange(16.0))
    npu.launch(keep, b"", inputs, 0)
    assert npu.launch(show, b"", b"", NANO.vector_bytes).output == inputs


END = Instr(Op.END_CHAIN)
ADD, MUL = Instr(Op.VV_ADD, Mem.AVRF), Instr(Op.VV_MUL, Mem.MVRF)
SINK = Instr(Op.V_WR, Mem.AVRF)
ERRORS = {
    "an unknown opcode": (Status.OPCODE, [Instr(0x7F)]),
    "the mv flag where it means nothing": (Status.OPCODE, [Instr(Op.S_WR, 0, 1, mv=True)]),
    "a window without a product": (Status.OPCODE, [Instr(Op.V_RD, Mem.IVRF, window=True)]),
    "an engine where none is named": (Status.OPCODE, [Instr(Op.LOOP, addr=1, engine=4)]),
    "an operation outside a chain": (Status.CHAIN, [Instr(Op.V_RELU)]),
    "a scalar write inside a chain": (Status.CHAIN, [COPY[0], Instr(Op.S_WR, 0, 1)]),
    "a second source": (Status.CHAIN, [COPY[0], COPY[0]]),
    "mv_mul without v_rd.mv": (Status.CHAIN, [COPY[0], MV[1]]),
    "v_rd.mv without mv_mul": (Status.CHAIN, [MV[0], Instr(Op.V_RELU)]),
    "an open chain at the end": (Status.CHAIN, [COPY[0]]),
    "a sink in a matrix chain": (Status.CHAIN, [Instr(Op.M_RD, Mem.WEIGHTS), COPY[1]]),
    "a second m_wr": (
        Status.CHAIN,
        [Instr(Op.M_RD, Mem.WEIGHTS), *[Instr(Op.M_WR, Mem.MATRIX)] * 2],
    ),
    "a chain without sink": (Status.CHAIN, [COPY[0], END]),
    "an operation whose result goes nowhere": (Status.CHAIN, [*COPY[:2], ADD, END]),
    "a memory as a sink twice": (Status.CHAIN, [*COPY[:2], ADD, COPY[1]]),
    "sinks at three places": (
        Status.CHAIN,
        [*COPY[:2], ADD, SINK, MUL, Instr(Op.V_WR, Mem.MVRF)],
    ),
    "three additions": (Status.CHAIN, [COPY[0], ADD, ADD, ADD]),
    "two operations in the wrong order, twice": (Status.CHAIN, [COPY[0], MUL, MUL, ADD]),
    "reading the output": (Status.MEMORY, [Instr(Op.V_RD, Mem.OUTPUT)]),
    "a factor from the AddSubVrf": (Status.MEMORY, [COPY[0], Instr(Op.VV_MUL, Mem.AVRF)]),
    "a summand from the MultiplyVrf": (Status.MEMORY, [COPY[0], Instr(Op.VV_MAX, Mem.MVRF)]),
    "an entry beyond a register file": (
        Status.RANGE,
        [COPY[0], Instr(Op.V_WR, Mem.AVRF, NANO.avrf)],
    ),
    "a vector beyond the input": (Status.RANGE, [Instr(Op.V_RD, Mem.INPUT, 1)]),
    "rows that reach beyond the input": (Status.RANGE, [Instr(Op.S_WR, ROWS, 2), COPY[0]]),
    "a tile beyond the weights": (Status.RANGE, [Instr(Op.M_RD, Mem.WEIGHTS, 1)]),
    "a tile beyond MatrixRf": (Status.RANGE, [MV[0], Instr(Op.MV_MUL, Mem.MATRIX, NANO.tiles)]),
    "an engine that is not there": (
        Status.RANGE,
        [MV[0], Instr(Op.MV_MUL, Mem.MATRIX, 0, engine=1)],
    ),
    "a window beyond the InitialVrf": (
        Status.RANGE,
        [
            Instr(Op.S_WR, Scalar.COLS, 2),
            Instr(Op.S_WR, Scalar.WIN_Y, 2),
            Instr(Op.S_WR, Scalar.PITCH_Y, NANO.ivrf),
            Instr(Op.V_RD, Mem.IVRF, 0, mv=True, window=True),
        ],
    ),
    "a window of another size than the product": (
        Status.VALUE,
        [Instr(Op.S_WR, Scalar.WIN_X, 2), Instr(Op.V_RD, Mem.IVRF, 0, mv=True, window=True)],
    ),
    "four loops": (Status.LOOP, [Instr(Op.LOOP, addr=1)] * 4),
    "a loop end without loop": (Status.LOOP, [Instr(Op.END_LOOP)]),
    "an open loop at the end": (Status.LOOP, [Instr(Op.LOOP, addr=1)]),
    "no turns": (Status.VALUE, [Instr(Op.LOOP, addr=0)]),
    "no rows": (Status.VALUE, [Instr(Op.S_WR, ROWS, 0)]),
    "too many rows": (Status.VALUE, [Instr(Op.S_WR, ROWS, 256)]),
    "too long a tail": (Status.VALUE, [Instr(Op.S_WR, Scalar.TAIL, NANO.beats + 1)]),
    "too wide a pitch": (Status.VALUE, [Instr(Op.S_WR, Scalar.PITCH_Y, 1 << 14)]),
    "an unknown scalar register": (Status.VALUE, [Instr(Op.S_WR, 8, 1)]),
    "an empty program": (Status.PROGRAM, []),
    "too long a program": (Status.PROGRAM, [Instr(Op.S_WR, ROWS, 1)] * (NANO.program + 1)),
    "overwriting the source of too large a product": (
        Status.HAZARD,
        [Instr(Op.S_WR, ROWS, NANO.in_place_rows + 1), *MV, Instr(Op.V_WR, Mem.IVRF, 0)],
    ),
}


@pytest.mark.parametrize("what", ERRORS)
def test_a_program_ends_at_its_first_error_and_names_it(what):
    status, code = ERRORS[what]
    weights = pack_matrix(NANO, np.ones((16, 16)))
    result = launch([*COPY, *code] if code else [], bytes(32), weights)
    pc = len(COPY) + len(code) - (0 if what.endswith("at the end") else 1)
    if status is Status.PROGRAM:
        pc = 0
        assert not result.stats[0, Stat.READ_BEATS]
    assert result.status is status
    assert result.stats[0, Stat.STATUS] >> 16 == pc


def test_a_chain_with_an_error_does_nothing():
    code = [*COPY, COPY[0], Instr(Op.V_WR, Mem.OUTPUT, 1), Instr(Op.V_WR, Mem.AVRF, 99)]
    result = launch(code, pack_vector(NANO, np.arange(1.0, 17.0)))
    assert result.status is Status.RANGE
    got = unpack_vector(NANO, result.output, 16).tolist()
    assert got == [list(range(1, 17)), [0] * 16]
    assert result.stats[0, Stat.CHAINS] == 1


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
    assert stats[Stat.MV_BEATS] == 8 * 4 * 2  # steps, gates, input and state
    assert stats[Stat.TILES] == 8
    assert stats[Stat.VECTOR_OPS] == 8 * (4 + 2 + 3 + 2 + 6)
    assert stats[Stat.WRITE_BEATS] == len(result.output) // 8
    assert stats[Stat.CYCLES] == 0  # the RTL's affair


def test_a_saturated_vector_is_counted_once_and_clamped():
    add = Instr(Op.VV_ADD, Mem.AVRF, 0)
    code = [COPY[0], Instr(Op.V_WR, Mem.AVRF, 0), COPY[2], COPY[0], add, *COPY[1:]]
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
