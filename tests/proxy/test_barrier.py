"""Sessions of several servers that are stored at one moment, at which all stand still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from proxy_fleet import Fleet

from hal.errors import DeviceTimeout, StateError
from proxy.barrier import Barrier, Step
from proxy.client import connect
from proxy.store import Store

NAMES = ("a", "b")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def until(done: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not done():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.005)


def records(store: Path) -> int:
    return len(list(store.glob("records/*")))


def test_nothing_is_stored_before_all_stand_still(fleet: Fleet, store: Path) -> None:
    for name in NAMES:
        fleet.start("cpu:0", name)
    with (
        ThreadPoolExecutor(2) as threads,
        connect("a", fleet.root, "job") as first,
        connect("b", fleet.root, "job-r1") as second,
        first.open_context() as one,
        second.open_context() as two,
        Barrier.under(fleet.root, 2) as barrier,
    ):
        one.finish()
        suspend = fleet.control("a").suspend
        waits = threads.submit(suspend, "job", store, barrier=barrier)
        until(lambda: (barrier.folder / "job~still").exists())
        buffer = one.alloc(8)
        assert not one.wait(one.signal(), 0.3)  # it stands,
        assert not waits.done() and records(store) == 0  # and is not stored,
        two.finish()  # while the other works
        cut = fleet.control("b").suspend("job-r1", store, barrier=barrier)
        assert waits.result(30) != cut and records(store) == 2
        fleet.control("b").resume("job", waits.result(), store)  # either may go on anywhere
        fleet.control("a").resume("job-r1", cut, store)
        one.write(buffer, b"12345678")
        assert one.read(buffer) == b"12345678"
        two.finish()


@pytest.mark.parametrize("how", ["called off", "nobody comes"])
def test_who_waited_in_vain_goes_on(fleet: Fleet, store: Path, how: str) -> None:
    fleet.start("cpu:0", "a")
    with (
        ThreadPoolExecutor(1) as threads,
        connect("a", fleet.root, "job") as device,
        device.open_context() as context,
        Barrier.under(fleet.root, 2) as barrier,
    ):
        context.finish()
        timeout_s = 30.0 if how == "called off" else 2.0
        waits: Future[str] = threads.submit(
            fleet.control("a").suspend, "job", store, timeout_s, barrier
        )
        if how == "called off":
            until(lambda: (barrier.folder / "job~still").exists())
            barrier.call_off()
            barrier.call_off()
        error = StateError if how == "called off" else DeviceTimeout
        with pytest.raises(error, match="it goes on"):
            waits.result(60)
        context.finish()
        assert records(store) == 0
        context.finish()
        assert fleet.control("a").suspend("job", store)  # and may be stored later
        threading.Timer(
            0.1, fleet.control("a").resume, ("job", Store(store).records()[0], store)
        ).start()
        context.finish()


def test_who_goes_on_afterwards_waits_until_all_are_cut(fleet: Fleet, store: Path) -> None:
    """The other one is played by this test."""
    fleet.start("cpu:0", "a")
    with (
        ThreadPoolExecutor(1) as threads,
        connect("a", fleet.root, "job") as device,
        device.open_context() as context,
        Barrier.under(fleet.root, 2) as barrier,
    ):
        buffer = context.alloc(8)
        context.finish()

        def wait_for(step: Step) -> None:
            until(lambda: (barrier.folder / f"job~{step}").exists())

        cut = threads.submit(fleet.control("a").snapshot, "job", store, barrier=barrier)
        wait_for(Step.READY)
        context.finish()  # it stands still for nobody who is not ready
        assert not barrier.reached("other", Step.STILL)
        barrier.reached("other", Step.READY)
        wait_for(Step.CUT)
        until(lambda: records(store) == 1)
        context.write(buffer, b"too late")
        assert not context.wait(context.signal(), 0.3) and not cut.done()
        barrier.reached("other", Step.CUT)
        assert cut.result(30) and context.read(buffer) == b"too late"
        assert fleet.control("a").suspend("job", store) != cut.result()
