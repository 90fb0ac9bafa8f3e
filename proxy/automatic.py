"""Checkpoints that nobody asks for, and logs of what sessions do: a server's death is a stall.

What a session does is logged from its beginning on (`redo_log`): a server which replaces this one
does it again. A checkpoint is due when the log has become long, and when something was done that no
log holds; a session that logs too much for that has them ever less often, and in between it is not
kept. A named session may have them every so often, too: its worker may die, and another go on.
They are ordinary ones, most of them read while the session runs. Of each session the newest is
kept; the one before goes when the next is there, the last one of a session without a name with it.
When they have left much garbage in their store, it is collected.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from proxy.checkpoint import blobs_of
from proxy.desk import Reply
from proxy.errors import StoreBusy
from proxy.redo import begin_log
from proxy.redo_log import EARLY_BYTES
from proxy.store import Address, Store, address_of, garbage
from proxy.suspend import Suspend
from proxy.tenant import Tenant

if TYPE_CHECKING:
    from proxy.server import Server

HALT_S = 60.0  # a session that reaches no halting point in that time is left for the next time
SHARE = 10  # checkpoints for the log's sake take at most a tenth of the time
PAUSE_S, MAX_PAUSE_S = 0.5, 60.0  # between those of a session whose log did not last from one on
GARBAGE_BYTES = 1 << 30  # so much may have been stored, or twice what a session has, since the last


@dataclass(slots=True)
class _Kept:
    """Of one session."""

    durable: bool
    at: float  # when its newest checkpoint was tried
    checkpoint: str = ""
    stood: tuple[int, int] | None = None  # records taken and calls answered then
    not_before: float = 0.0  # for the log's sake
    pause_s: float = 0.0

    @property
    def longer_s(self) -> float:
        return min(max(2 * self.pause_s, PAUSE_S), MAX_PAUSE_S)


class Automatic:
    def __init__(
        self, server: Server, store: Address, every_s: float | None, logs: bool = True
    ) -> None:
        """`every_s`: None: for the logs' sake only. `logs`: what sessions do is logged."""
        self.logs = logs
        self._server = server
        self._address = address_of(store)
        self._every_s = every_s
        self._begun_s = time.monotonic()
        self._kept: dict[str, _Kept] = {}
        self._running = False
        self._added_bytes = 0  # to the store, since its garbage was collected
        self._collecting: Thread | None = None

    def begin(self, tenant: Tenant) -> None:
        """A session that did nothing yet is logged from now on."""
        self.log_from(tenant, "", "")

    def log_from(self, tenant: Tenant, record: str, store: str, lent: bool = False) -> None:
        """Nothing was taken since this checkpoint: the next look at the ring comes after this."""
        if not self.logs:
            return
        try:
            begin_log(tenant, self._server.paths.redo / tenant.name, record, store, lent)
        except OSError as error:
            tenant.drop_log()
            _say(f"what {tenant.name!r} does is not kept for a new server: {error}")

    def next(self) -> OneOf | None:
        """The operation that is due, if one is: one session at a time."""
        if self._running:
            return None
        self.forget_gone()
        for name, each in self._server.served.items():
            if self._is_due(each.tenant):
                self._running = True
                return OneOf(self, self._server, name, self._address)
        return None

    def forget_gone(self) -> None:
        """Sessions that moved or ended: if they have names, their checkpoints are others' now."""
        for name in self._kept.keys() - self._server.served.keys():
            gone = self._kept.pop(name)
            if not gone.durable:
                self._forget(gone.checkpoint)

    def _of(self, tenant: Tenant) -> _Kept:
        return self._kept.setdefault(tenant.name, _Kept(tenant.durable, self._begun_s))

    def _is_due(self, tenant: Tenant) -> bool:
        kept, now = self._of(tenant), time.monotonic()
        if self.logs and now >= kept.not_before and not tenant.backlog:
            log = tenant.redo
            if log is None or log.used_bytes > EARLY_BYTES:
                return True
        if self._every_s is None or not tenant.durable:
            return False
        return now - kept.at >= self._every_s and _stand(tenant) != kept.stood

    def took_up(self, name: str, record: str) -> None:
        now = time.monotonic()
        self._kept[name] = _Kept(self._server.served[name].tenant.durable, now, record)

    def begins(self, tenant: Tenant) -> None:
        """A checkpoint; the log may be what it is for."""
        kept = self._of(tenant)
        did_last = tenant.redo is not None and not tenant.redo.is_void
        kept.pause_s = 0.0 if did_last else kept.longer_s
        kept.at = time.monotonic()

    def done(self, name: str, answer: Reply | None) -> None:
        """`answer`: None if it failed, which is tried again in its time."""
        self._running = False
        served = self._server.served.get(name)
        if served is None:
            return
        kept, now = self._of(served.tenant), time.monotonic()
        if answer is None:
            kept.pause_s = kept.longer_s
            kept.not_before = now + kept.pause_s
        else:
            kept.not_before = now + max(SHARE * (now - kept.at), kept.pause_s)
            before, kept.checkpoint = kept.checkpoint, str(answer["checkpoint"])
            kept.stood = _stand(served.tenant)
            if before != kept.checkpoint:
                self._forget(before)
            self._added_bytes += int(answer["stored_bytes"])
            if self._added_bytes > max(GARBAGE_BYTES, 2 * int(answer["buffer_bytes"])):
                self._collect()
        kept.at = now

    def _collect(self) -> None:
        """Aside: it takes as long as writing anew what of old packs is needed. Checkpoints wait."""
        if self._collecting is not None and self._collecting.is_alive():
            return

        def collect() -> None:
            try:
                garbage.collect(Store(self._address), blobs_of)
                self._added_bytes = 0
            except StoreBusy:
                pass  # after the next checkpoint, perhaps
            except Exception as error:  # noqa: BLE001  # the store is larger than it need be
                self._added_bytes = 0
                _say(f"garbage in {self._address} was not collected: {error}")

        self._collecting = Thread(target=collect, daemon=True)
        self._collecting.start()

    def _forget(self, checkpoint: str) -> None:
        if checkpoint and self._address in self._server.stores:
            with suppress(OSError):
                self._server.stores[self._address].forget(checkpoint)


class OneOf:
    """The checkpoint of one session. Nobody waits for its answer."""

    request_id = ""

    def __init__(self, whose: Automatic, server: Server, name: str, store: str) -> None:
        self._whose = whose
        self._server = server
        self._name = name
        self._store = store
        request = {"do": "snapshot", "session": name, "store": store, "timeout_s": HALT_S}
        whose.begins(server.session(name).tenant)
        self._inner = Suspend(server, "", request)

    def poll(self) -> Reply | None:
        try:
            answer = self._inner.poll()
        except Exception as error:  # noqa: BLE001  # the session goes on, and the next time comes
            _say(f"no automatic checkpoint of {self._name!r}: {error}")
            self._whose.done(self._name, None)
            return {}
        if answer is not None:
            tenant = self._server.session(self._name).tenant
            self._whose.log_from(tenant, str(answer["checkpoint"]), self._store)
            self._whose.done(self._name, answer)
        return answer


def _stand(tenant: Tenant) -> tuple[int, int]:
    return tenant.half.issued, tenant.replied


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
