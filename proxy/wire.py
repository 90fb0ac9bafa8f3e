"""The bytes of records: the codec is derived from the field types of the table in `records`.

Bytes of a record, little-endian, all of it 8-byte aligned:

    u32 length of the whole record, u16 operation, u16 zero, u64 record number
    every int field, as u64, in the order of the table
    every other field in that order: u64 length or count, then the contents, padded with zeros

An argument is a u64 tag and its contents: 1 buffer (u64 handle, u64 offset; handle 0: NULL),
2 | size << 32 scalar (its bytes, padded), 3 local memory (u64 size), 4 object (u64 handle).

There is one encoding of a value: whatever decodes encodes to the same bytes. Decoding trusts
nothing: it raises RemoteProtocolError and reads no byte outside the record. It checks form only;
what the numbers mean is checked by who uses them.
"""

from __future__ import annotations

import struct
from typing import get_type_hints

from hal.types import BufferArg, Handle, ScalarArg
from proxy.errors import LocalProtocolError, RemoteProtocolError
from proxy.records import OPERATIONS, AnyArg, Launch, LocalArg, ObjectArg, Record

MAX_RECORD_BYTES = 64 << 10  # what a server must be ready to hold of one record
INLINE_BYTES = 2 << 10  # writes up to this size ride in the ring
MAX_ARGS = 1024
MAX_DIMENSIONS = 3
KNOWN_LIMIT = 256  # launches remembered; training loops have tens


HEADER = struct.Struct("<IHHQ")
_U64 = struct.Struct("<Q")
_BUFFER_ARG, _SCALAR_ARG, _LOCAL_ARG, _OBJECT_ARG = 1, 2, 3, 4
_ARG_BUFFER = struct.Struct("<QQQ")
_ARG_WORD = struct.Struct("<QQ")
_ARG_SCALAR = struct.Struct("<II")


class _Codec:
    """The layout of one operation, derived from its class."""

    def __init__(self, operation: int, kind: type[Record]) -> None:
        self.operation = operation
        self.kind = kind
        hints = get_type_hints(kind)
        self.names = kind._fields
        self.fixed = tuple(i for i, name in enumerate(self.names) if hints[name] is int)
        self.loose = tuple(
            (i, hints[name]) for i, name in enumerate(self.names) if hints[name] is not int
        )
        self.head = struct.Struct(f"<IHHQ{len(self.fixed)}Q")


_BY_OPERATION = {operation: _Codec(operation, kind) for operation, kind in OPERATIONS.items()}
_LAUNCH = next(codec for codec in _BY_OPERATION.values() if codec.kind is Launch)
_BY_KIND = {codec.kind: codec for codec in _BY_OPERATION.values()}


def encode(number: int, record: Record) -> bytes:
    """The bytes of `record`. Raises LocalProtocolError for one that no server would take."""
    codec = _BY_KIND[type(record)]
    try:
        if not codec.loose:
            return codec.head.pack(codec.head.size, codec.operation, 0, number, *record)
        tail = b"".join(_encode_field(kind, record[i]) for i, kind in codec.loose)
        length = codec.head.size + len(tail)
        fixed = (record[i] for i in codec.fixed)
        head = codec.head.pack(length, codec.operation, 0, number, *fixed)
    except struct.error as error:
        raise LocalProtocolError(
            f"{codec.kind.__name__}: a number is not 0 to 2^64-1: {error}"
        ) from error
    if length > MAX_RECORD_BYTES:
        raise LocalProtocolError(
            f"{codec.kind.__name__} of {length} bytes: a record holds at most {MAX_RECORD_BYTES}; "
            "pass large values through buffers"
        )
    return head + tail


def record_length(data: bytes | memoryview, at: int = 0) -> int | None:
    """The length of the record that begins at `at`, None while its first bytes are missing."""
    if len(data) - at < HEADER.size:
        return None
    length: int = HEADER.unpack_from(data, at)[0]
    if length < HEADER.size or length > MAX_RECORD_BYTES or length % 8:
        raise RemoteProtocolError(
            f"record of {length} bytes: expected {HEADER.size} to {MAX_RECORD_BYTES}, a multiple "
            "of 8"
        )
    return length


def decode(data: bytes) -> tuple[int, Record]:
    """Record number and record of exactly these bytes. Raises RemoteProtocolError."""
    if record_length(data) != len(data):
        raise RemoteProtocolError(f"record of {len(data)} bytes does not state its own length")
    operation, zero = HEADER.unpack_from(data)[1:3]
    codec = _BY_OPERATION.get(operation)
    if codec is None or zero or len(data) < codec.head.size:
        raise RemoteProtocolError(
            f"record of operation {operation}, flags {zero}, {len(data)} bytes: not in the table"
        )
    _length, _operation, _zero, number, *fixed = codec.head.unpack_from(data)
    at = codec.head.size
    if not codec.loose:
        if at != len(data):
            raise RemoteProtocolError(f"{codec.kind.__name__}: {len(data) - at} bytes too many")
        return number, codec.kind(*fixed)
    values: list[object] = [None] * len(codec.names)
    for i, value in zip(codec.fixed, fixed, strict=True):
        values[i] = value
    for i, kind in codec.loose:
        values[i], at = _decode_field(kind, data, at)
    if at != len(data):
        raise RemoteProtocolError(f"{codec.kind.__name__}: {len(data) - at} bytes too many")
    return number, codec.kind(*values)  # type: ignore[arg-type]  # by the table


class Encoder:
    """`encode` with a memory: a program launches the same few things again and again."""

    def __init__(self) -> None:
        self._known: dict[Launch, bytes] = {}

    def encode(self, number: int, record: Record) -> bytes:
        if type(record) is not Launch:
            return encode(number, record)
        try:
            known = self._known.get(record)
        except TypeError:  # an argument of a kind that cannot be a key, e.g. a bytearray
            return encode(number, record)
        if known is None:
            data = encode(number, record)
            if len(self._known) >= KNOWN_LIMIT:
                self._known.clear()
            self._known[record] = data[HEADER.size :]
            return data
        length = HEADER.size + len(known)
        return HEADER.pack(length, _LAUNCH.operation, 0, number) + known


class Decoder:
    """`decode` with a memory, of records by their bytes."""

    def __init__(self) -> None:
        self._known: dict[bytes, Record] = {}

    def decode(self, data: bytes) -> tuple[int, Record]:
        length, operation, zero, number = HEADER.unpack_from(data)
        if operation != _LAUNCH.operation or zero or length != len(data):
            return decode(data)
        body = data[HEADER.size :]
        known = self._known.get(body)
        if known is None:
            number, known = decode(data)
            if len(self._known) >= KNOWN_LIMIT:
                self._known.clear()
            self._known[body] = known
        return number, known


# ---- fields that are not ints


def _encode_field(kind: object, value: object) -> bytes:
    if kind is bytes:
        assert isinstance(value, bytes)
        return _U64.pack(len(value)) + _padded(value)
    if kind is str:
        assert isinstance(value, str)
        text = value.encode()
        return _U64.pack(len(text)) + _padded(text)
    assert isinstance(value, tuple)
    if kind == tuple[int, ...]:
        return struct.pack(f"<{len(value) + 1}Q", len(value), *value)
    return _U64.pack(len(value)) + b"".join(map(_encode_arg, value))


def _encode_arg(arg: AnyArg) -> bytes:
    if isinstance(arg, BufferArg):
        return _ARG_BUFFER.pack(_BUFFER_ARG, arg.buffer, arg.offset)
    if isinstance(arg, LocalArg):
        return _ARG_WORD.pack(_LOCAL_ARG, arg.nbytes)
    if isinstance(arg, ObjectArg):
        return _ARG_WORD.pack(_OBJECT_ARG, arg.handle)
    return _ARG_SCALAR.pack(_SCALAR_ARG, len(arg.data)) + _padded(arg.data)


def _decode_field(kind: object, data: bytes, at: int) -> tuple[object, int]:
    count, at = _word(data, at)
    if kind is bytes:
        return _chunk(data, at, count)
    if kind is str:
        raw, at = _chunk(data, at, count)
        try:
            return raw.decode(), at
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(f"text that is not UTF-8: {error}") from error
    if kind == tuple[int, ...]:
        if count > MAX_DIMENSIONS or len(data) - at < 8 * count:
            raise RemoteProtocolError(f"{count} dimensions in a record of {len(data)} bytes")
        return struct.unpack_from(f"<{count}Q", data, at), at + 8 * count
    if count > MAX_ARGS:
        raise RemoteProtocolError(f"{count} arguments: at most {MAX_ARGS}")
    args: list[AnyArg] = []
    for _ in range(count):
        arg, at = _decode_arg(data, at)
        args.append(arg)
    return tuple(args), at


def _decode_arg(data: bytes, at: int) -> tuple[AnyArg, int]:
    word, after = _word(data, at)
    if word == _BUFFER_ARG:
        handle, after = _word(data, after)
        offset, after = _word(data, after)
        return BufferArg(Handle(handle), offset), after
    if word in (_LOCAL_ARG, _OBJECT_ARG):
        value, after = _word(data, after)
        return (LocalArg(value) if word == _LOCAL_ARG else ObjectArg(value)), after
    tag, nbytes = word & 0xFFFFFFFF, word >> 32
    if tag != _SCALAR_ARG:
        raise RemoteProtocolError(f"argument with tag {tag}: no kind of argument")
    raw, after = _chunk(data, after, nbytes)
    return ScalarArg(raw), after


def _word(data: bytes, at: int) -> tuple[int, int]:
    if len(data) - at < 8:
        raise RemoteProtocolError(f"record ends at byte {len(data)}, in the middle of a field")
    return _U64.unpack_from(data, at)[0], at + 8


def _chunk(data: bytes, at: int, nbytes: int) -> tuple[bytes, int]:
    end = at + nbytes
    after = end + (-nbytes % 8)
    if after > len(data):
        raise RemoteProtocolError(f"field of {nbytes} bytes in a record of {len(data)}")
    if any(data[end:after]):
        raise RemoteProtocolError("padding that is not zero")
    return data[at:end], after


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 8)
