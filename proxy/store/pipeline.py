"""Doing a function to many things with a few threads, in order and with bounded memory."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from typing import TypeVar

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
REUSE_BYTES = 64 << 20
LARGE_BYTES = 32 << 20  # the most that glibc takes

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 4  # under way or waiting to be taken


def ahead(pool: Executor, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """function(item) for each, in order, the next ones begun already. Raises what it raises."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= WINDOW:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        wait([future for future in waiting if not future.cancel()])  # nothing goes on behind it


def reuse_memory() -> None:
    """Let this process keep memory that it freed: pieces come and go by thousands, and getting
    zeroed pages from the system for each costs as much as reading it does. For a process whose
    work that is; does nothing where malloc is another."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, REUSE_BYTES)
