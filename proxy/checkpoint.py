"""A snapshot as a record in a store, and back.

The record's body is JSON with every number of the snapshot and the digests of all its blobs: pieces
of buffers, hidden state, images, the overlay, what was undone. Reading checks the record, its
version, and that every blob it names is there, before anything is returned. The buffers' contents
are checked as they are read, once, some while others are used, so that memory stays bounded: who
restores fills a fresh context with them, and claims the session after the last one was right.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from hal.types import Seq
from proxy import records, wire
from proxy.bundles import pack_overlay, unpack_overlay
from proxy.errors import CheckpointRefused, ProxyError
from proxy.fabric import MAX_WEIGHT
from proxy.pending import Pending
from proxy.replay import ReplayLog
from proxy.session import Flight
from proxy.snapshot import Position, Snapshot
from proxy.store import Batch, Store

VERSION = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified snapshot; its buffers' contents are still in the store."""

    id: str
    snapshot: Snapshot
    pieces: dict[int, list[str]]  # buffer -> digests
    store: Store

    def contents(self, buffer: int) -> Iterator[memoryview]:
        """The buffer's bytes, piece by piece. Raises CheckpointRefused."""
        return self.store.get_all(self.pieces[buffer])


def write(snapshot: Snapshot, pieces: Mapping[int, list[str]], batch: Batch) -> str:
    """Commit it, by one last step; its id. `pieces`: its buffers', put already. Raises OSError."""
    put = batch.put
    body = {
        # who asked for a checkpoint may remove it: so none is another's, though nothing has changed
        "mark": os.urandom(8).hex(),
        "version": VERSION,
        "wire": records.VERSION,
        "position": asdict(snapshot.position),
        "log": snapshot.log.to_json(),
        "images": [put(image.payload) for image in snapshot.log.programs.values()],
        "overlay": None
        if snapshot.overlay is None
        else [snapshot.overlay.digest, put(pack_overlay(snapshot.overlay))],
        "hidden": None if snapshot.hidden is None else put(snapshot.hidden),
        "flights": [[f.seq, f.upto, f.completes, f.kernel] for f in snapshot.flights],
        "backlog": [[wire.encode(0, p.command).hex(), put(p.payload)] for p in snapshot.backlog],
        "undone": put(snapshot.undone),
        "payloads": [[offset, put(data)] for offset, data in snapshot.payloads],
        "inbox": put(snapshot.inbox),
        "outbox": put(snapshot.outbox),
        "error": snapshot.error,
        "clocks": put(snapshot.clocks) if snapshot.clocks else None,
        "prints": put(snapshot.prints) if snapshot.prints else None,
        "buffers": {str(handle): pieces[handle] for handle, _ in snapshot.log.contents()},
    }
    return batch.commit(json.dumps(body, sort_keys=True).encode())


def read(record: str, store: Store) -> Checkpoint:
    """Raises CheckpointRefused unless all of it is there, and all but its buffers is right."""
    raw = store.load(record)
    try:
        body = json.loads(raw)
        if body["version"] != VERSION or body["wire"] != records.VERSION:
            raise CheckpointRefused(
                f"checkpoint {record} is of version {body['version']}, wire {body['wire']}; this "
                f"release reads {VERSION}, {records.VERSION}"
            )
        store.refresh()
        missing = (digest for digest in blobs_of(raw) if not store.has(digest))
        for digest in islice(missing, 1):
            store.get(digest)  # says what is wrong
        return _checkpoint(record, body, store)
    except (
        AssertionError, AttributeError, KeyError, TypeError, ValueError, OverflowError,
        RecursionError,
    ) as error:  # fmt: skip
        raise CheckpointRefused(f"checkpoint {record} not understood: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Summary:
    """What a person wants to know of a checkpoint."""

    session: str
    part: str
    epoch: int
    buffers: int
    buffer_bytes: int


def summary(raw: bytes) -> Summary:
    """Of a record's body. Raises CheckpointRefused."""
    try:
        body = json.loads(raw)
        position, buffers = body["position"], body["log"]["buffers"]
        nbytes = sum(int(size) for _, size, _ in buffers)
        return Summary(
            str(position["session"]), str(position["part"]), int(position["epoch"]),
            len(buffers), nbytes,
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointRefused(f"a record of another kind: {error!r}") from error


def blobs_of(raw: bytes) -> Iterable[str]:
    """Digests of all blobs that a record's body names."""
    body = json.loads(raw)
    yield from body["images"]
    for single in ("hidden", "undone", "inbox", "outbox"):
        if body[single] is not None:
            yield body[single]
    for later in ("clocks", "prints"):  # releases before had none
        if body.get(later) is not None:
            yield body[later]
    if body["overlay"] is not None:
        yield body["overlay"][1]
    for _, digest in (*body["backlog"], *body["payloads"]):
        yield digest
    for digests in body["buffers"].values():
        yield from digests


def _checkpoint(record: str, body: dict[str, Any], store: Store) -> Checkpoint:
    get = store.get
    log = ReplayLog.from_json(body["log"], [get(digest) for digest in body["images"]])
    pieces = {int(handle): list(digests) for handle, digests in body["buffers"].items()}
    if [handle for handle, _ in log.contents()] != sorted(pieces):
        raise CheckpointRefused(f"checkpoint {record}: log and buffers do not match")
    for name, value in body["position"].items():
        if isinstance(value, int) and not 0 <= value < 2**64 - 1:
            raise CheckpointRefused(
                f"checkpoint {record}: {name} {value} is no number of a session"
            )
    if not 1 <= body["position"].get("weight", 1) <= MAX_WEIGHT:
        raise CheckpointRefused(f"checkpoint {record}: its weight is none of a session")
    overlay = body["overlay"]
    backlog = []
    for encoded, digest in body["backlog"]:
        try:
            command = wire.decode(bytes.fromhex(encoded))[1]
        except ProxyError as error:
            raise CheckpointRefused(f"checkpoint {record}: {error}") from error
        assert isinstance(command, records.Command)
        backlog.append(Pending(command, get(digest)))
    snapshot = Snapshot(
        position=Position(**body["position"]),
        log=log,
        overlay=None if overlay is None else unpack_overlay(get(overlay[1]), overlay[0]),
        hidden=None if body["hidden"] is None else get(body["hidden"]),
        flights=tuple(
            Flight(Seq(seq), upto, completes, kernel)
            for seq, upto, completes, kernel in body["flights"]
        ),
        backlog=tuple(backlog),
        undone=get(body["undone"]),
        payloads=tuple((offset, get(digest)) for offset, digest in body["payloads"]),
        inbox=get(body["inbox"]),
        outbox=get(body["outbox"]),
        error=body["error"],
        clocks=b"" if body.get("clocks") is None else get(body["clocks"]),
        prints=b"" if body.get("prints") is None else get(body["prints"]),
    )
    return Checkpoint(record, snapshot, pieces, store)
