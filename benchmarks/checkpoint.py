"""What checkpoints cost: bytes against bytes that matter, and rates against the plain file system.

    python benchmarks/checkpoint.py [--device URI] [--mib N] [--rounds N] [--disk DIR] [--json FILE]

Bytes: four sessions with equal contents against one; a second checkpoint against the bytes that
changed. Rates, on data that cannot be compressed, on a disk and in /dev/shm, in alternating
rounds, best of each: storing blobs against write + fsync of one file, restoring them against
reading it, and the same through a server and a device. A table goes to the terminal, JSON with the
machine's facts to FILE or after the table. Files on the disk are read from the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from _machine import report

from hal import Context, Device
from proxy.client import connect
from proxy.control import Control
from proxy.gather import gather
from proxy.known import Changes, Known
from proxy.launcher import spawn
from proxy.store import Store
from proxy.store.pipeline import reuse_memory

MIB = 1 << 20
BLOCK_BYTES = 4 * MIB
BUFFERS = 16
REPLICAS = 4
CHANGED_BUFFERS = 2  # as a whole,
CHANGED_RANGES = 4  # and so many runs of bytes in others
RANGE_BYTES = 3 * MIB + 12345


@dataclass(frozen=True)
class Row:
    what: str
    ours: float
    peer: float
    unit: str
    aim: str
    ratio: float = 0.0


def row(what: str, ours: float, peer: float, unit: str, aim: str) -> Row:
    return replace(
        Row(what, round(ours, 2), round(peer, 2), unit, aim), ratio=round(ours / peer, 4)
    )


def noise(nbytes: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(nbytes)


# ---- bytes


def stored(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Session:
    """Its buffers, filled; one after another has an unknown third to be changed."""

    def __init__(self, device: Device, nbytes: int, seed: int) -> None:
        self.context: Context = device.open_context()
        self.sizes = nbytes // BUFFERS
        self.buffers = [self.context.alloc(self.sizes) for _ in range(BUFFERS)]
        for index, buffer in enumerate(self.buffers):
            self.context.write(buffer, noise(self.sizes, seed + index))
        self.context.finish()

    def change(self) -> int:
        """Bytes that differ afterwards."""
        changed = 0
        for index in range(CHANGED_BUFFERS):
            self.context.write(self.buffers[index], noise(self.sizes, 1000 + index))
            changed += self.sizes
        for index in range(CHANGED_BUFFERS, CHANGED_BUFFERS + CHANGED_RANGES):
            nbytes = min(RANGE_BYTES, self.sizes // 2)
            self.context.write(self.buffers[index], noise(nbytes, 2000 + index), 777_777)
            changed += nbytes
        self.context.finish()
        return changed


def bytes_rows(root: Path, name: str, control: Control, folder: Path, nbytes: int) -> Iterator[Row]:
    devices = [connect(name, root, f"replica{number}") for number in range(REPLICAS)]
    sessions = [Session(device, nbytes, 1) for device in devices]
    sizes = []
    for number in range(REPLICAS):
        control.snapshot(f"replica{number}", folder)
        sizes.append(stored(folder))
    yield row(
        f"{REPLICAS} equal replicas against one", sizes[-1] / MIB, sizes[0] / MIB, "MiB", "<= 1.02"
    )
    yield row("one against its buffers", sizes[0] / MIB, nbytes / MIB, "MiB", "")
    changed = sessions[0].change()
    begun = time.perf_counter()
    control.snapshot("replica0", folder)
    taken = time.perf_counter() - begun
    grown = stored(folder) - sizes[-1]
    yield row(
        "second checkpoint against what changed", grown / MIB, changed / MIB, "MiB", "<= 1.05"
    )
    begun = time.perf_counter()
    control.snapshot("replica0", folder)
    idle = time.perf_counter() - begun
    grown = stored(folder) - sizes[-1] - grown
    yield row("checkpoint of what did not change", grown / 1024, nbytes / 1024, "KiB", "")
    yield row("its time against the second's", idle * 1e3, taken * 1e3, "ms", "")
    for device in devices:
        device.close()


# ---- rates


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    into.append(time.perf_counter() - begun)


def plain_write(path: Path, data: bytes) -> None:
    with path.open("wb", buffering=0) as file:
        view = memoryview(data)
        for at in range(0, len(data), BLOCK_BYTES):
            file.write(view[at : at + BLOCK_BYTES])
        os.fsync(file.fileno())


def plain_read(path: Path, into: bytearray) -> None:
    with path.open("rb", buffering=0) as file:
        for at in range(0, len(into), BLOCK_BYTES):
            file.readinto(memoryview(into)[at : at + BLOCK_BYTES])


def cold(folder: Path) -> None:
    """Nothing of it stays in memory, where that is not its home."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def store_rows(folder: Path, where: str, nbytes: int, rounds: int) -> Iterator[Row]:
    """The store alone: names, compresses, writes; reads and checks."""
    data, into = noise(nbytes, 5), bytearray(nbytes)
    times: dict[str, list[float]] = {name: [] for name in ("put", "write", "get", "read")}
    for number in range(rounds):
        ours = folder / f"store{number}"
        _write_and_read(folder / "plain", data, into, times)
        _put_and_get(ours, data, times)
        shutil.rmtree(ours)
        data = data[1:] + data[:1]  # other pieces
    rate = {name: nbytes / MIB / min(found) for name, found in times.items()}
    yield row(
        f"{where}: store against write + fsync", rate["put"], rate["write"], "MiB/s", ">= 0.8"
    )
    yield row(f"{where}: restore against read", rate["get"], rate["read"], "MiB/s", ">= 0.8")


def _put_and_get(folder: Path, data: bytes, times: dict[str, list[float]]) -> None:
    store = Store(folder)
    view = memoryview(data)
    with timed(times["put"]), store.writing() as batch:
        found = gather(
            {1: len(data)}, lambda _, at, size: view[at : at + size], Known(), Changes(), batch
        )
        batch.commit(json.dumps(found.pieces).encode())
    cold(folder)
    fresh = Store(folder)
    into = bytearray(len(data))
    with timed(times["get"]):
        fresh.refresh()
        fresh.read_into(found.pieces[1], memoryview(into))
    assert into == data


def _write_and_read(
    path: Path, data: bytes, into: bytearray, times: dict[str, list[float]]
) -> None:
    with timed(times["write"]):
        plain_write(path, data)
    cold(path.parent)
    with timed(times["read"]):
        plain_read(path, into)
    path.unlink()


def session_rows(
    root: Path, names: list[str], folder: Path, where: str, nbytes: int, rounds: int
) -> Iterator[Row]:
    """Through a server: from the device's memory, and into that of another server."""
    times: dict[str, list[float]] = {name: [] for name in ("put", "write", "get", "read")}
    data, into = noise(nbytes, 6), bytearray(nbytes)
    for number in range(rounds):
        with connect(names[0], root, "job") as device:
            Session(device, nbytes, 10_000 * (number + 1))
            ours = folder / f"session{number}"
            with timed(times["put"]):
                cut = Control(root, names[0]).suspend("job", ours)
            cold(ours)
            with timed(times["get"]):
                Control(root, names[1]).resume("job", cut, ours)
        _write_and_read(folder / "plain", data, into, times)
        shutil.rmtree(ours)
    rate = {name: nbytes / MIB / min(found) for name, found in times.items()}
    yield row(f"{where}: suspend against write + fsync", rate["put"], rate["write"], "MiB/s", "")
    yield row(f"{where}: resume against read", rate["get"], rate["read"], "MiB/s", "")


def measure(device: str, nbytes: int, rounds: int, disk: Path | None) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="haltere-b-", dir="/dev/shm") as memory:
        root = Path(memory) / "root"
        names = [device, f"{device}-twin"]
        servers = [spawn(device, root, name, tied=True) for name in names]
        try:
            with tempfile.TemporaryDirectory(prefix="haltere-b-", dir=disk) as found:
                rows += bytes_rows(root, device, Control(root, device), Path(found) / "s", nbytes)
                for where, folder in (("disk", Path(found)), ("/dev/shm", Path(memory))):
                    rows += store_rows(folder, where, nbytes, rounds)
                    rows += session_rows(root, names, folder, where, nbytes, rounds)
        finally:
            for server in servers:
                server.stop()
    return rows


def table(rows: list[Row]) -> str:
    lines = [f"{'':44}{'ours':>12}{'peer':>12} {'':6}{'ratio':>8}  aim"]
    for each in rows:
        lines.append(
            f"{each.what:44}{each.ours:12}{each.peer:12} {each.unit:6}{each.ratio:8}  {each.aim}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="opencl:0", help="URI of the device (opencl:0)")
    parser.add_argument("--mib", type=int, default=256, help="size of a session's buffers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--disk", type=Path, help="a folder on the disk to measure")
    parser.add_argument("--json", type=Path, help="write the JSON here")
    given = parser.parse_args()
    reuse_memory()
    rows = measure(given.device, given.mib * MIB, given.rounds, given.disk)
    found = {"benchmark": "checkpoint", "device": given.device, "mib": given.mib}
    print(f"checkpoints of {given.mib} MiB on {given.device}, best of {given.rounds} rounds")
    print(table(rows))
    report({**found, "rows": [asdict(each) for each in rows]}, given.json)


if __name__ == "__main__":
    main()
