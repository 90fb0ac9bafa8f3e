"""A session halted on one server goes on, bit for bit, on another: the halting law with processes.

The worker is never told. What is checked is always the end result, against a computation that no
proxy touched, and that a failure on the way leaves everything able to go on.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from mix_worker import expected, run
from proxy_fleet import Fleet, read_until, result_of

from hal import list_devices
from proxy import checkpoint
from proxy.client import connect
from proxy.errors import ServerGone
from proxy.reattach import reattach
from proxy.store import Store

STEPS = 1200
PRESENT = {info.uri for info in list_devices()}


def needs(*uris: str) -> pytest.MarkDecorator:
    missing = [uri for uri in uris if uri not in PRESENT]
    return pytest.mark.skipif(bool(missing), reason=f"not present: {', '.join(missing)}")


OPENCL = needs("opencl:0", "opencl:1")
PAIRS = [
    pytest.param("cpu:0", "cpu:1", None, None, id="cpu"),
    pytest.param("opencl:0", "opencl:1", "native", "native", id="opencl", marks=OPENCL),
    pytest.param("opencl:0", "opencl:1", "native", "python", id="to-python", marks=OPENCL),
    pytest.param("opencl:0", "opencl:1", "python", "native", id="to-native", marks=OPENCL),
]


@pytest.mark.parametrize(("first", "second", "core", "other_core"), PAIRS)
def test_a_run_moved_in_its_middle_ends_as_one_that_is_not(
    fleet: Fleet, store: Path, first: str, second: str, core: str | None, other_core: str | None
) -> None:
    old = fleet.start(first, core=core)
    worker = fleet.worker(first, "job", STEPS)
    read_until(worker, "step 100")
    cut = fleet.control(first).suspend("job", store)
    assert fleet.control(first).status().sessions == ()
    old.stop()  # nothing of the session is left there
    assert worker.poll() is None
    fleet.start(second, core=other_core)
    epoch = fleet.control(second).resume("job", cut, store)
    assert epoch == 2
    assert result_of(worker) == expected(STEPS)


def test_a_run_moved_to_and_fro_many_times_ends_as_one_that_is_not(
    fleet: Fleet, store: Path
) -> None:
    names = ["cpu:0", "cpu:0-twin"]  # two servers of one device
    for name in names:
        fleet.start("cpu:0", name)
    worker = fleet.worker(names[0], "job", STEPS)
    read_until(worker, "step 50")
    for hop in range(6):
        cut = fleet.control(names[hop % 2]).suspend("job", store)
        epoch = fleet.control(names[(hop + 1) % 2]).resume("job", cut, store)
        assert epoch == hop + 2
    assert result_of(worker) == expected(STEPS)


def test_a_snapshot_is_taken_while_the_session_goes_on(fleet: Fleet, store: Path) -> None:
    fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    first = fleet.control("cpu:0").snapshot("job", store)
    second = fleet.control("cpu:0").snapshot("job", store)
    assert first != second
    assert result_of(worker) == expected(STEPS)


def test_commands_enqueued_while_suspended_are_done_afterwards(fleet: Fleet, store: Path) -> None:
    for name in ("a", "b"):
        fleet.start("cpu:0", name)
    with connect("a", fleet.root, "job") as device, device.open_context() as context:
        buffer = context.alloc(100_000)
        context.write(buffer, b"1" * 100_000)
        context.finish()
        cut = fleet.control("a").suspend("job", store)
        context.write(buffer, b"2" * 50_000)  # arena and ring are the worker's own
        seq = context.signal()
        assert not context.wait(seq, 0.05)
        fleet.control("b").resume("job", cut, store)
        assert context.wait(seq, 30.0)
        assert context.read(buffer) == b"2" * 50_000 + b"1" * 50_000


def test_a_context_opened_after_a_move_is_where_the_session_is(fleet: Fleet, store: Path) -> None:
    for name in ("a", "b"):
        fleet.start("cpu:0", name)
    with connect("a", fleet.root, "job") as device:
        first = device.open_context()
        first.finish()
        cut = fleet.control("a").suspend("job", store)
        resumed = threading.Timer(0.2, fleet.control("b").resume, ("job", cut, store))
        resumed.start()
        second = device.open_context()  # waits for the move to end
        resumed.join()
        assert fleet.control("a").status().sessions == ()
        fleet.servers["a"].stop()
        second.finish()
        first.close()
        second.close()
        device.open_context().finish()
        (third,) = fleet.control("b").status().sessions
        assert third.name == "job.3"


def test_a_dead_worker_s_session_goes_on_from_its_checkpoint(fleet: Fleet, store: Path) -> None:
    """Worker and server are killed after the snapshot: only the store is left."""
    server = fleet.start("cpu:0", "a")
    worker = fleet.worker("a", "job", 30_000)
    read_until(worker, "step 50")
    cut = fleet.control("a").snapshot("job", store)
    worker.kill()
    worker.wait()
    server.kill()
    body = checkpoint.read(cut, Store(store))
    state = next(iter(body.snapshot.log.buffers))
    fleet.start("cpu:1", "b")
    assert fleet.control("b").resume("job", cut, store) == 2
    found = reattach("b", "job", fleet.root)
    assert len(found.buffers) == 3
    assert len(found.programs) == 1
    if not body.snapshot.undone:
        assert found.context.read(found.buffers[0]) == b"".join(body.contents(state))
    found.context.finish()
    found.context.close()


# ---- crash points

DURABLE_STEPS = (  # of the suspension below
    *("blob", "pack", "rename", "commit", "rename", "committed", "park", "parked"),
)


@pytest.mark.parametrize("fatal", range(len(DURABLE_STEPS) + 1))
def test_a_server_killed_at_a_durable_step_leaves_a_whole_checkpoint_or_none(
    fleet: Fleet, store: Path, fatal: int
) -> None:
    """The earlier checkpoint stays valid whatever happens; the new one is there or it is not."""
    fleet.start("cpu:1")
    with connect("cpu:1", fleet.root, "earlier") as device, device.open_context() as context:
        run(context, 20)
        before = fleet.control("cpu:1").snapshot("earlier", store)
    process = fleet.start_fragile(fatal)
    try:
        context = connect("fragile", fleet.root, "job").open_context()
        content = b"content " * 375
        buffer = context.alloc(len(content))
        context.write(buffer, content)
        context.finish()
        control, healthy = fleet.control("fragile"), fleet.control("cpu:1")
        if fatal == len(DURABLE_STEPS):
            healthy.resume("job", control.suspend("job", store), store)
            assert context.read(buffer) == content
            return
        with pytest.raises(ServerGone):
            control.suspend("job", store)
        new = [record for record in Store(store).records() if record != before]
        assert len(new) == (fatal >= DURABLE_STEPS.index("committed"))
        if DURABLE_STEPS[fatal].startswith("park"):  # its worker waits, and never knows
            healthy.resume("job", new[0], store)
            assert context.read(buffer) == content
            return
        with pytest.raises(ServerGone):
            context.finish(60.0)
        for record in new:
            healthy.resume("job", record, store)
            found = reattach("cpu:1", "job", fleet.root)
            assert found.context.read(found.buffers[0]) == content
        checkpoint.read(before, Store(store))
    finally:
        process.kill()
        process.wait()
