"""The native halves speak the same wire: their header is generated from the table of records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_wire import U64, any_records

from proxy import records, wire
from proxy.engine import Library
from proxy.errors import RemoteProtocolError
from proxy.native import generate

LIBRARY = Library()


def test_the_native_header_is_that_of_the_table() -> None:
    expected = generate.table()
    assert generate.TABLE.read_text() == expected, "run python -m proxy.native.generate"


@given(U64, any_records())
def test_both_codecs_encode_a_record_to_the_same_bytes(number: int, record: records.Record) -> None:
    data = wire.encode(number, record)
    assert LIBRARY.recoded(data) == data


@given(U64, any_records(), st.data())
def test_what_one_codec_refuses_the_other_refuses(
    number: int, record: records.Record, draw: st.DataObject
) -> None:
    """But for text, which only Python looks into: the engine compares and passes it on."""
    data = bytearray(wire.encode(number, record))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    cut = bytes(data[: len(data) - draw.draw(st.integers(0, 8))])
    try:
        wire.decode(cut)
    except RemoteProtocolError as refusal:
        if "UTF-8" not in str(refusal):
            with pytest.raises(RemoteProtocolError):
                LIBRARY.recoded(cut)
    else:
        assert LIBRARY.recoded(cut) == cut


@given(st.binary(max_size=300))
def test_the_engine_refuses_garbage_as_python_does(data: bytes) -> None:
    try:
        wire.decode(data)
    except RemoteProtocolError as refusal:
        if "UTF-8" not in str(refusal):
            with pytest.raises(RemoteProtocolError):
                LIBRARY.recoded(data)
    else:
        assert LIBRARY.recoded(data) == data
