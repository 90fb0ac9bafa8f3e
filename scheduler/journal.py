"""The journal: every step of the loop, on disk before it is carried out.

File: one record a line, `crc32 length json`, both in hexadecimal over the bytes of the JSON.
The first record is the header, {"format": "haltere-journal", "version": 1, "about": what decides
(scheduler.decider)}; every other one is a step, {"events": [...], "commands": [...]}. Lines make
it greppable; length and CRC make it checkable.

Torn tail. A crash may leave an unfinished last record. Reading stops before it and reports it;
writing on cuts it off first. A bad record with good ones after it is no torn tail but damage:
JournalDamaged. (A record that was recorded but not carried out is why executors must make
Start and Release repeatable by epoch.)
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler import telling
from scheduler.codec import from_json, to_json
from scheduler.core.commands import Command
from scheduler.core.events import Event
from scheduler.core.machine import Machine
from scheduler.decider import About
from scheduler.errors import (
    Infeasible,
    JournalDamaged,
    JournalDiverged,
    JournalTooNew,
    SchedulerError,
)
from scheduler.loop import decide
from scheduler.policies.policy import Policy

FORMAT = "haltere-journal"
VERSION = 1
MAX_RECORD_BYTES = 64 << 20  # a length beyond this is a damaged length, not a record to allocate


@dataclass(frozen=True, slots=True)
class Step:
    events: tuple[Event, ...]
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class TornTail:
    """What an interrupted write left behind, from `offset` to the end of the file."""

    offset: int
    nbytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Contents:
    header: dict[str, Any]
    steps: tuple[Step, ...]
    torn: TornTail | None
    good_bytes: int


class Journal:
    """Appends steps. `durable`: each is on the disk, not only with the kernel, before it counts."""

    def __init__(self, path: Path, *, durable: bool = True, about: About | str = "") -> None:
        self.path = path
        self.durable = durable
        self.torn: TornTail | None = None
        fresh = not path.exists() or path.stat().st_size == 0
        if not fresh:
            contents = read(path)
            self.torn = contents.torn
            fresh = not contents.header
            with path.open("r+b") as file:
                file.truncate(contents.good_bytes)
        self._file = path.open("ab")
        if fresh:
            self._append({"format": FORMAT, "version": VERSION, "about": about})

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        self._append(
            {
                "events": [to_json(event) for event in events],
                "commands": [to_json(command) for command in commands],
            }
        )

    def _append(self, value: dict[str, Any]) -> None:
        self._file.write(_frame(value))
        self._file.flush()
        if self.durable:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _frame(value: dict[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return b"%08x %x %s\n" % (zlib.crc32(body), len(body), body)


def read(path: Path) -> Contents:
    """All good records. Raises JournalDamaged, JournalTooNew."""
    data = path.read_bytes()
    records: list[dict[str, Any]] = []
    offset = 0
    torn: TornTail | None = None
    while offset < len(data):
        end, reason = _check_record(data, offset)
        if reason:
            torn = _torn_or_damaged(path, data, offset, reason)
            break
        record = json.loads(data[offset:end].split(b" ", 2)[2])
        if not isinstance(record, dict):
            raise JournalDamaged(
                f"{path}: the record at byte {offset} is {record!r:.80}, no object"
            )
        records.append(record)
        offset = end
    header = records[0] if records else {}
    if records:
        _check_header(path, header)
    steps = tuple(_step(path, index, record) for index, record in enumerate(records[1:], 1))
    return Contents(header, steps, torn, offset)


def _check_record(data: bytes, offset: int) -> tuple[int, str]:
    """(end of the record, "") or (anything, what is wrong)."""
    head = data[offset : offset + 32].split(b" ", 2)
    try:
        crc, length = int(head[0], 16), int(head[1], 16)
    except (IndexError, ValueError):
        return 0, "no readable CRC and length"
    start = offset + len(head[0]) + len(head[1]) + 2
    if len(head) < 3 or len(head[0]) != 8 or not 0 <= length <= MAX_RECORD_BYTES:
        return 0, "no readable CRC and length"
    if start + length + 1 > len(data):
        return 0, f"{length} bytes announced, {max(len(data) - start, 0)} there"
    body = data[start : start + length]
    if zlib.crc32(body) != crc or data[start + length : start + length + 1] != b"\n":
        return 0, "CRC does not match"
    return start + length + 1, ""


def _torn_or_damaged(path: Path, data: bytes, offset: int, reason: str) -> TornTail:
    """A torn tail has nothing good after it: look at every later line."""
    line = data.find(b"\n", offset) + 1
    while 0 < line < len(data):
        if not _check_record(data, line)[1]:
            raise JournalDamaged(
                f"{path}: the record at byte {offset} is damaged ({reason}), yet a good one "
                f"follows at byte {line}: the file was changed after it was written. Restore it "
                "from a copy, or cut it at the first of these bytes to go on from there"
            )
        line = data.find(b"\n", line) + 1
    return TornTail(offset, len(data) - offset, reason)


def _check_header(path: Path, header: dict[str, Any]) -> None:
    if header.get("format") != FORMAT or not isinstance(header.get("version"), int):
        raise JournalDamaged(f"{path} does not begin with the header of a {FORMAT}")
    if header["version"] > VERSION:
        raise JournalTooNew(
            f"{path} is of version {header['version']}; this program reads up to {VERSION}. Use "
            "the version that wrote it"
        )


def _step(path: Path, index: int, record: dict[str, Any]) -> Step:
    try:
        return Step(
            tuple(from_json(item) for item in record["events"]),
            tuple(from_json(item) for item in record["commands"]),
        )
    except (KeyError, TypeError, ValueError, Infeasible) as error:
        raise JournalDamaged(f"{path}: record {index} is no step: {error}") from error


def replay(steps: Sequence[Step], machine: Machine, policy: Policy) -> None:
    """Run the steps through a fresh machine and the same policy, and insist on the same
    commands. Afterwards `machine` is what it was when the journal ended."""
    for _ in replayed(steps, machine, policy):
        pass


def replayed(steps: Sequence[Step], machine: Machine, policy: Policy) -> Iterator[Step]:
    """Each step, once it was taken again and gave the same commands: `machine` is what it was then.
    Raises JournalDiverged."""
    for index, step in enumerate(steps, 1):
        try:
            commands = decide(machine, policy, step.events)
        except SchedulerError as error:
            raise JournalDiverged(
                f"step {index} at {machine.now_us}us was taken once, and now is refused: "
                f"{error.code}: {error}"
            ) from error
        if commands != step.commands:
            raise JournalDiverged(
                f"step {index} at {machine.now_us}us gave other commands than were recorded: "
                f"{_unlike(commands, step.commands)}: replay with the policy and parameters that "
                "wrote it"
            )
        yield step


def _unlike(now: Sequence[Command], was: Sequence[Command]) -> str:
    """The first that differ, in words; of what is too long, the beginning."""
    at = next((i for i, pair in enumerate(zip(now, was, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(now), len(was)) if at is None else at
    told = [telling.command(each[at]) if at < len(each) else "nothing more" for each in (now, was)]
    return f"{told[0]!r:.200} instead of {told[1]!r:.200}"
