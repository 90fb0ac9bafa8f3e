"""Known answers for the NPU overlays' manifests, computed by the golden model.

`vectors` is the hook that rtl_sim/rtl/npu/overlay.json names. The statistics buffer goes in as a
plain buffer: its cycle words depend on the shell's memory latency, so it has no known answer.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from rtl_sim.model.npu import Npu
from rtl_sim.model.npu_formats import pack_vector
from rtl_sim.model.npu_nets import Net, lstm, mlp
from rtl_sim.spec.npu import CONFIGS, KERNEL_NAME, STATS_BYTES, Config, Status

SEED: Final = 2024
STEPS: Final = 8
LONG_SAMPLES: Final = 10  # about 6,000 cycles on nano: room for many cuts
INPUTS: Final = 8


def vectors(name: str, params: Mapping[str, int]) -> tuple[Mapping[str, Any], ...]:
    """Known answers of the overlay `name`, whose RTL parameters are `params`."""
    config = CONFIGS[name.removeprefix("npu-")]
    if dict(params) != config.params:
        raise ValueError(f"{name} has parameters {dict(params)}, the spec {config.params}")
    samples = {"lstm": 1, "long": LONG_SAMPLES}
    return (
        _vector("mlp", config, *mlp_case(config)),
        *(_vector(key, config, *lstm_case(config, count)) for key, count in samples.items()),
    )


def mlp_case(config: Config, samples: int = 2) -> tuple[Net, bytes]:
    """Two layers, and inputs for them."""
    rng = np.random.default_rng(SEED)
    n = config.n
    first = rng.standard_normal((n, 2 * n)) / np.sqrt(2 * n), rng.standard_normal(n) * 0.1
    second = rng.standard_normal((10, n)) / np.sqrt(n), rng.standard_normal(10) * 0.1
    return mlp(config, [first, second], samples), pack_vector(
        config, rng.standard_normal((samples, 2 * n))
    )


def lstm_case(config: Config, samples: int = 1) -> tuple[Net, bytes]:
    """An LSTM of one native vector over STEPS steps, and inputs for it. With many samples it is
    the longer-running program for tests that halt in the middle."""
    rng = np.random.default_rng(SEED + 1)
    hidden = config.n
    wx, wh, bias = (
        rng.uniform(-1, 1, (4 * hidden, width)) / np.sqrt(hidden) for width in (INPUTS, hidden, 1)
    )
    rows = [
        pack_vector(config, rng.standard_normal((STEPS, INPUTS)))
        + pack_vector(config, rng.standard_normal((2, hidden)) * 0.3)
        for _ in range(samples)
    ]
    return lstm(config, wx, wh, bias[:, 0], STEPS, samples), b"".join(rows)


def _vector(name: str, config: Config, net: Net, inputs: bytes) -> Mapping[str, Any]:
    size = net.output_vectors * config.vector_bytes
    result = Npu(config).launch(net.program, net.weights, inputs, size)
    assert result.status is Status.OK, result.status
    unused = bytes(config.vector_bytes)  # a buffer that is not used must still be one
    scalars = (
        len(net.program) // 8,
        len(net.weights) // config.vector_bytes,
        len(inputs) // config.vector_bytes,
        net.output_vectors,
    )
    return {
        "name": name,
        "kernel": KERNEL_NAME,
        "args": (
            ("in", net.program),
            ("in", net.weights or unused),
            ("in", inputs or unused),
            ("out", size),
            ("in", bytes(STATS_BYTES)),
            *(("scalar", struct.pack("<I", value)) for value in scalars),
        ),
        "expected": (result.output,),
    }
