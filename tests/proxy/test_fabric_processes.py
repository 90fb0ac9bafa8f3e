"""Sessions time-sliced on one simulated FPGA, each worker and the server a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from proxy_fleet import Fleet, read_until, result_of
from spies import FOREVER, Spy, Work, alone, spy_overlay
from spy_worker import digest

import bitstreams
from bitstreams import Bundle
from bitstreams.manifest import parse_draft
from hal.backends.fpga import overlays, verilator_shell
from hal.errors import OverlayRejected, UsageError
from hal.types import Overlay
from proxy.client import connect
from proxy.control import ServerStatus
from rtl_sim import cache
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.build import find_library

pytestmark = pytest.mark.skipif(toolchain.absence() is not None, reason=str(toolchain.absence()))
WORKER = Path(__file__).with_name("spy_worker.py")
DEVICE = "fpga-sim:0"
QUANTUM = 2000
MAX_LOOKS = 2000
SPINS = 40_000  # some milliseconds
WORKS: dict[str, tuple[str, Work]] = {
    "a": ("spy", [(SPINS, 1), (100, 2)]),
    "b": ("spy-too", [(SPINS, 3), (200, 4)]),
    "c": ("spy", [(SPINS, 5)]),
}


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return {name: digest(alone(work, overlay)) for name, (overlay, work) in WORKS.items()}


def start(fleet: Fleet, session: str, overlay: str, work: Work) -> subprocess.Popen[str]:
    return fleet.run(WORKER, DEVICE, session, overlay, json.dumps(work))


def wait_until(fleet: Fleet, holds: Callable[[ServerStatus], bool], device: str = DEVICE) -> None:
    for _ in range(MAX_LOOKS):
        if holds(fleet.control(device).status()):
            return
        time.sleep(0.005)
    raise AssertionError(f"never so: {fleet.control(device).status()}")


def test_a_worker_killed_in_mid_slice_takes_nobody_with_it(
    fleet: Fleet, expected: dict[str, str]
) -> None:
    fleet.start(DEVICE, quantum_cycles=QUANTUM)
    doomed = start(fleet, "doomed", "spy", [(FOREVER, 9)])
    read_until(doomed, "launched")
    workers = {name: start(fleet, name, *WORKS[name]) for name in WORKS}
    wait_until(fleet, lambda status: status.kernel_slices > 4)
    doomed.kill()
    assert {name: result_of(worker) for name, worker in workers.items()} == expected
    left = fleet.control(DEVICE).status().sessions
    assert [(session.name, session.worker_alive) for session in left] == [("doomed", False)]
    fleet.control(DEVICE).drop("doomed")  # a named session waits for its worker's next life


def test_a_session_is_checkpointed_and_moved_while_others_are_sliced(
    fleet: Fleet, tmp_path: Path
) -> None:
    # Seconds of work when shared, so that nobody is done before all is asked of them.
    works: dict[str, tuple[str, Work]] = {
        name: (overlay, [(50 * SPINS, key) for key in (1, 2)])
        for name, (overlay, _) in WORKS.items()
    }
    expected = {name: digest(alone(work, overlay)) for name, (overlay, work) in works.items()}
    fleet.start(DEVICE, quantum_cycles=QUANTUM)
    fleet.start("fpga-sim:1", quantum_cycles=QUANTUM)
    anchor = start(fleet, "anchor", "spy-too", [(FOREVER, 9)])  # someone to share with, always
    read_until(anchor, "launched")
    workers = {name: start(fleet, name, *works[name]) for name in works}
    for worker in workers.values():
        read_until(worker, "launched")
    wait_until(fleet, lambda status: status.kernel_slices > 4)
    here, there = fleet.control(DEVICE), fleet.control("fpga-sim:1")
    here.snapshot("b", tmp_path)
    cut = here.suspend("a", tmp_path)
    assert there.resume("a", cut, tmp_path) == 2
    assert {name: result_of(worker) for name, worker in workers.items()} == expected
    anchor_status = here.status().session("anchor")
    assert anchor_status is not None
    assert anchor_status.kernel_in_flight


def test_a_timeline_is_told_by_the_server_and_names_its_sessions(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.start(DEVICE, quantum_cycles=QUANTUM)
    workers = [start(fleet, name, *WORKS[name]) for name in ("a", "b")]
    for worker in workers:
        result_of(worker)
    spans = fleet.control(DEVICE).timeline()
    assert {span.tenant for span in spans if span.kind == "run"} == {"a", "b"}
    assert {span.detail for span in spans if span.kind == "reconfigure"} == {"spy", "spy-too"}
    assert all(span.start_cycle <= span.end_cycle for span in spans)
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "timeline", DEVICE, "--out", str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "HALTERE_PROXY_ROOT": str(fleet.root)},
    )  # fmt: skip
    assert done.stdout.startswith("2 tenants, ")
    trace = json.loads((tmp_path / "fpga-sim-0.trace.json").read_text())
    names = {event["args"].get("name") for event in trace["traceEvents"]}
    assert names == {DEVICE, "fabric", "a", "b", None}
    assert (tmp_path / "fpga-sim-0.png").read_bytes().startswith(b"\x89PNG")


def test_cycles_are_shared_by_weight_also_after_a_move(fleet: Fleet, tmp_path: Path) -> None:
    weights = {"a": 1, "b": 2, "c": 5}
    for device in (DEVICE, "fpga-sim:1"):
        fleet.start(device, quantum_cycles=QUANTUM)
    for name, overlay in (("a", "spy"), ("b", "spy-too"), ("c", "spy")):
        read_until(start(fleet, name, overlay, [(FOREVER, 9)]), "launched")
    for name in ("b", "c"):
        fleet.control(DEVICE).weigh(name, weights[name])
    assert shares(fleet, DEVICE) == {name: pytest.approx(weights[name] / 8, abs=0.02)
                                     for name in weights}  # fmt: skip
    for name in weights:
        cut = fleet.control(DEVICE).suspend(name, tmp_path)
        fleet.control("fpga-sim:1").resume(name, cut, tmp_path)
    assert shares(fleet, "fpga-sim:1") == {name: pytest.approx(weights[name] / 8, abs=0.02)
                                           for name in weights}  # fmt: skip
    for weight in (0, 101):
        with pytest.raises(UsageError, match=f"a weight of {weight}: from 1 to 100"):
            fleet.control("fpga-sim:1").weigh("a", weight)
    with pytest.raises(UsageError, match="'d' is not served"):
        fleet.control("fpga-sim:1").weigh("d", 1)


def shares(fleet: Fleet, device: str) -> dict[str, float]:
    """Of the clock cycles that each session's kernel gets, over fifty rounds."""
    before = cycles(fleet, device)
    enough = 50 * 8 * QUANTUM
    wait_until(
        fleet, lambda _: sum(cycles(fleet, device).values()) - sum(before.values()) > enough, device
    )
    had = {name: count - before[name] for name, count in cycles(fleet, device).items()}
    return {name: count / sum(had.values()) for name, count in had.items()}


def cycles(fleet: Fleet, device: str) -> dict[str, int]:
    return {session.name: session.cycles for session in fleet.control(device).status().sessions}


GATED = """#!/bin/sh
case "$1" in --version) exec g++ --version;; esac
while [ ! -e "{gate}" ]; do sleep 0.05; done
exec g++ "$@"
"""


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Servers compile nothing until this file exists."""
    path, compiler = tmp_path / "gate", tmp_path / "compiler"
    compiler.write_text(GATED.format(gate=path))
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    return path


@pytest.fixture
def unbuilt() -> Iterator[Overlay]:
    """The spy, as an overlay that no cache has."""
    known = spy_overlay()
    source = json.loads(known.manifest)["sources"][0]
    files = {**known.files, source: known.files[source] + f"// {uuid.uuid4()}\n".encode()}
    bundle = bitstreams.make(parse_draft(json.loads(known.manifest), files), files)
    yield overlays.as_overlay(bundle)
    for kind, key in (("sources", bundle.digest), ("models", _model_key(bundle))):
        shutil.rmtree(cache.cache_root() / kind / key, ignore_errors=True)


def _model_key(bundle: Bundle) -> str:
    found = find_library(verilator_shell._design(bundle))
    return "none" if found is None else found.parent.name


def test_a_session_computes_while_anothers_overlay_is_built(
    fleet: Fleet, expected: dict[str, str], gate: Path, unbuilt: Overlay
) -> None:
    work: Work = [(300, 7)]
    fleet.start(DEVICE)
    with ThreadPoolExecutor(1) as pool:

        def late() -> list[bytearray]:
            with connect(DEVICE, root=fleet.root, session="late") as device:
                return Spy(device, unbuilt).run(work)

        waiting = pool.submit(late)
        try:
            wait_until(fleet, lambda status: status.session("late") is not None)
            assert {name: result_of(start(fleet, name, *WORKS[name])) for name in WORKS} == expected
            assert not waiting.done()
        finally:
            gate.touch()
        assert waiting.result(120.0) == alone(work)


def test_a_build_that_fails_is_the_answer_of_its_own_configure(fleet: Fleet) -> None:
    known = spy_overlay()
    source = json.loads(known.manifest)["sources"][0]
    files = {**known.files, source: known.files[source] + b"module broken endmodule\n"}
    bundle = bitstreams.make(parse_draft(json.loads(known.manifest), files), files)
    fleet.start(DEVICE)
    with connect(DEVICE, root=fleet.root) as device:
        with pytest.raises(OverlayRejected, match=r"(?s)spy cannot be built.*syntax error"):
            device.configure(overlays.as_overlay(bundle))
        assert Spy(device, known).run([(300, 7)]) == alone([(300, 7)])
