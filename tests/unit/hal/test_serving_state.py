"""Recurrent state as a value: its bytes say whose it is, and damage never passes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hal.errors import StateError
from hal.serving.state import _HEAD, State, _digest

ARRAYS = st.dictionaries(
    st.text(max_size=8),
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_side=4), elements=st.floats(width=32)),
    max_size=3,
)
TEXTS = st.text(max_size=12)


def sealed(header: object, content: bytes = b"", version: int = 1) -> bytes:
    """Bytes whose digest is right whatever they say."""
    text = json.dumps(header).encode()
    body = _HEAD.pack(b"HALTSTAT", version, len(text)) + text + content
    return body + _digest(body)


def header(**changed: object) -> dict[str, object]:
    plain = {"model": "m", "digest": "d", "kind": "k", "calls": 2, "arrays": [["h", [1, 2]]]}
    return plain | changed


@given(TEXTS, TEXTS, TEXTS, st.integers(0, 2**60), ARRAYS)
def test_a_state_comes_back_from_its_bytes_bit_for_bit(model, digest, kind, calls, arrays):
    state = State(model, digest, kind, calls, arrays)
    again = State.from_bytes(state.to_bytes())
    assert (again.model, again.digest, again.kind, again.calls) == (model, digest, kind, calls)
    assert list(again.arrays) == list(arrays)
    for name, array in arrays.items():
        assert again.arrays[name].shape == array.shape
        assert again.arrays[name].tobytes() == array.tobytes()


@given(st.data())
def test_any_changed_or_missing_byte_is_noticed(data):
    whole = State("m", "d", "k", 1, {"h": np.ones((1, 2), np.float32)}).to_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(flipped), whole[:at], whole + b"\0"):
        with pytest.raises(StateError):
            State.from_bytes(damaged)


@given(st.binary(max_size=200))
def test_strangers_bytes_are_refused_and_nothing_else(data):
    with pytest.raises(StateError, match="no recurrent state"):
        State.from_bytes(data)


def test_a_header_that_fits_is_read():
    state = State.from_bytes(sealed(header(), np.arange(2, dtype="<f4").tobytes()))
    np.testing.assert_array_equal(state.arrays["h"], [[0, 1]])
    assert state.calls == 2


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (sealed(header(), bytes(8), version=2), "format 2; this haltere reads 1"),
        (sealed(header(), bytes(4)), "longer than the file"),
        (sealed(header(), bytes(12)), "4 bytes behind"),
        (sealed(header(arrays=[["h", [-1, 2]]]), bytes(8)), "-1 is not a count"),
        (sealed(header(arrays=[["h", [2**62, 4]]]), bytes(8)), "longer than the file"),
        (sealed(header(arrays=[[3, [1, 2]]]), bytes(8)), "3 is not a text"),
        (sealed(header(calls=True), bytes(8)), "True is not a count"),
        (sealed(header(more=1), bytes(8)), "unknown fields"),
        (sealed([1]), "damaged"),
        (sealed({}), "damaged"),
    ],
)
def test_a_header_that_lies_is_refused(data, what):
    with pytest.raises(StateError, match=what):
        State.from_bytes(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_state_is_read_from_whatever_holds_bytes(kind):
    whole = State("m", "d", "k", 1, {"h": np.ones((1, 2), np.float32)}).to_bytes()
    again = State.from_bytes(kind(whole))
    np.testing.assert_array_equal(again.arrays["h"], [[1, 1]])


@pytest.mark.parametrize("wrong", [None, "HALTSTAT", 3, [1]])
def test_a_state_is_read_from_nothing_else(wrong):
    with pytest.raises(StateError, match=f"from bytes, not from {type(wrong).__name__}"):
        State.from_bytes(wrong)
