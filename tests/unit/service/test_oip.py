"""The inference protocol's bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service import oip
from service.errors import BadRequest

NUMERIC = [name for name in oip.DTYPES if name != "BOOL"]


@given(
    st.sampled_from(NUMERIC).flatmap(
        lambda name: arrays.arrays(oip.DTYPES[name], arrays.array_shapes(max_side=4))
    )
)
def test_a_binary_tensor_arrives_as_it_was_sent(array: np.ndarray) -> None:
    head = {
        "inputs": [
            {
                "name": "x",
                "datatype": oip.datatype_of(array.dtype),
                "shape": array.shape,
                "parameters": {"binary_data_size": array.nbytes},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(head).encode()
    request = oip.parse_request(text + array.tobytes(), len(text))
    assert request.inputs["x"].tobytes() == array.tobytes()
    body, length = oip.build_response("m", "1", request, {"y": request.inputs["x"]})
    assert length is not None
    answer = json.loads(body[:length])
    assert answer["outputs"][0]["parameters"]["binary_data_size"] == array.nbytes
    assert body[length:] == array.tobytes()


def request_of(**tensor: object) -> bytes:
    full = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2], **tensor}
    return json.dumps({"inputs": [full]}).encode()


def test_json_data_may_be_nested_or_flat() -> None:
    for data in ([1, 2, 3, 4], [[1, 2], [3, 4]]):
        request = oip.parse_request(request_of(shape=[2, 2], data=data), None)
        assert request.inputs["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        ({"datatype": "FP8"}, "datatype 'FP8'"),
        ({"shape": [3]}, "2 values"),
        ({"shape": [-1]}, "shape"),
        ({"shape": [1] * 17}, "shape"),
        ({"data": ["a", "b"]}, "does not make"),
        ({"data": [1, [2]]}, "does not make"),
        ({"datatype": "INT32", "data": [1.5, 2]}, "fractions"),
        ({"parameters": {"binary_data_size": 4}}, "need 8"),
        ({"parameters": {"binary_data_size": "8"}}, "need 8"),
        ({"parameters": {"binary_data_size": 8.0}}, "need 8"),
        ({"shape": [0, 2**62]}, "shape"),
        ({"parameters": {"binary_data_size": 8}}, "0 bytes are left"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tensor: dict[str, object], told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        oip.parse_request(request_of(**tensor), None)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": 3}', b"\xff\xfe"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        oip.parse_request(body, None)


def test_deep_nesting_is_refused() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    for body in (b'{"inputs": [], "parameters": {"x": ' + deep + b"}}", deep):
        with pytest.raises(BadRequest):
            oip.parse_request(body, None)


@pytest.mark.parametrize("timeout", [True, -1, 1.5, 10**400])
def test_a_timeout_that_is_none_is_refused(timeout: object) -> None:
    with pytest.raises(BadRequest, match="timeout"):
        oip.parse_request(
            json.dumps({"inputs": [], "parameters": {"timeout": timeout}}).encode(), None
        )


def test_an_output_is_asked_for_once() -> None:
    outputs = [{"name": "y"}, {"name": "y"}]
    with pytest.raises(BadRequest, match="twice"):
        oip.parse_request(json.dumps({"inputs": [], "outputs": outputs}).encode(), None)


def test_a_header_longer_than_the_body_is_refused() -> None:
    with pytest.raises(BadRequest, match="99"):
        oip.parse_request(request_of(), 99)


def test_bytes_after_the_last_tensor_are_refused() -> None:
    text = request_of()
    with pytest.raises(BadRequest, match="3 bytes"):
        oip.parse_request(text + b"abc", len(text))


def test_json_never_carries_a_value_it_cannot() -> None:
    request = oip.parse_request(request_of(), None)
    with pytest.raises(BadRequest, match="not finite"):
        oip.build_response("m", "1", request, {"y": np.array([np.nan], np.float32)})
