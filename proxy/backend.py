"""The hal backend "proxy": every server that runs under the default root is a device."""

from __future__ import annotations

from collections.abc import Sequence

from hal.driver import Driver
from hal.errors import DeviceLost
from hal.types import DeviceInfo, SelfTest
from proxy.info import PREFIX
from proxy.paths import default_root
from proxy.whereabouts import own_servers

__all__ = ["ProxyBackend", "backend"]


class ProxyBackend:
    name = "proxy"
    preference = -1  # the device itself is nearer; a worker that should use a server is told so

    def probe(self) -> Sequence[DeviceInfo]:
        return [info.proxied(name) for name, (_, info) in own_servers(default_root()).items()]

    def advice(self) -> str:
        return f"`haltere proxy DEVICE` starts one; looked for under {default_root()}"

    def open(self, info: DeviceInfo) -> Driver:
        import os

        from proxy.client import ProxyDriver
        from proxy.paths import SESSION_VARIABLE

        for name, (paths, found) in own_servers(default_root()).items():
            if found.proxied(name) == info:
                return ProxyDriver(info, paths, os.environ.get(SESSION_VARIABLE) or None)
        raise DeviceLost(f"the server of {info.uri} does not run any more")

    def self_tests(self, info: DeviceInfo) -> Sequence[SelfTest]:
        """Those of the device behind: programs do not change by being sent."""
        from hal.registry import self_tests

        for name, (_, found) in own_servers(default_root()).items():
            if name == info.uri.removeprefix(PREFIX):
                return self_tests(found.device.uri)
        raise DeviceLost(f"the server of {info.uri} does not run any more")


backend = ProxyBackend()
