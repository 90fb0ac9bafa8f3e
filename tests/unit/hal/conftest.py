"""Runs pytest inside a test, with the plugin, on the builds that this user's cache has already."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

from rtl_sim.cache import CACHE_VARIABLE, cache_root

CACHE = str(cache_root())  # before pytester gives the process another home
RunPytest = Callable[..., pytest.RunResult]


@pytest.fixture
def plugin_arguments() -> tuple[str, ...]:
    """None where pytest finds the plugin itself, by its entry point."""
    known = "haltere" in entry_points(group="pytest11").names
    return () if known else ("-p", "hal.testing.plugin")


@pytest.fixture
def run_pytest(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, plugin_arguments: tuple[str, ...]
) -> RunPytest:
    monkeypatch.setenv(CACHE_VARIABLE, CACHE)

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*plugin_arguments, "--assert=plain", *arguments)

    return run
