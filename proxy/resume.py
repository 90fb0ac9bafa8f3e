"""Going on with a session from its checkpoint.

The device's context is filled first; the rename of the session's file, which claims it, comes when
all of that was right. Until then everything is as it was, whatever goes wrong.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from hal.errors import DeviceTimeout, StateError
from proxy import checkpoint, snapshot
from proxy.desk import Reply
from proxy.errors import CheckpointRefused
from proxy.info import running_servers
from proxy.liveness import ProcessId
from proxy.paths import checked_name, parked
from proxy.prepare import Prepared, Steps, check_part, go_on
from proxy.rendezvous import suspended_file
from proxy.ring import Producer
from proxy.segment import Line, Segment
from proxy.suspend import cut_of, hold, store_of
from proxy.tenant import Tenant

if TYPE_CHECKING:
    from proxy.server import Server


class Resume:
    """Verify everything, recreate on this device, and only then take the session over."""

    def __init__(self, server: Server, request_id: str, request: Reply) -> None:
        self.request_id = request_id
        self._server = server
        self._name = checked_name(str(request["session"]), "session")
        self._deadline = time.monotonic() + float(request["timeout_s"])
        self._store = store_of(server, request)
        self._address = str(request["store"])
        self._checkpoint = checkpoint.read(str(request["checkpoint"]), self._store)
        found = suspended_file(server.paths.root, self._name)
        self._was_parked = found is not None
        self._path = found or parked(server.paths.root) / self._name
        self._owned = False  # the file at `_path` was made anew by this operation,
        self._claimed = False  # or is in this server's home now
        self._check()
        self._tenant: Tenant | None = None
        self._prepared: Prepared | None = None
        self._before = 0  # bytes that were uploaded when it was prepared
        self._steps: Steps | None = None
        self._held = ExitStack()
        self._is_held = False

    def poll(self) -> Reply | None:
        try:
            self._check_not_running()
            if not self._is_held:
                held = hold(self._held, self._store.reading(), self._deadline)
                self._is_held = held is not None
                if not self._is_held:
                    return None
            tenant = self._tenant or self._open()
            self._tenant = tenant
            if tenant.overlay is not None and not tenant.acquire_fabric():
                if time.monotonic() < self._deadline:
                    return None
                raise DeviceTimeout(f"{self._server.paths.name}: the fabric did not become free")
            if not self._recreate(tenant):
                return None
            self._take_over(tenant)
        except Exception:
            self._held.close()
            self._let_go()
            if self._tenant is not None:
                self._tenant.release()
            raise
        self._held.close()
        return {
            "epoch": tenant.epoch,
            "issued": tenant.half.issued,
            "uploaded_bytes": self._filled.uploaded_bytes - self._before,
            "resumed_at": time.monotonic(),
        }

    def _let_go(self) -> None:
        """Of the session's file: one that was made goes, one that was claimed is parked again."""
        if self._claimed and not self._owned:
            with suppress(OSError):
                self._path.rename(parked(self._server.paths.root) / self._name)
        elif self._owned:
            self._path.unlink(missing_ok=True)

    def _check(self) -> None:
        position = self._checkpoint.snapshot.position
        if position.session != self._name:
            raise CheckpointRefused(
                f"checkpoint {self._checkpoint.id} is of session {position.session!r}, not "
                f"{self._name!r}"
            )
        check_part(self._server, self._checkpoint)
        self._check_not_running()

    def _check_not_running(self) -> None:
        """Others may have resumed it since this was asked for: looked at again and again."""
        for paths, _ in running_servers(self._server.paths.root):
            if (paths.sessions / self._name).exists():
                raise StateError(
                    f"session {self._name!r} is running on {paths.name}: suspend or drop it first"
                )

    def _open(self) -> Tenant:
        shot = self._checkpoint.snapshot
        position = shot.position
        segment = self._parked_segment() or self._fresh_segment()
        tenant = self._prepared_tenant(segment)
        half = snapshot.half_of(shot)
        if tenant is not None:
            tenant.begin(half, position.tail)
        else:
            tenant = self._server.open_tenant(self._name, segment, half, position.tail)
        tenant.overlay = shot.overlay
        tenant.weight = position.weight
        return tenant

    def _prepared_tenant(self, segment: Segment) -> Tenant | None:
        """What was prepared for the worker of this file; the tenant has the file mapped already."""
        self._prepared = self._server.prepared.pop(self._name, None)
        if self._prepared is None:
            return None
        tenant = self._prepared.tenant
        other = tenant.segment[Line.NONCE] != segment[Line.NONCE]
        if self._prepared.busy or other or (tenant.heap is not None and not segment[Line.HEAP]):
            self._prepared = None
            tenant.release()
            return None
        segment.close()
        return tenant

    def _parked_segment(self) -> Segment | None:
        position = self._checkpoint.snapshot.position
        try:
            segment = Segment.open(self._path)
        except FileNotFoundError:
            if self._was_parked:
                raise self._gone() from None
            return None
        if segment[Line.NONCE] == position.nonce and self._is_of_the_cut(segment):
            return segment
        worker = ProcessId(segment[Line.CLIENT_PID], segment[Line.CLIENT_START])
        segment.close()
        if worker.is_alive():
            raise CheckpointRefused(
                f"session {self._name!r} was suspended at another point than this checkpoint's, "
                "and its worker lives: resume it from the checkpoint of its suspension"
            )
        return None

    def _is_of_the_cut(self, segment: Segment) -> bool:
        """The file was parked with this very checkpoint: its worker's memory is of that moment."""
        position = self._checkpoint.snapshot.position
        stands = (segment[Line.TAIL], segment[Line.CUT])
        return stands == (position.tail, cut_of(self._checkpoint.id))

    def _gone(self) -> StateError:
        return StateError(
            f"session {self._name!r} was resumed or dropped by someone else meanwhile"
        )

    def _fresh_segment(self) -> Segment:
        """For a worker that will re-attach: ring and arena as they were at the cut."""
        shot = self._checkpoint.snapshot
        position = shot.position
        self._path = self._server.paths.incoming / f".{self._name}.{self.request_id}"
        self._owned = True
        segment = Segment.create(
            self._path, position.ring_bytes, position.arena_bytes, durable=True
        )
        _fill_ring(segment, position.tail, shot.undone)
        for offset, data in shot.payloads:
            segment.arena[offset : offset + len(data)] = data
        return segment

    def _recreate(self, tenant: Tenant) -> bool:
        """A bit more; True once all is here. Who got the fabric for it does it in one go."""
        if self._steps is None:
            self._filled = self._prepared or Prepared(tenant)
            wanted = tenant.objects.device_bytes(self._checkpoint.snapshot.log)
            missing = wanted - self._filled.nbytes
            if missing > 0 and not self._server.room.has_room(self, missing):
                return False
            self._before = self._filled.uploaded_bytes
            self._steps = self._filled.become(self._checkpoint, self._server.builds)
        while not go_on(self._steps, tenant):
            if tenant.overlay is None:
                return False
        snapshot.put_back(self._checkpoint.snapshot, tenant)
        return True

    def _take_over(self, tenant: Tenant) -> None:
        """The rename out of `parked` is the claim: of many servers one succeeds. It overwrites
        nothing, for only this server puts files into its home, and none was there just now."""
        home = self._server.paths.sessions / self._name
        segment = tenant.segment
        self._check_not_running()
        if not self._owned and not self._is_of_the_cut(segment):
            raise self._gone()  # resumed and suspended again since it was opened
        self._server.store_step("claim")
        try:
            self._path.rename(home)
        except FileNotFoundError:
            raise self._gone() from None
        self._path, self._claimed = home, True
        self._server.store_step("claimed")
        tenant.epoch = self._checkpoint.snapshot.position.epoch + 1
        segment[Line.EPOCH] = tenant.epoch
        segment[Line.TAIL] = tenant.tail
        tenant.touched()
        tenant.publish()
        self._server.store_step("run")
        self._server.serve(tenant, home)
        self._server.resumed(tenant, self._checkpoint.id, self._address)


def _fill_ring(segment: Segment, tail: int, undone: bytes) -> None:
    """Put `undone` where a worker would have."""
    segment[Line.HEAD] = segment[Line.TAIL] = tail
    put = Producer(segment.ring, segment.cell(Line.HEAD), segment.cell(Line.TAIL)).put(undone)
    assert put, "the undone part of a ring fits a ring of the same size"
