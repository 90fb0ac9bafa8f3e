"""The NPU overlay as a target: a graph of the IR to a `CompiledModel`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from compiler.artifact import CompiledModel, TensorSpec, ValueSpec
from compiler.errors import BadWeights, DoesNotFit, UnsupportedOp
from compiler.ir import Graph
from compiler.passes.fold_lines import fold_lines
from compiler.passes.gather_first import gather_first
from compiler.passes.split_host import split_host
from compiler.profile import launch_cycles
from compiler.targets.npu.form import form_blocks
from compiler.targets.npu.layout import Layout
from compiler.targets.npu.legalize import legalize
from compiler.targets.npu.lower import lower
from rtl_sim.spec.npu import CONFIGS, Config, encode

TRIED_SAMPLES = 4  # enough to see what a further one costs


def compile_graph(graph: Graph, target: str, config: Config, samples: int) -> CompiledModel:
    """Raises UnsupportedOp, BadWeights, DoesNotFit, which names the smallest target that fits."""
    try:
        return compile_prepared(prepare(graph, target, config, samples), target, config, samples)
    except DoesNotFit as error:
        fits = _smallest(graph, config, samples)
        raise DoesNotFit(error.resource, error.need, error.have, target, fits) from error


def _smallest(graph: Graph, refused: Config, samples: int) -> str:
    """The target of fewest multipliers that holds what `refused` does not; "" if none does."""
    for config in sorted(CONFIGS.values(), key=lambda each: each.n * each.lanes * each.engines):
        target = f"npu:{config.name}"
        if config.name != refused.name:
            with contextlib.suppress(UnsupportedOp, BadWeights, DoesNotFit):
                compile_prepared(prepare(graph, target, config, samples), target, config, samples)
                return target
    return ""


def prepare(graph: Graph, target: str, config: Config, samples: int) -> Graph:
    """The graph in the form that takes the fewest cycles: images by pixels, or by lines."""
    pixels, lines = gather_first(graph, config.n), fold_lines(graph, config.n)
    if lines is None:
        return pixels
    cycles: list[tuple[int, Graph]] = []
    for form in (pixels, lines):
        with contextlib.suppress(UnsupportedOp, BadWeights, DoesNotFit):
            compiled = compile_prepared(form, target, config, min(samples, TRIED_SAMPLES))
            cycles.append((launch_cycles(compiled), form))
    return min(cycles, key=lambda each: each[0], default=(0, pixels))[1]


def compile_prepared(graph: Graph, target: str, config: Config, samples: int) -> CompiledModel:
    """As it is. Raises as compile_graph."""
    parts = split_host(graph)
    device = parts.device
    layout = legalize(device, parts.after, config.n)
    blocks = form_blocks(device, layout)
    inputs, _ = _offsets(layout, device.inputs)
    outputs, output_vectors = _offsets(layout, map(layout.store_of, device.outputs))
    lowered = lower(blocks, layout, inputs, outputs, config, target, samples)
    return CompiledModel(
        name=graph.name,
        target=target,
        config=config.name,
        overlay=f"npu-{config.name}",
        overlay_digest="",
        samples=samples,
        inputs=tuple(ValueSpec(name, graph.shapes[name]) for name in graph.inputs),
        before=parts.before,
        fed=_specs(device, layout, device.inputs, inputs),
        outputs=_specs(device, layout, device.outputs, outputs),
        input_vectors=lowered.input_vectors,
        output_vectors=output_vectors,
        host=parts.after,
        results=graph.outputs,
        pinned=lowered.pinned,
        macs=lowered.macs,
        used=lowered.used,
        layers=lowered.layers,
        program=encode(lowered.program),
        weights=lowered.weights,
    )


def _offsets(layout: Layout, stores: Iterable[str]) -> tuple[dict[str, int], int]:
    """Store -> first native vector in its buffer, and the buffer's size."""
    offsets: dict[str, int] = {}
    size = 0
    for store in dict.fromkeys(stores):
        offsets[store] = size
        size += layout.vectors_of(store)
    return offsets, size


def _specs(
    graph: Graph, layout: Layout, names: tuple[str, ...], offsets: dict[str, int]
) -> tuple[TensorSpec, ...]:
    specs = []
    for name in names:
        store = layout.store_of(name)
        specs.append(TensorSpec(name, graph.shapes[name], offsets[store], layout.segment[store]))
    return tuple(specs)
