"""The hal backend "proxy": every server that runs under the default root is a device."""

from __future__ import annotations

from collections.abc import Sequence

from hal.driver import Driver
from hal.errors import DeviceLost
from hal.types import DeviceInfo, SelfTest
from proxy.info import PREFIX, running_servers
from proxy.paths import default_root

__all__ = ["ProxyBackend", "backend"]


class ProxyBackend:
    name = "proxy"
    preference = -1  # the device itself is nearer; a worker that should use a server is told so

    def probe(self) -> Sequence[DeviceInfo]:
        return [info.proxied(paths.name) for paths, info in running_servers(default_root())]

    def advice(self) -> str:
        return f"`haltere proxy DEVICE` starts one; looked for under {default_root()}"

    def open(self, info: DeviceInfo) -> Driver:
        import os

        from proxy.client import ProxyDriver
        from proxy.paths import SESSION_VARIABLE

        for paths, found in running_servers(default_root()):
            if found.proxied(paths.name) == info:
                return ProxyDriver(info, paths, os.environ.get(SESSION_VARIABLE) or None)
        raise DeviceLost(f"the server of {info.uri} does not run any more")

    def self_tests(self, info: DeviceInfo) -> Sequence[SelfTest]:
        """Those of the device behind: programs do not change by being sent."""
        from hal.registry import self_tests

        for paths, found in running_servers(default_root()):
            if paths.name == info.uri.removeprefix(PREFIX):
                return self_tests(found.device.uri)
        raise DeviceLost(f"the server of {info.uri} does not run any more")


backend = ProxyBackend()
