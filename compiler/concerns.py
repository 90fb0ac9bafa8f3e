"""What a report says aloud, as figures alone would hide it: values that the formats lose.

None of it is an error: weights far below one are right for inputs far above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from compiler.ir import Array, Graph
from rtl_sim.model.npu_formats import H16_MAX, H16_TINY
from rtl_sim.spec.npu import Config

MOST = 0.5  # a matrix is largely lost if this share of its rows is


def snr_gate_db(config: Config) -> float:
    """What a product or a recurrent layer reaches with mantissas of so many bits (docs/npu.md)."""
    return 6 * config.mant - 5


def lost_weights(graph: Graph) -> Iterator[str]:
    """Matrices that make values below binary16 of inputs around one."""
    for name, array in graph.constants.items():
        if array.ndim < 2 or array.size <= array.shape[-1]:  # a bias: what is added may be small
            continue
        peaks = np.abs(array).reshape(-1, array.shape[-1]).max(axis=-1)
        rows = peaks[peaks > 0]
        lost = float((rows < H16_TINY).mean()) if rows.size else 0.0
        if lost > MOST:
            yield (
                f"constant {name!r}: {lost:.0%} of its rows lie below {H16_TINY:.2e}, where "
                "binary16 ends and 0 begins; what they make of inputs around 1 is lost: scale "
                "weights or inputs up"
            )


def lost_values(
    inputs: Mapping[str, Array], saturations: int, snr_db: Sequence[tuple[str, float]], gate: float
) -> Iterator[str]:
    """From a run: inputs that are too big, vectors that saturated, outputs that are not exact.
    `snr_db`: what it is of, and the SNR."""
    for name, array in inputs.items():
        peak = float(np.abs(array).max())
        if peak > H16_MAX:
            yield f"input {name!r} reaches {peak:g}; binary16 ends at {H16_MAX:g}: scale it down"
    if saturations:
        yield (
            f"saturated {saturations} times: that many vectors held a value beyond binary16's "
            f"{H16_MAX:g}: scale inputs or weights down"
        )
    for what, snr in snr_db:
        if snr < gate:
            yield f"{what}: SNR {snr:.1f} dB is below {gate:g} dB, what one layer reaches"
