"""Shares of a device, asked for and explained over the service's commands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from hal.registry import list_devices
from scheduler.live.fleet import this_machine
from scheduler.live.pool import JobState, Pool
from service.app import create_app
from service.cli import app
from service.cli_service import mib, milli
from service.control import Control
from service.errors import BadRequest
from service.gateway import Gateway
from service.host import hosting
from service.run import hosts_of
from service.settings import Settings

DEVICE, PATIENCE_S = "opencl:0", 90.0


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="haltere-test-", dir="/dev/shm") as folder:
        yield Path(folder)


def test_shares_are_submitted_and_why_one_waits_is_said(root: Path, tmp_path: Path) -> None:
    if DEVICE not in {info.uri for info in list_devices()}:
        pytest.skip(f"needs {DEVICE}")
    with Pool(root, [DEVICE], tmp_path / "state", policy="sharing") as pool:
        service = create_app(Settings(), Gateway(), Control(pool, tmp_path / "results"))
        with hosting(service) as port:
            url = f"http://127.0.0.1:{port}"

            def command(*words: str) -> str:
                done = CliRunner().invoke(app, [*words, "--url", url])
                assert done.exit_code == 0, done.output
                return done.output

            def submit(*words: str) -> None:
                command("submit", "train-digits", "-s", "steps=100000", "--tier", "basic", *words)

            submit("--share", "250m", "--memory", "16MiB")
            submit("--share", "0.5")
            for job in (1, 2):
                assert pool.wait(job, PATIENCE_S, (JobState.RUNNING,)).state == JobState.RUNNING
            submit("--share", "300m")
            said = " ".join(command("why", "3").split())
            assert "opencl:0 has no slice with so much left; the rest is held by jobs 1, 2" in said
            for job in ("1", "2", "3"):
                command("jobs", job, "--cancel")
        with TestClient(service) as client:
            body = {"template": "train-digits", "share_milli": 1001}
            assert client.post("/v1/jobs", json=body).status_code == 400
            too_much = client.post("/v1/jobs", json=body | {"share_milli": 1, "cpu_milli": 10**9})
            assert too_much.status_code == 400 and "none has" in too_much.text


def test_shares_and_memory_are_read_with_their_units() -> None:
    assert [milli(text) for text in ("250m", "0.25", "1", "0")] == [250, 250, 1000, 0]
    assert [mib(text) for text in ("512MiB", "2GiB")] == [512, 2048]
    for text in ("", "m", "-1m", "x", "-0.5", "inf", "nan"):
        with pytest.raises(typer.BadParameter):
            milli(text)
    for text in ("512", "2GB", "MiB", "-1MiB", "1.5GiB"):
        with pytest.raises(typer.BadParameter):
            mib(text)


def test_what_of_the_machine_is_for_the_jobs_of_each_device_is_a_setting() -> None:
    cpu_milli, memory_mib = this_machine()
    assert hosts_of(Settings(), ["a:0", "a:1"])["a:1"] == (cpu_milli // 2, memory_mib // 2)
    given = Settings(device_cpu_milli=500, device_memory_mib=64)
    assert hosts_of(given, ["a:0"]) == {"a:0": (500, 64)}
    with pytest.raises(BadRequest, match="not below 0"):
        hosts_of(Settings(device_cpu_milli=-1), ["a:0"])
