"""What sharing one simulated FPGA costs: sessions time-sliced against one after another.

    python benchmarks/fabric_sharing.py [--kib N] [--rounds N]

1, 2 and 4 sessions run the checksum kernel on N KiB each, with the same overlay or each second one
with another, at several quanta. `ratio` is the CPU time that the same sessions take one after
another, in the same run, over what they take together (1: sharing is free; server and workers are
one process here); `fairness` Jain's index over the cycles that each had had when the first was
done; `cycle_share` the part of the device's cycles that kernels got (the rest: save and restore).
Of each the best counts, because a machine has other users. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from _machine import machine_facts

import bitstreams
from bitstreams.manifest import parse_draft
from hal.backends.fpga import backend, overlays
from hal.backends.fpga.driver import FpgaDriver
from hal.backends.fpga.verilator_shell import VerilatorShell
from hal.context import Context, Device
from hal.timeline import DeviceSpan
from hal.types import Overlay, ProgramImage, ScalarArg, Seq
from proxy.loopback import Loopback

QUANTA = (1_000, 10_000, 100_000, 1_000_000)
COUNTS = (1, 2, 4)
ROOT = Path("/dev/shm")


def twin(overlay: Overlay) -> Overlay:
    """The same logic under another digest: the fabric must be reprogrammed for it."""
    draft = {**json.loads(overlay.manifest), "name": "checksum-too"}
    return overlays.as_overlay(bitstreams.make(parse_draft(draft, overlay.files), overlay.files))


class Session:
    def __init__(self, device: Device, overlay: Overlay, nbytes: int) -> None:
        device.configure(overlay)
        self.nbytes = nbytes
        self.context: Context = device.open_context()
        self.program = self.context.load(ProgramImage("overlay", overlay.digest.encode()))
        self.source, self.target = self.context.alloc(nbytes), self.context.alloc(4096)
        self.context.write(self.source, bytes(range(256)) * (nbytes // 256))
        self.context.finish()

    def launch(self) -> Seq:
        args = [self.source.arg(), self.target.arg(), ScalarArg.u32(self.nbytes)]
        self.context.launch(self.program, "checksum", args)
        return self.context.signal()


class Bench:
    def __init__(self, stack: ExitStack, used: Sequence[Overlay], quantum: int, kib: int) -> None:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=ROOT)))
        device = Device(FpgaDriver(backend.probe()[0], VerilatorShell()))
        self.loop = Loopback(device, root, quantum_cycles=quantum)
        stack.callback(self.loop.close)
        self.sessions = [
            Session(stack.enter_context(self.loop.connect(f"s{index}")), overlay, kib << 10)
            for index, overlay in enumerate(used)
        ]

    def one_by_one(self) -> float:
        began = time.process_time()
        for session in self.sessions:
            session.context.wait(session.launch(), 600.0)
        return time.process_time() - began

    def together(self) -> tuple[float, float, tuple[DeviceSpan, ...]]:
        """(CPU-seconds, Jain's index, spans)"""
        timeline = self.loop.server.device.timeline
        assert timeline is not None
        before = timeline.cycle
        start = self._cycles()
        began = time.process_time()
        waiting = [(session, session.launch()) for session in self.sessions]
        fairness = 0.0
        while waiting:
            self.loop.server.step() or self.loop.server.rest(0.001)
            left = [(session, seq) for session, seq in waiting if not session.context.wait(seq, 0)]
            if len(left) < len(waiting) and not fairness:
                had = [now - then for now, then in zip(self._cycles(), start, strict=True)]
                fairness = sum(had) ** 2 / (len(had) * sum(count**2 for count in had))
            waiting = left
        seconds = time.process_time() - began
        return seconds, fairness, tuple(s for s in timeline.spans() if s.start_cycle >= before)

    def _cycles(self) -> list[int]:
        served = self.loop.server.served
        return [served[f"s{index}"].tenant.cycles for index in range(len(self.sessions))]


def swap_cost(spans: Sequence[DeviceSpan]) -> dict[str, object]:
    cost: dict[str, object] = {}
    for kind in ("save", "restore", "reconfigure"):
        found = [span for span in spans if span.kind == kind]
        if found:
            cost[kind] = {
                "count": len(found),
                "cycles": round(median(span.cycles for span in found)),
                "ms": round(min(span.end_ns - span.start_ns for span in found) / 1e6, 3),
            }
    return cost


def measure(used: Sequence[Overlay], quantum: int, kib: int, rounds: int) -> dict[str, object]:
    with ExitStack() as stack:
        bench = Bench(stack, used, quantum, kib)
        bench.one_by_one()  # each has its state on the fabric
        alone = min(bench.one_by_one() for _ in range(rounds))
        seconds, fairness, spans = min(bench.together() for _ in range(rounds))
        ran = sum(span.cycles for span in spans if span.kind == "run")
        return {
            "cpu_s": round(seconds, 4),
            "ratio": round(alone / seconds, 3),
            "fairness": round(fairness, 4),
            "cycle_share": round(ran / sum(span.cycles for span in spans), 4),
            **swap_cost(spans),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kib", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    first = overlays.overlay("checksum")
    second = twin(first)
    results: dict[str, object] = {}
    for count in COUNTS:
        kinds = {"same overlay": [first] * count, "two overlays": [first, second] * (count // 2)}
        for kind, used in kinds.items():
            for quantum in QUANTA if used else ():
                name = f"{count} sessions, {kind}, quantum {quantum}"
                results[name] = measure(used, quantum, options.kib, options.rounds)
    print(json.dumps({"machine": machine_facts(), "fabric_sharing": results}, indent=1))


if __name__ == "__main__":
    main()
