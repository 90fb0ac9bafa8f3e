"""Devices by URI; a backend that is absent and one that is broken are told apart."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import hal
from hal import registry
from hal.errors import DeviceLost, OverlayRejected, Unsupported, UsageError

Announce = Callable[..., None]


@pytest.fixture
def announce(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Announce:
    """Make the registry see exactly these backends: name to the source of a module, or to the
    "module:object" of a real one."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(registry.DEVICE_VARIABLE, raising=False)
    made: list[str] = []

    def set_up(*pairs: tuple[str, str]) -> None:
        entries = []
        for index, (name, text) in enumerate(pairs):
            if ":" in text and "\n" not in text:
                entries.append(EntryPoint(name, text, registry.GROUP))
                continue
            module = f"announced_{tmp_path.name.replace('-', '_')}_{index}"
            (tmp_path / f"{module}.py").write_text(text)
            made.append(module)
            entries.append(EntryPoint(name, f"{module}:backend", registry.GROUP))
        monkeypatch.setattr(registry, "entry_points", lambda group: entries)

    yield set_up
    for module in made:
        sys.modules.pop(module, None)


CPU, NOOP = ("cpu", "hal.backends.cpu:backend"), ("noop", "hal.backends.noop:backend")


ADVISING = """
class Card:
    name = "card"
    def probe(self): return ()
    def advice(self): return "plug one in"
backend = Card()
"""


def test_the_shipped_backends_are_found() -> None:
    uris = {info.uri for info in hal.list_devices()}
    assert {"cpu:0", "cpu:1", "noop:0", "noop:1"} <= uris


def test_a_device_is_opened_by_its_uri(announce: Announce) -> None:
    announce(CPU, NOOP)
    with hal.open_device("cpu:1") as device:
        assert device.info.uri == "cpu:1"


@pytest.mark.parametrize("uri", ["", "cpu", "cpu:", ":0"])
def test_what_is_no_uri_is_refused(announce: Announce, uri: str) -> None:
    announce(CPU)
    with pytest.raises(UsageError, match="kind:index"):
        hal.open_device(uri)


@pytest.mark.parametrize("uri", ["tpu:0", "cpu:7", "cpu:x"])
def test_a_device_that_is_not_there_is_lost_and_the_present_are_named(
    announce: Announce, uri: str
) -> None:
    announce(CPU)
    with pytest.raises(DeviceLost, match="cpu"):
        hal.open_device(uri)


def test_a_backend_may_say_what_to_do_for_a_device_that_is_not_there(announce: Announce) -> None:
    announce(CPU, ("card", ADVISING))
    with pytest.raises(DeviceLost, match="there are: none; plug one in"):
        hal.open_device("card:0")
    assert registry.absent_backends()[0].reason == "no device found; plug one in"


def test_a_backend_without_its_library_is_absent_with_the_reason(announce: Announce) -> None:
    announce(CPU, ("card", "import a_library_nobody_has\nbackend = None\n"))
    assert [info.kind for info in hal.list_devices()] == ["cpu", "cpu"]
    (absent,) = registry.absent_backends()
    assert (absent.name, "a_library_nobody_has" in absent.reason) == ("card", True)
    with pytest.raises(DeviceLost, match="a_library_nobody_has"):
        hal.open_device("card:0")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import hal.no_such_module\nbackend = None\n", ModuleNotFoundError),
        ("from hal.types import NoSuchName\nbackend = None\n", ImportError),
        ("1 / 0\nbackend = None\n", ZeroDivisionError),
        ("something = 1\nother = 2\n", AttributeError),
    ],
)
def test_a_broken_backend_is_not_taken_for_an_absent_one(
    announce: Announce, source: str, error: type[Exception]
) -> None:
    announce(CPU, ("card", source))
    with pytest.raises(error):
        hal.list_devices()


def test_a_broken_backend_does_not_stand_in_another_ones_way(announce: Announce) -> None:
    announce(CPU, ("card", "1 / 0\nbackend = None\n"))
    hal.open_device("cpu:0").close()


def test_two_backends_of_one_name_are_refused(announce: Announce) -> None:
    announce(CPU, CPU)
    with pytest.raises(UsageError, match="twice"):
        hal.list_devices()


def test_the_default_device_computes(announce: Announce) -> None:
    announce(NOOP, CPU)
    assert registry.default_device().uri == "cpu:0"
    announce(NOOP)
    with pytest.raises(DeviceLost):
        registry.default_device()


def test_the_default_device_is_the_preferred_one(announce: Announce) -> None:
    fast = (
        "from hal.backends.cpu.backend import CpuBackend\n"
        "from dataclasses import replace\n"
        "class Fast(CpuBackend):\n"
        "    preference = 1\n"
        "    def probe(self):\n"
        "        return [replace(info, uri='fast:0') for info in super().probe()[:1]]\n"
        "backend = Fast()\n"
    )
    announce(CPU, ("fast", fast))
    assert registry.default_device().uri == "fast:0"


def test_the_environment_names_the_default_device(
    announce: Announce, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(CPU, NOOP)
    monkeypatch.setenv(registry.DEVICE_VARIABLE, "cpu:1")
    assert registry.default_device().uri == "cpu:1"
    monkeypatch.setenv(registry.DEVICE_VARIABLE, "cpu:9")
    with pytest.raises(DeviceLost):
        registry.default_device()


def test_a_device_whose_overlay_is_refused_is_closed(announce: Announce) -> None:
    source = (
        "import hal.backends.cpu.driver as d\n"
        "from dataclasses import replace\n"
        "from hal.backends.cpu.backend import CpuBackend\n"
        "from hal.errors import OverlayRejected\n"
        "closed = []\n"
        "class Driver(d.CpuDriver):\n"
        "    def configure(self, overlay):\n"
        "        raise OverlayRejected('for another part')\n"
        "    def close(self):\n"
        "        closed.append(self.info.uri)\n"
        "class Fabric(CpuBackend):\n"
        "    def probe(self):\n"
        "        info = super().probe()[0]\n"
        "        return [replace(info, uri='card:0', caps=replace(info.caps, configurable=True))]\n"
        "    def open(self, info):\n"
        "        return Driver(info)\n"
        "backend = Fabric()\n"
    )
    announce(CPU, ("card", source))
    overlay = hal.Overlay("00", b"{}", {})
    with pytest.raises(OverlayRejected):
        hal.open_device("card:0", overlay)
    module = next(name for name in sys.modules if name.startswith("announced_"))
    assert sys.modules[module].closed == ["card:0"]
    with pytest.raises(Unsupported):
        hal.open_device("cpu:0", overlay)
