"""A server that begins while workers and askers are at its place already."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hal import open_device
from proxy import desk
from proxy.errors import ControlTimeout, ServerGone
from proxy.info import ServerInfo
from proxy.liveness import LifeLock
from proxy.loopback import Loopback
from proxy.paths import ServerPaths, write_atomically
from tests.waiting import until


def test_what_is_asked_of_one_that_still_begins_is_seen_by_it(root: Path) -> None:
    paths, lock = beginning(root)
    answers: list[desk.Reply] = []
    asker = threading.Thread(target=lambda: answers.append(desk.ask(paths, {"do": "it"}, 30)))
    asker.start()
    time.sleep(0.1)
    assert list(paths.control.iterdir()) == []  # what is there now, it would throw away
    announce(paths, 1)
    until(lambda: any(paths.control.glob("*.request")))
    ((request_id, request),) = desk.waiting_requests(paths)
    assert request == {"do": "it"}
    desk.reply(paths, desk.ServerPage(paths), request_id, {"done": 1})
    asker.join(30)
    assert answers == [{"done": 1}]
    lock.release()


def test_one_that_never_gets_ready_is_not_waited_for_without_end(root: Path) -> None:
    paths, lock = beginning(root)
    with pytest.raises(ControlTimeout, match="holds its lock, but does not serve"):
        desk.ask(paths, {"do": "it"}, 0.05)
    lock.release()


def test_an_asker_is_told_when_another_server_took_the_place(root: Path) -> None:
    paths, lock = beginning(root)
    announce(paths, 1)
    found: list[BaseException] = []

    def ask() -> None:
        try:
            desk.ask(paths, {"do": "it"}, 30)
        except ServerGone as error:
            found.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    until(lambda: any(paths.control.glob("*.request")))
    announce(paths, 2)
    asker.join(30)
    assert "died while it was asked to it" in str(found[0])
    lock.release()


def test_a_session_that_a_living_worker_is_making_is_left_to_it(root: Path) -> None:
    paths = ServerPaths.under(root, "cpu:0")
    paths.create()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(30)
    mine = paths.incoming / f".job.ab12.{os.getpid()}"
    others = [paths.incoming / f".job.ab12.{dead.pid}", paths.incoming / ".job.redo"]
    for path in (mine, *others):
        path.write_bytes(b"half made")
    loop = Loopback(open_device("cpu:0"), root, "cpu:0")
    assert list(paths.incoming.iterdir()) == [mine]
    loop.close()


def beginning(root: Path) -> tuple[ServerPaths, LifeLock]:
    paths = ServerPaths.under(root, "cpu:0")
    paths.create()
    return paths, LifeLock(paths.lock)


def announce(paths: ServerPaths, incarnation: int) -> None:
    with open_device("cpu:0") as device:
        info = ServerInfo(device.info, os.getpid(), incarnation)
    write_atomically(paths.info, info.to_json())
