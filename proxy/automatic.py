"""Checkpoints that nobody asks for: of every named session that moved on, every so often.

They are ordinary ones, most of them read while the session runs. Of each session the newest is
kept; the one before goes when the next is there. From each on, what the session does is logged
(`redo_log`), so that a server which replaces this one can do it again; where it can not, a death
costs what was done since the newest checkpoint, from which another worker can go on.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.desk import Reply
from proxy.redo import begin_log
from proxy.redo_log import EARLY_BYTES
from proxy.store import Address, address_of
from proxy.suspend import Suspend

if TYPE_CHECKING:
    from proxy.server import Served, Server

HALT_S = 60.0  # a session that reaches no halting point in that time is left for the next time


@dataclass(slots=True)
class _Newest:
    checkpoint: str
    issued: int  # records taken then,
    replied: int  # and calls answered
    at: float


class Automatic:
    def __init__(self, server: Server, store: Address, every_s: float) -> None:
        self._server = server
        self._address = address_of(store)
        self._every_s = every_s
        self._begun_s = time.monotonic()
        self._newest: dict[str, _Newest] = {}
        self._running = False

    def next(self) -> OneOf | None:
        """The operation that is due, if one is: one session at a time."""
        if self._running:
            return None
        served = self._server.served
        for name in self._newest.keys() - served.keys():
            del self._newest[name]  # moved or ended: its checkpoint is somebody else's now
        for name, each in served.items():
            if each.tenant.durable and self._is_due(name, each):
                self._running = True
                return OneOf(self, self._server, name, self._address)
        return None

    def _is_due(self, name: str, served: Served) -> bool:
        newest, tenant = self._newest.get(name), served.tenant
        since = self._begun_s if newest is None else newest.at
        log = tenant.redo
        every_s = self._every_s / (10 if log is not None and log.used_bytes > EARLY_BYTES else 1)
        if time.monotonic() - since < every_s:
            return False
        stands = (tenant.half.issued, tenant.replied)
        return newest is None or stands != (newest.issued, newest.replied)

    def took_up(self, name: str, record: str) -> None:
        self._newest[name] = _Newest(record, -1, -1, time.monotonic())

    def done(self, name: str, answer: Reply | None) -> None:
        """`answer`: None if it failed, which is tried again in its time."""
        self._running = False
        served, before = self._server.served.get(name), self._newest.get(name)
        if served is None:
            return
        found = str(answer["checkpoint"]) if answer else before.checkpoint if before else ""
        issued = int(answer["issued"]) if answer else -1
        self._newest[name] = _Newest(found, issued, served.tenant.replied, time.monotonic())
        if before is not None and before.checkpoint not in ("", found):
            with suppress(OSError):
                self._server.stores[self._address].forget(before.checkpoint)


class OneOf:
    """The checkpoint of one session. Nobody waits for its answer."""

    request_id = ""

    def __init__(self, whose: Automatic, server: Server, name: str, store: str) -> None:
        self._whose = whose
        self._server = server
        self._name = name
        self._store = store
        request = {"do": "snapshot", "session": name, "store": store, "timeout_s": HALT_S}
        self._inner = Suspend(server, "", request)

    def poll(self) -> Reply | None:
        try:
            answer = self._inner.poll()
        except Exception as error:  # noqa: BLE001  # the session goes on, and the next time comes
            sys.stderr.write(f"no automatic checkpoint of {self._name!r}: {error}\n")
            sys.stderr.flush()
            self._whose.done(self._name, None)
            return {}
        if answer is not None:
            self._keep_log(str(answer["checkpoint"]))
            self._whose.done(self._name, answer)
        return answer

    def _keep_log(self, record: str) -> None:
        """Nothing was taken since the checkpoint: the next look at the ring comes after this."""
        tenant = self._server.session(self._name).tenant
        try:
            begin_log(tenant, self._server.paths.redo / self._name, record, self._store)
        except OSError as error:
            tenant.drop_log()
            sys.stderr.write(f"what {self._name!r} does is not kept for a new server: {error}\n")
            sys.stderr.flush()
