"""One suite for every device that the registry finds, in this process and behind its proxy.

A *target* is a device, with each overlay that its self tests name, direct or proxied. A test takes
`device` (opened and configured) or `context`, and knows nothing of backends: it skips by `Caps`
alone. `--device URI` (may be repeated; proxied ones as proxy:URI) narrows the run.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hal import Caps, Context, Device, DeviceInfo, Overlay, SelfTest, list_devices, open_device
from hal.registry import GROUP, self_tests

if TYPE_CHECKING:
    from proxy.launcher import ServerProcess

PROXY = "proxy"
NATIVE = ("opencl",)  # kinds of device that servers serve by the native engine; others by Python


@dataclass(frozen=True)
class Target:
    info: DeviceInfo  # of the device itself, also when it is reached through its proxy
    proxied: bool
    overlay: Overlay | None
    tests: tuple[SelfTest, ...]
    core: str | None = None  # of its server, where there is another than the usual one

    @property
    def name(self) -> str:
        uri = f"{PROXY}:{self.info.uri}" if self.proxied else self.info.uri
        if self.core is not None:
            uri = f"{uri}.{self.core}"
        if self.overlay is None:
            return uri
        return f"{uri}+{json.loads(self.overlay.manifest)['name']}"

    @property
    def caps(self) -> Caps:
        return self.info.caps


class Proxies:
    """One server process per device, started when the first test asks for it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._servers: dict[str, ServerProcess] = {}

    def connect(self, uri: str, core: str | None) -> Device:
        from proxy.client import connect
        from proxy.launcher import spawn

        name = uri if core is None else f"{core}.{uri}"
        if name not in self._servers:
            self._servers[name] = spawn(uri, self._root, name, tied=True, core=core)
        return connect(name, root=self._root)

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()


class Opener:
    """Opens targets, each as often as a test likes."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def open(self, target: Target) -> Device:
        if not target.proxied:
            return open_device(target.info.uri, target.overlay)
        device = self._proxies.connect(target.info.uri, target.core)
        if target.overlay is not None:
            device.configure(target.overlay)
        return device

    def bare(self, target: Target) -> Device:
        """Without its overlay."""
        return self.open(replace(target, overlay=None))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        action="append",
        default=[],
        metavar="URI",
        help="conformance: only this device, e.g. opencl:0 or proxy:opencl:0; repeatable",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xdist_group: pytest-xdist's, known also without it")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        targets = _targets(metafunc.config)
        repeats = () if metafunc.config.getoption("device", default=[]) else _repeats(targets)
        metafunc.parametrize(
            "target",
            [
                pytest.param(
                    target,
                    id=target.name,
                    # one worker of a parallel run per device and way, so that it starts one server
                    marks=[
                        pytest.mark.xdist_group(target.name.partition("+")[0]),
                        *([pytest.mark.slow] if target in repeats else []),
                    ],
                )
                for target in targets
            ],
        )


_FOUND = pytest.StashKey[list[Target]]()


def _targets(config: pytest.Config) -> list[Target]:
    if _FOUND not in config.stash:
        config.stash[_FOUND] = _find(config.getoption("device", default=[]))
    return config.stash[_FOUND]


def _find(wanted: Sequence[str]) -> list[Target]:
    infos = [info for info in list_devices() if not info.uri.startswith(f"{PROXY}:")]
    ways = [False, True] if PROXY in entry_points(group=GROUP).names else [False]
    known = [f"{PROXY}:{info.uri}" if way else info.uri for info in infos for way in ways]
    missing = [uri for uri in wanted if uri not in known]
    if missing:
        raise pytest.UsageError(f"--device {missing[0]}: not found; there are {', '.join(known)}")
    targets = []
    for info in infos:
        if wanted and not {info.uri, f"{PROXY}:{info.uri}"} & set(wanted):
            continue
        for way in ways:
            uri = f"{PROXY}:{info.uri}" if way else info.uri
            if not wanted or uri in wanted:
                found = _with_overlays(info, way)
                targets += found
                if way and info.kind in NATIVE:
                    targets += [replace(target, core="python") for target in found]
    return targets


def _repeats(targets: Sequence[Target]) -> list[Target]:
    """Targets like an earlier one in all but their number, or the size of their overlay: the
    everyday run leaves them out, where the former serve as the place that jobs are moved to;
    `--slow` runs the suite on them as well."""
    seen = set()
    repeats = []
    for target in targets:
        top = json.loads(target.overlay.manifest)["top"] if target.overlay else ""
        key = (target.info.kind, target.info.part, target.proxied, target.core, top)
        if key in seen:
            repeats.append(target)
        seen.add(key)
    return repeats


def _with_overlays(info: DeviceInfo, proxied: bool) -> list[Target]:
    groups: dict[str, list[SelfTest]] = {}
    for test in self_tests(info.uri):
        groups.setdefault(test.overlay.digest if test.overlay else "", []).append(test)
    if not groups:
        groups[""] = []
    return [
        Target(info, proxied, tests[0].overlay if tests else None, tuple(tests))
        for tests in groups.values()
    ]


@pytest.fixture(scope="session")
def proxies() -> Iterator[Proxies]:
    memory = Path("/dev/shm")  # short paths, and where servers live in earnest
    root = Path(tempfile.mkdtemp(prefix="haltere-", dir=memory if memory.is_dir() else None))
    found = Proxies(root)
    try:
        yield found
    finally:
        found.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def opener(proxies: Proxies) -> Opener:
    return Opener(proxies)


@pytest.fixture
def device(target: Target, opener: Opener) -> Iterator[Device]:
    with opener.open(target) as opened:
        yield opened


@pytest.fixture
def context(device: Device) -> Iterator[Context]:
    with device.open_context() as opened:
        yield opened


@pytest.fixture
def elsewhere(target: Target, request: pytest.FixtureRequest) -> Target:
    """Another device of the same part, reached the same way; this one again if it is alone."""
    for info in list_devices():
        alike = info.part == target.info.part and info.kind == target.info.kind
        if alike and info.uri != target.info.uri:
            return replace(target, info=info)
    return target
