"""Control requests and their replies, as files that appear by rename: both ends.

`<id>.request` holds {"do": name, ...}; the server answers with `<id>.reply`, {"ok": ...} or
{"error": ...}, and removes the request. Bell words on the server's page wake either side. Requests
may come from any process of the same user; what they ask for is the operations' business.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import time
from typing import Any

from proxy.doorbell import Bell
from proxy.errors import AnyError, ControlTimeout, ServerGone, from_wire, to_wire
from proxy.info import ServerInfo, read_info
from proxy.liveness import holder_lives
from proxy.paths import ServerPaths, discard, write_atomically

BELL_AT, ANSWER_AT = 0, 64
PAGE_BYTES = 4096
TICK_S = 0.2  # how soon a dead server is noticed
START_TICK_S = 0.01  # of waiting for one that begins
_REQUEST = re.compile(r"[0-9a-f]{16}\.request")
Reply = dict[str, Any]


class ServerPage:
    """The server's own page of shared memory: the bell that wakes it, the bell of its answers."""

    def __init__(self, paths: ServerPaths) -> None:
        fd = os.open(paths.bell, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < PAGE_BYTES:
                os.posix_fallocate(fd, 0, PAGE_BYTES)
            self._memory = mmap.mmap(fd, PAGE_BYTES)
        finally:
            os.close(fd)
        self.bell = Bell(self._memory, BELL_AT)
        self.answers = Bell(self._memory, ANSWER_AT)


def waiting_requests(paths: ServerPaths) -> list[tuple[str, Reply]]:
    """(id, request) of what waits, removed from the desk. Damaged ones are dropped."""
    found = []
    for path in sorted(paths.control.iterdir()):
        if not _REQUEST.fullmatch(path.name):
            continue
        try:
            request = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            request = None
        discard(path)
        if isinstance(request, dict):
            found.append((path.stem, request))
    return found


def reply(paths: ServerPaths, page: ServerPage, request_id: str, answer: Reply | AnyError) -> None:
    value = {"ok": answer} if isinstance(answer, dict) else {"error": to_wire(answer)}
    write_atomically(paths.control / f"{request_id}.reply", json.dumps(value).encode())
    page.answers.ring()


def ask(paths: ServerPaths, request: Reply, timeout_s: float) -> Reply:
    """The server's answer. Raises what it raised; ServerGone, ControlTimeout."""
    give_up = time.monotonic() + timeout_s
    asked = _ready(paths, give_up)
    page = ServerPage(paths)
    request_id = os.urandom(8).hex()
    answer = paths.control / f"{request_id}.reply"
    write_atomically(paths.control / f"{request_id}.request", json.dumps(request).encode())
    page.bell.ring()
    while True:
        seen = page.answers.value
        gone = not holder_lives(paths.lock) or read_info(paths.info) != asked
        try:
            raw = answer.read_bytes()
            break
        except FileNotFoundError:
            pass
        left = give_up - time.monotonic()
        if left <= 0:
            raise ControlTimeout(f"{paths.name} did not answer {request['do']!r} in {timeout_s} s")
        if gone:
            raise ServerGone(f"server {paths.name} died while it was asked to {request['do']}")
        page.answers.sleep(seen, min(left, TICK_S))
    answer.unlink(missing_ok=True)
    value = json.loads(raw)
    if "error" in value:
        raise from_wire(value["error"])
    ok: Reply = value["ok"]
    return ok


def _ready(paths: ServerPaths, give_up: float) -> ServerInfo:
    """The server that will see what is asked from now on: while it begins, it clears its desk."""
    while holder_lives(paths.lock):
        if info := read_info(paths.info):
            return info
        if time.monotonic() > give_up:
            raise ControlTimeout(f"{paths.name} holds its lock, but does not serve")
        time.sleep(START_TICK_S)
    raise ServerGone(f"no server of {paths.name} runs: start one (haltere proxy)")
