"""The main job of haltere: real work on a pool, halted and moved, and every bit compared.

Four acts over two OpenCL devices and two simulated FPGAs, each behind its own proxy process. Ends
with a table of what was checked and a picture of the devices' timeline; the exit status is not 0
if anything differed.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hal import open_device
from hal.backends.fpga.overlays import overlay
from proxy.control import Control as Device
from scheduler.live.pool import Pool
from service.app import create_app
from service.control import Control
from service.demo import isolation, preemption, serving, training
from service.demo.data import load_digits
from service.demo.show import Show, busy
from service.demo.timeline import draw
from service.fabric_timeline import Written, write
from service.gateway import Gateway
from service.host import hosting
from service.settings import Settings

DEVICES = ("opencl:0", "opencl:1", "fpga-sim:0", "fpga-sim:1")
OVERLAYS = ("npu-sim", "checksum")
SHARED_MEMORY = Path("/dev/shm")


def build_overlays() -> None:
    """Capture and compile what the simulated FPGAs will hold; cached by content."""
    for name in OVERLAYS:
        open_device("fpga-sim:0", overlay(name)).close()


def run(report: Path, seed: int, console: Console) -> int:
    """The exit status: 0 if every check held. `report` is made anew."""
    began = time.monotonic()
    shutil.rmtree(report, ignore_errors=True)
    report.mkdir(parents=True)
    with ThreadPoolExecutor(1, thread_name_prefix="build") as builder:
        built: Future[None] = builder.submit(build_overlays)
        with busy(console) as progress:
            progress.add_task("training without interruption, for comparison; building overlays")
            uninterrupted = training.reference(report)
        started_s = time.monotonic()
        with (
            tempfile.TemporaryDirectory(prefix="haltere-demo-", dir=SHARED_MEMORY) as root,
            Pool(Path(root), DEVICES, report / "state") as pool,
        ):
            show = Show(console, report, random.Random(seed), pool, load_digits(), started_s)
            _acts(show, uninterrupted, built)
            spans = pool.timeline()
            fabrics = _fabrics(pool, report)
    pictures = draw(spans, report / "timeline", names=show.names, devices=DEVICES, notes=show.notes)
    for uri, written in fabrics.items():
        console.print(f"{uri}: {written.summary}: {written.png}")
    return _verdict(show, pictures.png, pictures.html, time.monotonic() - began)


def _acts(show: Show, uninterrupted: Path, built: Future[None]) -> None:
    console = show.console
    console.rule("1  a training job is preempted and moved")
    weights = training.act(show, uninterrupted)
    console.rule("2  the trained nets are served from simulated FPGAs")
    with busy(console) as progress:
        progress.add_task("building overlays (once; then they are cached)")
        built.result()
    gateway = Gateway()
    control = Control(show.pool, show.report / "results")
    app = create_app(Settings(), gateway, control)
    with hosting(app) as port:
        answers = serving.act(show, gateway, port, weights)
        console.rule("3  another overlay preempts an inference")
        preemption.act(show, gateway, port, answers["lstm"])
    console.rule("4  a worker is killed")
    isolation.act(show)


def _fabrics(pool: Pool, report: Path) -> dict[str, Written]:
    """What each FPGA did for whom, to look at; by device."""
    found = {uri: Device(pool.root, uri).timeline() for uri in DEVICES if uri.startswith("fpga")}
    return {uri: write(spans, uri, report) for uri, spans in found.items() if spans}


def _verdict(show: Show, png: Path, html: Path, took_s: float) -> int:
    console = show.console
    table = Table("checked", "expected", "seen", "", title="What was checked")
    for check in show.checks:
        mark = "[green]ok[/green]" if check.ok else "[red]DIFFERS[/red]"
        table.add_row(check.what, check.expected, check.seen, mark)
    console.print(table)
    (show.report / "checks.json").write_text(
        json.dumps([asdict(check) for check in show.checks], indent=1)
    )
    console.print(f"timeline: {png} and {html}")
    wrong = sum(not check.ok for check in show.checks)
    verdict = f"[red]{wrong} differ[/red]" if wrong else "[green]nothing differed[/green]"
    console.print(f"{len(show.checks)} checks in {took_s:.0f} s: {verdict}")
    return 1 if wrong else 0
