"""Backends by entry point, devices by URI: `"opencl:0"` to an open device.

Backends announce themselves in the entry point group `hal.backends`; this module names none of
them. Two cases must not be confused when a backend's module cannot be imported: a library from an
extra is missing (the backend is *absent*, with the reason), or the backend is broken (its own
exception goes to the caller). Each call looks again: devices and servers come and go.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from hal.context import Device
from hal.driver import Backend
from hal.errors import DeviceLost, UsageError
from hal.types import DeviceInfo, Overlay, SelfTest

GROUP = "hal.backends"
DEVICE_VARIABLE = "HALTERE_DEVICE"  # names the default device


@dataclass(frozen=True, slots=True)
class Absent:
    """A backend that offers nothing here, and why."""

    name: str
    reason: str


def list_devices() -> tuple[DeviceInfo, ...]:
    """Every device of every backend, in the order of backend name, then index."""
    return tuple(info for backend in _present() for info in backend.probe())


def absent_backends() -> tuple[Absent, ...]:
    """The backends that offer no device here, each with the reason."""
    absent = []
    for entry in _entries():
        found = _load(entry)
        if isinstance(found, Absent):
            absent.append(found)
        elif not found.probe():
            absent.append(Absent(entry.name, f"no device found{_advice(found)}"))
    return tuple(absent)


def open_device(uri: str, overlay: Overlay | None = None) -> Device:
    """The device named `uri`, configured with `overlay` if one is given. Raises DeviceLost."""
    backend, info = _find(uri)
    device = Device(backend.open(info))
    if overlay is not None:
        try:
            device.configure(overlay)
        except BaseException:
            device.close()
            raise
    return device


def self_tests(uri: str) -> Sequence[SelfTest]:
    """The known-answer programs of the device named `uri`. Raises DeviceLost."""
    backend, info = _find(uri)
    return backend.self_tests(info)


def default_device() -> DeviceInfo:
    """What a program that names no device gets: the one in HALTERE_DEVICE, else the best device
    that computes and needs no overlay first. Never one that only pretends. Raises DeviceLost."""
    uri = os.environ.get(DEVICE_VARIABLE)
    if uri:
        return _find(uri)[1]
    ready = [
        (_preference(backend), info)
        for backend in _present()
        for info in backend.probe()
        if info.caps.computes and not info.caps.configurable
    ]
    if not ready:
        raise DeviceLost(f"no default device: none computes; {_absences() or 'no backend found'}")
    return max(ready, key=lambda pair: pair[0])[1]  # the first among equals


def _find(uri: str) -> tuple[Backend, DeviceInfo]:
    """The backend and present device that `uri` names. Loads no other backend."""
    kind, colon, index = uri.partition(":") if isinstance(uri, str) else ("", "", "")
    if not (kind and colon and index):
        raise UsageError(f"device {uri!r}: a URI is kind:index, e.g. cpu:0")
    by_name = {entry.name: entry for entry in _entries()}
    if kind not in by_name:
        raise DeviceLost(f"device {uri!r}: no backend {kind!r}; there are {', '.join(by_name)}")
    backend = _load(by_name[kind])
    if isinstance(backend, Absent):
        raise DeviceLost(f"device {uri!r}: {backend.reason}")
    infos = backend.probe()
    for info in infos:
        if info.uri == uri:
            return backend, info
    present = ", ".join(info.uri for info in infos) or "none"
    raise DeviceLost(
        f"device {uri!r} is not present; of that kind there are: {present}{_advice(backend)}"
    )


def _entries() -> list[EntryPoint]:
    entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    for one, other in itertools.pairwise(entries):
        if one.name == other.name:
            raise UsageError(
                f"backend {one.name!r} is announced twice, by {one.value} and {other.value}: "
                "uninstall one"
            )
    return entries


def _present() -> Iterator[Backend]:
    for entry in _entries():
        backend = _load(entry)
        if not isinstance(backend, Absent):
            yield backend


def _load(entry: EntryPoint) -> Backend | Absent:
    """The backend object. A module missing from our own tree is a bug and is not caught."""
    try:
        return cast(Backend, entry.load())
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        own = entry.module.partition(".")[0]
        if missing in ("", own, __name__.partition(".")[0]):
            raise
        return Absent(
            entry.name,
            f"backend {entry.name!r} needs the module {missing!r}: install the extra that brings "
            "it, e.g. pip install 'haltere[all]'",
        )


def _preference(backend: Backend) -> int:
    """Optional attribute `preference` of a backend: higher is chosen first by default_device."""
    return int(getattr(backend, "preference", 0))


def _advice(backend: Backend) -> str:
    """Optional method `advice` of a backend: what to do for a device that is not there."""
    tell = getattr(backend, "advice", None)
    return f"; {tell()}" if tell else ""


def _absences() -> str:
    return "; ".join(absent.reason for absent in absent_backends())
