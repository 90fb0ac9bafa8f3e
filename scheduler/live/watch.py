"""One thread that notices when processes end, by pidfd: no polling, no signal handlers.

It reports and does nothing else; reaping and exit codes are the caller's, who started them.
"""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable

OnEnd = Callable[[], None]
GONE = -1


class Watcher:
    """`watch(pid, on_end)`: `on_end` is called once, on the watcher's thread, when it ended."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._lock = threading.Lock()
        self._added: list[tuple[int, OnEnd]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def watch(self, pid: int, on_end: OnEnd) -> None:
        """`pid` is a child of ours that was not reaped yet, or a process that was just seen alive
        (or the pidfd might name another); one that is gone already counts as ended."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            fd = GONE
        with self._lock:
            if self._closed:
                if fd != GONE:
                    os.close(fd)
                return
            self._added.append((fd, on_end))
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Stop watching. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.write(self._wake_write, b"x")
        self._thread.join()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._wake_read, 4096)
                    continue
                self._selector.unregister(key.fd)
                os.close(key.fd)
                key.data()
            with self._lock:
                added, self._added = self._added, []
                closed = self._closed
            for fd, on_end in added:
                if fd == GONE:
                    on_end()
                else:
                    self._selector.register(fd, selectors.EVENT_READ, on_end)
            if closed:
                self._shut()
                return

    def _shut(self) -> None:
        for key in tuple(self._selector.get_map().values()):
            os.close(key.fd)  # pidfds, and the reading end of the pipe
        self._selector.close()
        os.close(self._wake_write)
