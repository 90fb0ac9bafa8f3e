"""The NPU's number formats, bit-true and vectorised: h16 vectors, block floating point tiles.

h16 values are held as float64 arrays whose every element is exactly an h16 value; sums and
products of two of them are exact in float64, so `round_h16` rounds once, as the RTL does.
Knows docs/npu.md (Arithmetic, Device memory layouts); knows no instruction.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rtl_sim.spec.npu import (
    TANH_ARGUMENT_BITS,
    TANH_FRACTION_BITS,
    Config,
    tanh_table,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
AnyFloats = NDArray[np.floating[Any]]

H16_MAX: Final = 65504.0
H16_TINY: Final = 2.0**-14
ZERO_ROW_EXPONENT: Final = -128  # never the greater exponent, so it costs no other row a bit
MAX_SHIFT: Final = 31

_TABLE: Final = np.array(tanh_table(), dtype=np.int64)
_ONE: Final = 1 << TANH_FRACTION_BITS
_SEGMENT_BITS: Final = TANH_ARGUMENT_BITS - 4  # a segment spans 1/16
_ARGUMENT_MAX: Final = 8 * (1 << TANH_ARGUMENT_BITS) - 1


def round_h16(exact: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The h16 values nearest to exact ones, and which of them saturated."""
    flushed = np.where(np.abs(exact) < H16_TINY, 0.0, exact)
    with np.errstate(over="ignore"):
        rounded = flushed.astype(np.float16).astype(np.float64)
    saturated = np.isinf(rounded)
    return np.clip(rounded, -H16_MAX, H16_MAX), saturated


def h16_from_bits(bits: NDArray[np.uint16]) -> Floats:
    """Values as they enter from device memory: what is no h16 value becomes one."""
    exponent = bits >> 10 & 31
    sign = np.where(bits >> 15, -1.0, 1.0)
    plain = bits.view(np.float16).astype(np.float64)
    values = np.where(exponent == 31, sign * H16_MAX, plain)
    return np.where(exponent == 0, 0.0, values)


def h16_to_bits(values: Floats) -> NDArray[np.uint16]:
    return values.astype(np.float16).view(np.uint16)


def quantize_vector(config: Config, values: Floats) -> tuple[Ints, Ints]:
    """Block floating point of native vectors along the last axis: mantissas, exponents E."""
    magnitude = np.abs(values)
    significand, exponent = np.frexp(
        magnitude
    )  # magnitude = significand * 2**exponent, in [1/2, 1)
    biased = np.where(magnitude > 0, exponent + 14, 0).astype(np.int64)
    integer = (significand * 2048).astype(np.int64)
    block = biased.max(axis=-1)
    shift = 11 - config.mant + block[..., None] - biased
    rounded = (integer + (np.int64(1) << (shift - 1))) >> shift
    mantissa = np.minimum(rounded, (1 << config.mant) - 1)
    return np.where(values < 0, -mantissa, mantissa), block


def quantize_rows(config: Config, weights: AnyFloats) -> tuple[Ints, Ints]:
    """Block floating point of weights along the last axis, as a compiler stores them.

    Of the two sensible exponents the one with the smaller squared error is taken."""
    exact = np.asarray(weights, dtype=np.float64)
    limit = (1 << config.mant) - 1
    peak = np.abs(exact).max(axis=-1)
    if not np.isfinite(peak).all():
        raise ValueError("weights must be finite")
    base = np.where(peak > 0, np.frexp(peak)[1] - 1, ZERO_ROW_EXPONENT).astype(np.int64)
    best_mantissa = np.zeros(exact.shape, dtype=np.int64)
    best_exponent = base
    best_error = np.full(peak.shape, np.inf)
    for candidate in (base, base + 1):
        exponent = np.clip(candidate, -128, 127)
        scale = np.exp2(exponent - (config.mant - 1.0))[..., None]
        mantissa = np.clip(np.rint(exact / scale), -limit, limit)
        error = np.square(mantissa * scale - exact).sum(axis=-1)
        better = (error < best_error) & ((peak > 0) | (candidate == base))
        best_error = np.where(better, error, best_error)
        best_exponent = np.where(better, exponent, best_exponent)
        best_mantissa = np.where(better[..., None], mantissa.astype(np.int64), best_mantissa)
    return best_mantissa, best_exponent


def accumulate(
    acc: Ints, acc_exponent: Ints, product: Ints, exponent: Ints, guard: int
) -> tuple[Ints, Ints]:
    """One further beat into the aligned accumulators."""
    top = np.maximum(acc_exponent, exponent)
    old = acc >> np.minimum(top - acc_exponent, MAX_SHIFT)
    new = (product << guard) >> np.minimum(top - exponent, MAX_SHIFT)
    return old + new, top


def accumulated_value(config: Config, acc: Ints, exponent: Ints) -> Floats:
    """The exact values of accumulators."""
    return np.ldexp(acc.astype(np.float64), exponent - config.guard - 15 - 2 * (config.mant - 1))


def _tanh_fixed(magnitude: Floats, scale: int) -> Ints:
    """tanh as a fixed-point number with TANH_FRACTION_BITS; scale: units of the argument."""
    argument = np.minimum(np.floor(magnitude * scale).astype(np.int64), _ARGUMENT_MAX)
    segment = _TABLE[argument >> _SEGMENT_BITS]
    fraction = argument & ((1 << _SEGMENT_BITS) - 1)
    half = 1 << (_SEGMENT_BITS - 1)
    rise = (segment[..., 1] * fraction + half) >> _SEGMENT_BITS
    return np.asarray(segment[..., 0] + rise)


def tanh_h16(values: Floats) -> Floats:
    magnitude = np.abs(values)
    fixed = _tanh_fixed(magnitude, 1 << TANH_ARGUMENT_BITS)
    result = round_h16(np.copysign(fixed / _ONE, values))[0]
    return np.where(magnitude < 1 / 16, values, result)


def sigmoid_h16(values: Floats) -> Floats:
    fixed = _tanh_fixed(np.abs(values), 1 << (TANH_ARGUMENT_BITS - 1))
    return round_h16((_ONE + np.where(values < 0, -fixed, fixed)) / (2 * _ONE))[0]


def native_count(config: Config, length: int) -> int:
    """Native vectors, or tiles along one side, that `length` elements take."""
    return -(-length // config.n)


def pack_vector(config: Config, values: AnyFloats) -> bytes:
    """Device memory bytes of one vector (last axis) or of several consecutive ones."""
    exact = np.asarray(values, dtype=np.float64)
    rows = exact.reshape(-1, exact.shape[-1])
    padded = np.zeros((len(rows), native_count(config, rows.shape[1]) * config.n))
    padded[:, : rows.shape[1]] = round_h16(rows)[0]
    return h16_to_bits(padded).astype("<u2").tobytes()


def unpack_vector(config: Config, data: bytes | memoryview, length: int) -> Floats:
    """The vectors of `length` elements that `data` holds, one a row."""
    bits = np.frombuffer(data, dtype="<u2").reshape(-1, native_count(config, length) * config.n)
    return h16_from_bits(bits.astype(np.uint16))[:, :length]


def pack_matrix(config: Config, weights: AnyFloats) -> bytes:
    """Device memory bytes of the tiles of a matrix (outputs x inputs), row of tiles by row."""
    n = config.n
    rows, cols = (native_count(config, size) for size in weights.shape)
    padded = np.zeros((rows * n, cols * n))
    padded[: weights.shape[0], : weights.shape[1]] = weights
    tiles = padded.reshape(rows, n, cols, n).transpose(0, 2, 1, 3).reshape(rows * cols, n, n)
    mantissas, exponents = quantize_rows(config, tiles)
    packed = np.zeros((rows * cols, n + 2, n), dtype=np.int8)
    packed[:, 0] = exponents
    packed[:, 2:] = mantissas
    return packed.tobytes()
