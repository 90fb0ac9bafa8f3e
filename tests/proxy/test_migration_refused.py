"""What must be refused when sessions are stored, moved and resumed, with everything as it was."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from mix_worker import expected
from polling import polled
from proxy_fleet import Fleet, read_until, result_of

from hal import ProgramImage
from hal.errors import StateError, UsageError
from proxy import operations
from proxy.client import ProxyContext, connect
from proxy.errors import CheckpointRefused, LeaseExpired
from proxy.loopback import Loopback
from proxy.segment import Line
from proxy.store import Store

STEPS = 1200


def suspended(fleet: Fleet, store: Path) -> tuple[subprocess.Popen[str], str]:
    fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    return worker, fleet.control("cpu:0").suspend("job", store)


def pack_files(store: Path) -> list[Path]:
    return sorted((store / "packs").iterdir())


def test_any_damage_to_a_checkpoint_is_refused_and_the_session_can_go_on(
    fleet: Fleet, store: Path
) -> None:
    worker, cut = suspended(fleet, store)
    control = fleet.control("cpu:0")
    record = store / "records" / cut
    for path in [record, *pack_files(store)]:
        whole = path.read_bytes()
        if not whole:
            continue
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 4
        for damaged in (whole[:-1], b"", bytes(flipped)):
            path.write_bytes(damaged)
            with pytest.raises(CheckpointRefused):
                control.resume("job", cut, store)
        path.write_bytes(whole)
    assert control.status().sessions == ()
    control.resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_a_checkpoint_of_a_later_version_is_refused(fleet: Fleet, store: Path) -> None:
    worker, cut = suspended(fleet, store)
    body = json.loads(Store(store).load(cut))
    for change in ({"version": 99}, {"wire": 99}, {"log": body["log"] | {"version": 9}}):
        with Store(store).writing() as batch:
            newer = batch.commit(json.dumps(body | change).encode())
        with pytest.raises(CheckpointRefused, match=r"version|reads"):
            fleet.control("cpu:0").resume("job", newer, store)
    fleet.control("cpu:0").resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_a_checkpoint_of_another_part_is_refused_and_resumes_on_its_own(
    fleet: Fleet, store: Path
) -> None:
    worker, cut = suspended(fleet, store)
    fleet.start("noop:0")
    with pytest.raises(CheckpointRefused, match="part"):
        fleet.control("noop:0").resume("job", cut, store)
    fleet.control("cpu:0").resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_a_checkpoint_of_an_earlier_point_is_refused_while_the_worker_lives(
    fleet: Fleet, store: Path
) -> None:
    fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    control = fleet.control("cpu:0")
    early = control.snapshot("job", store)
    read_until(worker, "step 200")
    cut = control.suspend("job", store)
    with pytest.raises(CheckpointRefused, match="another point"):
        control.resume("job", early, store)
    control.resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_a_session_that_runs_is_not_resumed_a_second_time(fleet: Fleet, store: Path) -> None:
    worker, cut = suspended(fleet, store)
    fleet.start("cpu:1")
    fleet.control("cpu:0").resume("job", cut, store)
    if worker.poll() is None:
        with pytest.raises((StateError, CheckpointRefused)):
            fleet.control("cpu:1").resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_of_two_requests_to_resume_a_session_one_is_refused_and_harms_nothing(
    loop: Loopback, store: Path
) -> None:
    """Both were accepted before either was done, as when they wait for one fabric."""
    context = loop.connect("job").open_context()
    buffer = context.alloc(9)
    context.write(buffer, b"unharmed.")
    context.finish()
    ask = {"session": "job", "store": str(store), "timeout_s": 5}
    parking = operations.begin(loop.server, "1", ask | {"do": "suspend"})
    answer = polled(parking)
    again = ask | {"do": "resume", "checkpoint": answer["checkpoint"]}
    first, second = (operations.begin(loop.server, name, again) for name in "ab")
    resumed = polled(first)
    assert (resumed["epoch"], resumed["issued"]) == (2, answer["issued"])
    with pytest.raises(StateError, match="running"):
        polled(second)
    assert list(loop.server.served) == ["job"]
    assert context.read(buffer) == b"unharmed."


def test_an_epoch_that_a_worker_wrote_harms_no_resume(loop: Loopback, store: Path) -> None:
    context = loop.connect("job").open_context()
    buffer = context.alloc(9)
    context.write(buffer, b"unharmed.")
    context.finish()
    ask = {"session": "job", "store": str(store), "timeout_s": 5}
    answer = polled(operations.begin(loop.server, "1", ask | {"do": "suspend"}))
    inner = context._driver
    assert isinstance(inner, ProxyContext)
    inner._channel.segment[Line.EPOCH] = 2**64 - 1
    again = ask | {"do": "resume", "checkpoint": answer["checkpoint"]}
    assert polled(operations.begin(loop.server, "2", again))["epoch"] == 2
    assert context.read(buffer) == b"unharmed."


def test_a_session_that_was_dropped_while_its_resume_waited_is_not_made_anew(
    loop: Loopback, store: Path
) -> None:
    loop.connect("job").open_context().alloc(9)
    loop.settle()
    ask = {"session": "job", "store": str(store), "timeout_s": 5}
    answer = polled(operations.begin(loop.server, "1", ask | {"do": "suspend"}))
    again = ask | {"do": "resume", "checkpoint": answer["checkpoint"]}
    waiting = operations.begin(loop.server, "2", again)
    operations.begin(loop.server, "3", {"do": "drop", "session": "job"}).poll()
    with pytest.raises(StateError, match="dropped"):
        polled(waiting)
    assert loop.server.served == {}


def test_an_earlier_checkpoint_is_refused_although_no_command_came_between(
    loop: Loopback, store: Path
) -> None:
    """A load is a call: it moves the session on, but not the ring."""
    context = loop.connect("job").open_context()
    context.alloc(9)
    context.finish()
    ask = {"session": "job", "store": str(store), "timeout_s": 5}
    early = polled(operations.begin(loop.server, "1", ask | {"do": "snapshot"}))
    context.load(ProgramImage("numpy", b"def k(grid, a: buffer):\n    a += 1\n"))
    late = polled(operations.begin(loop.server, "2", ask | {"do": "suspend"}))
    again = ask | {"do": "resume"}
    with pytest.raises(CheckpointRefused, match="another point"):
        polled(operations.begin(loop.server, "3", again | {"checkpoint": early["checkpoint"]}))
    polled(operations.begin(loop.server, "4", again | {"checkpoint": late["checkpoint"]}))
    context.finish()


def test_a_session_that_is_not_there_cannot_be_suspended(fleet: Fleet, store: Path) -> None:
    fleet.start("cpu:0")
    with pytest.raises(UsageError, match="not served"):
        fleet.control("cpu:0").suspend("nobody", store)


def test_a_store_that_cannot_be_written_leaves_the_session_running(
    fleet: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    with pytest.raises(StateError, match="could not be stored"):
        fleet.control("cpu:0").suspend("job", tmp_path / "file")
    assert result_of(worker) == expected(STEPS)


def test_a_suspended_session_that_is_dropped_ends_its_worker(fleet: Fleet, store: Path) -> None:
    fleet.start("cpu:0")
    context = connect("cpu:0", fleet.root, "job").open_context()
    context.alloc(64)
    context.finish()
    fleet.control("cpu:0").suspend("job", store)
    assert fleet.control("cpu:0").drop("job")
    assert not fleet.control("cpu:0").drop("job")
    with pytest.raises(LeaseExpired, match="dropped"):
        context.finish()
