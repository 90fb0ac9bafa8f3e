"""Storing a session's checkpoint: it goes on afterwards, or is parked for another server.

Until the last step (one rename) everything is as it was, whatever goes wrong.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hal.errors import DeviceTimeout, StateError, UsageError
from proxy import checkpoint, snapshot
from proxy.aside import Errand
from proxy.barrier import Barrier, Step
from proxy.desk import Reply
from proxy.errors import StoreBusy, StoreFailed
from proxy.gather import gather
from proxy.paths import parked
from proxy.segment import Line, State
from proxy.store import Batch, Store
from proxy.sweep import Sweep
from proxy.tenant import Tenant

if TYPE_CHECKING:
    from proxy.server import Served, Server

T = TypeVar("T")

STORES = 8  # whose indexes one server remembers
READY_S = 600.0  # for others at a barrier to read ahead what they can


def store_of(server: Server, request: Reply) -> Store:
    """The store that a request names; the server keeps what it learnt of it."""
    address = request["store"]
    if not isinstance(address, str) or not address or "\0" in address:
        raise ValueError(f"store {address!r} is neither a path nor a URL")
    if address not in server.stores:
        if len(server.stores) >= STORES:
            server.stores.clear()
        server.stores[address] = Store(address, server.store_step)
    return server.stores[address]


def hold(held: ExitStack, access: AbstractContextManager[T], deadline: float) -> T | None:
    """Enter a store's `reading` or `writing`; None: it is busy, ask again. Raises StoreBusy when
    time is over."""
    try:
        return held.enter_context(access)
    except StoreBusy:
        if time.monotonic() < deadline:
            return None
        raise


def cut_of(record: str) -> int:
    """A checkpoint's id as a word of the header."""
    return int(record[:16], 16)


class Suspend:
    """Halt, wait for others at a barrier if one is named, snapshot, commit; then park the session,
    or let it go on."""

    def __init__(self, server: Server, request_id: str, request: Reply) -> None:
        self.request_id = request_id
        self._server = server
        self._release = request["do"] == "suspend"
        self._name = str(request["session"])
        self._store = store_of(server, request)
        self._deadline = time.monotonic() + float(request["timeout_s"])
        self._timeout_s = float(request["timeout_s"])
        self._barrier: Barrier | None = None
        if request.get("barrier"):
            self._barrier = Barrier(Path(str(request["barrier"])), int(request["parties"]))
        self._held = ExitStack()
        self._batch: Batch | None = None
        self._sweep: Sweep | None = None
        self._storing: Errand[Reply] | None = None
        self._stored: Reply | None = None
        self._waited: set[Step] = set()  # at the barrier, so far
        self._passed: set[Step] = set()
        self._halted_at: float | None = None  # it was told to stand still; this system's clock

    def poll(self) -> Reply | None:
        if self._sweep is not None and self._sweep.is_with_a_thread:
            return None
        if self._storing is not None and self._stored is None and not self._storing.done:
            return None
        served = self._server.served.get(self._name)
        try:
            answer = self._poll(self._server.session(self._name))
        except Exception as error:
            if served is not None:
                served.tenant.go_on()
            self._held.close()
            if isinstance(error, OSError):
                raise StoreFailed(
                    f"checkpoint could not be stored in {self._store.files.where}: {error}; the "
                    "session goes on. Make room there (haltere store gc), or name another store"
                ) from error
            raise
        if answer is not None:
            self._held.close()
        return answer

    def _poll(self, served: Served) -> Reply | None:
        in_time = time.monotonic() < self._deadline
        if self._batch is None:
            self._batch = hold(self._held, self._store.writing(), self._deadline)
            if self._batch is None:
                return None
        tenant = served.tenant
        if self._sweep is None:
            self._sweep = Sweep(tenant, self._batch, not self._release, self._server.storing)
        if self._sweep.tenant is not tenant:
            raise UsageError(f"session {self._name!r} was begun anew while it was being stored")
        if self._storing is not None:
            return self._complete(served, self._storing, in_time)
        if self._sweep.done and not self._release and not self._all(Step.READY, in_time):
            return None
        stands = self._sweep.poll() if not self._sweep.done else self._halt(tenant)
        if not stands and not in_time:
            raise DeviceTimeout(
                f"session {self._name!r} reached no halting point in {self._timeout_s} s; it "
                "goes on"
            )
        if not self._sweep.done:
            if stands:
                self._deadline = time.monotonic() + self._timeout_s
            return None
        if self._halted_at is None or not stands or not self._all(Step.STILL, in_time):
            return None
        self._storing = self._begin_to_store(tenant, self._batch, self._sweep)
        if self._storing is None or not self._storing.done:
            return None
        return self._complete(served, self._storing, in_time)

    def _all(self, step: Step, in_time: bool) -> bool:
        """Whether all that are to be stored with it have got there."""
        if self._barrier is None or step in self._passed:
            return True
        if step is Step.READY and step not in self._waited:
            self._deadline, in_time = time.monotonic() + READY_S, True
        self._waited.add(step)
        if self._barrier.reached(self._name, step):
            self._passed.add(step)  # not to be looked at again
            self._deadline = time.monotonic() + self._timeout_s
            return True
        if not in_time:
            raise DeviceTimeout(
                f"session {self._name!r} was {step}, but of the {self._barrier.parties} to be "
                "stored with it not all were in time; it goes on"
            )
        return False

    def _halt(self, tenant: Tenant) -> bool:
        self._halted_at = self._halted_at or time.monotonic()
        return snapshot.halt(tenant) and tenant.errand is None

    def _begin_to_store(self, tenant: Tenant, batch: Batch, sweep: Sweep) -> Errand[Reply] | None:
        tenant.publish()
        shot, piece = snapshot.take(tenant)
        if self._barrier is not None and not self._release:
            self._barrier.reached(self._name, Step.CUT)
        sizes = dict(shot.log.contents())

        def store() -> Reply:
            found = gather(sizes, piece, tenant.known, tenant.changes, batch)
            record = checkpoint.write(shot, found.pieces, batch)
            return {
                "checkpoint": record,
                "issued": shot.position.issued,
                "epoch": shot.position.epoch,
                "buffer_bytes": shot.log.total_bytes,
                "read_bytes": sweep.read_bytes + found.read_bytes,
                "changed_bytes": sweep.changed_bytes + found.changed_bytes,
                "last_bytes": found.changed_bytes,  # of them, while the session stood still
                "stored_bytes": batch.stored_bytes,
                "halted_at": self._halted_at,
            }

        return tenant.lend(self._server.storing, store, still=True)

    def _complete(self, served: Served, storing: Errand[Reply], in_time: bool) -> Reply | None:
        tenant = served.tenant
        if self._stored is None:
            tenant.take_back()
            self._stored = storing.result()
        if self._release:
            self._park(served, self._stored["checkpoint"])
        elif not self._others_are_cut(in_time):
            return None
        tenant.go_on()
        return self._stored

    def _others_are_cut(self, in_time: bool) -> bool:
        """What it does from then on is in no checkpoint of theirs."""
        try:
            return self._all(Step.CUT, in_time)
        except StateError:  # called off: one of the others failed, and nobody waits for it
            return True

    def _park(self, served: Served, record: str) -> None:
        tenant = served.tenant
        tenant.check_epoch()
        tenant.segment[Line.CUT] = cut_of(record)
        tenant.segment[Line.STATE] = State.SUSPENDED
        tenant.drop_log()  # whoever resumes it goes on from the checkpoint
        self._server.store_step("park")
        try:
            served.path.rename(parked(self._server.paths.root) / tenant.name)
        except OSError as error:
            tenant.segment[Line.STATE] = State.RUNNING
            tenant.draining = False
            raise StateError(f"session could not be parked: {error}; it goes on") from error
        self._server.store_step("parked")
        tenant.segment.event.ring()
        self._server.forget(served)
        self._server.afterwards.append(tenant.release)  # the answer need not wait for it
