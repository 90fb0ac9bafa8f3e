"""The state of a proxied context as its worker may save it: what `save_state` returns there.

It holds the device's hidden state and whatever the session has not handed to the device yet, with
handles replaced by positions among the live buffers and programs, so that it fits any session that
recreated them in order. Queued reads are left out: their destination is a worker's memory.

    "HALTPXS1", u64 length of a JSON head, the head, the device's state, payloads of writes,
    BLAKE2b digest of all before
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hal.errors import StateError
from hal.types import BufferArg, Handle
from proxy import records, wire
from proxy.errors import RemoteProtocolError

MAX_NUMBER = 2**63  # seqs rise from it and stay words of 64 bits
MAGIC = b"HALTPXS1"
DIGEST_BYTES = 32
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Pending:
    """One command that waits for the device, and the bytes it writes if it is a write."""

    command: records.Command
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class SavedState:
    hidden: bytes  # the device context's own
    last_seq: int  # of the device context
    completed: int  # of the worker's seqs
    flights: tuple[tuple[int, int], ...]  # device seq, worker's seq that completes with it
    pending: tuple[Pending, ...]  # handles are positions, from 1


def pack(state: SavedState) -> bytes:
    head = {
        "last_seq": state.last_seq,
        "completed": state.completed,
        "flights": state.flights,
        "hidden": len(state.hidden),
        "pending": [[wire.encode(0, p.command).hex(), len(p.payload)] for p in state.pending],
    }
    raw = json.dumps(head).encode()
    body = b"".join(
        (MAGIC, _LENGTH.pack(len(raw)), raw, state.hidden, *(p.payload for p in state.pending))
    )
    return body + hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


def unpack(data: bytes) -> SavedState:
    """Raises StateError for anything that `pack` did not make."""
    body, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if not body.startswith(MAGIC):
        raise StateError("state not saved through a proxy, or truncated: load it directly")
    if hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() != digest:
        raise StateError("saved state is damaged: its digest differs")
    try:
        at = len(MAGIC) + _LENGTH.size
        (length,) = _LENGTH.unpack_from(body, len(MAGIC))
        head = json.loads(body[at : at + length])
        at += length
        hidden = body[at : at + _number(head["hidden"], len(body) - at)]
        at += len(hidden)
        pending = []
        for record, nbytes in head["pending"]:
            command = wire.decode(bytes.fromhex(record))[1]
            assert isinstance(command, records.Command)
            pending.append(Pending(command, body[at : at + _number(nbytes, len(body) - at)]))
            at += nbytes
        flights = tuple((_number(seq), _number(completes)) for seq, completes in head["flights"])
        return SavedState(
            hidden, _number(head["last_seq"]), _number(head["completed"]), flights, tuple(pending)
        )
    except (
        AssertionError, KeyError, TypeError, ValueError, RecursionError, struct.error,
        RemoteProtocolError,
    ) as error:  # fmt: skip
        raise StateError(f"saved state not understood: {error!r}") from error


def _number(value: object, limit: int = MAX_NUMBER) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"{value!r} where a number from 0 to {limit} belongs")
    return value


def to_positions(
    commands: Iterable[Pending], buffers: Sequence[int], programs: Sequence[int]
) -> tuple[Pending, ...]:
    """Handles to positions. Raises StateError for what depends on objects being made or freed."""
    return tuple(
        Pending(
            _renamed(
                item.command,
                {handle: i + 1 for i, handle in enumerate(buffers)},
                {handle: i + 1 for i, handle in enumerate(programs)},
            ),
            item.payload,
        )
        for item in commands
        if not isinstance(
            item.command, records.Read | records.Alloc
        )  # allocs were done: see hoist_allocs
    )


def to_handles(
    commands: Iterable[Pending], buffers: Sequence[int], programs: Sequence[int]
) -> tuple[Pending, ...]:
    """Positions to handles. Raises StateError if there are not so many objects here."""
    return tuple(
        Pending(
            _renamed(
                item.command,
                {i + 1: handle for i, handle in enumerate(buffers)},
                {i + 1: handle for i, handle in enumerate(programs)},
            ),
            item.payload,
        )
        for item in commands
    )


def _renamed(
    command: records.Command, buffers: dict[int, int], programs: dict[int, int]
) -> records.Command:
    try:
        if isinstance(command, records.Write | records.WriteInline):
            return command._replace(buffer=buffers[command.buffer])
        if isinstance(command, records.Copy):
            return command._replace(source=buffers[command.source], target=buffers[command.target])
        if isinstance(command, records.Launch):
            args = tuple(
                BufferArg(Handle(buffers[arg.buffer]), arg.offset)
                if isinstance(arg, BufferArg)
                else arg
                for arg in command.args
            )
            return command._replace(program=programs[command.program], args=args)
        if isinstance(command, records.Signal):
            return command
    except KeyError as error:
        raise StateError(
            f"queued {type(command).__name__} names object {error}, which is not live: the state "
            "needs the same live buffers and programs, in the same order"
        ) from error
    raise StateError(
        f"{type(command).__name__} is queued behind a running kernel: halt before it was enqueued, "
        "or wait until it was taken"
    )
