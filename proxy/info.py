"""What a server tells the world about itself, and how a device's description crosses as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hal.types import Caps, DeviceInfo, Preemption
from proxy.liveness import holder_lives
from proxy.paths import ServerPaths, all_servers

PREFIX = "proxy:"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    device: DeviceInfo  # as the server opened it
    pid: int
    incarnation: int  # of the server: differs each time it starts

    def proxied(self, name: str) -> DeviceInfo:
        """The device as a worker sees it."""
        return replace(self.device, uri=PREFIX + name)

    def to_json(self) -> bytes:
        device = asdict(self.device)
        device["caps"]["preemption"] = self.device.caps.preemption.value
        return json.dumps(
            {"device": device, "pid": self.pid, "incarnation": self.incarnation}
        ).encode()


def read_info(path: Path) -> ServerInfo | None:
    """None if there is none, or it is of a release that this one does not understand."""
    try:
        raw = json.loads(path.read_bytes())
        return ServerInfo(device_from(raw["device"]), int(raw["pid"]), int(raw["incarnation"]))
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def device_from(raw: dict[str, Any]) -> DeviceInfo:
    known = {field.name for field in fields(Caps)}
    caps = {key: value for key, value in raw["caps"].items() if key in known}
    caps["formats"] = tuple(caps["formats"])
    caps["preemption"] = Preemption(caps["preemption"])
    return DeviceInfo(raw["uri"], raw["name"], raw["part"], Caps(**caps))


def running_servers(root: Path) -> list[tuple[ServerPaths, ServerInfo]]:
    """The servers under `root` that live and are ready."""
    found = []
    for paths in all_servers(root):
        info = read_info(paths.info)
        if info is not None and holder_lives(paths.lock):
            found.append((paths, info))
    return found
