"""The store: all of a record or none of it, and never a wrong byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import names, noise, put

from hal.errors import UsageError
from proxy.errors import CheckpointRefused, StoreBusy
from proxy.store import Address, Store, address_of
from proxy.store.blobs import HEADER, RAW, Packed, digest_of, mark_of, pack, unpack
from proxy.store.garbage import collect, usage, verify

contents = st.one_of(
    st.binary(max_size=2000),
    st.integers(0, 200_000).map(bytes),
    st.integers(0, 200_000).map(noise),
    st.integers(0, 5000).map(lambda n: b"".join(b"%d " % i for i in range(n))),
)


@given(contents)
@settings(max_examples=60)
def test_a_blob_comes_back_as_it_was_however_it_is_packed(data: bytes) -> None:
    digest = digest_of(data)
    packed = pack(data, digest, mark_of(data))
    assert bytes(unpack(b"".join((packed.head, packed.stored)), digest, deep=True)) == data
    assert len(packed.stored) <= len(data) == packed.size


@given(st.lists(contents, max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_what_was_put_is_read_by_another_process_s_store(
    tmp_path_factory: pytest.TempPathFactory, data: list[bytes], chance: random.Random
) -> None:
    root = tmp_path_factory.mktemp("store")
    digests = put(Store(root), *data)
    wanted = chance.sample(range(len(data)), len(data))
    found = Store(root).get_runs([digests[i]] for i in wanted)
    other = Store(root)
    other.refresh()
    assert [bytes(view) for view in found] == [data[i] for i in wanted]
    assert all(other.has(digest) for digest in digests)
    whole = bytearray(sum(map(len, data)))
    Store(root).read_into([digests[i] for i in wanted], memoryview(whole))
    assert whole == b"".join(data[i] for i in wanted)


def test_the_same_bytes_are_stored_once_whoever_puts_them(address: Address) -> None:
    first = Store(address)
    put(first, noise(50_000), noise(50_000))
    put(Store(address), noise(50_000), b"other")
    found = usage(Store(address), names)
    assert (found.records, found.named_bytes) == (2, 150_005)
    assert found.stored_bytes < 52_000
    assert found.ratio > 2.9


def test_what_is_compressible_is_compressed_and_what_is_not_is_not(tmp_path: Path) -> None:
    put(Store(tmp_path / "text"), b"it was a dark and stormy night, " * 8000)
    assert usage(Store(tmp_path / "text"), names).stored_bytes < 5000
    put(Store(tmp_path / "noise"), noise(256_000))
    assert 256_000 < usage(Store(tmp_path / "noise"), names).stored_bytes < 256_300


def test_a_store_holds_many_packs(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.store.PACK_BYTES", 10_000)
    data = [noise(3000, seed) for seed in range(20)]
    digests = put(Store(address), *data)
    store = Store(address)
    assert len(store.files.list("packs")) == 5
    assert b"".join(store.get_all(digests)) == b"".join(data)


def test_what_was_named_by_sha256_is_read_and_verified_as_ever(address: Address) -> None:
    data = noise(5000)
    name = hashlib.sha256(data).hexdigest()
    head = HEADER.pack(b"HBLB", RAW, 5000, 5000, mark_of(data), bytes.fromhex(name))
    with Store(address).writing() as batch:
        batch.add([Packed(name, head, data, 5000)])
        batch.commit(name.encode())
    store = Store(address)
    (found,) = store.get_all([name])
    assert found == store.get(name) == data
    assert verify(store, names).damaged == ()


# ---- damage


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "empty", "header", "index", "folder"])
def test_a_damaged_blob_is_refused_by_name_and_stored_anew_when_put_again(
    tmp_path: Path, damage: str
) -> None:
    data = noise(2000)
    (digest,) = put(Store(tmp_path), data)
    (path,) = (tmp_path / "packs").iterdir()
    spoil(path, damage)
    store = Store(tmp_path)
    with pytest.raises(CheckpointRefused, match=rf"(?s){digest}.*--repair"):
        store.get(digest)
    with pytest.raises(CheckpointRefused, match=digest):
        Store(tmp_path).read_into([digest], memoryview(bytearray(2000)))
    put(store, data)
    assert Store(tmp_path).get(digest) == store.get(digest) == data


def test_of_a_blob_that_is_there_twice_the_whole_copy_is_read(tmp_path: Path) -> None:
    data = [noise(2000, seed) for seed in range(3)]
    one, other = Store(tmp_path), Store(tmp_path)
    with one.writing() as batch, other.writing() as same:  # neither knows of the other's
        digests = [batch.put(each) for each in data]
        for each in data:
            same.put(each)
        batch.commit(b"one")
        same.commit(b"other")
    for path in (tmp_path / "packs").iterdir():
        whole = path.read_bytes()
        spoil(path, "flip")
        for _ in range(2):  # whichever it looks at first
            assert b"".join(Store(tmp_path).get_all(digests)) == b"".join(data)
        path.write_bytes(whole)


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "empty", "header", "folder"])
def test_a_damaged_record_is_refused_and_others_are_not(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    with store.writing() as batch:
        good, bad = batch.commit(b"good"), batch.commit(b"bad" * 500)
    spoil(tmp_path / "records" / bad, damage)
    with pytest.raises(CheckpointRefused, match=bad):
        store.load(bad)
    assert store.load(good) == b"good"


def spoil(path: Path, damage: str) -> None:
    data = path.read_bytes()
    if damage in ("missing", "folder"):
        path.unlink()
        if damage == "folder":
            path.mkdir()
    elif damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        at = {"header": 2, "flip": len(data) // 2, "index": -60}[damage]
        changed = bytearray(data)
        changed[at] ^= 1
        path.write_bytes(changed)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_no_flipped_bit_of_a_pack_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, chance: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("store")
    data = [noise(300), b"text " * 300]
    digests = put(Store(root), *data)
    (path,) = (root / "packs").iterdir()
    raw = bytearray(path.read_bytes())
    bit = chance.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
    found = []
    for digest, right in zip(digests, data, strict=True):
        with suppress(CheckpointRefused):
            found.append(Store(root).get(digest) == right)
    assert all(found)
    assert len(found) < len(digests) or verify(Store(root), names).damaged


def test_verify_tells_what_is_damaged_and_repair_lets_it_be_stored_anew(address: Address) -> None:
    store = Store(address)
    kept, lost = put(store, noise(1000), noise(1000, 1))
    assert verify(store, names).damaged == ()
    (place,) = store.places(lost)
    raw = bytearray(store.files.read(f"packs/{place.pack}"))
    raw[place.offset + 100] ^= 1
    spool = store.files.spool("packs")
    spool.write_bytes(raw)
    store.files.publish(spool, f"packs/{place.pack}")
    found = verify(Store(address), names)
    assert (found.records, found.blobs, len(found.damaged)) == (1, 2, 2)
    assert lost in found.damaged[0] and "needs 1 blobs" in found.damaged[1]
    verify(Store(address), names, repair=True)
    again = Store(address)
    assert again.get(kept) == noise(1000)
    assert not again.has(lost)
    put(again, noise(1000, 1))
    assert verify(Store(address), names).damaged == ()


def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "secret").write_bytes(b"x")
    for name in ("../../secret", "", "0" * 63):
        with pytest.raises(CheckpointRefused):
            store.load(name)
        with pytest.raises(CheckpointRefused):
            store.get(name)


def test_a_url_that_nothing_here_reaches_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="nowhere"):
        Store("nowhere://bucket/store")
    assert address_of("memory://a/b") == "memory://a/b"
    assert address_of(Path("a")) == str(Path.cwd() / "a")


def test_a_file_url_is_its_folder_also_where_pathlib_has_folded_its_slashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = (tmp_path / "kept").as_uri()
    for address in (url, Path(url)):
        assert address_of(address) == str(tmp_path / "kept")
        put(Store(address), b"x")
        assert [path.name for path in tmp_path.iterdir()] == ["kept"]


# ---- garbage


def test_only_what_no_record_names_is_collected(address: Address) -> None:
    store = Store(address)
    with store.writing() as batch:
        kept, dead = batch.put(noise(3000)), batch.put(noise(9000, 1))
        batch.commit(kept.encode())
    found = collect(store, names)
    assert found.blobs == 1
    assert 9000 <= found.freed_bytes < 9200
    assert store.get(kept) == Store(address).get(kept) == noise(3000)
    for each in (store, Store(address)):
        with pytest.raises(CheckpointRefused):
            each.get(dead)
    assert collect(Store(address), names).freed_bytes == 0


def test_a_store_that_was_open_while_packs_were_written_anew_finds_its_blobs(
    address: Address,
) -> None:
    reader = Store(address)
    kept, _ = put(reader, noise(3000), noise(9000, 1))
    (old,) = reader.records()
    with Store(address).writing() as batch:
        batch.commit(kept.encode())
    reader.forget(old)
    collect(Store(address), names)
    assert reader.get(kept) == noise(3000)


def test_garbage_is_not_collected_while_someone_writes_or_restores(address: Address) -> None:
    """A writer relies on blobs that no record names yet."""
    store = Store(address)
    with store.writing() as batch:
        old = batch.put(noise(3000))
        batch.flush()
    with Store(address).writing() as batch:
        assert batch.put(noise(3000)) == old
        with pytest.raises(StoreBusy, match="being written"):
            collect(Store(address), names)
        batch.commit(old.encode())
    with store.reading(), pytest.raises(StoreBusy):
        collect(Store(address), names)
    with store.files.lock(exclusive=True), pytest.raises(StoreBusy, match="garbage"):
        put(store, b"x")
    collect(Store(address), names)
    assert Store(address).get(old) == noise(3000)


def test_a_lease_ends_with_who_held_it_or_on_another_machine_with_time() -> None:
    url = f"memory://leases-{os.getpid()}/store"
    store = Store(url)
    put(store, b"something")
    files = fsspec.filesystem("memory")
    left = f"{url.removeprefix('memory:/')}/leases/user-left"
    with store.writing():
        (lease,) = files.ls(f"{url.removeprefix('memory:/')}/leases", detail=False)
        held = json.loads(files.cat_file(lease))
    for changed, is_held in (
        ({}, True),
        ({"start": held["start"] + 1}, False),  # another process of the same number
        ({"on": "elsewhere", "start": 0}, True),
        ({"on": "elsewhere", "until": time.time() - 1}, False),
    ):
        files.pipe_file(left, json.dumps(held | changed).encode())
        if is_held:
            with pytest.raises(StoreBusy):
                collect(store, names)
        else:
            collect(store, names)


def test_a_bucket_that_is_not_there_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of object stores the first part of a path is one; here of a file system in memory."""
    store = Store(f"memory://bucket-{os.getpid()}/store")
    root = store.files._root.removeprefix("/")  # type: ignore[attr-defined]
    monkeypatch.setattr(store.files, "_root", root)
    with pytest.raises(FileNotFoundError, match=f"no 'bucket-{os.getpid()}': make that bucket"):
        put(store, b"something")
    fsspec.filesystem("memory").mkdir(f"/bucket-{os.getpid()}")
    put(store, b"something")


def test_two_writers_of_one_store_both_commit(address: Address) -> None:
    one, two = Store(address), Store(address)
    with one.writing() as first, two.writing() as second:
        digests = [first.put(noise(100)), second.put(noise(100)), second.put(noise(100, 1))]
        records = {first.commit(digests[0].encode()), second.commit(" ".join(digests).encode())}
    assert set(Store(address).records()) == records
    assert [Store(address).get(digest) for digest in digests[1:]] == [noise(100), noise(100, 1)]


def test_a_damaged_record_stops_collection_until_it_is_forgotten(address: Address) -> None:
    store = Store(address)
    (kept,) = put(store, noise(100))
    (record,) = store.records()
    spool = store.files.spool("records")
    spool.write_bytes(b"not a record")
    store.files.publish(spool, f"records/{record}")
    with pytest.raises(CheckpointRefused, match="use another"):
        collect(store, names)
    assert store.get(kept) == noise(100)
    store.forget(record)
    assert collect(store, names).blobs == 1
