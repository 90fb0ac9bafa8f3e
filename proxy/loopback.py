"""Server and worker in one process and one thread: for tests that want to see every step.

It is the whole proxy but for the processes: real files, real rings, a real `Server`. Instead of
sleeping until the server has done something, the worker makes the server take a turn.
"""

from __future__ import annotations

from pathlib import Path

from hal.context import Device
from proxy.client import ProxyDriver
from proxy.fabric import QUANTUM_CYCLES
from proxy.limits import Limits
from proxy.server import Server
from proxy.store import Address


class Loopback:
    def __init__(
        self,
        device: Device,
        root: Path,
        name: str = "loop:0",
        quantum_cycles: int = QUANTUM_CYCLES,
        core: str | None = None,
        limits: Limits | None = None,
        checkpoint_every_s: float | None = None,
        store: Address = "",
    ) -> None:
        self.server = Server(
            root,
            name,
            device,
            quantum_cycles=quantum_cycles,
            core=core,
            limits=limits,
            checkpoint_every_s=checkpoint_every_s,
            store=store,
        )

    def connect(
        self,
        session: str | None = None,
        backpressure_s: float = 5.0,
        ring_bytes: int = 16 << 10,
        arena_bytes: int = 64 << 10,
    ) -> Device:
        """Small ring and arena, so that wrapping round is the rule."""
        driver = ProxyDriver(
            self.server.info.proxied(self.server.paths.name),
            self.server.paths,
            session,
            backpressure_s,
            ring_bytes,
            arena_bytes,
            self._idle,
        )
        return Device(driver)

    def settle(self, turns: int = 1000) -> None:
        """Turns until nothing is left to do."""
        for _ in range(turns):
            if not self.server.step():
                return

    def _idle(self, seen: int, timeout_s: float) -> None:
        if not self.server.step():
            self.server.rest(min(timeout_s, 0.001))

    def close(self) -> None:
        self.server.close()
