"""The NPU's single source: what derives from it is fresh, what it says is consistent."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rtl_sim.spec.npu import (
    CONFIGS,
    COUNTERS_BASE,
    SCALAR_ARGS,
    SOURCES,
    Instr,
    Mem,
    Op,
    encode,
    next_slot,
    tanh_table,
)
from rtl_sim.spec.npu_generate import PACKAGE, outputs


@pytest.mark.parametrize("path", outputs(), ids=lambda path: path.name)
def test_generated_files_are_fresh(path):
    assert path.read_text(encoding="utf-8") == outputs()[path], (
        "run python -m rtl_sim.spec.npu_generate"
    )


def test_the_source_list_names_every_file_of_the_rtl():
    listed = [name for level in SOURCES for name in level]
    assert sorted(listed) == sorted(path.name for path in PACKAGE.parent.glob("*.sv"))


@pytest.mark.parametrize(
    ("ops", "slots"),
    [
        ([Op.VV_ADD, Op.V_SIGM, Op.VV_MUL, Op.VV_ADD, Op.V_TANH, Op.VV_MUL], [0, 1, 2, 3, 4, 5]),
        ([Op.V_RELU, Op.VV_MAX, Op.VV_MUL], [1, 3, 5]),
        ([Op.VV_MUL, Op.VV_MUL, Op.VV_MUL], [2, 5, None]),
    ],
)
def test_an_operation_takes_the_next_slot_of_its_kind(ops, slots):
    taken, passed = [], 0
    for op in ops:
        taken.append(next_slot(op, passed))
        passed = 6 if taken[-1] is None else taken[-1] + 1
    assert taken == slots


def test_a_matrix_takes_as_many_lines_in_each_engine_as_its_fullest_one_needs():
    config = CONFIGS["sim4"]
    assert [config.lines(engine, 3, 2) for engine in range(4)] == [2, 2, 4, 4]


def test_arguments_end_before_the_counters_begin():
    assert max(SCALAR_ARGS.values()) + 4 <= COUNTERS_BASE


def test_an_instruction_is_eight_bytes_with_its_fields_in_place():
    code = encode([Instr(Op.V_RD, Mem.IVRF, 0x1234, 0x5678, 0x9ABC, mv=True)])
    assert code == bytes.fromhex("0111 3412 7856 bc9a")
    code = encode([Instr(Op.MV_MUL, Mem.MATRIX, 1, engine=5)])
    assert code == bytes.fromhex("10a4 0100 0000 0000")


@pytest.mark.parametrize(
    "change",
    [
        {"n": 20},
        {"lanes": 12},
        {"engines": 9},
        {"mant": 8},
        {"mant": 1},
        {"tiles": 100},
        {"tiles": 256},  # the accumulator could overflow
        {"queue": 3},
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(change):
    with pytest.raises(ValueError, match="odd"):
        replace(CONFIGS["sim"], **{"name": "odd", **change})


def test_the_tanh_table_is_close_to_tanh_between_its_points_too():
    worst = 0.0
    for index, (base, slope) in enumerate(tanh_table()):
        for part in range(16):
            exact = math.tanh((index + part / 16) / 16)
            worst = max(worst, abs((base + slope * part / 16) / 65536 - exact))
    assert worst < 4e-4
