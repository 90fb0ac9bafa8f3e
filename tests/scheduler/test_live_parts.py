"""Parts of the live executor by themselves: inbox, watcher, worker, names of sessions."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scheduler.core import events
from scheduler.core.values import JobSpec
from scheduler.live.inbox import MAX_BATCH, Inbox
from scheduler.live.sessions import members
from scheduler.live.watch import Watcher
from scheduler.live.worker import Worker
from tests.waiting import until

PATIENCE_S = 30.0


def test_events_come_out_in_order_of_their_time_and_in_bounded_batches() -> None:
    inbox = Inbox()

    def post(job: int) -> None:
        for _ in range(200):
            inbox.post(lambda at: events.CancelRequested(at, job))

    threads = [threading.Thread(target=post, args=(job,)) for job in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batches = []
    while batch := inbox.poll(0):
        batches.append(batch)
    assert max(map(len, batches)) == MAX_BATCH
    stamps = [event.at_us for batch in batches for event in batch]
    assert len(stamps) == 800 and stamps == sorted(stamps)


def test_an_alarm_wakes_a_waiting_poll_in_time_and_once() -> None:
    inbox = Inbox()
    at_us = inbox.now_us() + 20_000
    inbox.wake_at(at_us)
    (event,) = inbox.poll(int(PATIENCE_S * 1e6))
    assert isinstance(event, events.TimePassed) and event.at_us >= at_us
    assert inbox.poll(0) == ()


def test_a_fault_elsewhere_is_raised_by_the_next_poll() -> None:
    inbox = Inbox()
    inbox.fail(ZeroDivisionError("over there"))
    with pytest.raises(ZeroDivisionError, match="over there"):
        inbox.poll(0)


def test_the_watcher_notices_the_end_of_every_process() -> None:
    watcher = Watcher()
    ended: list[int] = []
    all_ended = threading.Event()

    def note(number: int) -> None:
        ended.append(number)
        if len(ended) == 5:
            all_ended.set()

    processes = [subprocess.Popen([sys.executable, "-c", ""]) for _ in range(5)]
    for number, process in enumerate(processes):
        watcher.watch(process.pid, lambda number=number: note(number))
    assert all_ended.wait(PATIENCE_S)
    watcher.close()
    watcher.close()
    assert sorted(ended) == list(range(5))
    for process in processes:
        process.wait()


def test_a_worker_that_ignores_the_request_is_killed_with_what_it_started(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen(['sleep', '1000']); print(child.pid, flush=True); child.wait()"
    )
    spec = JobSpec("w", "ann", "basic", "cpu", argv=[sys.executable, "-c", program])
    watcher = Watcher()
    worker = Worker.start(spec, 1, {}, tmp_path / "log", tmp_path / "record")
    ready = threading.Event()
    watcher.watch(worker.runner_pid, lambda: (worker.reap(), ready.set()))  # type: ignore[func-returns-value]
    until(worker.tail)
    assert not ready.is_set()
    child = int(worker.tail())
    worker.end()
    assert ready.wait(PATIENCE_S) and worker.exit_code == -9
    worker.end()
    watcher.close()
    until(lambda: not is_running(child))


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")  # its new parent reaps it


def test_a_checkpoint_of_several_sessions_names_each() -> None:
    assert members("s", "abc") == {"s": "abc"}
    assert members("s", "abc,2:def,3:123") == {"s": "abc", "s.2": "def", "s.3": "123"}
