"""A server is killed and another started: its workers see a stall, or one error, nothing wrong."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from mix_worker import WORDS, expected, image
from proxy_fleet import Fleet, read_until, result_of

from hal import Context, Grid, ScalarArg, list_devices
from hal.context import Buffer
from hal.errors import HalError
from proxy.client import connect
from proxy.errors import ReplayDiverged, ServerGone
from proxy.launcher import spawn
from proxy.move import move
from proxy.paths import ServerPaths
from proxy.redo_log import PAGE_BYTES, VOID, Kind, half_at, read
from proxy.rendezvous import put_down
from proxy.segment import Line, Segment, State
from proxy.store import Store
from tests.waiting import PATIENCE_S, until

STEPS = 3000
PRESENT = {info.uri for info in list_devices()}
CORES = [
    pytest.param("cpu:0", None, id="cpu"),
    *(
        pytest.param(
            "opencl:0",
            core,
            id=core,
            marks=pytest.mark.skipif("opencl:0" not in PRESENT, reason="opencl:0 is not present"),
        )
        for core in ("native", "python")
    ),
]


def start(fleet: Fleet, device: str, core: str | None, store: Path, every_s: float) -> None:
    fleet.servers[device] = spawn(
        device, fleet.root, tied=True, core=core, checkpoint_every_s=every_s, store=store
    )


@pytest.mark.parametrize(("device", "core"), CORES)
@pytest.mark.parametrize("every_s", [0.05, 1000.0])
def test_a_worker_whose_server_is_killed_ends_as_if_it_were_not(
    fleet: Fleet, tmp_path: Path, device: str, core: str | None, every_s: float
) -> None:
    """With frequent checkpoints kills fall into some; with one only, much is redone, repeatedly."""
    start(fleet, device, core, tmp_path / "store", 0.05)
    worker = fleet.worker(device, "job", STEPS)
    fleet.redo_log(device, "job")
    for kill in range(4):
        read_until(worker, f"step {(kill + 2) * 150}")
        for _ in range(1 + kill % 2):  # the second time perhaps while it redoes
            fleet.servers[device].kill()
            start(fleet, device, core, tmp_path / "store", every_s)
    assert result_of(worker) == expected(STEPS)


def opened(fleet: Fleet, store: Path) -> tuple[Context, Buffer, Path]:
    """A session whose log has begun and that has another server now, of which no checkpoint will
    come for long."""
    start(fleet, "cpu:0", None, store, 0.02)
    context = connect("cpu:0", fleet.root, "job").open_context()
    buffer = context.alloc(4096)
    context.write(buffer, b"a" * 4096)
    context.finish()
    log = fleet.redo_log("cpu:0", "job")
    restart(fleet, store)
    context.finish()
    return context, buffer, log


def restart(fleet: Fleet, store: Path) -> None:
    fleet.servers["cpu:0"].kill()
    start(fleet, "cpu:0", None, store, 1000.0)


def test_what_was_loaded_written_read_and_freed_since_the_checkpoint_is_redone(
    fleet: Fleet, tmp_path: Path
) -> None:
    context, buffer, log = opened(fleet, tmp_path)
    program = context.load(image(context.caps.formats))
    spare, gone = context.alloc(4 * WORDS), context.alloc(64)
    context.free(gone)
    context.write(spare, bytes(4 * WORDS))
    context.launch(program, "churn", (spare.arg(), spare.arg(), ScalarArg.u32(1)), Grid((WORDS,)))
    before = context.read(spare)
    context.write(buffer, b"b" * 4096)
    context.finish()
    found = read(log)
    assert found is not None
    assert {entry.kind for entry in found[1]} == set(Kind)
    for _ in range(3):  # each time from the same checkpoint
        restart(fleet, tmp_path)
        assert context.read(spare) == before
        assert context.read(buffer) == b"b" * 4096
    args = (spare.arg(), spare.arg(), ScalarArg.u32(2))
    context.launch(program, "churn", args, Grid((WORDS,)))
    assert context.read(spare) != before
    assert context.alloc(64).handle > spare.handle
    context.close()


def test_commands_put_while_no_server_lives_are_done_by_the_next(
    fleet: Fleet, tmp_path: Path
) -> None:
    context, buffer, _ = opened(fleet, tmp_path)
    fleet.servers["cpu:0"].kill()
    context.write(buffer, b"c" * 4096)
    assert not context.wait(context.signal(), 0.3)  # a poll returns in time
    start(fleet, "cpu:0", None, tmp_path, 1000.0)
    assert context.read(buffer) == b"c" * 4096
    context.close()


def damage(log: Path, how: str) -> None:
    found = read(log)
    assert found is not None
    with log.open("r+b") as file:
        file.seek(8)
        half = half_at(int.from_bytes(file.read(8), "little"))
        file.seek(half)
        whole = bytearray(file.read(4 << 20))
        length = int.from_bytes(whole[:8], "little")
        if how == "torn":
            file.truncate(half + PAGE_BYTES + length // 2)
        elif how == "garbage":
            whole[PAGE_BYTES : PAGE_BYTES + length] = b"\xa5" * length
        elif how == "short":  # the newest entry is missing, as if its server had not kept it
            last = found[1][-1]
            whole[:8] = (length - 32 - len(last.record) - len(last.payload)).to_bytes(8, "little")
        elif how == "read":  # one that gave other bytes
            at = whole.index(b"z" * 4096, whole.index(b"z" * 4096, PAGE_BYTES) + 4096)
            whole[at + 7] ^= 1
        if how in ("garbage", "short", "read"):
            file.seek(half)
            file.write(whole)
        if how == "deadly":  # word 3
            file.seek(24)
            file.write(b"\x03")


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("torn", ServerGone, "damaged"),
        ("deadly", ServerGone, "3 servers were killed"),
        ("garbage", ServerGone, "damaged"),
        ("short", ReplayDiverged, "the redo log"),
        ("read", ReplayDiverged, "gave other bytes"),
    ],
)
def test_a_log_that_does_not_fit_is_an_error(
    fleet: Fleet, tmp_path: Path, how: str, error: type[Exception], says: str
) -> None:
    context, buffer, log = opened(fleet, tmp_path)
    context.write(buffer, b"z" * 4096)
    context.finish()
    assert context.read(buffer) == b"z" * 4096
    fleet.servers["cpu:0"].kill()
    damage(log, how)
    start(fleet, "cpu:0", None, tmp_path, 1000.0)
    with pytest.raises(error, match=says):
        context.finish()
    assert not log.exists()
    with connect("cpu:0", fleet.root, "job") as device, device.open_context() as another:
        another.finish()  # the server and the name are as good as new


@pytest.mark.parametrize("why", ["full", "an error"])
def test_what_cannot_be_redone_is_an_error_at_once(
    fleet: Fleet, tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the next checkpoint, which does not come here: its store is none."""
    context, buffer, log = opened(fleet, tmp_path / "store")
    (tmp_path / "file").touch()
    restart(fleet, tmp_path / "file")
    if why == "full":
        large = context.alloc(8 << 20)
        for _ in range(9):
            context.write(large, bytes(8 << 20))
    else:
        program = context.load(image(context.caps.formats))
        context.launch(program, "none such", (buffer.arg(),), Grid((1,)))
    with suppress(HalError):
        context.finish()
    with log.open("rb") as file:
        file.seek(8)
        file.seek(half_at(int.from_bytes(file.read(8), "little")))
        assert int.from_bytes(file.read(8), "little") == VOID
    fleet.servers["cpu:0"].kill()
    monkeypatch.setenv("HALTERE_RESTART_S", "1000")  # nobody waits for a server to come
    with pytest.raises(ServerGone, match="died"):
        context.finish(PATIENCE_S)


@pytest.mark.parametrize(("device", "core"), CORES)
def test_a_session_that_has_no_checkpoint_is_redone_from_its_beginning(
    fleet: Fleet, device: str, core: str | None
) -> None:
    fleet.servers[device] = spawn(device, fleet.root, tied=True, core=core, restarts=4)
    worker = fleet.worker(device, "job", STEPS)
    for count in range(3):
        read_until(worker, f"step {(count + 1) * 150}")
        fleet.kill_kept(device)
    assert result_of(worker) == expected(STEPS)
    fleet.servers[device].stop()
    log = (ServerPaths.under(fleet.root, device).home / "log").read_text()
    assert log.count("killed by signal 9; starting another") == 3
    assert "checkpoint" not in log


@pytest.mark.parametrize(("device", "core"), CORES)
def test_a_session_without_a_name_goes_on_too_and_a_long_log_is_cut_by_a_checkpoint(
    fleet: Fleet, tmp_path: Path, device: str, core: str | None
) -> None:
    server = spawn(device, fleet.root, tied=True, core=core, store=tmp_path, restarts=3)
    fleet.servers[device] = server
    with connect(device, fleet.root) as opened, opened.open_context() as context:
        buffer = context.alloc(8 << 20)
        for turn in range(12):  # a log takes eight of these
            context.write(buffer, bytes([turn]) * (8 << 20))
            context.finish()
            if turn in (2, 11):
                until_recoverable(server.paths)
                fleet.kill_kept(device)
            assert context.read(buffer) == bytes([turn]) * (8 << 20)
        assert list((tmp_path / "records").iterdir()) != []
    server.stop()
    assert list((tmp_path / "records").iterdir()) == []  # nobody can go on with it


def test_a_session_that_was_moved_is_redone_from_where_it_came(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Without a checkpoint of the new server's, whose store is none."""
    (tmp_path / "file").touch()
    for name in ("a", "b"):
        fleet.servers[name] = spawn(
            "cpu:0", fleet.root, name, tied=True, store=tmp_path / "file", restarts=2
        )
    worker = fleet.worker("a", "job", STEPS)
    read_until(worker, "step 150")
    move(fleet.root, "job", "a", "b", tmp_path / "store")
    read_until(worker, "step 300")
    fleet.kill_kept("b")
    assert result_of(worker) == expected(STEPS)


def test_a_checkpoint_that_somebody_asked_for_outlives_the_log_that_began_with_it(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Those that nobody asked for, in the same store, are replaced."""
    fleet.servers["cpu:0"] = spawn("cpu:0", fleet.root, tied=True, store=tmp_path, restarts=2)
    context = connect("cpu:0", fleet.root, "job").open_context()
    buffer = context.alloc(8 << 20)
    control = fleet.control("cpu:0")
    cut = control.suspend("job", tmp_path)
    control.resume("job", cut, tmp_path)
    fleet.kill_kept("cpu:0")
    seen = {cut}
    for turn in range(2):
        while set(Store(tmp_path).records()) <= seen:  # until the log has become long
            context.write(buffer, bytes([turn]) * (8 << 20))
            context.finish()
            control.status()  # it looks around for this
        seen |= set(Store(tmp_path).records())
    control.status()
    assert cut in Store(tmp_path).records()
    assert len(Store(tmp_path).records()) == 2
    context.close()


def until_recoverable(paths: ServerPaths) -> None:
    (home,) = paths.sessions.iterdir()
    segment = Segment.open(home)
    until(lambda: segment[Line.RECOVERABLE])
    segment.close()


def test_a_session_put_down_while_no_server_lives_is_served_by_the_next(fleet: Fleet) -> None:
    fleet.servers["cpu:0"] = spawn("cpu:0", fleet.root, tied=True)
    paths = ServerPaths.under(fleet.root, "cpu:0")
    segment = put_down(paths, "early", False, 4096, 4096)
    fleet.servers["cpu:0"].kill()
    other = put_down(paths, "late", False, 4096, 4096)
    fleet.servers["cpu:0"] = spawn("cpu:0", fleet.root, tied=True)
    until(lambda: State.NEW not in (segment[Line.STATE], other[Line.STATE]))
    assert other[Line.STATE] == State.RUNNING
    assert segment[Line.STATE] in (State.RUNNING, State.ENDED)  # the first may have had it


def test_nobody_waits_longer_than_was_asked_for(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALTERE_RESTART_S", "0.5")
    context, _, _ = opened(fleet, tmp_path)
    fleet.servers["cpu:0"].kill()
    with pytest.raises(ServerGone, match="died"):
        context.finish()


CRASHING = """
import os, signal, sys
from pathlib import Path
from hal import open_device
from proxy.server import Server

root, store, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def step(name):
    global left
    if any((root / "servers" / "cpu:0" / "redo").glob("[!.]*")):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

device = open_device("cpu:0")
Server(root, "cpu:0", device, store_step=step, checkpoint_every_s=0.02, store=store).run()
"""


@pytest.mark.parametrize("fatal", range(5))
def test_a_server_killed_while_it_stores_a_checkpoint_is_replaced(
    fleet: Fleet, tmp_path: Path, fatal: int
) -> None:
    arguments = [str(fleet.root), str(tmp_path / "store"), str(fatal)]
    process = subprocess.Popen([sys.executable, "-c", CRASHING, *arguments])
    until(lambda: fleet.pids("cpu:0"), "it did not start")
    worker = fleet.worker("cpu:0", "job", 5000)
    process.wait(PATIENCE_S)
    start(fleet, "cpu:0", None, tmp_path / "store", 0.05)
    assert result_of(worker) == expected(5000)
