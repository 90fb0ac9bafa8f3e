"""Where things lie: the root directory that servers and workers share, and the rules for names.

    <root>/servers/<name>/lock       flock held while the server lives
                         /keeper     flock held while another is started if it is killed
                         /info.json  what it serves; written last, by rename
                         /opencl.records  what an OpenCL device's driver says of it
                         /bell       one page: its doorbell
                         /incoming/  session files put here by workers, by rename
                         /sessions/  session files it serves
                         /redo/      what its sessions did since their checkpoints
                         /control/   control requests and replies, by rename
    <root>/parked/                   session files of suspended sessions
    <root>/whereabouts/              where jobs that were moved are now

Everything under one root must be one file system, for files move by rename. Knows no contents.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.errors import LocalProtocolError

ROOT_VARIABLE = "HALTERE_PROXY_ROOT"
SESSION_VARIABLE = "HALTERE_SESSION"
QUANTUM_VARIABLE = "HALTERE_QUANTUM_CYCLES"
CORE_VARIABLE = "HALTERE_CORE"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.\-]{0,99}")  # 100: fits a file name with a suffix


def default_root() -> Path:
    """HALTERE_PROXY_ROOT, else a directory of this user in shared memory."""
    given = os.environ.get(ROOT_VARIABLE)
    return Path(given) if given else Path(f"/dev/shm/haltere-{os.getuid()}")


def checked_name(name: str, what: str) -> str:
    """`name` if it can safely be a file name. Raises LocalProtocolError."""
    if not _NAME.fullmatch(name):
        raise LocalProtocolError(
            f"{what} {name!r}: use 1 to 100 letters, digits, ':', '_', '.', '-', starting with a "
            "letter or digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class ServerPaths:
    """The files of one server."""

    home: Path

    @classmethod
    def under(cls, root: Path, name: str) -> ServerPaths:
        return cls(root / "servers" / checked_name(name, "server"))

    @property
    def root(self) -> Path:
        return self.home.parent.parent

    @property
    def name(self) -> str:
        return self.home.name

    @property
    def lock(self) -> Path:
        return self.home / "lock"

    @property
    def keeper(self) -> Path:
        return self.home / "keeper"

    @property
    def info(self) -> Path:
        return self.home / "info.json"

    @property
    def opencl_values(self) -> Path:
        return self.home / "opencl.records"

    @property
    def bell(self) -> Path:
        return self.home / "bell"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def incoming(self) -> Path:
        return self.home / "incoming"

    @property
    def sessions(self) -> Path:
        return self.home / "sessions"

    @property
    def redo(self) -> Path:
        return self.home / "redo"

    @property
    def control(self) -> Path:
        return self.home / "control"

    def create(self) -> None:
        for folder in (self.incoming, self.sessions, self.redo, self.control, parked(self.root)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def all_servers(root: Path) -> list[ServerPaths]:
    """Every server that ever announced itself under `root`, by name."""
    try:
        return [ServerPaths(home) for home in sorted((root / "servers").iterdir())]
    except FileNotFoundError:
        return []


def parked(root: Path) -> Path:
    return root / "parked"


def discard(path: Path) -> None:
    """Remove what somebody put there, whatever it is; what cannot be removed stays."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """All of `data` at `path`, or nothing. For files in shared memory: no fsync."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
