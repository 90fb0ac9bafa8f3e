"""Known-answer programs in the formats that several backends share, as data.

Every device proves itself with them: `python -m hal` and the conformance suite run what a backend's
`self_tests` returns, and a backend that loads "opencl-c" or "numpy" returns `for_format(...)`. The
answers are computed here with NumPy in the order that the kernels use, so they are right to the
last bit on any device that rounds as IEEE 754 says (products and sums are kept apart).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hal.types import Grid, ProgramImage, SelfTest

ELEMENTS = 1024
ORDER = 24  # side of the matrices: small enough for a simulator
CHAIN = 3
SEED = 20240229

_OPENCL = """
#pragma OPENCL FP_CONTRACT OFF

kernel void affine(global float *y, global const float *x, const float a)
{
    const size_t i = get_global_id(0);
    y[i] = a * x[i] + 1.0f;
}

kernel void scramble(global uint *out, global const uint *x, const uint rounds)
{
    const size_t i = get_global_id(0);
    uint h = x[i];
    for (uint k = 0; k < rounds; k++)
        h = (h ^ (h >> 15)) * 2246822519u + (uint)i;
    out[i] = h;
}

kernel void fold(global float *out, global const float *x, const uint n)
{
    float sum = 0.0f;
    for (uint i = 0; i < n; i++)
        sum = sum * 0.75f + x[i];
    out[0] = sum;
}

kernel void matmul(global float *out, global const float *a, global const float *b, const uint n)
{
    const size_t row = get_global_id(0), column = get_global_id(1);
    float sum = 0.0f;
    for (uint k = 0; k < n; k++)
        sum += a[row * n + k] * b[k * n + column];
    out[row * n + column] = sum;
}

kernel void chain(global float *out, global const float *a, const uint n, const uint times)
{
    /* one work item: out = a * a * ... * a, left to right, in place */
    for (uint i = 0; i < n * n; i++)
        out[i] = a[i];
    for (uint t = 0; t < times; t++)
        for (uint row = 0; row < n; row++) {
            float sums[24];
            for (uint column = 0; column < n; column++) {
                float sum = 0.0f;
                for (uint k = 0; k < n; k++)
                    sum += out[row * n + k] * a[k * n + column];
                sums[column] = sum;
            }
            for (uint column = 0; column < n; column++)
                out[row * n + column] = sums[column];
        }
}
"""

_NUMPY = '''
"""The kernels of the OpenCL image, in the same order of operations."""


def affine(grid, y: buffer, x: buffer, a: scalar):
    n = grid.global_size[0]
    f32(y)[:n] = f32(a) * f32(x)[:n] + np.float32(1.0)


def scramble(grid, out: buffer, x: buffer, rounds: scalar):
    n = grid.global_size[0]
    index = np.arange(n, dtype=np.uint32)
    h = u32(x)[:n].copy()
    for _ in range(int(u32(rounds))):
        h = (h ^ (h >> np.uint32(15))) * np.uint32(2246822519) + index
    u32(out)[:n] = h


def fold(grid, out: buffer, x: buffer, n: scalar):
    total = np.float32(0.0)
    for value in f32(x)[: int(u32(n))]:
        total = total * np.float32(0.75) + value
    f32(out)[0] = total


def matmul(grid, out: buffer, a: buffer, b: buffer, n: scalar):
    side = int(u32(n))
    f32(out)[: side * side] = _product(_square(a, side), _square(b, side)).ravel()


def chain(grid, out: buffer, a: buffer, n: scalar, times: scalar):
    side = int(u32(n))
    matrix = _square(a, side)
    result = matrix
    for _ in range(int(u32(times))):
        result = _product(result, matrix)
    f32(out)[: side * side] = result.ravel()


def _square(values, side):
    return f32(values)[: side * side].reshape(side, side)


def _product(a, b):
    out = np.zeros(a.shape, np.float32)
    for k in range(a.shape[0]):
        out += a[:, k, None] * b[None, k, :]
    return out
'''

_IMAGES = {
    "opencl-c": ProgramImage("opencl-c", _OPENCL.encode()),
    "numpy": ProgramImage("numpy", _NUMPY.encode()),
}


def for_format(format: str) -> Sequence[SelfTest]:
    """The shared tests written in `format`; none if we have none in it."""
    image = _IMAGES.get(format)
    if image is None:
        return ()
    random = np.random.default_rng(SEED)
    x = random.standard_normal(ELEMENTS).astype(np.float32)
    words = random.integers(0, 1 << 32, ELEMENTS, dtype=np.uint32)
    a = random.standard_normal((ORDER, ORDER)).astype(np.float32) * np.float32(0.2)
    b = random.standard_normal((ORDER, ORDER)).astype(np.float32)
    return (
        SelfTest(
            "affine",
            image,
            "affine",
            (("out", x.nbytes), ("in", x.tobytes()), ("scalar", struct.pack("<f", 1.7))),
            ((np.float32(1.7) * x + np.float32(1.0)).tobytes(),),
            Grid((ELEMENTS,)),
        ),
        SelfTest(
            "scramble",
            image,
            "scramble",
            (("out", words.nbytes), ("in", words.tobytes()), ("scalar", struct.pack("<I", 9))),
            (_scramble(words, 9).tobytes(),),
            Grid((ELEMENTS,), (64,)),
        ),
        SelfTest(
            "fold",
            image,
            "fold",
            (("out", 4), ("in", x.tobytes()), ("scalar", struct.pack("<I", ELEMENTS))),
            (_fold(x).tobytes(),),
        ),
        SelfTest(
            "matmul",
            image,
            "matmul",
            (
                ("out", a.nbytes),
                ("in", a.tobytes()),
                ("in", b.tobytes()),
                ("scalar", struct.pack("<I", ORDER)),
            ),
            (_product(a, b).tobytes(),),
            Grid((ORDER, ORDER)),
        ),
        SelfTest(
            "chain",
            image,
            "chain",
            (
                ("out", a.nbytes),
                ("in", a.tobytes()),
                ("scalar", struct.pack("<I", ORDER)),
                ("scalar", struct.pack("<I", CHAIN)),
            ),
            (_chain(a).tobytes(),),
        ),
    )


Floats = npt.NDArray[np.float32]


def _scramble(words: npt.NDArray[np.uint32], rounds: int) -> npt.NDArray[np.uint32]:
    index = np.arange(words.size, dtype=np.uint32)
    for _ in range(rounds):
        words = (words ^ (words >> np.uint32(15))) * np.uint32(2246822519) + index
    return words


def _fold(values: Floats) -> np.float32:
    total = np.float32(0.0)
    for value in values:
        total = total * np.float32(0.75) + value
    return total


def _product(a: Floats, b: Floats) -> Floats:
    out = np.zeros(a.shape, np.float32)
    for k in range(a.shape[0]):
        out += a[:, k, None] * b[None, k, :]
    return out


def _chain(a: Floats) -> Floats:
    result = a
    for _ in range(CHAIN):
        result = _product(result, a)
    return result
