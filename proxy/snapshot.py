"""The state of one session at one point, as a value, and how to take it from a tenant.

A snapshot is: the cut (the newest record taken; everything the device does not know yet is still
in the ring), buffers, hidden state, the compacted log, what is in flight inside the hidden state,
and the undone part of ring and arena, so that even a session whose file is lost can go on.
Buffers are not copied here: `pieces` reads them as they are stored, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hal.types import Overlay, Seq
from proxy.arena import arena_source
from proxy.errors import from_wire, to_wire
from proxy.pending import Pending
from proxy.replay import ReplayLog
from proxy.segment import Line
from proxy.session import Flight, ServerHalf
from proxy.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Position:
    """Where a session stands: numbers only."""

    session: str
    nonce: int  # of the session's file
    epoch: int
    durable: bool
    part: str  # of the device
    issued: int  # the cut
    retired: int
    completed: int  # the worker's newest completed seq
    newest_seq: int  # the worker's newest signalled seq
    last_seq: int  # the device context's
    tail: int  # ring bytes released
    halted: bool
    ring_bytes: int
    arena_bytes: int
    hoisted: tuple[int, ...]  # buffers allocated before their record's turn
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    position: Position
    log: ReplayLog
    overlay: Overlay | None
    hidden: bytes | None  # None: the context never had the fabric
    flights: tuple[Flight, ...]
    backlog: tuple[Pending, ...]
    undone: bytes  # of the ring
    payloads: tuple[tuple[int, bytes], ...]  # arena offset, bytes: what undone writes refer to
    inbox: bytes
    outbox: bytes
    error: dict[str, str] | None  # not told to the worker yet
    clocks: bytes = b""  # of commands that a worker had timed
    prints: bytes = b""  # of kernels, not fetched by it yet


def put_back(snapshot: Snapshot, tenant: Tenant) -> None:
    """All that is not its objects or numbers, into a tenant that has those. Raises HalError."""
    tenant.load_hidden(snapshot.hidden or b"", snapshot.position.last_seq)
    tenant.inbox[:] = snapshot.inbox
    tenant.outbox = snapshot.outbox
    tenant.halted = snapshot.position.halted
    tenant.objects.hoisted = set(snapshot.position.hoisted)
    tenant.queue_up(snapshot.backlog)
    tenant.know_clocks(snapshot.clocks)
    tenant.know_prints(snapshot.prints)
    tenant.half.error = None if snapshot.error is None else from_wire(snapshot.error)


Piece = Callable[[int, int, int], bytes | memoryview]  # (buffer, offset, size) -> its bytes


def halt(tenant: Tenant) -> bool:
    """True once the tenant stands still; False: not yet, let it drain. It takes nothing new."""
    tenant.draining = True
    return tenant.comes_to_rest()


def take(tenant: Tenant) -> tuple[Snapshot, Piece]:
    """Of a tenant for which `halt` was True. Raises HalError, RemoteProtocolError."""
    half, segment = tenant.half, tenant.segment
    position = Position(
        session=tenant.name,
        nonce=segment[Line.NONCE],
        epoch=tenant.epoch,
        durable=tenant.durable,
        part=tenant.fabric.device.info.part,
        issued=half.issued,
        retired=half.retired,
        completed=half.completed,
        newest_seq=half.newest_seq,
        last_seq=tenant.last_seq,
        tail=tenant.tail,
        halted=tenant.halted,
        ring_bytes=segment.ring_bytes,
        arena_bytes=segment.arena_bytes,
        hoisted=tuple(sorted(tenant.objects.hoisted)),
        weight=tenant.weight,
    )
    snapshot = Snapshot(
        position=position,
        log=tenant.objects.log,
        overlay=tenant.overlay,
        hidden=tenant.hidden_state(),
        flights=tuple(half.flights),
        backlog=tuple(tenant.backlog),
        undone=tenant.undone(),
        payloads=tuple(
            (source[0], item.payload)
            for item in tenant.waiting()[len(tenant.backlog) :]
            if (source := arena_source(item.command)) is not None
        ),
        inbox=bytes(tenant.inbox),
        outbox=tenant.outbox,
        error=None if half.error is None else to_wire(half.error),
        clocks=tenant.clocks(),
        prints=tenant.prints(),
    )
    return snapshot, piece_of(tenant)


def piece_of(tenant: Tenant) -> Piece:
    """How to read its buffers while it stands still."""

    def piece(buffer: int, offset: int, size: int) -> bytes | memoryview:
        return tenant.peek(buffer, offset, size)

    return piece


def half_of(snapshot: Snapshot) -> ServerHalf:
    """The protocol's state to go on from."""
    position = snapshot.position
    half = ServerHalf(position.issued, position.completed)
    half.retired = position.retired
    half.newest_seq = position.newest_seq
    half.flights.extend(
        Flight(Seq(flight.seq), flight.upto, flight.completes, flight.kernel)
        for flight in snapshot.flights
    )
    return half
