"""h16 and block floating point against their definitions in docs/npu.md."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtl_sim.model import npu_formats as formats
from rtl_sim.spec.npu import CONFIGS

NANO = CONFIGS["nano"]
finite = st.floats(-1e6, 1e6, allow_nan=False)
half_words = st.integers(0, 0xFFFF)


def h16(bits):
    return formats.h16_from_bits(np.array([bits], np.uint16))[0]


def nearest(value: Fraction) -> float:
    """`round` of docs/npu.md in exact arithmetic."""
    if abs(value) < Fraction(1, 1 << 14):
        return 0.0
    exponent = 0
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    scaled = value / Fraction(2) ** (exponent - 10)
    rounded = round(scaled)  # half to even
    result = rounded * Fraction(2) ** (exponent - 10)
    return (
        float(max(min(result, 65504), -65504))
        if abs(result) < 1 << 16
        else (65504.0 if value > 0 else -65504.0)
    )


@given(finite)
def test_rounding_is_to_the_nearest_even_value(value):
    assert formats.round_h16(np.array([value]))[0][0] == nearest(Fraction(value))


@given(half_words, half_words)
def test_sums_and_products_are_exact_before_they_are_rounded(a, b):
    x, y = h16(a), h16(b)
    assert Fraction(x + y) == Fraction(x) + Fraction(y)
    assert Fraction(x * y) == Fraction(x) * Fraction(y)


@given(half_words)
def test_every_half_word_becomes_a_value_that_survives_the_way_out_and_back(bits):
    value = h16(bits)
    again = formats.h16_to_bits(np.array([value]))
    assert formats.h16_from_bits(again)[0] == value
    assert not np.signbit(value) or value < 0
    assert value == 0 or 2.0**-14 <= abs(value) <= 65504


def test_saturation_begins_where_rounding_would_reach_the_next_power_of_two():
    values, saturated = formats.round_h16(np.array([65519.99, 65520.0, -65520.0, 1e30]))
    assert values.tolist() == [65504, 65504, -65504, 65504]
    assert saturated.tolist() == [False, True, True, True]


@given(st.lists(half_words, min_size=16, max_size=16))
def test_quantizing_keeps_each_element_within_half_a_step_or_at_the_limit(bits):
    values = formats.h16_from_bits(np.array(bits, np.uint16))
    mantissas, block = formats.quantize_vector(NANO, values[None])
    step = 2.0 ** (int(block[0]) - 15 - (NANO.mant - 1))
    limit = (1 << NANO.mant) - 1
    assert (np.abs(mantissas) <= limit).all()
    error = np.abs(mantissas[0] * step - values)
    assert (error <= np.where(np.abs(mantissas[0]) == limit, step, step / 2)).all()


@pytest.mark.parametrize("mant", range(2, 8))
def test_a_row_of_weights_is_stored_with_the_better_of_two_exponents(mant):
    config = replace(NANO, mant=mant)
    limit = (1 << mant) - 1
    near_limit = np.array([[limit + 0.6, *([1.0] * 15)]]) / (1 << (mant - 1))
    mantissas, exponents = formats.quantize_rows(config, near_limit)
    assert mantissas[0, 0] in (limit, (limit + 1) // 2)
    restored = mantissas * np.exp2(exponents - (mant - 1.0))[:, None]
    assert np.abs(restored - near_limit).max() <= 1.0 / (1 << (mant - 1))


def test_a_row_of_zeros_takes_the_smallest_exponent():
    mantissas, exponents = formats.quantize_rows(NANO, np.zeros((1, 16)))
    assert not mantissas.any()
    assert exponents.tolist() == [formats.ZERO_ROW_EXPONENT]


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        formats.pack_matrix(NANO, np.array([[np.nan]]))


@pytest.mark.parametrize(
    ("function", "exact", "bound"),
    [
        (formats.tanh_h16, np.tanh, 8e-4),
        (formats.sigmoid_h16, lambda x: 1 / (1 + np.exp(-x)), 5e-4),
    ],
)
def test_activations_are_close_over_all_h16_values(function, exact, bound):
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = np.unique(formats.h16_from_bits(bits))
    inside = values[np.abs(values) < 700]  # exp of more overflows in the reference
    assert np.abs(function(inside) - exact(inside)).max() < bound
    assert function(np.array([65504.0, -65504.0])).tolist()[0] == 1.0


def test_small_arguments_of_tanh_keep_their_relative_precision():
    values = np.array([2.0**-13, 2.0**-7, 0.05, 0.0624, 0.0626])
    assert np.abs(formats.tanh_h16(values) / np.tanh(values) - 1).max() < 2e-3


def test_vectors_and_matrices_lie_in_memory_as_documented():
    vector = formats.pack_vector(NANO, np.arange(18.0))
    assert len(vector) == 2 * NANO.vector_bytes
    assert np.frombuffer(vector, np.float16)[:18].tolist() == list(range(18))
    assert formats.unpack_vector(NANO, vector, 18).tolist() == [list(range(18))]
    matrix = np.zeros((17, 33))
    matrix[16, 32] = -1.0
    packed = np.frombuffer(formats.pack_matrix(NANO, matrix), np.int8)
    tiles = packed.reshape(2 * 3, NANO.n + 2, NANO.n)
    assert tiles[5, 2, 0] == -64  # row 16, column 32: tile (1, 2), its row 0, column 0
    assert tiles[5, 0, 0] == 0  # 64 * 2**(0 - 6)
    assert (tiles[:5, 0] == -128).all()
    assert not tiles[:, 1].any()
