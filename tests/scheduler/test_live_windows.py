"""Windows of maintenance on the live pool: every device is out once, and nothing is lost by it."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from live_jobs import PATIENCE_S, Training, check_journal, lease_spec, output, until
from rich.console import Console
from test_gang_recovery import begin_and_kill, crash_pool
from test_live_drains import servers, state_of
from test_live_gangs import QUICK
from typer.testing import CliRunner

from scheduler.core import events
from scheduler.errors import CannotDrain, UnknownDevice
from scheduler.journal import read
from scheduler.live.pool import JobState, Pool
from scheduler.live.windows import Followed
from scheduler.policies.elastic import Elastic
from service import cli, cli_drain
from service.app import create_app
from service.control import Control
from service.gateway import Gateway
from service.settings import Settings

DEVICES = ["cpu:0", "cpu:1"]


def is_over(pool: Pool) -> bool:
    window = pool.window()
    return window is not None and not window.is_open


def turns(state: Path) -> list[tuple[str, str]]:
    """What the journal says of devices, in order."""
    (path,) = (state / "journal").iterdir()
    kinds = (events.DrainRequested, events.DeviceLost, events.DeviceAdded)
    return [
        (type(event).__name__, event.device)
        for step in read(path).steps
        for event in step.events
        if isinstance(event, kinds)
    ]


def test_every_device_is_out_once_the_idle_one_first_and_the_job_moves_over(
    root: Path, tmp_path: Path
) -> None:
    train, state = Training(tmp_path, "train"), tmp_path / "state"
    with Pool(root, DEVICES, state, policy=Elastic(QUICK)) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        before = {uri: pool.server_pid(uri) for uri in DEVICES}
        window = pool.maintain(DEVICES, within_s=1201, lasts_s=0.2, notice_s=600)
        assert window is not None and window.is_open
        with pytest.raises(CannotDrain, match="a window is open, for cpu:"):
            pool.maintain(["cpu:0"], 3600, 1)
        until(lambda: is_over(pool))
        window = pool.window()
        assert window is not None and sorted(window.back) == DEVICES and not window.waits
        assert all(state_of(pool, uri) == "up" for uri in DEVICES)
        assert all(pool.server_pid(uri) != pid for uri, pid in before.items())
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.epoch, done.preemptions) == (JobState.SUCCEEDED, 1, 0), done
        assert (done.resizes, output(done)) == (1, train.expected())
    kinds = ("DrainRequested", "DeviceLost", "DeviceAdded")
    assert turns(state)[2:] == [(kind, uri) for uri in ("cpu:1", "cpu:0") for kind in kinds]
    check_journal(state, Elastic(QUICK))


def test_a_promise_is_kept_and_a_device_comes_back_when_its_operator_says_so(
    root: Path, tmp_path: Path
) -> None:
    """What is promised to the lease is on cpu:0 alone, so that one stays."""
    with (
        Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool,
        pool.lease(lease_spec("premium", "cpu", "cpu:0"), PATIENCE_S),
    ):
        pool.maintain(DEVICES, within_s=3600, lasts_s=1800, notice_s=600)
        until(lambda: state_of(pool, "cpu:1") == "removed")
        window = pool.window()
        assert window is not None and (window.waits, window.out) == (("cpu:0",), ("cpu:1",))
        assert servers(root) == ["cpu:0"]
        with pytest.raises(CannotDrain, match="cpu:0 is in a window of maintenance"):
            pool.drain("cpu:0")
        pool.cancel_drain("cpu:1")
        until(lambda: state_of(pool, "cpu:1") == "up")
        until(lambda: pool.window().out == ())  # type: ignore[union-attr]
        window = pool.window()
        assert window is not None and window.is_open  # and asks again whether cpu:0 can go
        assert (window.waits, window.back) == (("cpu:0",), ("cpu:1",))
        pool.cancel_drain("cpu:0")
        until(lambda: is_over(pool))
        assert state_of(pool, "cpu:0") == "up"


def test_a_window_is_asked_for_and_shown_over_http_and_by_the_command_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = StringIO()
    monkeypatch.setattr(cli_drain, "console", Console(file=shown, width=200))
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        app = create_app(Settings(), Gateway(1), Control(pool, tmp_path))
        with TestClient(app) as client:
            assert client.get("/v1/window").json() is None
            assert client.post("/v1/window", json={"devices": ["cpu:0"]}).status_code == 400

            def call(url: str, method: str, path: str, body: object = None) -> object:
                return client.request(method, path, json=body).json()

            monkeypatch.setattr(cli_drain, "call", call)
            runner = CliRunner()
            words = ["drain", "cpu:0", "--within", "1h", "--lasts", "30m", "--notice", "5m"]
            assert runner.invoke(cli.app, words).exit_code == 0
            until(lambda: state_of(pool, "cpu:0") == "removed")
            assert runner.invoke(cli.app, ["drain"]).exit_code == 0
            assert runner.invoke(cli.app, ["drain", "cpu:0", "--cancel"]).exit_code == 0
            until(lambda: is_over(pool))
            assert runner.invoke(cli.app, ["drain"]).exit_code == 0
    told = shown.getvalue()
    assert re.search(r"closes 3\d\d\d s from now; out: cpu:0", told)
    assert "the window of maintenance is over; back: cpu:0" in told


def test_a_window_that_cannot_be_is_refused_by_name(root: Path, tmp_path: Path) -> None:
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        for words, asked in {
            "no device 'cpu:7'": (["cpu:7"], 60, 1, 1),
            "within of nan s": (["cpu:0"], float("nan"), 1, 1),
            "back within that; give it longer": (["cpu:0"], 60, 50, 20),
            "at least one device": ([], 60, 1, 1),
        }.items():
            with pytest.raises((CannotDrain, UnknownDevice), match=words):
                pool.maintain(*asked)  # type: ignore[arg-type]
        assert pool.window() is None
    with (
        Pool(root, ["cpu:0"], tmp_path / "other") as pool,
        pytest.raises(CannotDrain, match="policy, Tiered, moves nobody"),
    ):
        pool.maintain(["cpu:0"], 60, 1)


@pytest.mark.parametrize(
    ("moment", "name", "count"),
    [
        ("after", "DeviceLost", 1),
        ("before", "DeviceAdded", 3),
        pytest.param("after", "WindowOpened", 1, marks=pytest.mark.slow),
        pytest.param("torn", "DrainRequested", 1, marks=pytest.mark.slow),
        pytest.param("after", "DrainRequested", 2, marks=pytest.mark.slow),
        pytest.param("after", "DrainCancelled", 1, marks=pytest.mark.slow),
        pytest.param("before", "WindowClosed", 1, marks=pytest.mark.slow),
    ],
)
def test_a_window_goes_on_after_the_pool_was_killed(
    root: Path, tmp_path: Path, moment: str, name: str, count: int
) -> None:
    begin_and_kill(root, tmp_path, moment, name, count, "window")
    state = tmp_path / "state"
    with Pool(root, DEVICES, state, policy=Elastic(crash_pool.QUICK)) as pool:
        job = crash_pool.play_window(pool, tmp_path)
        status, window = pool.job(job), pool.window()
        assert (status.state, status.restarts) == ("succeeded", 0), status
        (digest,) = Training(tmp_path, "low").expected()
        assert Path(status.log).read_text().split() == ["began", digest]
        assert window is not None and sorted(window.back) == DEVICES
        assert servers(root) == DEVICES
    drained = [uri for kind, uri in turns(state) if kind == "DrainRequested"]
    assert sorted(drained) == DEVICES  # each once
    check_journal(state, Elastic(crash_pool.QUICK))


URIS = ("a", "b", "c")
HAPPENS = st.lists(
    st.tuples(
        st.sampled_from(["drain", "cancel", "lost", "added", "closed"]), st.sampled_from(URIS)
    ),
    max_size=30,
)


@given(HAPPENS)
def test_each_device_of_a_window_is_out_at_most_once_whatever_happens(
    happens: list[tuple[str, str]],
) -> None:
    followed = Followed()
    followed.follow(events.WindowOpened(0, URIS, 9_000_000, 100, 50))
    stayed: set[str] = set()
    for at_us, (what, uri) in enumerate(happens, 1):
        waited, back = uri in followed.waits, list(followed.back)
        match what:
            case "drain":
                followed.follow(events.DrainRequested(at_us, uri, at_us + 100))
            case "cancel":
                followed.follow(events.DrainCancelled(at_us, uri))
                stayed |= {uri} if waited else set()
            case "lost":
                followed.follow(events.DeviceLost(at_us, uri, "it was removed"))
            case "added":
                followed.follow(events.DeviceAdded(at_us, uri, "cpu", "numpy"))
            case "closed":
                followed.follow(events.WindowClosed(at_us))
        assert sorted([*followed.waits, *followed.out, *followed.back, *stayed]) == sorted(URIS)
        assert followed.back[: len(back)] == back  # who is back is not taken out again
        assert followed.returning <= followed.out.keys()
