"""A durable store: blobs by content, in packs, and records that name them.

    packs/<id>      immutable, see packs
    records/<id>    "haltere-record 2 <id>\\n" and the compressed body; id = digest of the body

A record is committed by ONE last step (a rename; on an object store, one PUT), after every pack it
needs is durable, so that a crash at any moment leaves either the record and all of its blobs, or
neither and some unreachable blobs, which `garbage.collect` removes. Whatever is read is checked:
torn and flipped bytes are refused, never returned. Many processes may use one store at once: each
reads the indexes of the packs that it does not know yet. What the bytes mean, it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock

from proxy.errors import CheckpointRefused
from proxy.store import blobs
from proxy.store.blobs import Bytes, Damaged, Packed, digest_of, mark_of
from proxy.store.files import Files, LocalFiles, Stat, Step
from proxy.store.packs import PACK_BYTES, Entry, PackWriter, read_index
from proxy.store.pipeline import ahead
from proxy.store.runs import RUN_BLOBS, Place, Wanted, fill, room

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAGIC = b"haltere-record 2 "
REPAIR = "`haltere store verify --repair` drops what is damaged, so that it is stored anew"
THREADS = 2  # one reads or computes while another does; the device and the disk wait for neither

Address = str | Path


def address_of(given: Address) -> str:
    """A path, made absolute, or a URL, as text that means the same in any process."""
    text = _plain(str(given))
    return text if "://" in text else str(Path(text).absolute())


def open_files(address: Address, step: Step) -> Files:
    text = _plain(str(address))
    if "://" not in text:
        return LocalFiles(Path(text), step)
    from proxy.store.remote import RemoteFiles  # fsspec is needed for these only

    return RemoteFiles(text)


def _plain(text: str) -> str:
    """A file: URL as a path; of `file:///a`, pathlib leaves `file:/a`."""
    return text.removeprefix("file://" if text.startswith("file://") else "file:")


class Store:
    def __init__(self, address: Address, step: Step = lambda name: None) -> None:
        """`address`: a folder or a URL. `step` is told before each durable step; a test may kill
        the process there. Raises UsageError for a URL that cannot be reached."""
        self.files = open_files(address, step)
        self.step = step
        self.threads = ThreadPoolExecutor(THREADS, "store")  # begun when they are needed
        self.writer = ThreadPoolExecutor(1, "writer")
        self._refreshing = Lock()
        self._packs: dict[str, Stat] = {}
        self._places: dict[str, list[Place]] = {}
        self.damaged_packs: dict[str, str] = {}  # pack, what is wrong with it

    # ---- reading

    def get(self, digest: str) -> bytes:
        """Raises CheckpointRefused for bytes that are missing or not what was stored."""
        return bytes(self._get(digest))

    def get_all(self, digests: Iterable[str]) -> Iterator[memoryview]:
        """As `get`: many, one after another, in pieces that need not be theirs."""
        return self.get_runs(_batches(digests, RUN_BLOBS))

    def get_runs(self, runs: Iterable[list[str]]) -> Iterator[memoryview]:
        """As `get`: the blobs of each run in one piece, with bounded memory, some read while one
        is used."""
        return ahead(self.threads, self._get_run, runs)

    def read_into(self, digests: Iterable[str], target: memoryview) -> None:
        """The blobs one after another, straight into `target`, which is as long as they are."""

        def parts() -> Iterator[tuple[list[str], memoryview]]:
            at = 0
            for run in _batches(digests, RUN_BLOBS):
                nbytes = sum(self._place(digest).size for digest in run)
                yield run, target[at : at + nbytes]
                at += nbytes

        for _ in ahead(self.threads, lambda part: self._fill(*part), parts()):
            pass

    def has(self, digest: str) -> bool:
        """True if it can be read, as far as is known."""
        return digest in self._places

    def places(self, digest: str) -> list[Place]:
        return self._places.get(digest, [])

    def every_place(self) -> Iterator[tuple[str, Place]]:
        for digest, places in list(self._places.items()):
            for place in places:
                yield digest, place

    def refresh(self) -> None:
        """Read the indexes of packs that are new. Raises CheckpointRefused."""
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        try:
            there = self.files.list("packs")
        except OSError as error:
            raise self._unreadable(error) from error
        gone = {name for name, stat in self._packs.items() if there.get(name) != stat}
        if gone:
            self._forget_packs(gone)
        for name, stat in there.items():
            if name in self._packs:
                continue
            try:
                for entry in read_index(self.files, name, stat.size):
                    self._learn(name, entry)
            except Damaged as error:
                self.damaged_packs[name] = str(error)
            except FileNotFoundError:
                continue  # collected meanwhile
            except OSError as error:
                self.damaged_packs[name] = f"pack {name} cannot be read: {error}"
            self._packs[name] = stat

    def _get_run(self, digests: list[str]) -> memoryview:
        into = room(sum(self._place(digest).size for digest in digests))
        self._fill(digests, into)
        return into

    def _fill(self, digests: list[str], into: memoryview) -> None:
        wanted = []
        for digest in digests:
            place = self._place(digest)
            wanted.append(Wanted(digest, place, into[: place.size]))
            into = into[place.size :]
        fill(self.files, self._get, wanted)

    def _place(self, digest: str) -> Place:
        places = self._places.get(digest)
        if places is None:
            self._get(digest)  # says what is wrong, or finds it
            places = self._places[digest]
        return places[-1]

    def _get(self, digest: str) -> memoryview:
        if not _DIGEST.fullmatch(digest):
            raise CheckpointRefused(f"{digest!r} is not a digest")
        why: list[str] = []
        for look in range(2):
            if look or digest not in self._places:
                self.refresh()  # packs may have been written anew since
            for place in reversed(self.places(digest)):
                try:
                    raw = self.files.read(f"packs/{place.pack}", place.offset, place.stored)
                    return blobs.unpack(raw, digest)
                except (Damaged, OSError) as error:
                    why.append(f"in pack {place.pack}: {error}")
        why = why or list(self.damaged_packs.values()) or ["no pack has it"]
        self._places.pop(digest, None)  # whoever puts it now puts it anew
        raise CheckpointRefused(
            f"blob {digest} is missing from {self.files.where} or damaged "
            f"({why[-1]}): use another checkpoint; {REPAIR}"
        )

    def _learn(self, pack: str, entry: Entry) -> None:
        self._places.setdefault(entry.digest, []).append(Place(pack, *entry[1:]))

    def _forget_packs(self, gone: set[str]) -> None:
        for name in gone:
            del self._packs[name]
            self.damaged_packs.pop(name, None)
        for digest, places in list(self._places.items()):
            left = [place for place in places if place.pack not in gone]
            if left:
                self._places[digest] = left
            else:
                del self._places[digest]

    def _unreadable(self, error: OSError) -> CheckpointRefused:
        return CheckpointRefused(f"store {self.files.where} cannot be read: {error}")

    # ---- records

    def load(self, record: str) -> bytes:
        """The body of a record. Raises CheckpointRefused."""
        if not _DIGEST.fullmatch(record):
            raise CheckpointRefused(f"{record!r} is not the id of a checkpoint")
        where = self.files.where
        try:
            raw = self.files.read(f"records/{record}")
        except FileNotFoundError:
            raise CheckpointRefused(f"no checkpoint {record} in {where}") from None
        except OSError as error:
            raise CheckpointRefused(
                f"checkpoint {record} in {where} cannot be read: {error}"
            ) from error
        head = _head(record)
        try:
            if raw.startswith(head):
                return bytes(blobs.unpack(raw[len(head) :], record, deep=True))
            why = "it does not begin as one"
        except Damaged as error:
            why = str(error)
        raise CheckpointRefused(f"checkpoint {record} in {where} is damaged: {why}; use another")

    def records(self) -> list[str]:
        """Ids, oldest first."""
        return list(self.dated())

    def dated(self) -> dict[str, float]:
        """Ids, oldest first, and when each was committed, in s since 1970."""
        found = self.files.list("records").items()
        dated = sorted((stat.changed, name) for name, stat in found if _DIGEST.fullmatch(name))
        return {name: changed for changed, name in dated}

    def find(self, beginning: str) -> str:
        """The one record whose id begins so. Raises CheckpointRefused."""
        found = [record for record in self.dated() if record.startswith(beginning)]
        if len(found) == 1:
            return found[0]
        some = f"{len(found)} begin so" if found else "none begins so"
        raise CheckpointRefused(f"checkpoint {beginning!r} in {self.files.where}: {some}")

    def forget(self, record: str) -> None:
        """Remove a record; its blobs go with the next collection of garbage."""
        if _DIGEST.fullmatch(record):
            self.files.remove(f"records/{record}")

    # ---- writing

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """Nothing is collected meanwhile. Raises StoreBusy."""
        with self.files.lock(exclusive=False):
            yield self

    @contextmanager
    def writing(self) -> Iterator[Batch]:
        """To put blobs and commit one record. What is not committed by its end is removed.
        Raises StoreBusy, OSError."""
        with ExitStack() as held:
            held.enter_context(self.files.lock(exclusive=False))
            self.refresh()
            batch = Batch(self)
            held.callback(batch.abandon)
            yield batch

    def adopt(self, pack: str, entries: list[Entry]) -> None:
        """A pack that was just published."""
        self._packs[pack] = self.files.list("packs")[pack]
        for entry in entries:
            self._learn(pack, entry)


class Batch:
    """Blobs on their way into the store, and the record that will name them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.stored_bytes = 0  # that this batch added, packed
        self._pack: PackWriter | None = None
        self._here: set[str] = set()  # in the open pack

    def has(self, digest: str) -> bool:
        return digest in self._here or self.store.has(digest)

    def put(self, data: Bytes) -> str:
        """Store bytes; their digest. Raises OSError."""
        digest = digest_of(data)
        if not self.has(digest):
            self.add([blobs.pack(data, digest, mark_of(data))])
        return digest

    def add(self, packed: Iterable[Packed]) -> None:
        """Store those that are not there; at most MAX_BLOBS. Raises OSError."""
        fresh = {blob.digest: blob for blob in packed if not self.has(blob.digest)}
        if not fresh:
            return
        self.store.step("blob")
        if self._pack is None:
            self._pack = PackWriter(self.store.files.spool("packs"))
        self._here |= fresh.keys()
        self._pack.add(list(fresh.values()))
        if self._pack.size >= PACK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Make durable, and readable for others, what was put so far. Raises OSError."""
        pack = self._pack
        if pack is None:
            return
        pack.finish()
        self.store.step("pack")
        name = pack.path.name.lstrip(".")
        self.store.files.publish(pack.path, f"packs/{name}")
        self.stored_bytes += pack.size
        self._pack = None
        self.store.adopt(name, pack.entries)
        self._here.clear()

    def commit(self, body: bytes) -> str:
        """Make a record durable; its id. All blobs it names must have been put. Raises OSError."""
        self.flush()
        record = digest_of(body)
        files = self.store.files
        spool = files.spool("records")
        self.store.step("commit")
        try:
            packed = blobs.pack(body, record, mark_of(body))
            whole = b"".join((_head(record), packed.head, packed.stored))
            spool.write_bytes(whole)
            files.publish(spool, f"records/{record}")
        except OSError:
            with suppress(OSError):
                spool.unlink(missing_ok=True)
            raise
        self.store.step("committed")
        self.stored_bytes += len(whole)
        return record

    def abandon(self) -> None:
        """Drop what was neither flushed nor committed."""
        if self._pack is not None:
            self._pack.abandon()
            self._pack = None


def _head(record: str) -> bytes:
    return _MAGIC + record.encode() + b"\n"


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


NamesOf = Callable[[bytes], Iterable[str]]
