"""Where a program's work and time go, layer by layer: its chains counted, and timed by the cycle
model.

    peak      of what the multipliers could have done in these cycles, how much the model needed
    padded    the share of cycles in which a matrix engine worked, on padding too
    bound     cycles that a machine of as many multipliers would need that never waits but for a
              layer's own dependent chain (the structure of the dataflow; docs/npu.md)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.artifact import CompiledModel, Layer
from rtl_sim.model.npu_cycles import Memory, walk
from rtl_sim.model.npu_program import Chain, Decoder, Load
from rtl_sim.spec.npu import Config, Mem, Stat

DEPENDENT_CYCLES = {"rnn": 12, "lstm": 19, "gru": 31}
"""The longest dependent chain of a step, for the bound: shared/design/npu.md, Reference figures."""

MEMORY = Memory(read_latency=16, write_latency=8)
"""As the simulated fabric's (MemoryTiming in hal/backends/fpga/verilator_shell.py); a test compares
predicted and measured cycles."""


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """Of one launch."""

    name: str
    op: str
    output: str  # the value it ends with
    macs: int
    chains: int
    beats: int  # of all engines together
    tiles: int  # loaded into MatrixRf
    bound_cycles: int
    cycles: int  # see _cycles
    snr_db: float | None = None  # of the layer's output, against float32

    def peak(self, config: Config) -> float:
        return self._share(self.macs, config.n * config.lanes * config.engines)

    def padded(self, config: Config) -> float:
        return self._share(self.beats, config.engines)

    def of_bound(self) -> float:
        return self._share(self.bound_cycles, 1)

    def _share(self, work: int, per_cycle: int) -> float:
        return work / (self.cycles * per_cycle) if self.cycles else 0.0


def profile(compiled: CompiledModel) -> tuple[LayerProfile, ...]:
    """One entry a layer, the loads of weights among them."""
    config, samples = compiled.npu, compiled.samples
    layers, owner = _owners(compiled)
    counts = np.zeros((len(layers), 3), np.int64)  # chains, beats, tiles
    code = np.frombuffer(compiled.program, "<u8").tolist()
    for effect in Decoder(config, code, _sizes(compiled)).run():
        if not isinstance(effect, Chain | Load):
            continue
        row = counts[owner[effect.pc]]
        row[0] += 1
        if isinstance(effect, Load):
            row[2] += effect.rows * effect.cols
        elif effect.product:
            row[1] += effect.rows * sum(effect.product.beats)
    cycles = _cycles(compiled, owner, len(layers))
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
            cycles=spent,
        )
        for layer, row, spent in zip(layers, counts, cycles, strict=True)
    )


def launch_cycles(compiled: CompiledModel) -> int:
    """Of a launch, by the cycle model."""
    return walk(compiled.npu, compiled.program, _sizes(compiled), MEMORY).stats[Stat.CYCLES]


def _sizes(compiled: CompiledModel) -> dict[Mem, int]:
    """Of the buffers, in native vectors."""
    return {
        Mem.INPUT: compiled.samples * compiled.input_vectors,
        Mem.WEIGHTS: len(compiled.weights) // compiled.npu.vector_bytes,
        Mem.OUTPUT: compiled.samples * compiled.output_vectors,
    }


def _cycles(compiled: CompiledModel, owner: list[int], layers: int) -> list[int]:
    """By the cycle model: how much later the launch is done because of a layer. Layers overlap;
    what a layer does while one before it is not done costs nothing, and one that waits for its
    weights has the wait."""
    model = walk(compiled.npu, compiled.program, _sizes(compiled), MEMORY)
    spent, done = [0] * layers, 0
    for pc, end in model.ends:
        spent[owner[pc]] += max(0, end - done)
        done = max(done, end)
    last = model.ends[-1][0] if model.ends else 0
    spent[owner[last]] += max(0, model.stats[Stat.CYCLES] - done)
    return spent


def _owners(compiled: CompiledModel) -> tuple[list[Layer], list[int]]:
    """Layers in the program's order, and for every instruction the number of its layer: of the
    innermost one, and what belongs to none is the beginning's."""
    layers = sorted(compiled.layers, key=lambda layer: (layer.first, -layer.end))
    start = Layer("constants", "load", "", 0, layers[0].first if layers else 0, 0, 1)
    layers = [start, *layers]
    owner = [0] * compiled.instructions
    for index, layer in enumerate(layers):
        owner[layer.first : layer.end] = [index] * (layer.end - layer.first)
    return layers, owner


def _bound(layer: Layer, config: Config) -> int:
    each = -(-layer.macs // (layer.steps * config.n * config.lanes * config.engines))
    return layer.steps * (each + DEPENDENT_CYCLES.get(layer.op, 0))
