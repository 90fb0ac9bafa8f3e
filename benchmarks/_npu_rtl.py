"""Nets on the simulated RTL: cycles beside the cycle model, and multiplications a CPU-second beside
a bare tile of the same size, alternating in one run, the best of each."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from rtl_sim.model import npu_nets
from rtl_sim.model.npu_cycles import Memory, predict
from rtl_sim.model.npu_formats import pack_vector
from rtl_sim.spec.npu import CONFIGS, Config, Stat
from rtl_sim.tb.npu_bench import RTL, Bench
from rtl_sim.verilated.build import Design, build_program

HERE = Path(__file__).parent
TILE = ("npu_pkg.sv", "npu_dot.sv", "npu_accum.sv", "npu_row.sv")
NETS = [("sim", "lstm", 64), ("sim", "gru", 96), ("sim4", "lstm", 160), ("sim4", "gru", 192)]
STEPS = 300
ROUNDS = 3
TILE_CYCLES = 60_000


def tile(config: Config) -> Path:
    params = {"N": config.n, "LANES": config.lanes, "MANT": config.mant, "GUARD": config.guard}
    sources = tuple(RTL / name for name in TILE)
    design = Design((*sources, HERE / "npu_tile.sv"), "npu_tile", params)
    return build_program(design, HERE / "npu_tile.cpp", shim=False)


def measure() -> list[dict[str, Any]]:
    rows = []
    for name, kind, hidden in NETS:
        config = CONFIGS[name]
        rng = np.random.default_rng(1)
        gates, biases = (4, 4) if kind == "lstm" else (3, 4)
        shapes = (gates * hidden, hidden), (gates * hidden, hidden), (biases * hidden,)
        parts = [rng.uniform(-0.2, 0.2, shape) for shape in shapes]
        make = npu_nets.lstm if kind == "lstm" else npu_nets.gru
        net = make(config, *parts, steps=STEPS)
        inputs = pack_vector(config, rng.standard_normal((net.input_vectors, config.n)))
        bench, bare = Bench(config), tile(config)
        size = net.output_vectors * config.vector_bytes
        seconds, bare_seconds = [], []
        for _ in range(ROUNDS):
            before = time.process_time()
            found = bench.launch(net.program, net.weights, inputs, size)
            seconds.append(time.process_time() - before)
            done = subprocess.run(
                [str(bare), str(TILE_CYCLES)], capture_output=True, text=True, check=True
            )
            bare_seconds.append(float(done.stdout.split()[0]))
        bench.close()
        places = {key: place // 8 for key, place in found.places.items()}
        predicted = predict(
            config,
            net.program,
            weight_vectors=len(net.weights) // config.vector_bytes,
            input_vectors=net.input_vectors,
            output_vectors=net.output_vectors,
            memory=Memory(places=places),
        )
        beat = config.n * config.lanes
        rate = found.stats[Stat.MV_BEATS] * beat / min(seconds)
        bare_rate = TILE_CYCLES * beat / min(bare_seconds)
        rows.append(
            {
                "configuration": name,
                "net": f"{kind} {hidden}",
                "cycles": found.stats[Stat.CYCLES],
                "predicted": predicted[Stat.CYCLES],
                "cycles_per_cpu_s": round(found.stats[Stat.CYCLES] / min(seconds)),
                "mmacs_per_cpu_s": round(rate / 1e6, 1),
                "bare_mmacs_per_cpu_s": round(bare_rate / 1e6, 1),
                "ratio": round(rate / bare_rate, 3),
            }
        )
    return rows
