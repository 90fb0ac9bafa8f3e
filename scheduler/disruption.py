"""What was halted for whom, from the steps and the machine that took them."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.core.commands import Checkpoint, Command, Resize, Start
from scheduler.core.events import Event, JobCheckpointed
from scheduler.core.jobs import Job
from scheduler.core.machine import Machine
from scheduler.core.values import Slice

Request = tuple[int, int]  # a job, and how often it had all that it asked for before


class Disruption:
    """A Recorder of the loop; `machine` is the one that it drives.

    evictions  halts in favour of another job
    moves      halts of jobs that are to go on elsewhere, in nobody's favour but their own
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.evictions = 0
        self.moves = 0
        self._halted: dict[Request, int] = {}
        self._served: dict[int, int] = {}  # job -> how often it had all that it asked for
        self._under_way: dict[int, tuple[Request, tuple[Slice, ...]]] = {}  # by who is halted
        self._charged: dict[Request, int] = {}

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        freed: dict[Slice, Request] = {}
        for event in events:
            if isinstance(event, JobCheckpointed) and event.job in self._under_way:
                asker, slices = self._under_way.pop(event.job)
                freed.update(dict.fromkeys(slices, asker))
        self._charge(freed, commands)
        for command in commands:
            if not isinstance(command, Checkpoint):
                continue
            job = self._machine.jobs[command.job]
            if job.evicted_for in (0, job.id):
                self.moves += 1
                continue
            self.evictions += 1
            taker = self._machine.jobs[job.evicted_for]
            request = self._request(taker)
            self._halted[request] = self._halted.get(request, 0) + len(job.slices)
            self._under_way[job.id] = request, job.slices

    def _request(self, job: Job) -> Request:
        return job.id, self._served.get(job.id, 0)

    def _charge(self, freed: dict[Slice, Request], commands: Sequence[Command]) -> None:
        """Slices that were let go to those whom they were let go for, as far as they get any; what
        is over to other admitted jobs that get some in the same step; and what those leave, whoever
        gets it, to whom they were let go for."""
        left: dict[Request, int] = {}
        for asker in freed.values():
            left[asker] = left.get(asker, 0) + 1
        got: dict[int, int] = {}
        for command in commands:
            if isinstance(command, Start | Resize) and freed:
                got[command.job] = sum(item in freed for item in command.slices)
        for asker in left:
            own = min(left[asker], got.get(asker[0], 0))
            self._add(asker, own)
            left[asker] -= own
            got[asker[0]] = got.get(asker[0], 0) - own
        for number, slices in got.items():
            user = self._machine.jobs[number]
            for asker in left if user.admitted_us is not None else ():
                shared = min(slices, left[asker])
                self._add(self._request(user), shared)
                left[asker] -= shared
                slices -= shared
        for asker, rest in left.items():
            self._add(asker, rest)
        for command in commands:
            if isinstance(command, Start | Resize):
                job = self._machine.jobs[command.job]
                if len(command.slices) >= job.spec.count:
                    self._served[job.id] = self._served.get(job.id, 0) + 1

    def _add(self, request: Request, slices: int) -> None:
        if slices:
            self._charged[request] = self._charged.get(request, 0) + slices

    def over_requested(self) -> list[float]:
        """Of every job that others were halted for, each time it wanted slices: those of all that
        were halted until it had what it asked for, over that. Rising. A job for which one large
        job is halted is charged with all of it, whoever else waits and gets the rest."""
        return self._over(self._halted)

    def over_got(self) -> list[float]:
        """The same, with every slice charged once, to the admitted job that got it when it was
        let go; and to whom it was let go for, if none did. Of every job that is charged."""
        return self._over(self._charged)

    def _over(self, slices: dict[tuple[int, int], int]) -> list[float]:
        asked = {number: job.spec.count for number, job in self._machine.jobs.items()}
        return sorted(n / asked[job] for (job, _), n in slices.items())
