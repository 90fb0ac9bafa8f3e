"""The store when its process dies at any step, and when the disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from stored import names, noise, put

from proxy.store import Address, Store
from proxy.store.blobs import digest_of
from proxy.store.garbage import collect, usage


class Crash(BaseException):
    """Stands for the process's death: nothing handles it."""


class Dying:
    """Called at each durable step of a store; lets so many of them happen."""

    def __init__(self, steps: int) -> None:
        self._left = steps
        self.is_dead = False

    def __call__(self, name: str) -> None:
        self._left -= 1
        self.is_dead = self._left < 0  # and stays so, whatever would clean up
        if self.is_dead:
            raise Crash


def test_a_crash_at_any_step_leaves_all_of_a_record_or_none_of_it(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill at step 0, 1, 2, ... until one run survives; look at what each death left."""
    monkeypatch.setattr("proxy.store.store.PACK_BYTES", 500)
    old = Store(address)
    with old.writing() as batch:
        before = batch.commit(batch.put(b"old").encode())
    outcomes = set()
    for fatal in range(100):
        dying = Dying(fatal)
        with suppress(Crash):
            put(Store(address, dying), b"%d" % fatal, b"more %d" % fatal, noise(600, fatal))
        found = Store(address)
        assert found.load(before) == digest_of(b"old").encode()
        new = [record for record in found.records() if record != before]
        outcomes.add(len(new))
        for record in new:
            for digest in names(found.load(record)):
                found.get(digest)
            found.forget(record)
        collect(found, names)
        assert usage(found, names).stored_bytes < 200
        if not dying.is_dead:
            break
    assert outcomes == {0, 1}


def test_a_crash_while_garbage_is_collected_loses_nothing(address: Address) -> None:
    for fatal in range(100):
        dying = Dying(fatal)
        store = Store(address)
        with store.writing() as batch:
            kept = [batch.put(noise(1000, seed)) for seed in (fatal, 1000 + fatal)]
            batch.put(noise(5000, 2000 + fatal))
            record = batch.commit("\n".join(kept).encode())
        with suppress(Crash):
            collect(Store(address, dying), names)
        left = Store(address)
        assert [left.get(name) for name in names(left.load(record))] == [
            noise(1000, fatal), noise(1000, 1000 + fatal),
        ]  # fmt: skip
        if not dying.is_dead:
            break
        left.forget(record)
    assert usage(Store(address), names).stored_bytes < 2400


SMALL = 4 << 20
FILL = """
import sys
from pathlib import Path
from proxy.store import Store
from proxy.store.garbage import collect
store = Store(Path(sys.argv[1]))
with store.writing() as batch:
    kept = batch.put(b"kept" * 1000)
    record = batch.commit(kept.encode())
for attempt in range(3):
    try:
        with store.writing() as batch:
            for number in range(100):
                batch.put(number.to_bytes(4, "little") + bytes.fromhex(sys.argv[2]) * 4096)
                batch.put(__import__("random").Random(number).randbytes(1 << 20))
            batch.commit(b"never")
        raise SystemExit("it fitted")
    except OSError as error:
        print(error.strerror)
assert store.records() == [record] == Store(Path(sys.argv[1])).records()
assert store.get(kept) == b"kept" * 1000
assert len(list(Path(sys.argv[1]).glob("packs/*"))) == 1
assert not list(Path(sys.argv[1]).glob("packs/.*"))
collect(store, lambda body: [body.decode()])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_leaves_no_half_record_and_nothing_that_takes_room(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["unshare", "-m", "sh", "-c",
         f'mount -t tmpfs -o size={SMALL} none "$1" && shift && exec "$@"', "sh", str(tmp_path),
         sys.executable, "-c", FILL, str(tmp_path), "00ff"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "mount" in mounted.stderr and "denied" in mounted.stderr:
        pytest.skip("no right to mount")
    assert mounted.returncode == 0, mounted.stderr
    assert mounted.stdout.split("\n")[:3] == ["No space left on device"] * 3
