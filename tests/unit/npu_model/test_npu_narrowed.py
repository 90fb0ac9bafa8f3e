"""Configurations by name, those with another number of mantissa bits included."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtl_sim.spec.npu import CONFIGS, named_config


@pytest.mark.parametrize("name", CONFIGS)
def test_a_listed_configuration_is_found_by_its_name(name):
    assert named_config(name) is CONFIGS[name]


@pytest.mark.parametrize("mant", range(2, 8))
def test_a_suffix_changes_the_mantissa_and_nothing_else(mant):
    found = named_config(f"sim-m{mant}")
    assert found == replace(CONFIGS["sim"], name=f"sim-m{mant}", mant=mant)


@pytest.mark.parametrize("name", ["", "giant", "sim-m1", "sim-m8", "sim-m", "-m5", "sim-m5-m5"])
def test_other_names_name_nothing(name):
    assert named_config(name) is None


def test_a_mantissa_that_the_accumulator_has_no_room_for_is_no_configuration():
    assert named_config("bw_s10-m5") is not None
    assert named_config("bw_s10-m7") is None
