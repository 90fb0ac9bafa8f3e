"""No room: on the disk of a store, in the memory of a redo log. Told clearly; the job goes on."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mix_worker import expected
from proxy_fleet import Fleet, read_until, result_of

from hal import list_devices
from hal.errors import StateError
from proxy.client import connect
from proxy.errors import LocalProtocolError, ServerGone
from proxy.launcher import spawn
from proxy.move import move
from proxy.paths import ServerPaths
from proxy.segment import Line, Segment
from proxy.store import Store
from tests.waiting import until

SMALL_BYTES = 24 << 20
DEVICES = [uri for uri in ("cpu:0", "opencl:0") if uri in {info.uri for info in list_devices()}]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose shared memory is a file system of its own, for two sessions and little else."""
    root = tmp_path / "small"
    root.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "none", str(root)]
    if os.geteuid() or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("only who may mount can have a file system that is full")
    fleet = Fleet(root)
    yield fleet
    fleet.close()
    subprocess.run(["umount", "--lazy", str(root)], check=True)


def settles(fleet: Fleet, device: str, session: str, recoverable: int) -> None:
    segment = Segment.open(ServerPaths.under(fleet.root, device).sessions / session)
    until(lambda: segment[Line.RECOVERABLE] == recoverable)
    segment.close()


@pytest.mark.parametrize("device", DEVICES)
def test_a_session_whose_log_finds_no_memory_goes_on_and_has_a_checkpoint_instead(
    small: Fleet, tmp_path: Path, device: str
) -> None:
    store = tmp_path / "store"
    server = spawn(device, small.root, tied=True, store=store, restarts=2)
    small.servers[device] = server
    context = connect(device, small.root, "job").open_context()
    buffer = context.alloc(4 << 20)
    for turn in range(8):
        context.write(buffer, bytes([turn]) * (4 << 20))
        context.finish()
    settles(small, device, "job", 1)  # by the checkpoint, which begins another log
    assert Store(store).records() != []
    assert context.read(buffer, 1) == b"\7"
    context.close()


def test_a_session_for_whose_log_there_is_no_memory_is_served_without(
    small: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()  # no store, so no checkpoint
    server = spawn("cpu:0", small.root, tied=True, store=tmp_path / "file", restarts=1)
    small.servers["cpu:0"] = server
    context = connect("cpu:0", small.root, "job").open_context()
    room = os.statvfs(small.root)
    filler = small.root / "filler"
    filler.write_bytes(bytes((room.f_bavail - 1) * room.f_bsize))
    buffer = context.alloc(4 << 20)
    context.write(buffer, b"a" * (4 << 20))
    assert context.read(buffer) == b"a" * (4 << 20)
    settles(small, "cpu:0", "job", 0)
    with pytest.raises(LocalProtocolError, match="no room for a session"):
        connect("cpu:0", small.root, "other").open_context()
    filler.unlink()
    connect("cpu:0", small.root, "other").open_context().close()
    server.stop()
    log = (ServerPaths.under(small.root, "cpu:0").home / "log").read_text()
    assert "no automatic checkpoint of 'job': checkpoint could not be stored" in log
    assert str(tmp_path / "file") in log
    with pytest.raises(ServerGone):
        context.finish()


def test_a_session_that_cannot_be_moved_for_want_of_room_goes_on_and_moves_later(
    fleet: Fleet, tmp_path: Path
) -> None:
    """A file may have so many bytes only: the disk's other way to be full, without a disk."""
    store, steps = tmp_path / "store", 1500
    source = fleet.start("cpu:0")
    fleet.start("cpu:0", "twin")
    worker = fleet.worker("cpu:0", "job", steps)
    read_until(worker, "step 50")
    unlimited = resource.prlimit(source.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(source.pid, resource.RLIMIT_FSIZE, (2000, unlimited[1]))
    for rounds in (0, 4):
        with pytest.raises(StateError, match=r"could not be stored.*haltere store gc"):
            move(fleet.root, "job", "cpu:0", "twin", store, rounds)
    (session,) = fleet.control("cpu:0").status().sessions
    assert session.name == "job"
    assert fleet.control("twin").status().sessions == ()
    assert not [path for path in store.rglob("*") if path.is_file() and path.name != "lock"]
    resource.prlimit(source.pid, resource.RLIMIT_FSIZE, unlimited)
    move(fleet.root, "job", "cpu:0", "twin", store)
    assert result_of(worker) == expected(steps)
