"""The store: all of a record or none of it, and never a wrong byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import CheckpointRefused
from proxy.store import Store, digest_of


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@given(st.binary(max_size=2000))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_come_back_as_they_were(tmp_path: Path, data: bytes) -> None:
    store = Store(tmp_path)
    digest = store.put(data)
    assert store.put(data) == digest == digest_of(data)
    assert store.get(digest) == data


def test_equal_pieces_are_stored_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digests = store.put_chunked(9 << 20, lambda offset, size: bytes(size))
    assert len(digests) == 3
    assert len(files(tmp_path)) == 2
    assert b"".join(store.get_chunked(digests)) == bytes(9 << 20)


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "empty"])
def test_a_damaged_blob_is_refused_and_stored_anew_when_put_again(
    tmp_path: Path, damage: str
) -> None:
    store = Store(tmp_path)
    data = bytes(range(200))
    digest = store.put(data)
    (path,) = files(tmp_path)
    spoil(path, damage)
    with pytest.raises(CheckpointRefused, match=digest):
        store.get(digest)
    store.put(data)
    assert store.get(digest) == data


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "empty"])
def test_a_damaged_record_is_refused_and_others_are_not(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    good, bad = store.commit(b"good"), store.commit(b"bad")
    spoil(tmp_path / "records" / bad, damage)
    with pytest.raises(CheckpointRefused, match=bad):
        store.load(bad)
    assert store.load(good) == b"good"


def test_what_cannot_be_read_is_refused_like_what_is_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    blob, record = store.put(b"x"), store.commit(b"y")
    for path in files(tmp_path):
        path.unlink()
        path.mkdir()
    with pytest.raises(CheckpointRefused, match="cannot be read"):
        store.get(blob)
    with pytest.raises(CheckpointRefused, match="cannot be read"):
        store.load(record)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointRefused, match="cannot be read"):
        Store(tmp_path / "file").load(record)


def spoil(path: Path, damage: str) -> None:
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.write_bytes(bytes((data[0] ^ 1,)) + data[1:])


def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "secret").write_bytes(b"x")
    for name in ("../../secret", "", "0" * 63):
        with pytest.raises(CheckpointRefused):
            store.load(name)
        with pytest.raises(CheckpointRefused):
            store.get(name)


class Crash(BaseException):
    """Stands for the process's death: nothing handles it."""


def test_a_crash_at_any_step_leaves_all_of_a_record_or_none_of_it(tmp_path: Path) -> None:
    """Kill at step 0, 1, 2, ... until one run survives; look at what each death left."""
    old = Store(tmp_path)
    before = old.commit(old.put(b"old").encode())
    outcomes = set()
    for fatal in range(100):
        steps = 0

        def step(name: str, fatal: int = fatal) -> None:
            nonlocal steps
            steps += 1
            if steps > fatal:
                raise Crash

        store = Store(tmp_path, step)
        body = b""
        try:
            body = f"{store.put(b'%d' % fatal)} {store.put(b'more %d' % fatal)}".encode()
            store.commit(body)
        except Crash:
            pass
        found = Store(tmp_path)
        assert found.load(before) == digest_of(b"old").encode()
        new = [record for record in found.records() if record != before]
        outcomes.add(len(new))
        for record in new:
            for digest in found.load(record).decode().split():
                found.get(digest)
            found.forget(record)
        if steps <= fatal:
            break
    assert outcomes == {0, 1}


def test_only_what_no_record_names_is_collected(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept, dead = store.put(b"kept"), store.put(b"dead")
    store.commit(kept.encode())

    def names(body: bytes) -> list[str]:
        return [body.decode()]

    assert store.collect(names) == 0, "a young blob may be part of a commit under way"
    assert store.collect(names, grace_s=-1) == 1
    assert store.get(kept) == b"kept"
    with pytest.raises(CheckpointRefused):
        store.get(dead)
