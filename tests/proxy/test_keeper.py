"""A keeper starts its server again when it is killed, until it has been killed too often."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mix_worker import expected
from proxy_fleet import Fleet, result_of

from proxy.client import connect
from proxy.errors import ServerGone
from proxy.info import running_servers
from proxy.launcher import spawn
from tests.waiting import PATIENCE_S, until

STEPS = 3000


def test_a_kept_server_is_started_again_when_it_is_killed_and_its_worker_goes_on(
    fleet: Fleet, tmp_path: Path
) -> None:
    options = ["--root", str(fleet.root), "--device", "cpu:0", "--restarts", "2"]
    options += ["--checkpoint-every", "0.05", "--store", str(tmp_path)]
    keeper = subprocess.Popen(
        [sys.executable, "-m", "proxy.server", *options], stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: fleet.pids("cpu:0"), "it did not start")
        worker = fleet.worker("cpu:0", "job", STEPS)
        fleet.redo_log("cpu:0", "job")
        for _ in range(2):
            fleet.kill_kept("cpu:0")
        assert result_of(worker) == expected(STEPS)
        keeper.terminate()  # a stop is no crash
        _, err = keeper.communicate(timeout=PATIENCE_S)
        assert keeper.returncode == 0
        assert err.count("killed by signal 9; starting another") == 2
        assert not running_servers(fleet.root)
    finally:
        keeper.kill()
        keeper.wait()


def test_when_no_other_server_will_come_its_death_is_an_error_at_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.servers["cpu:0"] = spawn("cpu:0", fleet.root, tied=True, restarts=1)
    context = connect("cpu:0", fleet.root, "job").open_context()
    buffer = context.alloc(64)
    context.write(buffer, b"a" * 64)
    fleet.kill_kept("cpu:0")
    assert context.read(buffer) == b"a" * 64
    os.kill(*fleet.pids("cpu:0"), signal.SIGKILL)
    monkeypatch.setenv("HALTERE_RESTART_S", "1000")  # nobody waits for a server to come
    with pytest.raises(ServerGone, match="died"):
        context.finish(PATIENCE_S)
    until(lambda: not fleet.servers["cpu:0"].is_alive())


def test_a_server_that_is_killed_too_often_stays_dead(tmp_path: Path) -> None:
    dying = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    options = ["--root", str(tmp_path), "--device", "opencl:0"]
    code = f"from proxy.keeper import keep; raise SystemExit(keep({options}, 2, command={dying}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("killed by signal 9") == 3
    assert "that was the last" in done.stderr
