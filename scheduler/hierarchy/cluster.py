"""The lowest level: one cluster, which decides by itself who runs where; see `Engine`.

It takes jobs that are handed to it, hands jobs that wait on when it is told to, and says how it
stands. Left alone it goes on with what it has. What it promised to jobs of a guaranteed tier nobody
above can take back: only jobs that wait and were promised nothing leave it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from scheduler.hierarchy.channel import Custody
from scheduler.hierarchy.messages import (
    OFFER,
    ClusterSummary,
    Handover,
    Ints,
    Message,
    Moves,
    Offers,
    Taken,
)
from scheduler.hierarchy.params import LevelParams, S
from scheduler.traces.packed import JOB, Jobs, joined, no_jobs

GB = 1_000_000_000
NONE = np.empty(0, OFFER)


class Standing(NamedTuple):
    """Slices: all that are up, free, asked for by jobs that wait, held, and what may still be
    promised."""

    capacity: int
    free: int
    waiting: int
    running: int
    promisable: int


class Fallen(NamedTuple):
    """What devices that were lost have cost so far: nodes lost; attempts of jobs that ended with
    them; times that running jobs were saved; slice-hours of work that had to be done again."""

    losses: int
    restarts: int
    saves: int
    lost_h: float

    @staticmethod
    def of(parts: Iterable[Fallen]) -> Fallen:
        """All together."""
        losses, restarts, saves, lost_h = zip(*parts, strict=True)
        return Fallen(sum(losses), sum(restarts), sum(saves), sum(lost_h))


class Engine(Protocol):
    """A machine, its policy and its executor: simulated in Python or natively. Jobs are numbered
    from 1 on, in the order in which they were submitted."""

    def submit(self, jobs: Jobs) -> None:
        """By time, none before now or before one submitted already."""
        ...

    def advance(self, until_us: int) -> None:
        """All that happens up to and at that moment."""
        ...

    def ended(self) -> tuple[Ints, Ints]:
        """Numbers of jobs that ended since this was last asked, and when."""
        ...

    def standing(self) -> Standing: ...

    def movable(self, most: int) -> Ints:
        """Numbers of jobs that wait and were promised nothing, those that wait longest first."""
        ...

    def withdraw(self, number: int) -> tuple[int, bool] | None:
        """Take it out: the work that is left from its checkpoint or, if it has none, in all, in
        microseconds at full speed; and whether it has one. None if it is not movable any more."""
        ...

    def fallen(self) -> Fallen: ...

    def digest(self) -> str: ...


class ClusterLevel:
    """`ended` collects (job, when) in arrays, for whoever asks."""

    def __init__(
        self, cluster: int, region: int, tenants: int, engine: Engine, params: LevelParams
    ) -> None:
        self.cluster, self.region = cluster, region
        self.engine = engine
        self.custody = Custody(f"cluster-{cluster}")
        self.ended: list[tuple[Ints, Ints]] = []
        self.moved_out = 0  # jobs
        self.moved_far = 0  # of them, to other regions
        self._params = params
        self._rows = np.empty(1024, JOB)  # by number; 0 is nobody's
        self._count = 1
        self._is_here = np.zeros(1024, np.bool_)  # by number: neither ended nor gone elsewhere
        self._arriving = no_jobs()
        self._newest_us = 0  # submitted to the engine
        self._by_tenant = np.zeros(tenants, np.int64)
        self._taken = self._ended = 0
        self._link_free_us = 0
        self._seq = 0

    # ---- what it is told

    def hear(self, message: Message, now_us: int) -> list[Message]:
        match message:
            case Handover():
                jobs, answer = self.custody.take(message, now_us)
                if jobs is not None:
                    self._arriving = joined(self._arriving, jobs)
                    self._taken += int(jobs["count"].sum())
                    np.add.at(self._by_tenant, jobs["tenant"], jobs["count"])
                return [answer]
            case Taken():
                self.custody.taken(message)
            case Moves():
                return self._move(message, now_us)
        return []

    def _move(self, moves: Moves, now_us: int) -> list[Message]:
        leaving: dict[str, list[np.void]] = {}
        busy_us = now_us + self._params.global_tick_s * S  # then there is new advice
        for offer, to in zip(moves.jobs, moves.to, strict=True):
            number = int(offer["number"])
            if not self._is_here[number] or self._rows[number]["token"] != offer["token"]:
                continue  # it ended, or went elsewhere, since
            if self._link_free_us > busy_us:
                break  # who would stand in line longer than that had better wait here
            found = self.engine.withdraw(number)
            if found is None:
                continue
            self._is_here[number] = False
            row = self._rows[number : number + 1].copy()
            row["work_us"], row["halted"] = found
            row["at_us"] = self._transfer(now_us, row, to)
            leaving.setdefault(to, []).append(row[0])
        given: list[Message] = []
        for to, rows in leaving.items():
            jobs = np.array(rows, JOB)
            self.moved_out += len(jobs)
            self.moved_far += len(jobs) * to.startswith("front")
            self._ended += int(jobs["count"].sum())
            np.subtract.at(self._by_tenant, jobs["tenant"], jobs["count"])
            given.append(self.custody.give(now_us, to, jobs))
        return given

    def _transfer(self, now_us: int, row: Jobs, to: str) -> int:
        """When it can be there: one after another goes over the link out of here."""
        is_wide = to.startswith("front")
        size = int(row["state_bytes"][0]) if row["halted"][0] else 0
        if is_wide and to != f"front-{int(row['home'][0])}":
            size += int(row["data_bytes"][0])
        rate = self._params.wide_gb_s if is_wide else self._params.local_gb_s
        self._link_free_us = max(now_us, self._link_free_us) + round(size / (rate * GB) * S)
        return self._link_free_us

    @property
    def by_tenant(self) -> Ints:
        """Slices asked for by each tenant's jobs that are here."""
        return self._by_tenant.copy()

    @property
    def is_expecting(self) -> bool:
        """Whether jobs are on their way here."""
        return len(self._arriving) > 0

    # ---- time

    def advance(self, until_us: int) -> None:
        """All that happens up to and at that moment, jobs that arrive until then included."""
        if len(self._arriving):
            due = self._arriving["at_us"] <= until_us
            if due.all():
                self._submit(self._arriving)
                self._arriving = no_jobs()
            elif due.any():
                self._submit(self._arriving[due])
                self._arriving = self._arriving[~due]
        self.engine.advance(until_us)
        self._newest_us = until_us
        numbers, when = self.engine.ended()
        if len(numbers):
            kept = self._is_here[numbers]
            numbers, when = numbers[kept], when[kept]
            self._is_here[numbers] = False
            rows = self._rows[numbers]
            self._ended += int(rows["count"].sum())
            np.subtract.at(self._by_tenant, rows["tenant"], rows["count"])
            self.ended.append((rows["job"].astype(np.int64), when))

    def _submit(self, jobs: Jobs) -> None:
        jobs = jobs[np.argsort(jobs["at_us"], kind="stable")]
        np.maximum(jobs["at_us"], self._newest_us, out=jobs["at_us"])
        if not len(jobs):
            return
        first, last = self._count, self._count + len(jobs)
        if last > len(self._rows):
            self._rows = np.resize(self._rows, max(2 * len(self._rows), last))
            self._is_here = np.resize(self._is_here, len(self._rows))
        self._rows[first:last] = jobs
        self._is_here[first:last] = True
        self._count = last
        self.engine.submit(jobs)

    # ---- what it says

    def summary(self, now_us: int) -> ClusterSummary:
        self._seq += 1
        standing = self.engine.standing()
        arriving = int(self._arriving["count"].sum())
        return ClusterSummary(
            self.cluster,
            self._seq,
            now_us,
            standing.capacity,
            max(0, standing.free - arriving),
            standing.waiting,
            standing.running,
            standing.promisable,
            self._taken,
            self._ended,
            self._by_tenant.copy(),
            self._offers(standing),
        )

    def _offers(self, standing: Standing) -> Offers:
        if not standing.waiting:
            return NONE
        numbers = self.engine.movable(self._params.most_offers)
        rows = self._rows[numbers]
        offers = np.zeros(len(numbers), OFFER)
        for name in ("job", "token", "count", "kind", "tier", "home", "data_bytes"):
            offers[name] = rows[name]
        offers["bytes"] = rows["state_bytes"]
        offers["at"], offers["number"] = self.cluster, numbers
        return offers

    def again(self, now_us: int) -> Iterable[Message]:
        return self.custody.again(now_us)

    def jobs(self) -> Ints:
        """All that it holds now and that did not end."""
        inside = self._rows["job"][: self._count][self._is_here[: self._count]]
        return np.concatenate([inside, self._arriving["job"]])
