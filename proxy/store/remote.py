"""Any place that fsspec reaches by URL, e.g. s3://bucket/folder, as a place for a store.

Such a place may have no rename: what is published is sent as one object, which is there when all
of it arrived. Nor has it locks: who writes leaves a lease there and looks for a collector, who
collects leaves one and looks for writers; each goes away if it finds the other. A lease whose
holder died is void: at once on this machine, on others after LEASE_S. fsspec is used here only.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec

from hal.errors import UsageError
from proxy.errors import StoreBusy
from proxy.liveness import ProcessId
from proxy.store.files import Stat, busy

LEASE_S = 6 * 3600.0  # longer than any checkpoint takes


class RemoteFiles:
    def __init__(self, url: str) -> None:
        """Raises UsageError for a URL that this installation cannot reach."""
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"store {url}: {error}") from error
        self._fs.use_listings_cache = False
        self.where = url
        self._spools = Path(tempfile.gettempdir())
        self._made: set[str] = set()  # folders

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        end = None if size is None else offset + size
        data: bytes = self._fs.cat_file(f"{self._root}/{name}", start=offset, end=end)
        return data

    def read_into(self, name: str, offset: int, views: Sequence[memoryview]) -> bool:
        size = sum(view.nbytes for view in views)
        data = memoryview(self.read(name, offset, size))
        for view in views if data.nbytes == size else ():
            view[:], data = data[: view.nbytes], data[view.nbytes :]
        return data.nbytes == 0

    def list(self, folder: str) -> dict[str, Stat]:
        found = {}
        self._fs.invalidate_cache()
        with suppress(FileNotFoundError):
            for info in self._fs.ls(f"{self._root}/{folder}", detail=True):
                if info["type"] == "file":
                    found[info["name"].rpartition("/")[2]] = Stat(info["size"], _changed(info))
        return found

    def spool(self, folder: str) -> Path:
        return self._spools / f"haltere-{os.getpid()}-{uuid.uuid4().hex}"

    def publish(self, spool: Path, name: str) -> None:
        self._make(name.rpartition("/")[0])
        self._fs.put_file(str(spool), f"{self._root}/{name}")
        spool.unlink()

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")

    def clean(self) -> None:
        """Spools lie in the folder for temporary files."""

    @contextmanager
    def lock(self, exclusive: bool) -> Iterator[None]:
        own = f"leases/{'collector' if exclusive else 'user'}-{uuid.uuid4().hex}"
        self._make("leases")
        own_id = ProcessId.own()
        lease = {
            "until": time.time() + LEASE_S,
            "on": _this_machine(),
            "pid": own_id.pid,
            "start": own_id.start_ticks,
        }
        self._fs.pipe_file(f"{self._root}/{own}", json.dumps(lease).encode())
        try:
            others = [name for name in self.list("leases") if name != own.rpartition("/")[2]]
            if any(self._holds(name) for name in others if exclusive or name.startswith("coll")):
                raise StoreBusy(busy(self.where, exclusive))
            yield
        finally:
            self.remove(own)

    def _make(self, folder: str) -> None:
        """A bucket is not made: whoever mistypes its name wants none. Raises FileNotFoundError."""
        if folder in self._made:
            return
        bucket = self._root.partition("/")[0]  # empty where paths begin with a slash
        if bucket and not self._fs.exists(bucket):
            raise FileNotFoundError(f"there is no {bucket!r}: make that bucket first")
        self._fs.makedirs(f"{self._root}/{folder}", exist_ok=True)
        self._made.add(folder)

    def _holds(self, name: str) -> bool:
        try:
            lease = json.loads(self.read(f"leases/{name}"))
            if lease.get("on") == _this_machine():
                return ProcessId(lease["pid"], lease["start"]).is_alive()
            return bool(lease["until"] > time.time())
        except FileNotFoundError:
            return False  # it has just been given back
        except (AttributeError, ValueError, KeyError, TypeError):
            return True


def _this_machine() -> str:
    """Where process ids mean the same."""
    return Path("/proc/sys/kernel/random/boot_id").read_text() + str(
        Path("/proc/self/ns/pid").readlink()
    )


def _changed(info: dict[str, object]) -> float:
    for key in ("mtime", "LastModified", "last_modified", "created"):
        found = info.get(key)
        if isinstance(found, int | float):
            return float(found)
        stamp = getattr(found, "timestamp", None)
        if stamp is not None:
            return float(stamp())
    return 0.0
