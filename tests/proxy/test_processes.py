"""Servers and workers as processes that are stopped, killed, and moved apart from each other."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from mix_worker import expected, run
from proxy_fleet import Fleet, read_until, result_of

from hal import list_devices
from hal.errors import DeviceLost
from proxy.client import connect
from proxy.control import Control
from proxy.errors import LocalProtocolError, ServerGone
from proxy.reattach import reattach
from tests.waiting import PATIENCE_S, until

LONG = 30_000  # steps that no worker finishes before it is killed


def test_a_worker_computes_through_a_server(fleet: Fleet) -> None:
    fleet.start("cpu:0")
    assert result_of(fleet.worker("cpu:0", "w", 200)) == expected(200)
    assert fleet.control("cpu:0").status().sessions == ()


def test_a_server_outlives_its_workers_and_stops_when_told(fleet: Fleet) -> None:
    server = fleet.start("cpu:0")
    with connect("cpu:0", fleet.root) as device, device.open_context() as context:
        assert run(context, 20) == expected(20)
    assert server.is_alive()
    fleet.control("proxy:cpu:0").stop()
    until(lambda: not server.is_alive(), "the server did not stop")
    assert not server.paths.info.exists()
    with pytest.raises(DeviceLost, match="no server"):
        connect("cpu:0", fleet.root)


def test_a_server_stops_cleanly_on_sigterm(fleet: Fleet) -> None:
    server = fleet.start("cpu:0")
    with connect("cpu:0", fleet.root) as device:
        context = device.open_context()
        os.kill(server.pid, signal.SIGTERM)
        with pytest.raises(ServerGone, match="stopped"):
            for _ in range(1000):
                context.wait(context.signal(), 0.1)
        until(lambda: not server.is_alive(), "the server did not stop")
    assert server._process.returncode == 0


def test_one_device_name_has_one_server(fleet: Fleet) -> None:
    fleet.start("cpu:0")
    with pytest.raises(ServerGone, match=r"cpu:0 is served already by pid \d+"):
        fleet.start("cpu:0", "cpu:0")


def test_a_device_that_is_not_there_is_reported_with_the_reason(fleet: Fleet) -> None:
    with pytest.raises(ServerGone, match="cpu:77"):
        fleet.start("cpu:77")


def test_a_running_server_is_a_device(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    server = fleet.start("cpu:0")
    monkeypatch.setenv("HALTERE_PROXY_ROOT", str(fleet.root))
    assert "proxy:cpu:0" in [info.uri for info in list_devices()]
    server.kill()
    assert "proxy:cpu:0" not in [info.uri for info in list_devices()]


def test_a_killed_worker_leaves_the_other_tenant_undisturbed(fleet: Fleet) -> None:
    fleet.start("cpu:0")
    victim = fleet.worker("cpu:0", "victim", LONG)
    read_until(victim, "step 50")
    other = fleet.worker("cpu:0", "other", 3000)
    read_until(other, "step 50")
    victim.kill()
    assert result_of(other) == expected(3000)
    status = fleet.control("cpu:0").status()
    left = status.session("victim")
    assert left is None or (left.durable and not left.worker_alive)


def test_a_killed_worker_without_a_name_leaves_nothing(root: Path, fleet: Fleet) -> None:
    server = fleet.start("cpu:0")
    process = fleet.worker("cpu:0", "", LONG)  # an empty name is none
    read_until(process, "step 50")
    process.kill()
    control = fleet.control("cpu:0")
    until(lambda: not control.status().sessions, "the session of the dead worker was not closed")
    assert list(server.paths.sessions.iterdir()) == []


def test_a_dead_worker_s_durable_session_is_taken_over(fleet: Fleet) -> None:
    """The second life reads what the first computed, and goes on with its objects."""
    fleet.start("cpu:0")
    first = fleet.worker("cpu:0", "lasting", LONG)
    read_until(first, "step 50")
    with pytest.raises(Exception, match="live worker"):
        reattach("cpu:0", "lasting", fleet.root)
    first.kill()
    first.wait()
    found = reattach("cpu:0", "lasting", fleet.root)
    state = found.buffers[0]
    assert len(found.buffers) == 3
    assert any(found.context.read(state))
    found.context.write(state, bytes(state.size_bytes))
    assert found.context.read(state) == bytes(state.size_bytes)
    extra = found.context.alloc(8)
    assert found.context.read(extra) == bytes(8)
    assert found.context.last_seq > 1
    status = fleet.control("cpu:0").status().session("lasting")
    assert status is not None
    assert status.worker_alive
    found.context.close()


def test_a_killed_server_is_noticed_by_its_worker_in_time(fleet: Fleet) -> None:
    server = fleet.start("cpu:0")
    context = connect("cpu:0", fleet.root).open_context()
    context.finish()
    server.kill()
    with pytest.raises(ServerGone, match="died"):  # and no DeviceTimeout
        context.finish(PATIENCE_S)


def test_a_killed_server_is_noticed_by_a_worker_that_only_polls(fleet: Fleet) -> None:
    server = fleet.start("cpu:0")
    context = connect("cpu:0", fleet.root).open_context()
    server.kill()
    seq = context.signal()

    def notices() -> bool:
        try:
            return context.wait(seq, 0.0)
        except ServerGone:
            return True

    until(notices, "no poll raised")


def test_a_new_server_takes_the_place_of_a_killed_one(fleet: Fleet) -> None:
    server = fleet.start("cpu:0")
    orphan = connect("cpu:0", fleet.root).open_context()
    server.kill()
    fleet.start("cpu:0")
    with pytest.raises(ServerGone):
        orphan.finish()
    with connect("cpu:0", fleet.root) as device, device.open_context() as context:
        assert run(context, 20) == expected(20)


def test_control_of_a_server_that_is_not_there_says_so(root: Path) -> None:
    with pytest.raises(ServerGone, match="start one"):
        Control(root, "cpu:0").status()
    with pytest.raises(LocalProtocolError):
        Control(root, "../..")
