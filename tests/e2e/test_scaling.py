"""A served model with as many replicas as it needs, over basic work that borrows the rest."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hal.errors import DeviceFault
from scheduler.errors import Infeasible
from scheduler.live.pool import JobSpec, JobState, Pool, Tier
from scheduler.policies.elastic import Elastic
from scheduler.policies.served import Objective, Seen
from service import score
from service.app import create_app
from service.control import Control
from service.deploy import deploy
from service.gateway import Gateway
from service.npu_model import RunnerModel
from service.run import scoring
from service.scaling import Scaler, Scaling
from service.settings import Settings
from tests.waiting import until

sys.path.insert(0, str(Path(__file__).parents[1] / "scheduler"))
sys.path.insert(0, str(Path(__file__).parent))
from live_jobs import Training, check_journal, output
from test_served_lost import FEATURES, step, step_model

NEVER_S = 3600.0  # between two steps: the tests take them


class Told:
    """An autoscaler that wants as many as a test says."""

    def __init__(self) -> None:
        self.wanted = 1

    def replicas(self, seen: Seen) -> int:
        return self.wanted


class Stage:
    def __init__(self, folder: Path, policy: str) -> None:
        self.folder, self.policy = folder, policy
        self.pool = Pool(folder / "root", ("cpu:0", "cpu:1"), folder / "state", policy=policy)
        self.gateway = Gateway()
        self.told = Told()

    def serve(self, tier: Tier = Tier.STANDARD) -> Scaler:
        self.deploy(Scaling(1, 2, Objective(30.0), 30.0, NEVER_S), tier)
        scaler = self.gateway._models["step"].scaler
        assert isinstance(scaler, Scaler)
        scaler._service.scaler = self.told
        return scaler

    def deploy(self, scaling: Scaling, tier: Tier = Tier.STANDARD) -> None:
        path = self.folder / "step.onnx"
        path.write_bytes(step_model())
        made = {"kind": "cpu", "target": "npu:nano"}
        deploy(self.gateway, self.pool, "step", path, scaling=scaling, tier=tier, **made)  # type: ignore[arg-type]

    def service(self) -> dict[str, Any]:
        (found,) = self.gateway.services()
        return found

    def want(self, scaler: Scaler, count: int) -> None:
        self.told.wanted = count
        scaler.step()
        until(lambda: self.service()["serving"] == count, "the replicas did not come or go")


@pytest.fixture(params=["tiered", "elastic"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(tmp_path, request.param)
    with made.pool:
        yield made
        made.gateway.close()


def test_what_replicas_do_not_hold_is_lent_and_recalled(stage: Stage) -> None:
    train = Training(stage.folder, "train")
    scaler = stage.serve()
    job = stage.pool.submit(train.spec())
    until(lambda: train.at_work(stage.pool))
    assert stage.service()["lent"] == 1
    stage.want(scaler, 2)
    assert stage.pool.job(job).state == JobState.PREEMPTED
    told = stage.service()
    assert (told["recalls"], told["recalls_missed"], told["lent"]) == (1, 0, 0)
    stage.want(scaler, 1)
    stage.pool.wait(job, 60, (JobState.RUNNING,))
    train.let_finish()
    done = stage.pool.wait(job, 60)
    assert (done.state, done.preemptions, done.restarts) == (JobState.SUCCEEDED, 1, 0)
    assert output(done) == train.expected()


def test_load_that_rises_brings_replicas_and_load_that_falls_gives_devices_back(
    tmp_path: Path,
) -> None:
    """By the autoscaler itself: of eight requests at once hardly any is answered in time."""
    made = Stage(tmp_path, "elastic")
    train, x = Training(tmp_path, "train"), np.ones((1, 1, FEATURES), np.float32)
    with made.pool:
        scaling = Scaling(1, 2, Objective(0.002), 3.0, step_s=0.05, patience=2)
        made.deploy(scaling)
        job = made.pool.submit(train.spec())
        until(lambda: train.at_work(made.pool))
        enough = threading.Event()

        async def load() -> None:
            while not enough.is_set():
                asked = [made.gateway.infer("step", "", {"x": x}) for _ in range(8)]
                await asyncio.gather(*asked)

        client = threading.Thread(target=lambda: asyncio.run(load()))
        client.start()
        until(lambda: made.service()["serving"] == 2, "no second replica came")
        assert made.pool.job(job).halted_for
        enough.set()
        client.join(60)
        until(lambda: made.service()["wanted"] == 1, "no replica went")
        train.let_finish()
        done = made.pool.wait(job, 60)
        assert (done.state, output(done)) == (JobState.SUCCEEDED, train.expected())
        made.gateway.close()
    check_journal(tmp_path / "state", Elastic())


def test_sessions_go_on_through_replicas_that_come_and_go_and_die(stage: Stage) -> None:
    scaler = stage.serve()
    with TestClient(create_app(Settings(), stage.gateway, Control(stage.pool, stage.folder))) as it:
        keys = [str(it.post("/v2/models/step/sessions").json()["session"]) for _ in range(3)]
        calm, *moved = keys
        expected = [step(it, calm, value / 8) for value in range(8)]
        seen: dict[str, list[list[float]]] = {key: [] for key in moved}
        for value in range(8):
            if value == 2:
                stage.want(scaler, 2)
            if value == 4:
                dead = stage.pool.job(scaler.jobs[0]).device
                os.kill(stage.pool.server_pid(dead), signal.SIGKILL)
            if value == 6:
                stage.want(scaler, 1)
            for key in moved:
                seen[key].append(step(it, key, value / 8))
        assert seen == dict.fromkeys(moved, expected)
        told = it.get("/v1/services").json()
        assert [each["model"] for each in told] == ["step"] and told[0]["late"] == 0


def test_batch_inference_borrows_what_a_replica_does_not_hold_and_answers_as_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scaler, path = stage.serve(), stage.folder / "step.onnx"
    templates = {"score": scoring([path], "cpu", "npu:nano", {path: {}})}
    control = Control(stage.pool, stage.folder, templates)
    asked = {"template": "score", "tier": "basic", "parameters": {"model": "step", "passes": 500}}
    job = control.submit(json.dumps(asked).encode())["id"]
    stage.pool.wait(job, 60, (JobState.RUNNING,))
    stage.want(scaler, 2)
    assert stage.pool.job(job).state == JobState.PREEMPTED
    stage.want(scaler, 1)
    done = stage.pool.wait(job, 120)
    assert (done.state, done.preemptions) == (JobState.SUCCEEDED, 1), done.reason
    monkeypatch.setenv("HALTERE_DEVICE", "cpu:0")
    words = list(templates["score"].command(asked["parameters"]))  # type: ignore[arg-type]
    assert score.main(words[words.index("service.score") + 1 :]) == 0
    assert output(done)[-1] == capsys.readouterr().out.strip()
    alone = list(templates["score"].command({"passes": 500}))  # the model is the only one
    assert score.main(alone[alone.index("service.score") + 1 :]) == 0
    assert output(done)[-1] == capsys.readouterr().out.strip()


def test_a_submission_that_is_refused_leaves_nothing_behind(stage: Stage) -> None:
    path = stage.folder / "step.onnx"
    templates = {"score": scoring([path], "fpga", "npu:nano", {path: {}})}
    control = Control(stage.pool, stage.folder / "results", templates)
    with pytest.raises(Infeasible, match="asks for a 'fpga' device"):
        control.submit(b'{"template": "score"}')
    assert [*(stage.folder / "results").iterdir()] == []


def test_a_replica_that_cannot_serve_is_tried_again_after_longer_and_longer(stage: Stage) -> None:
    scaler, now_s = stage.serve(), [1000.0]
    load, scaler._clock = scaler._load, lambda: now_s[0]

    def fails(device: object) -> RunnerModel:
        raise DeviceFault("no room for its weights")

    def step(at_s: float) -> int:
        """Jobs that there were by then."""
        now_s[0] = at_s
        scaler.step()
        until(lambda: stage.service()["waiting"] + stage.service()["starting"] == 0)
        return len(stage.pool.jobs())

    scaler.scaling = replace(scaler.scaling, step_s=1.0)
    scaler._load, stage.told.wanted = fails, 2
    assert [step(at_s) for at_s in (1000, 1000.5, 1001, 1002, 1003)] == [2, 2, 3, 3, 4]
    assert "no room for its weights" in stage.service()["trouble"]
    scaler._load = load
    assert step(1007) == 5 and stage.service()["serving"] == 2


def test_a_replica_that_somebody_cancels_is_missed_and_replaced(stage: Stage) -> None:
    scaler = stage.serve()
    stage.want(scaler, 2)
    gone = scaler.jobs[0]
    stage.pool.cancel(gone)
    stage.want(scaler, 2)
    until(lambda: gone not in scaler.jobs and len(scaler.jobs) == 2)
    assert [stage.pool.job(job).state for job in scaler.jobs] == [JobState.RUNNING] * 2


def test_what_a_halted_replica_was_asked_is_answered_by_another(tmp_path: Path) -> None:
    """A drain halts it, and there is no other device."""
    made, x = Stage(tmp_path, "elastic"), np.ones((1, 1, FEATURES), np.float32)
    with made.pool:
        scaler = made.serve()
        made.want(scaler, 2)
        halted = scaler.jobs[0]
        made.pool.drain(made.pool.job(halted).device or "", 0.5)
        made.pool.wait(halted, 60, (JobState.PREEMPTED,))

        async def ask() -> None:
            asked = [made.gateway.infer("step", "", {"x": x}) for _ in range(8)]
            await asyncio.gather(*asked)

        client = threading.Thread(target=lambda: asyncio.run(ask()), daemon=True)
        client.start()
        scaler.step()
        client.join(30)
        told = made.service()
        assert not client.is_alive() and told["pending"] == 0
        assert made.pool.job(halted).state == JobState.CANCELLED
        assert (told["serving"], told["waiting"], told["late"]) == (1, 1, 0)
        made.gateway.close()


def test_a_replica_that_waits_says_why_and_is_forgotten_when_it_is_not_wanted(stage: Stage) -> None:
    scaler = stage.serve()
    with stage.pool.lease(JobSpec("other", "bob", "premium", "cpu"), 60):
        stage.told.wanted = 2
        scaler.step()
        waiting = scaler.jobs[1]
        assert stage.service()["waiting"] == 1
        why = {blocker.why for blocker in stage.pool.job(waiting).blockers}
        assert why <= {"held", "unadmitted"} and why
        stage.told.wanted = 1
        scaler.step()
        assert stage.pool.job(waiting).state == JobState.CANCELLED
    assert (stage.service()["serving"], stage.service()["waiting"]) == (1, 0)


def test_replicas_of_tier_basic_are_refused(stage: Stage) -> None:
    with pytest.raises(Infeasible, match="basic"):
        stage.serve(tier=Tier.BASIC)
    assert stage.pool.jobs() == () and stage.gateway.names() == ()
