"""What the acts of the demo share: where things are, what was checked, and small helpers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from scheduler.live.pool import Pool
from service.demo.data import Digits
from service.demo.timeline import Note

TEXT_TIMEOUT_S = 120.0
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to hold."""

    what: str
    expected: str
    seen: str
    ok: bool


@dataclass
class Show:
    console: Console
    report: Path
    rng: random.Random
    pool: Pool
    digits: Digits
    began_s: float  # when the pool was made, by time.monotonic
    checks: list[Check] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    def check(self, what: str, expected: object, seen: object, ok: bool | None = None) -> None:
        """Record a check; without `ok`, the two must be equal."""
        right = expected == seen if ok is None else ok
        self.checks.append(Check(what, _short(expected), _short(seen), right))
        mark = "[green]ok[/green]" if right else "[red]DIFFERS[/red]"
        self.console.print(f"  {mark} {what}: {_short(seen)}")

    def note(self, device: str, text: str) -> None:
        self.notes.append(Note(time.monotonic() - self.began_s, device, text))


def busy(console: Console) -> Progress:
    """A spinner with elapsed time, for anything longer than a second."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def trainer_argv(out: Path, net: str, steps: int, seed: int) -> list[str]:
    """The training program's command line."""
    return [
        sys.executable, "-m", "service.demo.train",
        "--net", net, "--steps", str(steps), "--seed", str(seed), "--out", str(out),
    ]  # fmt: skip


def start_trainer(
    out: Path, net: str, steps: int, seed: int, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """The training program as an ordinary process; its output goes beside its weights."""
    with out.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            trainer_argv(out, net, steps, seed),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **env},
        )  # fmt: skip


def await_text(log: Path, text: str) -> None:
    """Until a program's log says `text`; TEXT_TIMEOUT_S at most."""
    give_up = time.monotonic() + TEXT_TIMEOUT_S
    while time.monotonic() < give_up:
        if log.exists() and text in log.read_text(errors="replace"):
            return
        time.sleep(LOOK_S)
    raise TimeoutError(f"{log} did not say {text!r} in {TEXT_TIMEOUT_S} s")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "..."
