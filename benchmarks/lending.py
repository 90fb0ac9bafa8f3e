"""A served model whose requests rise and fall, on a live pool whose idle devices work for others.

    python benchmarks/lending.py [--seconds S] [--json FILE]

The same arrivals (Poisson, a rate that rises and falls twice) by replicas as needed, and by numbers
of them that never change (`--fixed`); with `--hang` as needed once more, while somebody holds the
store, so that no checkpoint is ever complete and borrowers give way without one. Beneath them basic
jobs, one for each slice of the pool, that count what they have done on their devices.

The model is a small GRU on the `cpu` devices of real proxy servers. Each answer is held up for a
time that is drawn (`--service-ms` on average), as by a device that is not this machine's processor:
on few cores more replicas could not be faster otherwise. A replica has one such answer at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _machine import report
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from compiler.serving import Servable
from hal import Device
from proxy.store import Store
from scheduler.live.pool import JobSpec, Pool
from scheduler.policies.served import Objective
from service.gateway import Gateway
from service.npu_model import RunnerModel, npu_model
from service.scaling import Scaler, Scaling
from service.tensors import Answer, Tensors

DEVICES = ("cpu:0", "cpu:1")
FEATURES = 4
BORROWER = """
import os, sys, time
from pathlib import Path
import numpy as np
from hal.registry import open_device
from hal.types import Grid, ProgramImage

source = "def turn(grid, n: buffer):\\n    u32(n)[0] += np.uint32(1)"
context = open_device(os.environ["HALTERE_DEVICE"]).open_context()
program, count = context.load(ProgramImage("numpy", source.encode())), context.alloc(1 << 20)
while True:
    context.launch(program, "turn", [count.arg()], Grid((1,)))
    Path(sys.argv[1]).write_text(str(np.frombuffer(context.read(count, 4), np.uint32)[0]))
    time.sleep(0.05)
"""


def model() -> bytes:
    rng = np.random.default_rng(1)
    shapes = {"w": (1, 24, FEATURES), "r": (1, 24, 8)}
    weights = [
        numpy_helper.from_array(rng.uniform(-0.5, 0.5, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node("GRU", ["x", "w", "r"], ["", "y"], hidden_size=8)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, FEATURES])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 8])
    graph = helper.make_graph([node], "gru", [x], [y], weights)
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


class Paced(RunnerModel):
    """As `npu_model` makes it, and slower."""

    def __init__(self, plain: RunnerModel, service_s: float, drawn: random.Random) -> None:
        self.__dict__.update(plain.__dict__)
        self._service_s, self._drawn = service_s, drawn

    def infer(self, inputs: Tensors) -> Answer:
        until = time.monotonic() + self._service_s * self._drawn.uniform(0.5, 1.5)
        answer = super().infer(inputs)
        time.sleep(max(0.0, until - time.monotonic()))
        return answer


def arrivals(seconds: float, most: float, drawn: random.Random) -> list[float]:
    """Poisson, at `most` a second at two peaks and a tenth of that between."""
    times, at_s = [], 0.0
    while True:
        at_s += drawn.expovariate(most)
        if at_s >= seconds:
            return times
        rate = 0.1 + 0.9 * ((1 - math.cos(4 * math.pi * at_s / seconds)) / 2) ** 2
        if drawn.random() < rate:
            times.append(at_s)


@dataclass
class Case:
    given: argparse.Namespace
    folder: Path
    root: Path

    def run(self, least: int, most: int, hang: bool) -> dict[str, Any]:
        given = self.given
        slices = dict.fromkeys(DEVICES, given.slices)
        state_dir = self.folder / "state"
        with Pool(self.root, DEVICES, state_dir, policy=given.policy, slices=slices) as it:
            objective = Objective(given.objective_ms / 1e3, given.share)
            scaling = Scaling(least, most, objective, given.recall_s)
            gateway = Gateway(max_pending=1000)
            line = gateway.line("gru", scaling.objective.first_s)
            made, drawn = Servable.compile(model(), "npu:nano", {}), random.Random(given.seed)

            def load(device: Device) -> RunnerModel:
                return Paced(npu_model(device, made, 60.0), given.service_ms / 1e3, drawn)

            spec = JobSpec("gru", "service", "premium", "cpu")
            scaler = Scaler(it, line, spec, load, scaling)
            gateway.open("gru", scaler.start(), line, scaler)
            until(lambda: gateway.services()[0]["serving"] == least)
            borrowers = [it.submit(self._borrower(n)) for n in range(2 * given.slices)]
            until(lambda: sum(it.job(b).state == "running" for b in borrowers) > 0)
            time.sleep(given.settle_s)
            before, begun = self._done(), time.monotonic()
            with Watch(it, gateway) as watch, held(state_dir / "store") if hang else nullcontext():
                asyncio.run(self._load(gateway))
            took_s, told = time.monotonic() - begun, gateway.services()[0]
            done, jobs = self._done() - before, [it.job(b) for b in borrowers]
            for borrower in borrowers:
                it.cancel(borrower)
            gateway.close()
        return {
            "replicas": [least, most],
            "checkpoints_hang": hang,
            "requests": told["answered"],
            "share_in_time": told["share"],
            "devices_held": watch.mean("held"),
            "devices_lent": watch.mean("lent"),
            "most_held": max(sample["held"] for sample in watch.samples),
            "borrowers_steps_a_second": done / took_s,
            "borrowers_halted": sum(job.preemptions for job in jobs),
            "borrowers_gave_way": sum(job.restarts for job in jobs),
            **{key: told[key] for key in told if key.startswith("recall")},
        }

    def _borrower(self, number: int) -> JobSpec:
        argv = [sys.executable, "-c", BORROWER, str(self.folder / f"borrower-{number}")]
        return JobSpec(f"borrower {number}", "ann", "basic", "cpu", argv=argv)

    def _done(self) -> int:
        found = [path.read_text() for path in self.folder.glob("borrower-*")]
        return sum(int(text) for text in found if text)

    async def _load(self, gateway: Gateway) -> None:
        given = self.given
        x = {"x": np.ones((1, 1, FEATURES), np.float32)}
        begun, tasks = time.monotonic(), []
        for at_s in arrivals(given.seconds, given.rate, random.Random(given.seed)):
            await asyncio.sleep(max(0.0, begun + at_s - time.monotonic()))
            tasks.append(asyncio.create_task(gateway.infer("gru", "", x)))
        await asyncio.gather(*tasks, return_exceptions=True)


class Watch:
    """What replicas hold and what is lent, ten times a second."""

    def __init__(self, pool: Pool, gateway: Gateway) -> None:
        self._pool, self._gateway, self._over = pool, gateway, threading.Event()
        self.samples: list[dict[str, int]] = []

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            held = [job for job in self._pool.jobs() if job.slices]
            replicas = sum(job.name == "gru" for job in held)
            self.samples.append({"held": replicas, "lent": len(held) - replicas})

    def mean(self, what: str) -> float:
        return sum(sample[what] for sample in self.samples) / len(self.samples)


def held(store: Path) -> AbstractContextManager[None]:
    """As by whoever collects its garbage."""
    return Store(store).files.lock(exclusive=True)


def until(done: Any, patience_s: float = 120.0) -> None:
    give_up = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > give_up:
            raise TimeoutError("the pool did not get ready")
        time.sleep(0.05)


def cases(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    runs = [(1, given.most, False), *((count, count, False) for count in given.fixed)]
    for least, most, hang in [*runs, *[(1, given.most, True)] * given.hang]:
        root = Path(tempfile.mkdtemp(prefix="haltere-lending-", dir="/dev/shm"))
        with tempfile.TemporaryDirectory() as folder:
            yield Case(given, Path(folder), root).run(least, most, hang)
        shutil.rmtree(root, ignore_errors=True)


def table(found: list[dict[str, Any]]) -> Table:
    made = Table(
        *("replicas", "in time %", "held", "lent", "steps/s"),
        *("halted + gave way", "recalls", "p50; p99 s", "late"),
    )
    for each in found:
        low, high = each["replicas"]
        times = ""
        if each["recalls"]:
            times = f"{each['recall_median_s']:.2f}; {each['recall_p99_s']:.2f}"
        made.add_row(
            f"{low} to {high}{', checkpoints hang' * each['checkpoints_hang']}"
            if low < high
            else f"{low}, always",
            f"{100 * each['share_in_time']:.2f}",
            f"{each['devices_held']:.2f}",
            f"{each['devices_lent']:.2f}",
            f"{each['borrowers_steps_a_second']:.1f}",
            f"{each['borrowers_halted']} + {each['borrowers_gave_way']}",
            str(each["recalls"]),
            times,
            str(each["recalls_missed"]),
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second at the peaks")
    parser.add_argument("--service-ms", type=float, default=80.0)
    parser.add_argument("--objective-ms", type=float, default=500.0)
    parser.add_argument("--share", type=float, default=0.99)
    parser.add_argument("--recall-s", type=float, default=2.0)
    parser.add_argument("--slices", type=int, default=4, help="of each of the two devices")
    parser.add_argument("--most", type=int, default=7, help="replicas")
    parser.add_argument("--fixed", type=int, nargs="*", default=[5, 4, 3], help="replicas, always")
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--policy", default="elastic")
    parser.add_argument("--settle-s", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = list(cases(given))
    Console(width=140).print(table(found))
    settings = {key: value for key, value in vars(given).items() if key != "json"}
    report({"settings": settings, "cases": found}, given.json)


if __name__ == "__main__":
    main()
