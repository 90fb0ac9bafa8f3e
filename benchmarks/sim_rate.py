"""Simulated clock cycles per CPU-second through the hal, and in a bare C++ harness, as a ratio.

    python benchmarks/sim_rate.py [--rounds N] [--seconds S] [OVERLAY...]

Both run the same kernel of the same model again and again, alternating, in one run, and check its
answers: the longest self test of the overlay and, for the checksum, also a long buffer, as its self
tests are so short that the launch shows. CPU-seconds, and the best round of each, because a
machine has other users. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from _machine import machine_facts

import bitstreams
from hal.backends.fpga import backend, overlays
from hal.backends.fpga.driver import FpgaDriver
from hal.backends.fpga.verilator_shell import VerilatorShell
from hal.context import Device
from hal.types import SelfTest
from hal.workload import prepare
from rtl_sim.model import checksum
from rtl_sim.verilated.build import Design, build_program

HARNESS = Path(__file__).parent / "bare_harness.cpp"
BASE = 1 << 32
PAGE = 4096
LONG_BYTES = 1 << 18
AIM = 0.9  # of the bare rate; below it, the way through the hal costs more than it may


@dataclass
class Rate:
    cycles: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.cycles / self.seconds


class Bare:
    """The harness with one self test: its memory image and its register values."""

    def __init__(self, test: SelfTest, folder: Path) -> None:
        assert test.overlay is not None
        overlay = test.overlay
        bundle = bitstreams.verified(overlay.manifest, overlay.files, overlay.digest)
        manifest = bundle.manifest
        for path in manifest.sources:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(bundle.files[path])
        sources = tuple(folder / path for path in manifest.sources)
        self._program = build_program(
            Design(sources, manifest.top, state_port=manifest.state_map is not None),
            HARNESS,
            shim=False,
        )
        self._memory = folder / "memory.bin"
        self._registers: list[str] = []
        self._outputs: list[tuple[int, bytes]] = []
        image, expected = bytearray(), list(test.expected)
        kernel = manifest.kernel(test.entry)
        assert kernel is not None
        for declared, (kind, value) in zip(kernel.args, test.args, strict=True):
            if kind == "scalar":
                assert isinstance(value, bytes)
                data = value
            else:
                data = struct.pack("<Q", BASE + len(image))
                content = bytes(value) if isinstance(value, int) else value
                if kind == "out":
                    self._outputs.append((len(image), expected.pop(0)))
                image += content + bytes(-len(content) % PAGE)
            for index, (word,) in enumerate(struct.iter_unpack("<I", data)):
                self._registers.append(f"{declared.offset + 4 * index}={word}")
        self._image = bytes(image)

    def run(self, launches: int) -> Rate:
        self._memory.write_bytes(self._image)
        command = [self._program, self._memory, str(BASE), str(launches), *self._registers]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        cycles, seconds = done.stdout.split()
        memory = self._memory.read_bytes()
        for offset, answer in self._outputs:
            assert memory[offset : offset + len(answer)] == answer, (
                "the bare harness computes wrong"
            )
        return Rate(int(cycles), float(seconds))


class Hal:
    """The same self test through the hal."""

    def __init__(self, test: SelfTest) -> None:
        self._shell = VerilatorShell()
        self._device = Device(FpgaDriver(backend.probe()[0], self._shell))
        assert test.overlay is not None
        self._device.configure(test.overlay)
        self._work = prepare(self._device.open_context(), test)

    def run(self, launches: int) -> Rate:
        context = self._work.context
        self._work.launch()
        context.finish()  # the fabric is ours from here on
        cycle = self._shell.cycle
        begin = time.thread_time()
        for _ in range(launches):
            self._work.launch()
            context.finish()
        seconds = time.thread_time() - begin
        assert self._work.read() == self._work.test.expected, "the hal computes wrong"
        return Rate(self._shell.cycle - cycle, seconds)


def workloads(name: str) -> list[SelfTest]:
    """The longest self test of an overlay, and what else is worth measuring."""
    overlay = overlays.overlay(name)
    tests = overlays.self_tests(overlay)
    lengths = {test.name: Hal(test).run(1).cycles for test in tests}
    longest = max(tests, key=lambda test: lengths[test.name])
    if name != "checksum":
        return [longest]
    data = bytes(range(256)) * (LONG_BYTES // 256)
    long = replace(
        longest,
        name=f"checksum: {LONG_BYTES}-bytes",
        args=(("in", data), longest.args[1], ("scalar", struct.pack("<I", LONG_BYTES))),
        expected=(checksum.result(data, checksum.cycles(LONG_BYTES)),),
    )
    return [long, longest]


def compare(test: SelfTest, rounds: int, seconds: float) -> dict[str, object]:
    """Rates of one workload and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        bare, hal = Bare(test, Path(folder)), Hal(test)
        launches = max(1, round(seconds / bare.run(3).seconds * 3))
        cycles = hal.run(1).cycles
        pairs = [(bare.run(launches), hal.run(launches)) for _ in range(rounds)]
    best_bare = max((pair[0] for pair in pairs), key=lambda rate: rate.per_second)
    best_hal = max((pair[1] for pair in pairs), key=lambda rate: rate.per_second)
    ratio = best_hal.per_second / best_bare.per_second
    return {
        "workload": test.name,
        "launches": launches,
        "cycles_per_launch": cycles,
        "bare_cycles_per_cpu_s": round(best_bare.per_second),
        "hal_cycles_per_cpu_s": round(best_hal.per_second),
        "ratio": round(ratio, 3),
        "aim": AIM,
        "met": ratio >= AIM,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overlays", nargs="*", default=["checksum", "npu-nano", "npu-sim"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round, roughly")
    chosen = parser.parse_args()
    results = [
        compare(test, chosen.rounds, chosen.seconds)
        for name in chosen.overlays
        for test in workloads(name)
    ]
    print(json.dumps({"benchmark": "sim_rate", "machine": machine_facts(), "results": results},
                     indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
