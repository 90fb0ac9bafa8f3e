"""What being haltable costs in simulation: cycles per CPU-second of three forms of one design.

    python benchmarks/capture_rate.py [--rounds N] [DESIGN...]

rtl       the sources as written
netlist   what capture emits, with its state port tied off: the cost of going through Yosys
captured  what capture emits: that and the cost of the state port
All three run the same kernels, alternating, in one run, without a cut; the best round of each
counts, because a machine has other users. They must take the same cycles. Then the captured one is
saved and loaded: cycles as counted and as the state map says, CPU-milliseconds of the best round.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _machine import machine_facts

import rtl_sim
from rtl_sim.capture import CaptureReport, capture
from rtl_sim.design import Design as RtlDesign
from rtl_sim.prove.equivalence import tied_off
from rtl_sim.spec.npu import CONFIGS
from rtl_sim.statemap import StateMap
from rtl_sim.tb.npu_bench import Bench, design
from rtl_sim.tb.npu_random import Generator
from rtl_sim.verilated.build import Design, build_library
from rtl_sim.verilated.model import MemoryWindow, Model

FORMS = ("rtl", "netlist", "captured")
BUFFER_BYTES = 1 << 20
BASE = 1 << 32
IDLE_CYCLES = 300_000
PROGRAMS = 10  # of the NPU, long ones
CHAINS = 30
CHECKSUM = Path(rtl_sim.__file__).parent / "rtl" / "checksum"

# Runs the workload once and returns (cycles, CPU-seconds).
Work = Callable[[], tuple[int, float]]


def forms(plain: Design, folder: Path) -> tuple[dict[str, Path], CaptureReport]:
    result = capture(RtlDesign(plain.sources, plain.top, plain.params), folder)
    netlist = folder / "netlist.v"
    netlist.write_text(tied_off(result.verilog.read_text()))
    designs = {
        "rtl": plain,
        "netlist": Design((netlist,), plain.top),
        "captured": Design((result.verilog,), plain.top, state_port=True),
    }
    return {form: build_library(designs[form]) for form in FORMS}, result.report


def checksum_work(library: Path) -> tuple[Model, Work]:
    """One long buffer: the model's logic, hardly any launches."""
    model = Model(library)
    memory = np.arange(BUFFER_BYTES + 4096, dtype=np.uint8)
    model.set_windows([MemoryWindow(BASE, memory.nbytes, memory.ctypes.data)])

    def work() -> tuple[int, float]:
        for offset, address in ((0x10, BASE), (0x1C, BASE + BUFFER_BYTES)):
            model.write32(offset, address & 0xFFFFFFFF)
            model.write32(offset + 4, address >> 32)
        for offset, value in ((0x28, BUFFER_BYTES), (0x04, 1), (0x08, 1), (0x00, 1)):
            model.write32(offset, value)
        began = time.process_time()
        cycles = model.run(1 << 30)
        seconds = time.process_time() - began
        assert model.interrupt() and memory.size  # which the model reads, so it must live
        model.write32(0x0C, 1)
        model.read32(0x00)
        return cycles, seconds

    return model, work


def npu_work(library: Path, config_name: str) -> tuple[Model, Work]:
    """Random programs of every instruction, the same for each form."""
    config = CONFIGS[config_name]
    bench = Bench(config, library)
    generator = Generator(config, seed=5)
    cases = [generator.setup(), *(generator.case(CHAINS) for _ in range(PROGRAMS))]

    def work() -> tuple[int, float]:
        cycles = 0
        began = time.process_time()
        for case in cases:
            size = case.output_vectors * config.vector_bytes
            cycles += bench.launch(case.program, case.weights, case.inputs, size).cycles
        return cycles, time.process_time() - began

    return bench.model, work


def idle(model: Model) -> float:
    began = time.process_time()
    model.run(IDLE_CYCLES, stop_on_irq=False)
    return IDLE_CYCLES / (time.process_time() - began)


def moves(library: Path, state_map: StateMap, rounds: int) -> dict[str, object]:
    """What a save, and a load with its read-back, take."""
    model = Model(library, state_map, seed=1)
    snapshot = model.save("moved")
    save_cycles = model.frozen_cycles
    best = {"save": float("inf"), "load": float("inf")}
    for _ in range(rounds):
        began = time.process_time()
        model.save("moved")
        saved = time.process_time()
        before = model.frozen_cycles
        model.load(snapshot, ["moved"])
        load_cycles = model.frozen_cycles - before - save_cycles
        best["save"] = min(best["save"], saved - began)
        best["load"] = min(best["load"], time.process_time() - saved)
    assert (save_cycles, load_cycles) == (state_map.save_cycles, state_map.load_cycles)
    model.close()
    return {
        "cycles": {"save": save_cycles, "load": load_cycles},
        "formula": {"save": state_map.save_cycles, "load": state_map.load_cycles},
        "rows": state_map.rows,
        "words": sum(memory.depth for memory in state_map.memories),
        "milliseconds": {what: round(seconds * 1000, 2) for what, seconds in best.items()},
    }


def measure(name: str, rounds: int) -> dict[str, object]:
    if name == "checksum":
        plain = Design(tuple(sorted(CHECKSUM.glob("*.sv"))), "checksum")
    else:
        plain = design(CONFIGS[name.removeprefix("npu-")])
    with tempfile.TemporaryDirectory() as folder:
        libraries, report = forms(plain, Path(folder))
        state_map = StateMap.parse((Path(folder) / "state.json").read_bytes())
    made = {
        form: checksum_work(library)
        if name == "checksum"
        else npu_work(library, name.removeprefix("npu-"))
        for form, library in libraries.items()
    }
    busy, still = dict.fromkeys(FORMS, 0.0), dict.fromkeys(FORMS, 0.0)
    for _ in range(rounds):
        cycles: set[int] = set()
        for form, (model, work) in made.items():
            count, seconds = work()
            cycles.add(count)
            busy[form] = max(busy[form], count / seconds)
            still[form] = max(still[form], idle(model))
        assert len(cycles) == 1, f"{name}: the forms took different cycles: {cycles}"
    return {
        "state_bits": report.state_bits,
        "cells": [report.cells_before, report.cells_after],
        "chain_rows": report.rows,
        "busy_cycles_per_s": {form: round(rate) for form, rate in busy.items()},
        "busy_ratio": {form: round(busy[form] / busy["rtl"], 2) for form in FORMS},
        "idle_cycles_per_s": {form: round(rate) for form, rate in still.items()},
        "idle_ratio": {form: round(still[form] / still["rtl"], 2) for form in FORMS},
        "moves": moves(libraries["captured"], state_map, rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("designs", nargs="*", default=["checksum", "npu-nano"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results = {name: measure(name, options.rounds) for name in options.designs}
    print(json.dumps({"machine": machine_facts(), "capture_rate": results}, indent=1))


if __name__ == "__main__":
    main()
