"""The NPU's memory master: errors from the bus, and buses wider than 64 bits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from rtl_sim.model.npu import Npu
from rtl_sim.spec.npu import CONFIGS, TIMING_STATS, Instr, Mem, Op, Stat, Status, encode
from rtl_sim.tb.npu_bench import Bench, design_behind
from rtl_sim.tb.npu_random import Case, Generator
from rtl_sim.verilated.build import build_library

SLVERR, DECERR = 2, 3
BUFFERS = ("program", "weights", "input", "output", "stats")


@cache
def pair(name: str, bus: int) -> tuple[Bench, Npu]:
    config = replace(CONFIGS[name], bus=bus)
    bench = Bench(config, build_library(design_behind(config)), seed=7)
    npu = Npu(config)
    assert compare(bench, npu, Generator(config, 0).setup()) is Status.OK
    return bench, npu


def compare(bench: Bench, npu: Npu, case: Case) -> Status:
    size = case.output_vectors * npu.config.vector_bytes
    expected = npu.launch(case.program, case.weights, case.inputs, size)
    found = bench.launch(case.program, case.weights, case.inputs, size)
    for word in set(Stat) - set(TIMING_STATS):
        assert found.stats[word] == expected.stats[0, word], word.name
    assert found.output == expected.output
    return found.status


@pytest.mark.parametrize("response", [SLVERR, DECERR])
@pytest.mark.parametrize("buffer", BUFFERS)
def test_an_error_of_the_bus_ends_the_program_with_the_status_that_the_golden_model_has(
    buffer, response
):
    bench, npu = pair("nano", 64)
    seen = set()
    for seed in range(12):
        generator = Generator(npu.config, 50 + seed)
        case = generator.case() if seed % 3 else generator.faulty(seed)
        size = case.output_vectors * npu.config.vector_bytes
        parts = case.program, case.weights, case.inputs, size
        expected = npu.launch(*parts, failing=buffer)
        bench.launch(*parts, failing=buffer, response=response)
        status = bench.model.read32(0x80)  # what could not be written is readable as a register
        assert status == expected.stats[0, Stat.STATUS]
        seen.add(Status(status & 0xFF))
    assert Status.BUS in seen
    # and the device goes on as if nothing had been
    assert compare(bench, npu, Generator(npu.config, 0).setup()) is Status.OK
    assert compare(bench, npu, Generator(npu.config, 1).case()) is Status.OK
    assert compare(bench, npu, Generator(npu.config, 0).dump()) is Status.OK


def test_what_was_read_with_an_error_is_told_to_the_host_in_memory_too():
    bench, npu = pair("nano", 64)
    size = npu.config.vector_bytes
    code = [Instr(Op.V_RD, Mem.INPUT), Instr(Op.V_WR, Mem.OUTPUT), Instr(Op.END_CHAIN)]
    for buffer in ("input", "output"):
        found = bench.launch(encode(code), b"", bytes(size), size, failing=buffer, response=SLVERR)
        assert found.status is Status.BUS


@pytest.mark.parametrize(
    ("name", "bus"),
    [("nano", 128), pytest.param("sim", 256, marks=pytest.mark.slow)],
)
def test_a_wider_bus_gives_what_the_golden_model_gives(name, bus):
    bench, npu = pair(name, bus)
    for seed in range(40):
        bench.model.set_timing(*[(0, 0, 0), (3, 2, 60)][seed % 2])
        assert compare(bench, npu, Generator(npu.config, seed).case()) is Status.OK
        assert compare(bench, npu, Generator(npu.config, 0).dump()) is Status.OK


def test_a_wider_bus_wants_buffers_at_whole_beats():
    bench, npu = pair("nano", 128)
    size = npu.config.vector_bytes
    code = [Instr(Op.V_RD, Mem.INPUT), Instr(Op.V_WR, Mem.OUTPUT), Instr(Op.END_CHAIN)]
    for buffer in ("input", "output"):
        found = bench.launch(encode(code), b"", bytes(size), size, misalign=buffer)
        assert found.status is Status.ALIGN
