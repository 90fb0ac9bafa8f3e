"""What a store holds, whether all of it is right, and removing what no record needs.

Reachability decides: a blob is needed if a record names it. Nobody may write or restore meanwhile
(the store's lock), for a writer relies on blobs that no record names yet. A pack of which little is
needed is written anew; it is removed after its successor is there, so that a crash leaves a blob
twice and never lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from proxy.errors import CheckpointRefused
from proxy.store import blobs
from proxy.store.blobs import HEADER, Damaged, Packed
from proxy.store.packs import PackWriter
from proxy.store.runs import Place
from proxy.store.store import NamesOf, Store

WASTE = 0.25  # of a pack; above it, it is written anew


@dataclass(frozen=True, slots=True)
class Usage:
    records: int
    named_bytes: int  # of all blobs that records name, counted each time
    distinct_bytes: int  # counted once
    needed_bytes: int  # as stored
    stored_bytes: int  # of all packs

    @property
    def ratio(self) -> float:
        """How many bytes of checkpoints one stored byte holds."""
        return self.named_bytes / self.needed_bytes if self.needed_bytes else 1.0


@dataclass(frozen=True, slots=True)
class Collected:
    blobs: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class Verified:
    records: int
    blobs: int
    damaged: tuple[str, ...]  # what is wrong, one sentence each


def usage(store: Store, names_of: NamesOf) -> Usage:
    """Raises CheckpointRefused for a record that cannot be read."""
    store.refresh()
    records = store.records()
    named = 0
    needed: dict[str, Place] = {}
    for record in records:
        for digest in names_of(store.load(record)):
            found = store.places(digest)
            if found:
                named += found[-1].size
                needed[digest] = found[-1]
    return Usage(
        records=len(records),
        named_bytes=named,
        distinct_bytes=sum(place.size for place in needed.values()),
        needed_bytes=sum(place.stored for place in needed.values()),
        stored_bytes=sum(stat.size for stat in store.files.list("packs").values()),
    )


def collect(store: Store, names_of: NamesOf) -> Collected:
    """Remove blobs that no record names. Raises StoreBusy; CheckpointRefused for a record that
    cannot be read, for what it needs is not known: forget it first."""
    with store.files.lock(exclusive=True):
        store.refresh()
        needed = {name for record in store.records() for name in names_of(store.load(record))}
        return _keep(store, needed)


def verify(store: Store, names_of: NamesOf, repair: bool = False) -> Verified:
    """Read all of it and compute every name. `repair`: remove damaged blobs, so that the next
    checkpoint stores them anew; records that need one can then be forgotten. Raises StoreBusy."""
    with store.files.lock(exclusive=repair):
        store.refresh()
        damaged = list(store.damaged_packs.values())
        bad: set[tuple[str, int]] = set()
        count = 0
        for digest, place in store.every_place():
            count += 1
            try:
                raw = store.files.read(f"packs/{place.pack}", place.offset, place.stored)
                blobs.unpack(raw, digest, deep=True)
            except (Damaged, OSError) as error:
                bad.add((place.pack, place.offset))
                damaged.append(f"blob {digest} in pack {place.pack}: {error}")
        records = store.records()
        for record in records:
            try:
                names = set(names_of(store.load(record)))
            except CheckpointRefused as error:
                damaged.append(str(error))
                continue
            lost = sum(
                all((place.pack, place.offset) in bad for place in store.places(name))
                for name in names
            )
            if lost:
                damaged.append(f"checkpoint {record} needs {lost} blobs that are not whole")
        if repair:
            good = {digest for digest, _ in store.every_place()}
            for name in tuple(store.damaged_packs):
                store.files.remove(f"packs/{name}")
            _keep(store, good, bad)
        return Verified(len(records), count, tuple(damaged))


def _keep(store: Store, needed: Iterable[str], bad: Collection[tuple[str, int]] = ()) -> Collected:
    """Remove all but the needed blobs' newest good copies."""
    chosen: dict[str, list[tuple[str, Place]]] = {}
    for digest in needed:
        good = [p for p in store.places(digest) if (p.pack, p.offset) not in bad]
        if good:
            chosen.setdefault(good[-1].pack, []).append((digest, good[-1]))
    before = sum(1 for _ in store.every_place())
    packs = store.files.list("packs")
    for name, stat in packs.items():
        kept = sorted(chosen.get(name, ()), key=lambda item: item[1].offset)
        if name in store.damaged_packs:
            continue  # it may be made whole; see `verify`
        live = sum(place.stored for _, place in kept)
        has_bad = any(pack == name for pack, _ in bad)
        if kept and live >= (1 - WASTE) * stat.size and not has_bad:
            continue
        if kept:
            _write_anew(store, kept)
        store.step("drop")
        store.files.remove(f"packs/{name}")
    store.files.clean()
    store.refresh()
    after = sum(1 for _ in store.every_place())
    left = sum(stat.size for stat in store.files.list("packs").values())
    freed = sum(stat.size for stat in packs.values()) - left
    return Collected(before - after, freed)


def _write_anew(store: Store, kept: list[tuple[str, Place]]) -> None:
    pack = PackWriter(store.files.spool("packs"))
    try:
        for digest, place in kept:
            raw = store.files.read(f"packs/{place.pack}", place.offset, place.stored)
            stored = memoryview(raw)[HEADER.size :]
            pack.add([Packed(digest, raw[: HEADER.size], stored, place.size)])
        pack.finish()
        store.step("pack")
        store.files.publish(pack.path, f"packs/{pack.path.name.lstrip('.')}")
    except BaseException:
        pack.abandon()
        raise
