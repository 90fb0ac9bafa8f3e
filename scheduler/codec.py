"""Events and commands as plain JSON values and back: {"type": name, field: value, ...}.

Built from the dataclasses themselves, so a new field is one edit. Reading checks: an unknown
type, a missing or unknown field is a ValueError, never a guess. A field with a default may be
missing, which is how an older journal is read by a newer version.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, get_args, get_type_hints

from scheduler.core import commands, events
from scheduler.core.values import JobSpec, Needs, Slice

JsonValue = Any  # what json.loads returns; checked field by field below

_NESTED: tuple[type, ...] = (JobSpec, Needs, Slice)


@cache
def _types() -> dict[str, type]:
    unions = (*get_args(events.Event), *get_args(commands.Command))
    return {kind.__name__: kind for kind in unions}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def to_json(value: events.Event | commands.Command) -> dict[str, JsonValue]:
    return {"type": type(value).__name__, **_fields_to_json(value)}


def _fields_to_json(value: Any) -> dict[str, JsonValue]:
    return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}


def _plain(value: Any) -> JsonValue:
    if is_dataclass(value):
        return _fields_to_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    return value


def from_json(raw: JsonValue) -> Any:
    """The event or command. Raises ValueError."""
    if not isinstance(raw, dict) or raw.get("type") not in _types():
        raise ValueError(f"not an event or command: {str(raw)[:200]}")
    body = {key: value for key, value in raw.items() if key != "type"}
    return _build(_types()[raw["type"]], body)


def _build(kind: type, body: dict[str, JsonValue]) -> Any:
    known = {item.name: item for item in fields(kind)}
    unknown = sorted(body.keys() - known.keys())
    missing = [
        name
        for name, item in known.items()
        if name not in body and item.default is MISSING and item.default_factory is MISSING
    ]
    if unknown or missing:
        raise ValueError(f"{kind.__name__}: unknown fields {unknown}, missing fields {missing}")
    hints = _hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in body.items()})


def _value(hint: Any, value: JsonValue) -> Any:
    if hint in _NESTED:
        if not isinstance(value, dict):
            raise ValueError(f"{hint.__name__} must be an object, not {value!r}")
        return _build(hint, value)
    if isinstance(value, dict):
        return _build(next(kind for kind in get_args(hint) if kind in _NESTED), value)
    if isinstance(value, list):
        args = get_args(hint)
        inner = args[0] if args else None
        if inner in _NESTED:
            return tuple(_value(inner, item) for item in value)
        return tuple(tuple(item) if isinstance(item, list) else item for item in value)
    simple = (hint,) if isinstance(hint, type) else get_args(hint)
    wanted = tuple(kind for kind in simple if kind in (int, str, bool, float))
    if wanted and value is not None and type(value) not in wanted:
        raise ValueError(f"{value!r} where {hint} belongs")
    return value
