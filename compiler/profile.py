"""Where a program's work and time go, layer by layer: its chains counted, and timed by the cycle
model.

    peak      of what the multipliers could have done in these cycles, how much the model needed
    padded    the share of cycles in which a matrix engine worked, on padding too
    bound     cycles that a machine of as many multipliers would need that never waits but for a
              layer's own dependent chain (the structure of the dataflow; docs/npu.md)
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from compiler.artifact import CompiledModel, Layer
from rtl_sim.model.npu_program import Chain, Decoder, Load
from rtl_sim.spec.npu import Config, Mem

DEPENDENT_CYCLES = {"rnn": 12, "lstm": 19, "gru": 31}
"""The longest dependent chain of a step, for the bound: shared/design/npu.md, Reference figures."""


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """Of one launch; `cycles` None: not timed."""

    name: str
    op: str
    output: str  # the value it ends with
    macs: int
    chains: int
    beats: int  # of all engines together
    tiles: int  # loaded into MatrixRf
    bound_cycles: int
    cycles: int | None = None
    snr_db: float | None = None  # of the layer's output, against float32

    def peak(self, config: Config) -> float | None:
        return self._share(self.macs, config.n * config.lanes * config.engines)

    def padded(self, config: Config) -> float | None:
        return self._share(self.beats, config.engines)

    def of_bound(self) -> float | None:
        return self._share(self.bound_cycles, 1)

    def _share(self, work: int, per_cycle: int) -> float | None:
        return work / (self.cycles * per_cycle) if self.cycles else None


def profile(compiled: CompiledModel) -> tuple[LayerProfile, ...]:
    """One entry a layer, the pinned weights' loading before them as a layer "weights"."""
    config, samples = compiled.npu, compiled.samples
    layers = _with_start(compiled)
    starts = [layer.first for layer in layers]
    counts = np.zeros((len(layers), 3), np.int64)  # chains, beats, tiles
    code = np.frombuffer(compiled.program, "<u8").tolist()
    sizes = {
        Mem.INPUT: samples * compiled.input_vectors,
        Mem.WEIGHTS: len(compiled.weights) // config.vector_bytes,
        Mem.OUTPUT: samples * compiled.output_vectors,
    }
    for effect in Decoder(config, code, sizes).run():
        if not isinstance(effect, Chain | Load):
            continue
        row = counts[bisect_right(starts, effect.pc) - 1]
        row[0] += 1
        if isinstance(effect, Load):
            row[2] += effect.rows * effect.cols
        elif effect.product:
            row[1] += effect.rows * sum(effect.product.beats)
    return tuple(
        LayerProfile(
            name=layer.name,
            op=layer.op,
            output=layer.output,
            macs=samples * layer.macs,
            chains=int(row[0]),
            beats=int(row[1]),
            tiles=int(row[2]),
            bound_cycles=samples * _bound(layer, config),
        )
        for layer, row in zip(layers, counts, strict=True)
    )


def _with_start(compiled: CompiledModel) -> list[Layer]:
    first = compiled.layers[0].first if compiled.layers else compiled.instructions
    start = Layer("weights", "load", "", 0, first, 0, 1)
    return [start, *compiled.layers] if first else list(compiled.layers)


def _bound(layer: Layer, config: Config) -> int:
    each = -(-layer.macs // (layer.steps * config.n * config.lanes * config.engines))
    return layer.steps * (each + DEPENDENT_CYCLES.get(layer.op, 0))
