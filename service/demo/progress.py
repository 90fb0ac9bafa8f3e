"""How a training run tells of itself: plain lines to a pipe, a bar besides on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Report(Protocol):
    """What the training loop calls."""

    def __call__(self, step_count: int, line: str) -> None: ...


def say(line: str, stream: TextIO | None = None) -> None:
    """One line, at once: whoever reads the pipe follows the run by it."""
    stream = stream or sys.stdout
    stream.write(line + "\n")
    stream.flush()


@contextmanager
def reporting(title: str, steps: int, stream: TextIO | None = None) -> Iterator[Report]:
    """A report for one net's training."""
    stream = stream or sys.stdout
    if not stream.isatty():
        yield lambda step_count, line: say(line, stream)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(title, total=steps)

        def report(step_count: int, line: str) -> None:
            progress.update(task, completed=step_count)
            progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

        yield report


class Pace:
    """Steps per second since the last question."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._step_count = 0

    def at(self, step_count: int) -> float:
        now = time.monotonic()
        rate = (step_count - self._step_count) / max(now - self._since, 1e-9)
        self._since, self._step_count = now, step_count
        return rate
