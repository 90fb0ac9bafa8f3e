"""Recurrent state as a value: plain arrays, and a form as bytes that says whose they are.

File: magic, format version (u32), length of the header (u64), then a JSON header, the arrays one
after another as little-endian float32, and the BLAKE2b-256 of all before. No pickle. `from_bytes`
trusts nothing: a digest keeps accidents out, and every field is checked for its type and range.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np

from hal.errors import StateError
from hal.serving.seam import Floats, Runner

MAGIC: Final = b"HALTSTAT"
FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 2**28  # of a whole file: far above any recurrent state
_HEAD = struct.Struct("<8sIQ")
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class State:
    """What a session remembers after `calls` inferences.

    model, digest  which model it is of: its name, for people; its weights' digest
    kind           where it was made: on devices of this kind a session goes on bit for bit
    arrays         float32, by name of the state; read-only, for sessions share them
    """

    model: str
    digest: str
    kind: str
    calls: int
    arrays: Mapping[str, Floats] = field(repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.arrays, Mapping):  # anything else is refused where it is used
            kept = {name: _read_only(array) for name, array in self.arrays.items()}
            object.__setattr__(self, "arrays", kept)

    def to_bytes(self) -> bytes:
        arrays = {name: np.asarray(array, "<f4") for name, array in self.arrays.items()}
        header = {
            "model": self.model,
            "digest": self.digest,
            "kind": self.kind,
            "calls": self.calls,
            "arrays": [[name, list(array.shape)] for name, array in arrays.items()],
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        head = _HEAD.pack(MAGIC, FORMAT_VERSION, len(text))
        body = head + text + b"".join(array.tobytes() for array in arrays.values())
        return body + _digest(body)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> State:
        """Raises StateError."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise StateError(
                f"a recurrent state is read from bytes, not from {type(data).__name__}"
            )
        text, content = _parts(bytes(data))
        try:
            return _state(json.loads(text), content)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StateError(f"the recurrent state's header is damaged: {error!r}") from error


def _read_only(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def check_state(runner: Runner, state: State) -> None:
    """Raises StateError, naming what differs, unless the state is one of the runner's model."""
    if state.digest != runner.digest:
        raise StateError(
            f"this state is of model {state.model!r} (weights {state.digest[:12]}), given to "
            f"{runner.name!r} (weights {runner.digest[:12]}): serve the model it was taken from"
        )
    check_arrays(runner, state.arrays)


def check_arrays(runner: Runner, arrays: Mapping[str, Any]) -> dict[str, Floats]:
    """The arrays as float32. Raises StateError unless they are the states of the runner's model."""
    if not isinstance(arrays, Mapping):
        raise StateError(
            f"a session begins with a State or a mapping of arrays, not with "
            f"{type(arrays).__name__}; of bytes, State.from_bytes makes one"
        )
    wanted = {spec.name: spec.initial.shape for spec in runner.states}
    if set(arrays) != set(wanted):
        names = ", ".join(sorted(map(str, arrays))) or "none"
        raise StateError(
            f"states {names} given to {runner.name!r}, which has {', '.join(wanted) or 'none'}"
        )
    found: dict[str, Floats] = {}
    for name, shape in wanted.items():
        if arrays[name] is None or np.iscomplexobj(arrays[name]):
            raise StateError(f"state {name!r} is no array of real numbers")
        try:
            array = np.array(arrays[name], np.float32)
        except (ValueError, TypeError) as error:
            raise StateError(f"state {name!r} is no array of numbers: {error}") from error
        if array.shape != shape:
            raise StateError(
                f"state {name!r} of {runner.name!r} has shape {list(shape)}; the one given has "
                f"{list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise StateError(f"state {name!r} holds NaN or infinite elements")
        found[name] = array
    return found


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """Header and arrays."""
    if not data.startswith(MAGIC) or len(data) < _HEAD.size + _DIGEST_BYTES:
        raise StateError(f"{len(data)} bytes that are no recurrent state, or cut off")
    if len(data) > MAX_BYTES:
        raise StateError(f"a recurrent state of {len(data)} bytes; at most {MAX_BYTES} are read")
    _, version, length = _HEAD.unpack_from(data)
    if version != FORMAT_VERSION:
        raise StateError(
            f"recurrent state of format {version}; this haltere reads {FORMAT_VERSION}"
        )
    if _digest(data[:-_DIGEST_BYTES]) != data[-_DIGEST_BYTES:]:
        raise StateError("the recurrent state's digest does not match: it is damaged")
    start = _HEAD.size + length
    if start > len(data) - _DIGEST_BYTES:
        raise StateError(f"the recurrent state claims a header of {length} bytes")
    return data[_HEAD.size : start], data[start:-_DIGEST_BYTES]


def _state(header: dict[str, Any], content: bytes) -> State:
    arrays: dict[str, Floats] = {}
    at = 0
    for name, dims in header.pop("arrays"):
        shape = tuple(_count(dim) for dim in dims)
        end = at + 4 * prod(shape)
        if end > len(content):
            raise ValueError(f"state {name!r} of shape {list(shape)} is longer than the file")
        arrays[_text(name)] = np.frombuffer(content[at:end], "<f4").reshape(shape)
        at = end
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes behind the last state")
    calls = _count(header.pop("calls"))
    model, digest, kind = (_text(header.pop(key)) for key in ("model", "digest", "kind"))
    if header:
        raise ValueError(f"unknown fields {sorted(header)}")
    return State(model, digest, kind, calls, arrays)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value
