"""What decides, as plain JSON: in a journal's header, so that whoever replays it can make it again.

    {"policy": name, "settings": {...}, "params": {...}}

A policy's settings are what its constructor takes, which it keeps under the same names; so do
values of classes among them. Nothing else of a policy is looked at: the rest is what it learns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from inspect import Parameter, signature
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from scheduler.core.transitions import Params
from scheduler.errors import Infeasible, JournalDiverged
from scheduler.policies.named import name_of, named
from scheduler.policies.policy import Policy

About = dict[str, Any]
_SEVERAL = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def describe(policy: Policy, params: Params) -> About:
    """`params`: of the machine."""
    return {"policy": name_of(policy), "settings": _settings(policy), "params": asdict(params)}


def remake(about: About | str) -> tuple[Policy, Params]:
    """New ones, that have learnt nothing yet. Raises JournalDiverged if this version cannot."""
    try:
        if isinstance(about, str):
            raise ValueError(f"it says only {about!r}")
        policy = _build(named(about["policy"]), about["settings"])
        return policy, _build(Params, about["params"])
    except (Infeasible, AttributeError, KeyError, TypeError, ValueError) as error:
        raise JournalDiverged(
            f"what decided cannot be made again ({error}): replay with the version, and the "
            "policies, that wrote the journal"
        ) from error


def differences(was: Any, now: Any, where: str = "") -> Iterator[str]:
    """Where two descriptions differ, in words."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*was, *now)):
            yield from differences(was.get(key), now.get(key), f"{where} {key}".lstrip())
    elif was != now:
        yield f"{where} was {was!r} and is {now!r}".lstrip()


def _settings(value: object) -> dict[str, Any]:
    names = _arguments(type(value))
    return {name: _plain(getattr(value, name)) for name in names if hasattr(value, name)}


def _arguments(kind: Any) -> list[str]:
    try:
        parameters = signature(kind).parameters.values()
    except ValueError:  # one of Python's own that tells nothing
        return []
    return [found.name for found in parameters if found.kind not in _SEVERAL]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(each) for each in value]
    return _settings(value)


def _build(kind: Any, settings: dict[str, Any]) -> Any:
    known = _arguments(kind)
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise ValueError(f"{getattr(kind, '__name__', kind)} has no {', '.join(unknown)}")
    hints = get_type_hints(kind.__init__)
    return kind(**{name: _made(hints.get(name), value) for name, value in settings.items()})


def _made(hint: Any, value: Any) -> Any:
    if value is None or not isinstance(value, dict | list):
        return value
    if get_origin(hint) in (Union, UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return _made(options[0], value)
    if isinstance(value, list):
        args = get_args(hint)
        return tuple(_made(args[0] if args else None, each) for each in value)
    is_class = isinstance(hint, type) and not issubclass(hint, Mapping)
    return _build(hint, value) if is_class else value
