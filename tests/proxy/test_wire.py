"""Records: whatever is encoded decodes to itself, and nothing else decodes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.types import BufferArg, Handle, ScalarArg
from proxy import records, wire
from proxy.errors import LocalProtocolError, RemoteProtocolError

U64 = st.integers(0, 2**64 - 1)
ARGS = st.lists(
    st.one_of(
        st.builds(BufferArg, U64.map(Handle), U64), st.builds(ScalarArg, st.binary(max_size=40))
    ),
    max_size=6,
).map(tuple)
SIZES = st.lists(U64, max_size=3).map(tuple)
FIELDS = {
    int: U64,
    str: st.text(max_size=30),
    bytes: st.binary(max_size=200),
    tuple[int, ...]: SIZES,
}


def any_records() -> st.SearchStrategy[records.Record]:
    kinds = []
    for kind in records.OPERATIONS.values():
        hints = wire.get_type_hints(kind)
        kinds.append(st.builds(kind, *(FIELDS.get(hints[name], ARGS) for name in kind._fields)))
    return st.one_of(kinds)


@given(U64, any_records())
def test_a_record_decodes_to_what_was_encoded(number: int, record: records.Record) -> None:
    data = wire.encode(number, record)
    assert len(data) % 8 == 0
    assert wire.record_length(data) == len(data)
    found = wire.decode(data)
    assert found == (number, record)
    assert type(found[1]) is type(record)


@given(U64, any_records(), st.data())
def test_a_changed_byte_is_refused_or_another_canonical_record(
    number: int, record: records.Record, draw: st.DataObject
) -> None:
    data = bytearray(wire.encode(number, record))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    try:
        found, other = wire.decode(bytes(data))
    except RemoteProtocolError:
        return
    assert wire.encode(found, other) == bytes(data)


@given(st.binary(max_size=300))
def test_garbage_is_refused_with_a_protocol_error(data: bytes) -> None:
    try:
        number, record = wire.decode(data)
    except RemoteProtocolError:
        return
    assert wire.encode(number, record) == data


@given(U64, any_records(), st.integers(1, 64))
def test_a_record_cut_short_is_refused(number: int, record: records.Record, missing: int) -> None:
    data = wire.encode(number, record)
    with pytest.raises(RemoteProtocolError):
        wire.decode(data[: max(0, len(data) - missing)])


@given(st.lists(st.tuples(U64, any_records()), max_size=8))
def test_codecs_that_remember_do_as_those_that_do_not(
    items: list[tuple[int, records.Record]],
) -> None:
    encoder, decoder = wire.Encoder(), wire.Decoder()
    for number, record in [*items, *items]:
        data = encoder.encode(number, record)
        assert data == wire.encode(number, record)
        assert decoder.decode(data) == wire.decode(data)


@given(st.binary(max_size=200), U64, any_records())
def test_a_decoder_that_remembers_refuses_what_one_that_does_not_refuses(
    tail: bytes, number: int, record: records.Record
) -> None:
    decoder = wire.Decoder()
    data = wire.encode(number, record)
    decoder.decode(data)
    for wrong in (data + tail, data[:16] + tail):
        try:
            expected = wire.decode(wrong)
        except RemoteProtocolError:
            with pytest.raises(RemoteProtocolError):
                decoder.decode(wrong)
        else:
            assert decoder.decode(wrong) == expected


def test_a_negative_number_is_the_caller_s_fault() -> None:
    with pytest.raises(LocalProtocolError, match="Free"):
        wire.encode(1, records.Free(-1))


def test_a_record_larger_than_a_server_takes_is_the_caller_s_fault() -> None:
    with pytest.raises(LocalProtocolError, match="at most"):
        wire.encode(1, records.WriteInline(1, 0, bytes(wire.MAX_RECORD_BYTES)))


def test_a_record_that_states_an_impossible_length_is_refused() -> None:
    for length in (0, 8, 20, wire.MAX_RECORD_BYTES + 8):
        head = struct.pack("<IHHQ", length, 2, 0, 1)
        with pytest.raises(RemoteProtocolError, match="record of"):
            wire.record_length(head)


def test_every_operation_number_is_among_those_of_its_kind() -> None:
    for operation, kind in records.OPERATIONS.items():
        assert isinstance(operation, int)
        kinds = (records.Command, records.Call, records.Reply, records.Description)
        firsts = (0, records.FIRST_CALL, records.FIRST_REPLY, records.FIRST_DESCRIPTION)
        place = sum(operation >= first for first in firsts) - 1
        assert kind in kinds[place].__args__
