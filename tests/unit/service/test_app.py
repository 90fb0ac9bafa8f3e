"""The HTTP edge, over a model whose answers are known."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.errors import BadRequest
from service.gateway import Gateway
from service.host import listen
from tests.waiting import until

X = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
INFER = "/v2/models/twice/infer"


def test_health_and_metadata_are_served_without_a_request_of_work(client: TestClient) -> None:
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2").json()["name"] == "haltere"
    model = client.get("/v2/models/twice").json()
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 3]}]
    assert client.get("/v2/models/twice/versions/1/ready").json()["ready"]
    assert client.post("/v2/repository/index").json()[0]["state"] == "READY"


def test_an_inference_is_answered_in_json(client: TestClient) -> None:
    answer = client.post(INFER, json=X | {"id": "7"}).json()
    assert answer["id"] == "7"
    assert answer["parameters"] == {"cycles": 5}
    assert answer["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [2.0, 4.0, 6.0]}
    ]


def test_a_compressed_request_is_understood(client: TestClient) -> None:
    body = gzip.compress(json.dumps(X).encode())
    assert client.post(INFER, content=body, headers={"Content-Encoding": "gzip"}).is_success


def test_a_compressed_bomb_is_refused(client: TestClient) -> None:
    body = gzip.compress(b" " * 100_000)
    answer = client.post(INFER, content=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "z"}, "takes x"),
        ({"shape": [3]}, "[1, 3]"),
        ({"datatype": "FP64"}, "float32"),
    ],
)
def test_tensors_the_model_does_not_take_are_refused(
    client: TestClient, change: dict[str, object], told: str
) -> None:
    answer = client.post(INFER, json={"inputs": [X["inputs"][0] | change]})
    assert answer.status_code == 400
    assert told in answer.json()["error"]


def test_unknown_names_are_404(client: TestClient) -> None:
    assert client.post("/v2/models/none/infer", content=b"junk").status_code == 404
    assert client.get("/v2/models/twice/versions/2").status_code == 404


def test_paths_and_methods_that_there_are_not_are_told_as_the_protocol_tells_errors(
    client: TestClient,
) -> None:
    for answer, status in ((client.get("/v2/nothing"), 404), (client.get(INFER), 405)):
        assert answer.status_code == status
        assert answer.request.url.path in answer.json()["error"]


def test_an_empty_body_is_called_so(client: TestClient) -> None:
    assert "the body is empty" in client.post(INFER).json()["error"]


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_there_is_not_is_refused(port: int) -> None:
    with pytest.raises(BadRequest, match="0 to 65535"):
        listen(port=port)


def test_a_body_over_the_limit_is_413(client: TestClient) -> None:
    assert client.post(INFER, content=b" " * 5000).status_code == 413


def test_a_bad_header_length_is_refused(client: TestClient) -> None:
    answer = client.post(INFER, json=X, headers={"Inference-Header-Content-Length": "-1"})
    assert answer.status_code == 400


def test_a_compressed_body_that_was_cut_off_is_refused(client: TestClient) -> None:
    body = gzip.compress(json.dumps(X).encode())
    for wrong in (body[:-4], body + b"more"):
        answer = client.post(INFER, content=wrong, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 400


def test_a_cancelled_request_gives_its_place_back(doubler) -> None:  # type: ignore[no-untyped-def]
    async def cancel_all() -> int:
        x = {"x": np.zeros((1, 3), "<f4")}
        tasks = [asyncio.create_task(gateway.infer("twice", "", x)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        doubler.go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await gateway.infer("twice", "", x)  # behind whatever was still running
        return gateway.pending("twice")

    gateway = Gateway(max_pending=4)
    gateway.add("twice", doubler)
    doubler.go.clear()
    assert asyncio.run(cancel_all()) == 0
    gateway.close()


def test_a_full_queue_answers_429_and_loses_nothing(client: TestClient, doubler) -> None:  # type: ignore[no-untyped-def]
    doubler.go.clear()
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post(INFER, json=X).status_code))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    until(lambda: answers)
    doubler.go.set()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [200, 200, 429]


def test_work_past_its_deadline_never_starts(client: TestClient, doubler) -> None:  # type: ignore[no-untyped-def]
    doubler.go.clear()
    first = threading.Thread(target=lambda: client.post(INFER, json=X))
    first.start()
    late: list[int] = []
    second = threading.Thread(
        target=lambda: late.append(
            client.post(INFER, json=X | {"parameters": {"timeout": 1}}).status_code
        )
    )
    gateway = client.app.state.gateway  # type: ignore[attr-defined]
    until(lambda: gateway.pending("twice"))
    second.start()
    until(lambda: gateway.pending("twice") == 2)
    doubler.go.set()
    first.join(30)
    second.join(30)
    assert late == [504]
    assert doubler.calls == 1


def test_stopping_closes_the_models(client: TestClient, doubler) -> None:  # type: ignore[no-untyped-def]
    client.__exit__()
    assert doubler.closed
    client.__enter__()
