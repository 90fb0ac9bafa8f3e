"""The servers: one proxy process per device, started together, noticed when they die.

A server that dies by itself is started again, a bounded number of times, unless its device is to be
removed. Knows nothing of jobs: it tells a `FleetListener` what happened to devices.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from hal.types import DeviceInfo
from proxy.errors import ProxyError
from proxy.launcher import ServerProcess, find, spawn
from scheduler.errors import Infeasible
from scheduler.live.watch import Watcher

MAX_RESPAWNS = 3  # of one server; one that keeps dying is left dead
MAX_STARTING = 4  # servers that start at the same time: each is busy importing


Host = tuple[int, int]  # CPU in thousandths, memory in MiB


def this_machine() -> Host:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 1000 * (os.cpu_count() or 1), memory_bytes >> 20


class FleetListener(Protocol):
    def device_added(self, uri: str, kind: str, part: str, slice_count: int) -> None: ...

    def device_lost(self, uri: str, reason: str) -> None: ...


class Fleet:
    def __init__(
        self,
        root: Path,
        devices: Sequence[str],
        slices: Mapping[str, int],
        watcher: Watcher,
        listener: FleetListener,
        background: Callable[[Callable[[], None]], None],
        hosts: Mapping[str, Host] | None = None,
    ) -> None:
        """`slices`: per device URI or kind, how many jobs share a device; 1 if it says nothing.
        `hosts`: per device URI or kind, what of this machine is for its jobs; an even part of it.
        `background` runs slow work elsewhere."""
        if not devices or len(set(devices)) != len(devices):
            raise Infeasible(f"devices {list(devices)}: name at least one, and each once")
        self.root = root
        self.devices = tuple(devices)
        self.infos: dict[str, DeviceInfo] = {}
        self._slices = dict(slices)
        self._hosts = dict(hosts or {})
        self._watcher = watcher
        self._listener = listener
        self._background = background
        self._servers: dict[str, ServerProcess] = {}
        self._respawns: dict[str, int] = {}
        self._lost: set[str] = set()
        self._leaving: set[str] = set()  # devices that are to be removed, or have been
        self._returning: set[str] = set()  # those whose servers are being started anew
        self._lock = threading.RLock()
        self._closing = False

    def start(self) -> None:
        """Bring every server up, or none. Raises ServerGone with the server's log."""
        try:
            with ThreadPoolExecutor(MAX_STARTING, thread_name_prefix="fleet") as starting:
                for _ in starting.map(self._spawn, self.devices):
                    pass
        except ProxyError:
            self.close()
            raise
        for uri in self.devices:  # in the order given, whichever was up first
            self._announce(uri)

    def take_over(self, up_since_ns: Mapping[str, int], leaving: Set[str] = frozenset()) -> None:
        """Go on with the servers of an earlier pool, and start those that are not there. One that
        does not start is lost, and the rest goes on. Those that are `leaving` are not started.

        up_since_ns  devices that count as up, and since when by this system's monotonic clock: a
                     server whose process began later is not the one that they were up by"""
        for uri in sorted(up_since_ns.keys() - set(self.devices)):
            self._listener.device_lost(uri, "it is none of this pool's devices any more")
            if stranger := find(self.root, uri):
                stranger.stop()
        known: set[str] = set()
        self._leaving |= leaving

        def take(uri: str) -> str:
            server = find(self.root, uri)
            if server is None and uri in leaving:
                return "it was removed"
            if server is None:
                try:
                    self._spawn(uri)
                except ProxyError as error:
                    server = find(self.root, uri)  # one was starting when the pool was killed
                    if server is None:
                        return f"its server did not start again: {error}"
            if server is not None:
                self._servers[uri], self.infos[uri] = server, server.device
                if server.process_id.started_ns < up_since_ns.get(uri, 0):
                    known.add(uri)
            return ""

        with ThreadPoolExecutor(MAX_STARTING, thread_name_prefix="fleet") as starting:
            failed = tuple(starting.map(take, self.devices))
        for uri, reason in zip(self.devices, failed, strict=True):
            if uri in known:
                self._watcher.watch(self.pid(uri), self.look)
                continue
            if uri in up_since_ns:
                self._listener.device_lost(uri, reason or "its server died while no pool ran")
            if not reason:
                self._announce(uri)

    def restart(self, uri: str) -> None:
        """Kill a server that answers nobody. It is started again, which does not count."""
        with self._lock:
            server = self._servers.get(uri)
            self._respawns[uri] = self._respawns.get(uri, 0) - 1
        if server is not None:
            server.kill()
            self.look()

    # ---- devices that are to be removed

    def let_go(self, uri: str) -> None:
        """From now on its server is not started again, whoever ends it."""
        with self._lock:
            self._leaving.add(uri)

    def remove(self, uri: str) -> None:
        """Stop its server, if it is still to be removed."""
        with self._lock:
            server = self._servers.get(uri) if uri in self._leaving else None
        if server is not None:
            server.stop()
            self.look()

    def keep(self, uri: str) -> None:
        """It stays after all, or comes back."""
        with self._lock:
            self._leaving.discard(uri)
            gone = uri in self._lost or uri not in self._servers
            self._respawns.pop(uri, None)
            if gone and uri not in self._returning:  # who asks twice has one server
                self._returning.add(uri)
                self._background(lambda: self._respawn(uri))

    @property
    def slices(self) -> dict[str, int]:
        """How many jobs share each device."""
        return {uri: self.slice_count(uri) for uri in self.devices}

    def slice_count(self, uri: str) -> int:
        return self._slices.get(uri, self._slices.get(uri.rpartition(":")[0], 1))

    @property
    def hosts(self) -> dict[str, Host]:
        return {uri: self.host(uri) for uri in self.devices}

    def host(self, uri: str) -> Host:
        """CPU in thousandths and memory in MiB for the jobs of a device."""
        found = self._hosts.get(uri, self._hosts.get(uri.rpartition(":")[0]))
        cpu_milli, memory_mib = this_machine()
        return found or (cpu_milli // len(self.devices), memory_mib // len(self.devices))

    def memory_bytes(self, uri: str) -> int:
        """Of the device."""
        return self.infos[uri].caps.memory_bytes

    def up(self) -> list[str]:
        """Devices whose server lives."""
        with self._lock:
            return [uri for uri in self.devices if self._lives(uri)]

    def pid(self, uri: str) -> int:
        with self._lock:
            return self._servers[uri].pid

    def look(self) -> None:
        """Report every server that has died and was not reported: before a worker's end is, for
        a worker that fell with its device is to be told from one that failed."""
        with self._lock:
            for uri in self.devices:
                known = uri in self._servers and uri not in self._lost
                if known and not self._lives(uri):
                    self._lost.add(uri)
                    self._report_loss(uri)

    def close(self) -> None:
        """Stop the servers. Idempotent."""
        with self._lock:
            self._closing = True
            servers = tuple(self._servers.values())
        for server in servers:
            server.stop()

    def _lives(self, uri: str) -> bool:
        return uri in self._servers and self._servers[uri].is_alive()

    def _spawn(self, uri: str) -> None:
        server = spawn(uri, self.root)  # it outlives us if we are killed, and so do its sessions
        with self._lock:
            self._servers[uri] = server
            self.infos[uri] = server.device
            closing = self._closing
        if closing:
            server.stop()

    def _announce(self, uri: str) -> None:
        with self._lock:
            self._lost.discard(uri)
            kind, part = uri.rpartition(":")[0], self.infos[uri].part
            self._listener.device_added(uri, kind, part, self.slice_count(uri))
        self._watcher.watch(self.pid(uri), self.look)

    def _report_loss(self, uri: str) -> None:
        if self._closing:
            return
        if uri in self._leaving:
            self._listener.device_lost(uri, "it was removed")
            return
        log = self._servers[uri].paths.log
        self._listener.device_lost(uri, f"its server died; see {log}")
        self._respawns[uri] = self._respawns.get(uri, 0) + 1
        if self._respawns[uri] <= MAX_RESPAWNS:
            self._returning.add(uri)  # who says meanwhile that it stays starts no other
            self._background(lambda: self._respawn(uri))

    def _respawn(self, uri: str) -> None:
        try:
            self._spawn(uri)
            with self._lock:
                self._returning.discard(uri)
                self._announce(uri)
        except ProxyError as error:
            with self._lock:
                self._returning.discard(uri)
            self._listener.device_lost(uri, f"its server did not start again: {error}")
