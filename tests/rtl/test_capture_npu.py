"""The NPU, captured: random programs give the same answers in the same cycles, cut or not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rtl_sim.capture import capture
from rtl_sim.design import Design as RtlDesign
from rtl_sim.spec.npu import CONFIGS
from rtl_sim.statemap import StateMap
from rtl_sim.tb.cut_model import CutModel
from rtl_sim.tb.npu_bench import BASE, MEMORY_BYTES, Bench, design
from rtl_sim.tb.npu_random import Case, Generator
from rtl_sim.verilated.build import Design, build_library
from rtl_sim.verilated.model import MemoryWindow

CONFIG = CONFIGS["nano"]
PROGRAMS = 12
CUTS = 3  # of each program; a cut costs a fresh model and two walks through all memories


def _launch(bench: Bench, case: Case) -> tuple[bytes, tuple[int, ...], int]:
    output_bytes = case.output_vectors * CONFIG.vector_bytes
    launch = bench.launch(case.program, case.weights, case.inputs, output_bytes)
    return launch.output, launch.stats, launch.cycles


@pytest.mark.slow
def test_a_captured_npu_runs_like_the_plain_one_also_when_cut(tmp_path: Path) -> None:
    plain = design(CONFIG)
    result = capture(RtlDesign(plain.sources, plain.top, plain.params), tmp_path)
    state_map = StateMap.parse(result.state_map.read_bytes())
    library = build_library(Design((result.verilog,), plain.top, state_port=True))

    def bench(cuts: int) -> tuple[Bench, CutModel]:
        made = Bench(CONFIG, library)
        made.model.close()
        model = CutModel(library, state_map, random.Random(cuts), cuts)
        model.set_windows([MemoryWindow(BASE, MEMORY_BYTES, made.memory.ctypes.data)])
        made.model = model  # type: ignore[assignment]  # stands where a Model stands
        return made, model

    original = Bench(CONFIG)
    (whole, whole_model), (cut, cut_model) = bench(0), bench(CUTS)
    generator = Generator(CONFIG, seed=11)
    cases = [generator.setup(), *(generator.case() for _ in range(PROGRAMS)), generator.dump()]
    for case in cases:
        wanted = _launch(original, case)
        assert _launch(whole, case) == wanted
        cut_model.span = wanted[2]
        assert _launch(cut, case) == wanted
    assert cut_model.moved >= PROGRAMS
    assert cut_model.save() == whole_model.save()
