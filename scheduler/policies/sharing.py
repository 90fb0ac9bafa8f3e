"""Jobs with shares of slices and needs of hosts: where `packing` puts them, first come first
served.

In order of tier, then first come, first served, each job is placed where the score says; one that
fits nowhere waits, and those behind it go first. What a kind of job found no room for is not looked
for again before something is let go. Jobs are not halted for each other; but a few can be moved so
that one fits that waits only since what is free is scattered (`gather`).

Those on a device to be removed move before that.

For fleets whose devices have hosts, and jobs with `JobSpec.needs`; others wait for ever.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Decision, Evict, Plan
from scheduler.core.values import JobSpec
from scheduler.core.view import View
from scheduler.policies.books import S
from scheduler.policies.fleet import Fleet, ScoreOf, pod_of
from scheduler.policies.gather import Gather, Gathered, gather
from scheduler.policies.packing import Balanced, Node, Pod, Score, Workload

GATHERED = 10_000  # the last ones that are kept for readers
LEAD_S = 120  # before a device is removed, those that are still there are halted


def balanced(nodes: Sequence[Node], expected: Sequence[Pod]) -> Score:
    return Balanced(Workload(expected))


class Sharing:
    """`expected`: jobs as they are expected, for the score. `params`: how room is gathered; None:
    not at all. `gathered`: what was decided of that."""

    def __init__(
        self,
        expected: Sequence[JobSpec] = (),
        score_of: ScoreOf = balanced,
        params: Gather | None = None,
    ) -> None:
        self.params = params
        self.gathered: deque[Gathered] = deque(maxlen=GATHERED)
        pods = [pod_of(spec) for spec in expected if spec.needs is not None]
        self._fleet = Fleet(score_of, pods)
        self._queue: list[tuple[int, int]] = []
        self._orders: dict[int, tuple[int, int]] = {}  # of those in the queue
        self._resting: set[int] = set()  # their start failed, and they are not tried yet
        self._barren: set[Pod] = set()  # kinds for which there is no room
        self._under_way: Gathered | None = None
        self._devices = 0  # version of the view's fleet
        self._looked_us = 0
        self._again_us: dict[int, int] = {}  # not to be gathered for sooner

    def plan(self, view: View) -> Plan:
        room = self._fleet.follow(view)
        fresh = self._follow(view)
        decisions: list[Decision] = []
        if view.fleet != self._devices:
            self._devices, self._under_way = view.fleet, None
        if self._under_way is not None and self._has_gathered(view, self._under_way):
            decisions += self._settle(view, self._under_way)
            room = True
        if room:
            self._barren.clear()
        wakes: list[int] = []
        for _, number in tuple(self._queue) if room else sorted(fresh):
            self._serve(view, view.jobs[number], decisions)
        wakes += (view.jobs[number].idle_until_us for number in self._resting)
        if view.draining:
            decisions += self._leave(view, wakes)
        if self.params is not None and self._queue:
            self._look(view, self.params, decisions)
            if self._fleet.seated:  # or nothing will ever change
                wakes.append(view.now_us + self.params.look_s * S)
        return Plan(tuple(decisions), (), min(wakes, default=None))

    def _follow(self, view: View) -> set[tuple[int, int]]:
        """Those that wait and were not tried yet."""
        fresh = set()
        for number in view.changed:
            job = view.jobs.get(number)
            waits = job is not None and job.state.waiting and job.spec.needs is not None
            if job is not None and waits:
                fresh.add(job.order)
            if waits == (number in self._orders):
                continue
            if job is not None and waits:
                self._orders[number] = job.order
                insort(self._queue, job.order)
            else:
                del self._queue[bisect_left(self._queue, self._orders.pop(number))]
                self._resting.discard(number)
                self._again_us.pop(number, None)
        ready = [n for n in self._resting if view.jobs[n].idle_until_us <= view.now_us]
        self._resting.difference_update(ready)
        return fresh.union(self._orders[number] for number in ready)

    def _serve(self, view: View, job: Job, decisions: list[Decision]) -> None:
        meant = self._under_way is not None and job.id in self._under_way.places
        if meant or job.id in self._fleet.seated:
            return
        if job.idle_until_us > view.now_us:
            self._resting.add(job.id)
            return
        pod = pod_of(job.spec, job.part)
        if pod in self._barren:
            return
        place = self._fleet.place(view, job)
        if place is None:
            self._barren.add(pod)
        else:
            decisions.append(place)

    def _leave(self, view: View, wakes: list[int]) -> list[Decision]:
        """Those on devices to be removed, one after the other while there is room elsewhere;
        whoever is left shortly before that at once. They keep their places in the queue."""
        decisions: list[Decision] = []
        going = False
        for number, seated in sorted(self._fleet.seated.items()):
            if seated.uri not in view.draining:
                continue
            job = view.jobs[number]
            last_us = view.draining[seated.uri] - LEAD_S * S
            late = last_us <= view.now_us
            if not late:
                wakes.append(last_us)
            if job.state is JobState.CHECKPOINTING:
                going = True
            able = job.state is JobState.RUNNING and not job.pinned and job.saving_us is None
            if not able or (going and not late):
                continue
            if job.keep_until_us > view.now_us:
                wakes.append(job.keep_until_us)
                continue
            if late or self._fleet.has_room(pod_of(job.spec, job.part)):
                decisions.append(Evict(number, number))
                going = True
        return decisions

    # ---- gathering

    def _look(self, view: View, params: Gather, decisions: list[Decision]) -> None:
        if self._under_way is not None or view.now_us < self._looked_us + params.look_s * S:
            return
        self._looked_us = view.now_us
        tried: set[Pod] = set()
        for _, number in self._queue:
            job = view.jobs[number]
            pod = pod_of(job.spec, job.part)
            placed = number in self._fleet.seated
            if placed or pod in tried or pod not in self._barren:
                continue
            if self._again_us.get(number, 0) > view.now_us:
                continue
            tried.add(pod)
            waited_us = view.now_us - max(job.submitted_us, job.saved_us)
            self._again_us[number] = view.now_us + waited_us // 4
            found = gather(view, self._fleet, job, params)
            if found is not None:
                self._under_way = found
                self.gathered.append(found)
                self._fleet.close(found.devices, True)
                decisions += (Evict(mover, number) for mover in found.movers)
                return
            if len(tried) == params.tries:
                return

    def _has_gathered(self, view: View, found: Gathered) -> bool:
        """Whether none is on its way any more."""
        jobs = (view.jobs.get(number) for number in found.movers)
        return not any(job is not None and job.state is JobState.CHECKPOINTING for job in jobs)

    def _settle(self, view: View, found: Gathered) -> list[Decision]:
        """Each where it was meant to go, if that is free as was meant; else it waits as others."""
        self._under_way = None
        self._fleet.close(found.devices, False)
        decisions: list[Decision] = []
        for number, (uri, gpus) in found.places.items():
            job = view.jobs.get(number)
            if job is not None and job.state.waiting and job.idle_until_us <= view.now_us:
                place = self._fleet.put(view, job, uri, gpus)
                if place is not None:
                    decisions.append(place)
        return decisions
