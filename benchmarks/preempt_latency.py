"""How long a fabric takes to become free: cycles from a FREEZE, against waiting for the kernel.

    python benchmarks/preempt_latency.py [--samples N] [--out FOLDER] [KERNEL...]

The RTL shell (docs/shell.md) with its overlay, Verilated, driven through its registers. At random
instants of a kernel: cycles from the request to *frozen* (the fabric stands, its bus is quiet) and
to *saved* (its state is in memory, another may be loaded); beside it what is left of the kernel,
which is what a device waits that can only preempt between kernels. After each sample the fabric is
reset, the state loaded and verified, and the kernel's result must be the uninterrupted one. Prints
a table and JSON; `--out` gets preempt_latency.{json,svg}.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _machine import machine_facts
from numpy.typing import NDArray

import rtl_sim
from rtl_sim.design import Design
from rtl_sim.shell import wrap
from rtl_sim.spec.npu import BUFFER_ARGS, CONFIGS, SCALAR_ARGS, SOURCES, STATS_BYTES
from rtl_sim.tb.npu_random import Generator
from rtl_sim.verilated.build import Design as Simulated
from rtl_sim.verilated.build import build_program

HARNESS = Path(__file__).parent / "preempt_harness.cpp"
RTL = Path(rtl_sim.__file__).parent / "rtl"
BASE = 1 << 32
PAGE = 4096
LATENCY = 30  # cycles of the memory, as of a DDR controller behind an interconnect
STALL_PER_256 = 64
CHECKSUM_BYTES = 1 << 14
NPU_CHAINS, NPU_SEED = 10, 6  # a long one of those that fit the smallest program memory
HARNESS_TIMEOUT_S = 1800
PERCENTILES = (50, 95, 100)


@dataclass(frozen=True, slots=True)
class Kernel:
    design: Design
    burst_beats: int
    memory: bytes
    result: tuple[int, int]  # offset and size of what must come out the same
    registers: Mapping[int, int]


def checksum() -> Kernel:
    """A buffer of 16 KiB; its cycle counter is no result, since time passes while parked."""
    data = np.random.default_rng(1).bytes(CHECKSUM_BYTES)
    result = BASE + CHECKSUM_BYTES
    registers = {**_address(0x10, BASE), **_address(0x1C, result), 0x28: CHECKSUM_BYTES}
    design = Design(tuple(sorted((RTL / "checksum").glob("*.sv"))), "checksum")
    return Kernel(design, 16, data + bytes(PAGE), (CHECKSUM_BYTES, 16), registers)


def npu() -> Kernel:
    """A random program of every instruction for the smallest NPU."""
    config = CONFIGS["nano"]
    case = Generator(config, seed=NPU_SEED).case(NPU_CHAINS)
    if len(case.program) // 8 > config.program:
        raise SystemExit(f"{NPU_CHAINS} chains do not fit {config.name}'s program memory")
    output_bytes = case.output_vectors * config.vector_bytes
    contents = {
        "program": case.program,
        "weights": case.weights,
        "input": case.inputs,
        "output": bytes(output_bytes),
        "stats": bytes(STATS_BYTES),
    }
    memory, places = b"", {}
    for name, data in contents.items():
        places[name] = len(memory)
        memory += data + bytes(-len(data) % PAGE)
    sizes = {
        "n_instr": len(case.program) // 8,
        "n_weights": len(case.weights) // config.vector_bytes,
        "n_input": len(case.inputs) // config.vector_bytes,
        "n_output": case.output_vectors,
    }
    registers = {offset: sizes[name] for name, offset in SCALAR_ARGS.items()}
    for name, offset in BUFFER_ARGS.items():
        registers |= _address(offset, BASE + places[name])
    design = Design(
        tuple(RTL / "npu" / name for level in SOURCES for name in level), "npu", config.params
    )
    return Kernel(design, 256, memory, (places["output"], output_bytes), registers)


KERNELS: Mapping[str, Callable[[], Kernel]] = {"checksum": checksum, "npu-nano": npu}


def _address(offset: int, address: int) -> dict[int, int]:
    return {offset: address & 0xFFFFFFFF, offset + 4: address >> 32}


def measure(kernel: Kernel, samples: int) -> tuple[dict[str, object], NDArray[np.int64]]:
    """Summary, and a row a sample: instant, to frozen, to saved, load, left of the kernel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wrapped = wrap(kernel.design, folder, burst_beats=kernel.burst_beats)
        program = build_program(Simulated(wrapped.sources, "shell"), HARNESS, shim=False)
        (folder / "memory").write_bytes(kernel.memory)
        registers = {**kernel.registers, 0x04: 1, 0x08: 1}
        done = subprocess.run(
            [
                program, folder / "memory", str(BASE), str(samples), "1", str(LATENCY),
                str(STALL_PER_256), *map(str, kernel.result),
                *(f"{offset}={value}" for offset, value in registers.items()),
            ],
            capture_output=True, text=True, timeout=HARNESS_TIMEOUT_S, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the harness failed: {done.stderr}")
    first, *lines = done.stdout.splitlines()
    whole = int(first)
    raw = np.array([line.split() for line in lines], dtype=np.int64)
    instant, frozen, save, load = raw.T
    left = whole - instant
    rows = np.stack([instant, frozen, frozen + save, load, left], axis=1)
    geometry = wrapped.geometry
    return {
        "kernel_cycles": whole,
        "samples": len(rows),
        "image_words": geometry.image_beats,
        "rows": geometry.rows,
        "memory_words": geometry.words,
        "load_cycles": int(load.max()),
        "percentiles": PERCENTILES,
        "to_frozen": _percentiles(rows[:, 1]),
        "to_saved": _percentiles(rows[:, 2]),
        "kernel_left": _percentiles(left),
    }, rows


def _percentiles(values: NDArray[np.int64]) -> list[int]:
    return [int(value) for value in np.percentile(values, PERCENTILES)]


def draw(samples: Mapping[str, NDArray[np.int64]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "haltere"  # the same figures give the same bytes
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(samples), figsize=(5 * len(samples), 3.4), squeeze=False)
    for axis, (name, rows) in zip(axes[0], samples.items(), strict=True):
        for column, label in ((1, "frozen"), (2, "saved"), (4, "end of kernel")):
            values = np.sort(np.maximum(rows[:, column], 1))
            axis.step(
                values, np.arange(1, len(values) + 1) / len(values), where="post", label=label
            )
        axis.set(
            xscale="log", xlabel="cycles from the request", ylabel="share of instants", title=name
        )
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kernels", nargs="*", default=list(KERNELS), metavar="KERNEL")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results, samples = {}, {}
    print(f"{'kernel':<12}{'cycles':>9}{'':>8}{'to frozen':>11}{'to saved':>11}{'kernel left':>13}")
    for name in options.kernels:
        results[name], samples[name] = measure(KERNELS[name](), options.samples)
        for place, percentile in enumerate(PERCENTILES):
            row = [results[name][key][place] for key in ("to_frozen", "to_saved", "kernel_left")]
            head = (name, results[name]["kernel_cycles"]) if not place else ("", "")
            print(
                f"{head[0]:<12}{head[1]:>9}{f'p{percentile}':>8}{row[0]:>11}{row[1]:>11}{row[2]:>13}"
            )
    text = json.dumps({"machine": machine_facts(), "preempt_latency": results}, indent=1)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "preempt_latency.json").write_text(text + "\n")
        draw(samples, options.out / "preempt_latency.svg")


if __name__ == "__main__":
    main()
