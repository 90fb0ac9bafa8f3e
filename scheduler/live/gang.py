"""What is known of one job that runs live: its ranks, and which slice each is on.

A live job has as many ranks as it can make use of slices (`JobSpec.most`; a lease has one), each
of them a worker process with sessions of its own. That is its world size, which stays; on fewer
slices several ranks share one and its device takes turns between them.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduler.core.commands import Command
from scheduler.core.values import JobSpec, Slice
from scheduler.live.worker import Worker


@dataclass(slots=True, eq=False)
class Rank:
    """`exit`: code and last words, when it ended by itself."""

    number: int
    at: Slice | None = None
    worker: Worker | None = None
    exit: tuple[int, str] | None = None

    @property
    def device(self) -> str:
        return self.at.device if self.at else ""


@dataclass(slots=True, eq=False)
class Run:
    """`lock` guards `todo`, `busy`, and of the ranks `worker` and `exit`."""

    job: int
    spec: JobSpec
    epoch: int  # of the newest Start
    released_epoch: int = 0  # of the newest Release: whoever waits for older ones may stop
    session: str = ""  # of rank 0; those of the others begin so
    checkpoint: str = ""
    outdated: tuple[str, ...] = ()  # those before it, until it is certain that it is known
    littered: bool = False  # its moves, or a pool that was killed, may have left more in the store
    todo: deque[Command] = field(default_factory=deque)
    busy: bool = False  # a thread works `todo` off
    cut: threading.Event | None = None  # set once what hung was cut short, for a Release
    ranks: tuple[Rank, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.ranks = tuple(Rank(number) for number in range(world_size(self.spec)))

    @property
    def slices(self) -> tuple[Slice | None, ...]:
        """Of each rank."""
        return tuple(rank.at for rank in self.ranks)

    def place(self, slices: Sequence[Slice | None]) -> None:
        for rank, item in zip(self.ranks, slices, strict=True):
            rank.at = item

    def places(self) -> dict[str, str]:
        """Of the ranks that have not ended: session -> device."""
        return {
            rank_session(self.session, rank.number): rank.device
            for rank in self.ranks
            if rank.exit is None
        }

    @property
    def end(self) -> tuple[int, str] | None:
        """Exit code and last words of the job: of the first rank that failed, or 0 when all have
        ended well; None: it goes on."""
        exits = [rank.exit for rank in self.ranks]
        for number, found in enumerate(exits):
            if found is not None and found[0]:
                words = f"rank {number} of {len(exits)}: " if len(exits) > 1 else ""
                return found[0], words + found[1]
        return None if None in exits else (0, "")


def world_size(spec: JobSpec) -> int:
    return 1 if spec.argv is None else spec.most


def session_name(tag: str, job: int, epoch: int) -> str:
    """Of rank 0 of the job, as its attempt `epoch` began."""
    return f"{tag}-j{job}-e{epoch}"


def job_of(tag: str, session: str) -> int:
    """Whose session it is, of whatever attempt, rank and context; 0: of no job of that pool."""
    found = re.match(re.escape(tag) + r"-j(\d+)-e\d", session)
    return int(found[1]) if found else 0


def rank_session(session: str, rank: int) -> str:
    return f"{session}-r{rank}" if rank else session


def spread(
    count: int, slices: Sequence[Slice], before: Sequence[Slice | None] = ()
) -> tuple[Slice, ...]:
    """A slice for each of `count` ranks: as many on each, give or take one. Of ranks that were
    on `before` as few as can be change devices. The same answer for the same question, always: a
    journal is all that tells where ranks are."""
    if not any(before):
        return tuple(slices[rank * len(slices) // count] for rank in range(count))
    floor, over = divmod(count, len(slices))
    load = dict.fromkeys(slices, 0)

    def has_room(item: Slice) -> bool:
        extra = sum(n > floor for n in load.values()) < over
        return load[item] < floor or (load[item] == floor and extra)

    found: dict[int, Slice] = {}
    for at_home in (True, False):  # on the same slice, then on the same device, then anywhere
        for rank, was in enumerate(before):
            if rank in found or was is None:
                continue
            if at_home:
                chosen = was if was in load and has_room(was) else None
            else:
                near = [item for item in slices if item.device == was.device and has_room(item)]
                chosen = min(near, key=lambda item: (load[item], item), default=None)
            if chosen is not None:
                found[rank] = chosen
                load[chosen] += 1
    for rank in range(count):
        if rank not in found:
            found[rank] = min(filter(has_room, slices), key=lambda item: (load[item], item))
            load[found[rank]] += 1
    return tuple(found[rank] for rank in range(count))
