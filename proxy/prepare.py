"""Making what a session holds on this device, from a checkpoint of it, before it comes here.

Preparing from one checkpoint and again from a later one makes and uploads only what differs, so
that when the session itself is suspended, little is left to do. Nobody sees what is prepared:
until a resume takes it, it is device memory and built programs, and may be dropped at any time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from hal.errors import HalError, StateError, Unsupported, UsageError
from proxy import checkpoint
from proxy.aside import Aside
from proxy.checkpoint import Checkpoint
from proxy.desk import Reply
from proxy.errors import CheckpointRefused
from proxy.known import CHUNK_BYTES, PIECE_BYTES
from proxy.loading import Loading
from proxy.paths import checked_name
from proxy.rendezvous import session_file
from proxy.segment import Line, Segment
from proxy.session import ServerHalf
from proxy.suspend import hold, store_of
from proxy.tenant import Tenant

if TYPE_CHECKING:
    from proxy.server import Server

SLICE_S = 0.01  # other sessions wait for so long at most, and for one more piece
SETTLE_RUNS = 4  # uploads that may be under way: each holds up to CHUNK_BYTES
PREPARED_S = 600.0  # what nobody came for is dropped

Steps = Iterator[bool]  # a bit of work each; True: there is nothing to do until a thread is done


class Prepared:
    """A tenant that serves nobody yet, whose objects are those of its session at a checkpoint."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.touched_at = time.monotonic()
        self.uploaded_bytes = 0
        self.nbytes = 0  # on the device
        self.busy = False  # an operation is at it
        self._pieces: dict[int, list[str]] = {}

    def become(self, wanted: Checkpoint, builds: Aside | None) -> Steps:
        """Make the objects those of `wanted`; `builds`: see Loading. Raises HalError and
        CheckpointRefused; what is here then is of no use."""
        tenant, objects, log = self.tenant, self.tenant.objects, wanted.snapshot.log
        loaded = set(objects.log.programs)
        objects.adapt(log)
        self.nbytes = objects.device_bytes(log)
        yield from self._upload(wanted)
        for handle, image in log.programs.items():
            if handle not in loaded:
                loading = Loading(tenant, handle, image, builds)
                while not loading.poll():
                    yield True
                yield False
        objects.complete(log)
        count = tenant.changes.count
        for handle, digests in wanted.pieces.items():
            tenant.known.restored(handle, digests, count)

    def _upload(self, wanted: Checkpoint) -> Steps:
        before, self._pieces = self._pieces, {}  # nothing is known of it until all is here
        todo = []
        for handle, digests in wanted.pieces.items():
            if self.tenant.objects.is_shared(handle):
                continue
            for first, run in _runs(digests, before.get(handle, [])):
                todo.append((handle, first * PIECE_BYTES, run))
        contents = wanted.store.get_runs(run for _, _, run in todo)
        for (handle, offset, _), data in zip(todo, contents, strict=True):
            self.tenant.objects.fill(handle, offset, data)
            self.uploaded_bytes += data.nbytes
            yield False
        self._pieces = wanted.pieces


def _runs(wanted: list[str], there: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The pieces that differ: each run of them, of a chunk at most, and the index it begins at."""
    run: list[str] = []
    for index, digest in enumerate(wanted):
        differs = there[index : index + 1] != [digest]
        if run and (not differs or len(run) == CHUNK_BYTES // PIECE_BYTES):
            yield index - len(run), run
            run = []
        if differs:
            run.append(digest)
    if run:
        yield len(wanted) - len(run), run


class Prepare:
    """The operation, at the server that the session will come to."""

    def __init__(self, server: Server, request_id: str, request: Reply) -> None:
        self.request_id = request_id
        self._server = server
        self._name = checked_name(str(request["session"]), "session")
        self._deadline = time.monotonic() + float(request["timeout_s"])
        self._store = store_of(server, request)
        self._checkpoint = checkpoint.read(str(request["checkpoint"]), self._store)
        check_part(server, self._checkpoint)
        if server.device.info.caps.configurable:
            raise Unsupported(
                f"{server.paths.name} cannot prepare for {self._name!r}: what its fabric holds is "
                "loaded in a session's turn; suspend and resume"
            )
        self._held = ExitStack()
        self._steps: Steps | None = None
        self._before = 0

    def poll(self) -> Reply | None:
        prepared = self._server.prepared.get(self._name)
        if prepared is not None and prepared.busy and self._steps is None:
            raise StateError(f"{self._server.paths.name} prepares for {self._name!r} already")
        try:
            if self._steps is None:
                if hold(self._held, self._store.reading(), self._deadline) is None:
                    return None
                prepared = self._one_for(self._checkpoint.snapshot.position.nonce)
                log, objects = self._checkpoint.snapshot.log, prepared.tenant.objects
                missing = objects.device_bytes(log) - prepared.nbytes
                if missing > self._server.room.free_bytes:
                    raise Unsupported(
                        f"{self._server.paths.name} has no room to prepare for {self._name!r}: "
                        "others are swapped out once it comes; suspend and resume"
                    )
                prepared.busy = True
                self._before = prepared.uploaded_bytes
                self._steps = prepared.become(self._checkpoint, self._server.builds)
            if prepared is None:
                raise UsageError(f"what was prepared for {self._name!r} is gone: begin anew")
            prepared.touched_at = time.monotonic()
            if not go_on(self._steps, prepared.tenant):
                return None
        except Exception:
            self._held.close()
            drop_prepared(self._server, self._name)
            raise
        self._held.close()
        prepared.busy = False
        return {"uploaded_bytes": prepared.uploaded_bytes - self._before}

    def _one_for(self, nonce: int) -> Prepared:
        """The one that there is, or a new one on the session's own file: this server reads its
        sizes, and writes to it when the session is here."""
        prepared = self._server.prepared.get(self._name)
        if prepared is not None and prepared.tenant.segment[Line.NONCE] == nonce:
            return prepared
        drop_prepared(self._server, self._name)
        path = session_file(self._server.paths.root, self._name)
        if path is None:
            raise UsageError(f"no session {self._name!r} is there to be prepared for")
        segment = Segment.open(path)
        if segment[Line.NONCE] != nonce:
            segment.close()
            raise CheckpointRefused(
                f"checkpoint {self._checkpoint.id} is of an earlier session {self._name!r}"
            )
        prepared = Prepared(self._server.open_tenant(self._name, segment, ServerHalf(), 0))
        self._server.prepared[self._name] = prepared
        return prepared


def go_on(steps: Steps, tenant: Tenant) -> bool:
    """For a while; True if there is nothing left to do. Raises what a step raises."""
    until = time.monotonic() + SLICE_S
    for count, waits in enumerate(steps):
        late = waits or time.monotonic() >= until
        if late or count % SETTLE_RUNS == 0:
            tenant.objects.settle()
        if late:
            return False
    tenant.objects.settle()
    return True


class Unprepare:
    """Drop what was prepared, if the session will not come."""

    def __init__(self, server: Server, request_id: str, request: Reply) -> None:
        self.request_id = request_id
        self._server = server
        self._name = str(request["session"])

    def poll(self) -> Reply:
        return {"dropped": drop_prepared(self._server, self._name)}


def drop_prepared(server: Server, name: str) -> bool:
    prepared = server.prepared.pop(name, None)
    if prepared is not None:
        with suppress(HalError):  # what it held may stay with the device
            prepared.tenant.release()
    return prepared is not None


def drop_forgotten(server: Server) -> None:
    """What nobody came for."""
    for name, prepared in tuple(server.prepared.items()):
        if time.monotonic() - prepared.touched_at > PREPARED_S:
            drop_prepared(server, name)


def check_part(server: Server, found: Checkpoint) -> None:
    """Raises CheckpointRefused."""
    part, info = found.snapshot.position.part, server.device.info
    if part != info.part:
        raise CheckpointRefused(
            f"checkpoint is of part {part!r}; {server.paths.name} is {info.part!r}: resume it on "
            "a device of its own part"
        )
