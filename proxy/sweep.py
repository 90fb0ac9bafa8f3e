"""Reading a session's buffers ahead of its checkpoint, while it runs.

A bit at a time: the session stands still between two commands, a few chunks are read, it goes on,
and they are named and stored meanwhile; then it has the device for as long as that took. What it
writes to later is read again by the checkpoint itself, for the count of changes tells. One pass:
what a pass leaves is what the session wrote to while it lasted.
"""

from __future__ import annotations

import time
from functools import partial

from proxy import snapshot
from proxy.aside import Aside, Errand
from proxy.gather import Found, Where, not_fresh, put, read
from proxy.known import CHUNK_BYTES
from proxy.store import Batch
from proxy.tenant import Tenant

SLICE_CHUNKS = 4  # the session stands still for as long as reading so many takes
WORTH_BYTES = 8 * SLICE_CHUNKS * CHUNK_BYTES  # less is read while the checkpoint is taken


class Sweep:
    def __init__(self, tenant: Tenant, batch: Batch, ahead: bool, aside: Aside) -> None:
        """Not `ahead`: nothing is read, for the session is wanted off its device soon. `aside`:
        where it is done, if the session's device allows that."""
        self.tenant = tenant
        self._batch = batch
        self._aside = aside
        self._left: list[Where] = []
        if ahead and not tenant.stops_anywhere:
            sizes = dict(tenant.objects.log.contents())
            wanted = not_fresh(sizes, tenant.known, tenant.changes, batch)
            if sum(size for _, _, size in wanted) >= WORTH_BYTES:
                self._left = wanted[::-1]
        self._reading: Errand[list[Found]] | None = None
        self._found: list[Found] = []
        self._putting: Errand[tuple[int, int]] | None = None
        self._begun_s = self._took_s = 0.0
        self._go_on_at = 0.0
        self.read_bytes = 0
        self.changed_bytes = 0

    @property
    def done(self) -> bool:
        return not (self._left or self._found or self._reading or self._putting)

    @property
    def is_with_a_thread(self) -> bool:
        return any(each is not None and not each.done for each in (self._reading, self._putting))

    def poll(self) -> bool:
        """A bit more; False while it waits for the session to stand still. Raises HalError,
        OSError; the caller lets the session go on then."""
        if self._reading is not None:
            self._read(self._reading)
        elif self._putting is not None:
            self._put(self._putting)
        elif self._found:
            self._begin_to_put()
        elif time.monotonic() >= self._go_on_at:
            return self._begin_to_read()
        return True

    def _begin_to_read(self) -> bool:
        tenant = self.tenant
        if tenant.errand is not None:
            return True
        if not snapshot.halt(tenant):
            return False
        self._begun_s = time.monotonic()
        wanted = self._left[-SLICE_CHUNKS:][::-1]
        live = dict(tenant.objects.log.contents())
        there = [where for where in wanted if where[0] in live]  # others were freed since
        work = partial(read, there, snapshot.piece_of(tenant), tenant.changes)
        self._reading = tenant.lend(self._aside, lambda: list(work()), still=True)
        if self._reading is None:
            tenant.go_on()
            return True
        del self._left[-len(wanted) :]
        self._read(self._reading)
        return True

    def _read(self, reading: Errand[list[Found]]) -> None:
        if not reading.done:
            return
        self._reading = None
        self.tenant.take_back()
        self._found = reading.result()
        self.tenant.go_on()
        self._took_s = time.monotonic() - self._begun_s

    def _begin_to_put(self) -> None:
        work = partial(put, self._found, self.tenant.known, self._batch)
        self._putting = self.tenant.lend(self._aside, work)
        if self._putting is not None:
            self._found = []
            self._begun_s = time.monotonic()
            self._put(self._putting)

    def _put(self, putting: Errand[tuple[int, int]]) -> None:
        if not putting.done:
            return
        self._putting = None
        self.tenant.take_back()
        read_bytes, changed_bytes = putting.result()
        self.read_bytes += read_bytes
        self.changed_bytes += changed_bytes
        now = time.monotonic()
        self._go_on_at = now + self._took_s + (now - self._begun_s)
