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


def test_arguments_end_before_the_counters_begin():
    assert max(SCALAR_ARGS.values()) + 4 <= COUNTERS_BASE


def test_an_instruction_is_eight_bytes_with_its_fields_in_place():
    code = encode([Instr(Op.V_RD, Mem.IVRF, 0x1234, 0x5678, 0x9ABC, mv=True)])
    assert code == bytes.fromhex("0111 3412 7856 bc9a")


@pytest.mark.parametrize(
    "change",
    [
        {"n": 24},
        {"lanes": 12},
        {"engines": 2},
        {"mant": 8},
        {"mant": 1},
        {"tiles": 100},
        {"ivrf": 1 << 14},  # the accumulator could overflow
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(change):
    with pytest.raises(ValueError, match="odd"):
        replace(CONFIGS["sim"], name="odd", **change)


def test_the_tanh_table_is_close_to_tanh_between_its_points_too():
    worst = 0.0
    for index, (base, slope) in enumerate(tanh_table()):
        for part in range(16):
            exact = math.tanh((index + part / 16) / 16)
            worst = max(worst, abs((base + slope * part / 16) / 65536 - exact))
    assert worst < 4e-4
