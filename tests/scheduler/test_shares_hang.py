"""Weights of sessions where a server hangs: whoever is on another device does not wait for it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from proxy.paths import ServerPaths
from scheduler.core.values import JobSpec, Needs, Slice
from scheduler.live import shares
from scheduler.live.gang import Run


def a_run(number: int, device: str, share_milli: int) -> Run:
    needs = Needs(share_milli)
    spec = JobSpec(f"job {number}", "ann", "basic", "opencl", argv=("true",), needs=needs)
    run = Run(number, spec, 1, session=f"s{number}")
    run.place((Slice(device, 0, number),))
    return run


def test_a_server_that_hangs_keeps_nobody_on_another_device_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, dict[str, int]] = {"hangs": {}, "works": {}}
    hangs, goes_on = threading.Event(), threading.Event()

    class Server:
        def __init__(self, root: Path, device: str) -> None:
            self.device = device

        def weigh(self, session: str, weight: int) -> None:
            if self.device == "hangs":
                hangs.set()
                assert goes_on.wait(60)
            given[self.device][session] = weight

        def bound(self, session: str, nbytes: int) -> None:
            pass

    monkeypatch.setattr(shares, "Control", Server)
    runs = [a_run(n, d, 250 * n) for n, d in enumerate(("hangs", "hangs", "works", "works"), 1)]
    for run in runs:
        folder = ServerPaths.under(tmp_path, run.ranks[0].device).sessions
        folder.mkdir(parents=True, exist_ok=True)
        (folder / run.session).touch()
    found = shares.Shares(tmp_path, lambda _: False, lambda _: 1 << 30)
    found.enter(runs[0])
    stuck = threading.Thread(target=found.enter, args=(runs[1],))
    stuck.start()
    assert hangs.wait(60)
    found.enter(runs[2])
    others = threading.Thread(target=found.enter, args=(runs[3],))
    others.start()
    others.join(30)
    assert not others.is_alive() and given["works"] == {"s3": 3, "s4": 4}
    goes_on.set()
    stuck.join(60)
    assert given["hangs"] == {"s2": 2}
