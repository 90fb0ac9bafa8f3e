"""Sessions over HTTP: what a recurrent model remembers between requests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hal.errors import Busy
from hal.serving.seam import Outcome, StateSpec, TensorSpec
from service.app import create_app
from service.errors import NotFound
from service.gateway import Gateway
from service.npu_model import RunnerModel
from service.sessions import Sessions
from service.settings import Settings

SESSIONS = "/v2/models/sum/sessions"


class Summer:
    """A runner: y = x + what came before."""

    name, digest, kind, device, stateless = "sum", "d1", "test", "test:0", ""
    inputs = outputs = ()
    states = (StateSpec("total", np.zeros(2, np.float32)),)

    def __init__(self, digest: str = "d1", stateless: str = "", cycles: int | None = 7) -> None:
        self.digest, self.stateless, self.cycles = digest, stateless, cycles
        self.inputs, self.outputs = (TensorSpec("x", (2,)),), (TensorSpec("y", (2,)),)

    def run(self, arrays, timeout_s):  # type: ignore[no-untyped-def]
        total = arrays["total"] + arrays["x"]
        return Outcome({"y": total}, {"total": total}, self.cycles)

    def close(self) -> None:
        pass


@pytest.fixture
def client() -> Iterator[TestClient]:
    gateway = Gateway(max_sessions=2)
    gateway.add("sum", RunnerModel(Summer(), "test", 5))
    gateway.add("other", RunnerModel(Summer("d2"), "test", 5))
    gateway.add("plain", RunnerModel(Summer(stateless="it says nothing"), "test", 5))
    with TestClient(create_app(Settings(), gateway)) as client:
        yield client


def add(client: TestClient, key: str, *x: float) -> list[float]:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": list(x)}]}
    answer = client.post(f"{SESSIONS}/{key}/infer", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["parameters"] == {"cycles": 7}
    return list(answer.json()["outputs"][0]["data"])


def test_a_session_goes_on_from_the_request_before_and_others_do_not(client: TestClient) -> None:
    first, second = (client.post(SESSIONS).json()["session"] for _ in range(2))
    assert add(client, first, 1, 2) == [1, 2]
    assert add(client, first, 1, 2) == [2, 4]
    assert add(client, second, 5, 5) == [5, 5]
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [9, 9]}]}
    plain = client.post("/v2/models/sum/infer", json=body).json()
    assert plain["outputs"][0]["data"] == [9, 9]
    assert add(client, first, 1, 2) == [3, 6]


def test_a_state_is_taken_out_and_put_into_a_new_session(client: TestClient) -> None:
    opened = client.post(SESSIONS)
    assert opened.status_code == 201
    key = opened.json()["session"]
    assert opened.headers["Location"] == f"{SESSIONS}/{key}"
    add(client, key, 1, 2)
    state = client.get(f"{SESSIONS}/{key}/state").content
    add(client, key, 1, 2)
    again = client.post(SESSIONS, content=state).json()
    assert again["calls"] == 1
    assert add(client, again["session"], 10, 10) == [11, 12]


def test_a_deleted_session_is_gone_and_makes_room(client: TestClient) -> None:
    keys = [client.post(SESSIONS).json()["session"] for _ in range(2)]
    full = client.post(SESSIONS)
    assert full.status_code == 429
    assert "2 sessions are open" in full.json()["error"]
    assert client.delete(f"{SESSIONS}/{keys[0]}").status_code == 204
    assert client.delete(f"{SESSIONS}/{keys[0]}").status_code == 404
    assert client.get(f"{SESSIONS}/{keys[0]}/state").status_code == 404
    assert client.post(SESSIONS).status_code == 201


@pytest.mark.parametrize("damage", ["cut", "flipped", "of another model"])
def test_a_state_that_is_not_this_models_is_refused(client: TestClient, damage: str) -> None:
    key = client.post(SESSIONS).json()["session"]
    state = client.get(f"{SESSIONS}/{key}/state").content
    spoilt = {"cut": state[:-1], "flipped": state[:40] + b"~" + state[41:]}.get(damage, state)
    where = "other" if damage == "of another model" else "sum"
    answer = client.post(f"/v2/models/{where}/sessions", content=spoilt)
    assert answer.status_code == 400
    assert "state" in answer.json()["error"]


def test_a_session_of_one_model_is_none_of_anothers(client: TestClient) -> None:
    key = client.post(SESSIONS).json()["session"]
    assert client.get(f"/v2/models/other/sessions/{key}/state").status_code == 404


def test_a_model_without_states_says_why_it_has_no_sessions(client: TestClient) -> None:
    answer = client.post("/v2/models/plain/sessions")
    assert answer.status_code == 501
    assert "it says nothing" in answer.json()["error"]


def test_tensors_that_do_not_fit_leave_a_session_where_it_was(client: TestClient) -> None:
    key = client.post(SESSIONS).json()["session"]
    add(client, key, 1, 1)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": [1, 2, 3]}]}
    assert client.post(f"{SESSIONS}/{key}/infer", json=body).status_code == 400
    assert add(client, key, 1, 1) == [2, 2]


def test_a_device_without_a_clock_says_nothing_of_cycles() -> None:
    model = RunnerModel(Summer(cycles=None), "test", 5)
    assert model.infer({"x": np.ones(2, np.float32)}).parameters == {}


def test_what_nobody_uses_is_forgotten_and_what_runs_is_not() -> None:
    now = [0.0]
    sessions = Sessions(2, 10.0, clock=lambda: now[0])
    model = RunnerModel(Summer(), "test", 5)
    idle, busy = (sessions.open("sum", model.session(None)) for _ in range(2))
    with sessions.using("sum", busy):
        now[0] = 10.5
        assert sessions.open("sum", model.session(None))
        with pytest.raises(NotFound, match="idle for more than 10 s"), sessions.using("sum", idle):
            pass
        with pytest.raises(Busy):
            sessions.open("sum", model.session(None))
    now[0] = 20.0
    with sessions.using("sum", busy):  # its time counts from when it was used last
        pass
