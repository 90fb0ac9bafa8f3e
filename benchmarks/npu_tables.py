"""The NPU beside published ones at equal multipliers: cycles, utilization; and its simulation.

    python benchmarks/npu_tables.py [--rtl] [--area]

Two tables by the cycle model (rtl_sim/model/npu_cycles.py, which tests hold to the RTL) at
`bw_s10`, 96,000 multipliers: the recurrent nets of DeepBench beside Brainwave's published
latencies, and the workloads of intel/fpga-npu beside the TOPS that its repository expects of its
simulator. Batch 1; what is counted is a further inference once the weights are on the chip, of
more than STEPS_MAX steps by the slope, as all are alike. Each row stands there twice: compiled from
ONNX, every input read and every state written over the bus; and assembled by hand
(rtl_sim/model/npu_nets.py) with inputs and outputs on the chip, which shows what the bus costs.
--rtl runs nets on the RTL of `sim` and `sim4`, where they fit, and
weighs simulated multiplications against a bare tile; --area synthesises `nano` and `edge`. Tables
go to standard error, JSON to standard output.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from math import ceil
from typing import Any

import _npu_compiled
import numpy as np
from _machine import machine_facts

from rtl_sim.model import npu_nets
from rtl_sim.model.npu_cycles import predict
from rtl_sim.model.npu_nets import Net
from rtl_sim.spec.npu import CONFIGS, Config, Stat

BW = CONFIGS["bw_s10"]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
BIASES = {"lstm": 4, "gru": 4, "rnn": 1}
MAKE: dict[str, Callable[..., Net]] = {
    "lstm": npu_nets.lstm,
    "gru": npu_nets.gru,
    "rnn": npu_nets.rnn,
}
CHAIN = {"lstm": 19, "gru": 31}  # operations of the longest dependent chain, for the SDM bound
# DeepBench, batch 1, on Brainwave's BW_S10 (96,000 multipliers, 250 MHz): latency in ms
BRAINWAVE = [
    ("gru", 2816, 750, 1.987),
    ("gru", 2560, 375, 0.993),
    ("gru", 2048, 375, 0.954),
    ("gru", 1536, 375, 0.951),
    ("gru", 1024, 1500, 3.792),
    ("gru", 512, 1, 0.013),
    ("lstm", 2048, 25, 0.074),
    ("lstm", 1536, 50, 0.145),
    ("lstm", 1024, 25, 0.074),
    ("lstm", 512, 25, 0.077),
    ("lstm", 256, 150, 0.425),
]
BRAINWAVE_MHZ = 250
# scripts/perf_baseline of intel/fpga-npu: TOPS at batch 6; its peak: 7 tiles, 40 x 40, 3, 600 MHz
INTEL = [
    *[("gemv", 512, 5.65), ("gemv", 1024, 13.06), ("gemv", 1152, 13.38), ("gemv", 1536, 18.34)],
    *[("gemv", 1792, 20.04), ("rnn", 512, 10.86), ("rnn", 1024, 25.11), ("rnn", 1152, 25.59)],
    *[("rnn", 1536, 33.38), ("rnn", 1792, 34.25), ("gru", 512, 10.89), ("gru", 1024, 24.32)],
    *[("gru", 1152, 25.29), ("lstm", 512, 15.16), ("lstm", 1024, 31.85), ("mlp", 512, 6.86)],
    ("mlp", 1024, 16.29),
]
INTEL_PEAK = 2 * 7 * 40 * 40 * 3 * 600e6 / 1e12
INTEL_STEPS = 8
STEPS_MAX = 24


def weights(kind: str, hidden: int) -> list[Any]:
    """Of the right shapes, without values."""
    gates, biases = GATES[kind] * hidden, BIASES[kind] * hidden
    return [np.zeros(shape, np.int8) for shape in ((gates, hidden), (gates, hidden), (biases,))]


def net(kind: str, config: Config, size: int, steps: int, samples: int) -> Net:
    if kind in MAKE:
        parts = weights(kind, size)
        return MAKE[kind](config, *parts, steps, samples, values=False, resident=True)
    layers = [(np.zeros((size, size), np.int8), np.zeros(size, np.int8))]
    layers *= 3 if kind == "mlp" else 1
    return npu_nets.mlp(config, layers, samples, values=False, resident=True)


def cycles(kind: str, config: Config, size: int, steps: int) -> float:
    """Of a further inference, when weights, inputs and outputs are on the chip."""
    if steps > STEPS_MAX:
        few, many = (cycles(kind, config, size, count) for count in (STEPS_MAX // 2, STEPS_MAX))
        return many + (many - few) / (STEPS_MAX - STEPS_MAX // 2) * (steps - STEPS_MAX)
    taken = []
    samples = 1, 4 if steps == 1 else 2
    for count in samples:
        made = net(kind, config, size, steps, count)
        stats = predict(
            config,
            made.program,
            weight_vectors=1 << 20,
            input_vectors=made.input_vectors,
            output_vectors=made.output_vectors,
        )
        taken.append(stats[Stat.CYCLES])
    return (taken[1] - taken[0]) / (samples[1] - samples[0])


def macs(kind: str, size: int) -> int:
    """Of one step; inputs are as long as the state."""
    if kind in MAKE:
        return 2 * GATES[kind] * size * size
    return (3 if kind == "mlp" else 1) * size * size


def utilization(count: float, config: Config, taken: float) -> float:
    return count / (config.n * config.lanes * config.engines * taken)


def deepbench() -> list[dict[str, Any]]:
    rows = []
    for kind, hidden, steps, latency_ms in BRAINWAVE:
        work = macs(kind, hidden)
        sdm = ceil(work / (BW.n * BW.lanes * BW.engines)) + CHAIN[kind]
        step, pinned = _npu_compiled.cycles(kind, BW.name, hidden, 1)
        assert pinned, f"{kind} {hidden}: weights are loaded again in every launch"
        core = cycles(kind, BW, hidden, steps) / steps
        theirs = latency_ms * 1e3 * BRAINWAVE_MHZ / steps
        rows.append(
            {
                "net": f"{kind} {hidden}",
                "steps": steps,
                "sdm": sdm,
                "cycles_per_step": round(step, 1),
                "above_sdm": round(step - sdm, 1),
                "u_peak": round(utilization(work, BW, step), 3),
                "u_sdm": round(sdm / step, 3),
                "on_chip_cycles_per_step": round(core, 1),
                "brainwave_cycles_per_step": round(theirs),
                "brainwave_u_peak": round(utilization(work, BW, theirs), 3),
            }
        )
    return rows


def intel() -> list[dict[str, Any]]:
    rows = []
    for kind, size, tops in INTEL:
        steps = INTEL_STEPS if kind in MAKE else 1
        whole, _ = _npu_compiled.cycles(kind, BW.name, size, steps)
        core = cycles(kind, BW, size, steps)
        work = macs(kind, size) * steps
        rows.append(
            {
                "net": f"{kind} {size}",
                "cycles": round(whole),
                "u_peak": round(utilization(work, BW, whole), 3),
                "on_chip_cycles": round(core),
                "on_chip_u_peak": round(utilization(work, BW, core), 3),
                "fpga_npu_u_peak_batch_6": round(tops / INTEL_PEAK, 3),
            }
        )
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    out = sys.stderr
    print(f"\n{title}\n", file=out)
    names = list(rows[0])
    print("| " + " | ".join(name.replace("_", " ") for name in names) + " |", file=out)
    print("|" + "---|" * len(names), file=out)
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |", file=out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rtl", action="store_true")
    parser.add_argument("--area", action="store_true")
    options = parser.parse_args()
    tables = {"deepbench": deepbench(), "fpga_npu": intel()}
    show("DeepBench at 96,000 multipliers, batch 1, by the cycle model", tables["deepbench"])
    show("intel/fpga-npu's workloads at 96,000 multipliers, batch 1", tables["fpga_npu"])
    if options.rtl:
        from _npu_rtl import measure

        tables["rtl"] = measure()
        show("The RTL beside the cycle model", tables["rtl"])
    if options.area:
        from _npu_area import areas

        tables["area"] = areas()
        show("Synthesised for Xilinx 7 by Yosys", tables["area"])
    print(json.dumps({"machine": machine_facts(), "npu_tables": tables}, indent=1))


if __name__ == "__main__":
    main()
