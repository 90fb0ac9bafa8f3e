"""Every family of exceptions has the shape that hal/errors.py describes."""

from __future__ import annotations

import importlib
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hal", "bitstreams", "rtl_sim", "compiler", "proxy", "scheduler", "service")
DISPOSITIONS = {"caller", "retry", "migrate", "fatal"}
MESSAGE = "asked for 5 of x; found 3; free some"


def modules() -> list[str]:
    paths = (path for name in PACKAGES for path in sorted((ROOT / name).rglob("errors.py")))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]


def families() -> list[type[Exception]]:
    found = {
        member
        for name in modules()
        for member in vars(importlib.import_module(name)).values()
        if inspect.isclass(member) and issubclass(member, Exception) and member.__module__ == name
    }
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


def example(cls: type[Exception]) -> Exception:
    """One instance; classes that take more than a message are made as their users make them."""
    special: dict[str, Callable[[], Exception]] = {
        "CaptureRefused": _capture_refused,
        "UnsupportedOp": _unsupported_op,
        "DoesNotFit": lambda: cls("bytes of memory", 20, 10, "npu:nano"),
    }
    return special[cls.__name__]() if cls.__name__ in special else cls(MESSAGE)


def _capture_refused() -> Exception:
    from rtl_sim.capture.errors import CaptureRefused, Refusal

    return CaptureRefused("top", [Refusal("latch", "top.q", "top.sv:3")])


def _unsupported_op() -> Exception:
    from compiler.errors import Refusal, UnsupportedOp

    return UnsupportedOp([Refusal("Conv", 13, "conv_1", "no convolution")])


def identity(cls: type[Exception]) -> str:
    return f"{cls.__module__}.{cls.__name__}"


def test_the_families_are_found() -> None:
    roots = {cls.__name__ for cls in families() if cls.__bases__ == (Exception,)}
    assert {"HalError", "BundleError", "ProxyError", "SchedulerError", "CompileError"} <= roots


@pytest.mark.parametrize("cls", families(), ids=identity)
def test_an_exception_says_who_must_act(cls: type[Exception]) -> None:
    assert cls.disposition in DISPOSITIONS
    assert isinstance(cls.code, str)
    assert cls.code == cls.code.lower().strip()


@pytest.mark.parametrize("cls", families(), ids=identity)
def test_an_exception_survives_pickling(cls: type[Exception]) -> None:
    error = example(cls)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error) != ""
    assert vars(again) == vars(error)


def test_codes_are_unique_within_a_family() -> None:
    seen: dict[tuple[str, str], str] = {}
    for cls in families():
        key = (cls.__module__, cls.code)
        assert key not in seen, f"{identity(cls)} and {seen[key]} share code {cls.code!r}"
        seen[key] = cls.__name__
