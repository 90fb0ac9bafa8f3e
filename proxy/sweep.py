"""Reading a session's buffers ahead of its checkpoint, while it runs.

A bit at a time: the session stands still between two commands, a few chunks are read, it goes on,
and they are named and stored meanwhile; then it has the device for as long as that took. What it
writes to later is read again by the checkpoint itself, for the count of changes tells. One pass:
what a pass leaves is what the session wrote to while it lasted.
"""

from __future__ import annotations

import time

from proxy import snapshot
from proxy.gather import Found, Where, not_fresh, put, read
from proxy.known import CHUNK_BYTES
from proxy.store import Batch
from proxy.tenant import Tenant

SLICE_CHUNKS = 4  # the session stands still for as long as reading so many takes
WORTH_BYTES = 8 * SLICE_CHUNKS * CHUNK_BYTES  # less is read while the checkpoint is taken


class Sweep:
    def __init__(self, tenant: Tenant, batch: Batch, ahead: bool) -> None:
        """Not `ahead`: nothing is read, for the session is wanted off its device soon."""
        self.tenant = tenant
        self._batch = batch
        self._left: list[Where] = []
        if ahead and not tenant.stops_anywhere:
            sizes = dict(tenant.objects.log.contents())
            wanted = not_fresh(sizes, tenant.known, tenant.changes, batch)
            if sum(size for _, _, size in wanted) >= WORTH_BYTES:
                self._left = wanted[::-1]
        self._found: list[Found] = []
        self._took_s = 0.0
        self._go_on_at = 0.0
        self.read_bytes = 0
        self.changed_bytes = 0

    @property
    def done(self) -> bool:
        return not self._left and not self._found

    def poll(self) -> bool:
        """A bit more; False while it waits for the session to stand still. Raises HalError,
        OSError; the caller lets the session go on then."""
        if self._found:
            self._put()
        elif time.monotonic() >= self._go_on_at:
            return self._read()
        return True

    def _read(self) -> bool:
        tenant = self.tenant
        if not snapshot.halt(tenant):
            return False
        begun = time.monotonic()
        wanted = [self._left.pop() for _ in range(min(SLICE_CHUNKS, len(self._left)))]
        live = dict(tenant.objects.log.contents())
        wanted = [where for where in wanted if where[0] in live]  # others were freed since
        self._found = list(read(wanted, snapshot.piece_of(tenant), tenant.changes))
        tenant.draining = False
        tenant.touched()  # halting drained it: its worker may wait for that
        self._took_s = time.monotonic() - begun
        return True

    def _put(self) -> None:
        begun = time.monotonic()
        found, self._found = self._found, []
        read_bytes, changed_bytes = put(found, self.tenant.known, self._batch)
        self.read_bytes += read_bytes
        self.changed_bytes += changed_bytes
        now = time.monotonic()
        self._go_on_at = now + self._took_s + (now - begun)
