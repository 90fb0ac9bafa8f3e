"""Jobs with shares of slices and needs of hosts: where `packing` puts them, by tier, then first
come, first served.

Each job in turn is placed where the score says. One that fits nowhere has jobs of a lower tier
halted for it (`yielding`); what they let go is claimed for it. If that is not to be had it waits,
and those behind it go first, but not for ever: once it has waited for `patience_s`, and somebody
has let go of something meanwhile, it claims room on the node on which least is missing (`keeping`).
What a kind of job found no room for is not looked for again before something is let go. A few can
be moved so that one fits that waits only since what is free is scattered (`gather`).

Those on a device to be removed move before that.

Nothing is promised to any tier. A job without needs has whole slices of one device.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Blocker, Decision, Evict, Plan
from scheduler.core.values import RANKS, JobSpec, Tier
from scheduler.core.view import View
from scheduler.policies.books import S
from scheduler.policies.fleet import Claim, Fleet, ScoreOf, pod_of
from scheduler.policies.gather import Gather, Gathered, gather
from scheduler.policies.keeping import Keeping, waits_since_us
from scheduler.policies.packing import Balanced, Node, Pod, Score, Workload
from scheduler.policies.sharing_reasons import SharingReasons
from scheduler.policies.yielding import Kind, Yielding

GATHERED = 10_000  # the last ones that are kept for readers
LEAD_S = 120  # before a device is removed, those that are still there are halted
PATIENCE_S = 1800
MIN_RUN_S = 20
BASIC = RANKS[Tier.BASIC]


def balanced(nodes: Sequence[Node], expected: Sequence[Pod]) -> Score:
    return Balanced(Workload(expected))


class Sharing:
    """expected  jobs as they are expected, for the score
    params    how room is gathered; None: not at all. `gathered`: what was decided of that
    min_run_s   a started job is halted for nobody sooner
    patience_s  after which a job that waits is not passed any more"""

    def __init__(
        self,
        expected: Sequence[JobSpec] = (),
        score_of: ScoreOf = balanced,
        params: Gather | None = None,
        min_run_s: int = MIN_RUN_S,
        patience_s: int = PATIENCE_S,
    ) -> None:
        self.params = params
        self.min_run_s = min_run_s
        self.patience_s = patience_s
        self.gathered: deque[Gathered] = deque(maxlen=GATHERED)
        pods = [pod_of(spec) for spec in expected if spec.needs is not None]
        self._fleet = Fleet(score_of, pods)
        self._yielding = Yielding(min_run_s * S)
        self._keeping = Keeping(patience_s * S)
        self._queue: list[tuple[int, int]] = []
        self._orders: dict[int, tuple[int, int]] = {}  # of those in the queue
        self._resting: set[int] = set()  # their start failed, and they are not tried yet
        self._barren: set[Pod] = set()  # kinds for which there is no room
        self._freed = False  # room was made since the queue was served
        self._asked: set[Kind] = set()  # kinds for which others would be halted
        self._under_way: Gathered | None = None
        self._devices = 0  # version of the view's fleet
        self._looked_us = 0
        self._again_us: dict[int, int] = {}  # not to be gathered for sooner

    def plan(self, view: View) -> Plan:
        room = self._fleet.follow(view)
        fresh, withdrawn = self._follow(view)
        decisions: list[Decision] = []
        if view.fleet != self._devices:
            self._devices, self._under_way = view.fleet, None
        if self._under_way is not None and self._has_gathered(view, self._under_way):
            decisions += self._settle(view, self._under_way)
            room = True
        wakes: list[int] = []
        meant = self._under_way.places if self._under_way is not None else ()
        waiting = [number for _, number in self._queue if number not in meant]
        withdrawn |= self._keeping.keep(view, self._fleet, waiting, wakes)
        room |= withdrawn
        self._asked.clear()
        self._freed = room
        if not room:
            for _, number in sorted(fresh.union(self._pressing())):
                self._serve(view, view.jobs[number], decisions)
        self._serve_all(view, decisions)
        wakes += self._yielding.wakes(self._asked, view.now_us)
        wakes += (view.jobs[number].idle_until_us for number in self._resting)
        if view.draining:
            decisions += self._leave(view, wakes)
        if self.params is not None and self._queue:
            self._look(view, self.params, decisions)
            self._serve_all(view, decisions)
            if self._fleet.seated:  # or nothing will ever change
                wakes.append(view.now_us + self.params.look_s * S)
        return Plan(tuple(decisions), (), min(wakes, default=None))

    def explain(self, view: View) -> dict[int, tuple[Blocker, ...]]:
        """Why each job waits that does, after a plan was carried out."""
        return SharingReasons(view, self._fleet.claims, self._under_way, self.min_run_s * S).all()

    def _follow(self, view: View) -> tuple[set[tuple[int, int]], bool]:
        """Those that wait and were not tried yet. Whether claims were withdrawn."""
        fresh = set()
        withdrawn = False
        for number in view.changed:
            job = view.jobs.get(number)
            waits = job is not None and job.state.waiting
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
                withdrawn |= self._fleet.unclaim(number) is not None
        ready = [n for n in self._resting if view.jobs[n].idle_until_us <= view.now_us]
        self._resting.difference_update(ready)
        return fresh.union(self._orders[number] for number in ready), withdrawn

    def _pressing(self) -> list[tuple[int, int]]:
        """Those for whom others may be halted."""
        return self._queue[: bisect_left(self._queue, (BASIC, 0))]

    def _serve_all(self, view: View, decisions: list[Decision]) -> None:
        """Everybody in turn, as long as there is new room: by a claim that was withdrawn, too. With
        each of those somebody has room, or a claim, who stands before the one that had it."""
        while self._freed:
            self._freed = False
            self._barren.clear()
            for _, number in tuple(self._queue):
                self._serve(view, view.jobs[number], decisions)

    def _serve(self, view: View, job: Job, decisions: list[Decision]) -> None:
        meant = self._under_way is not None and job.id in self._under_way.places
        if meant or job.id in self._fleet.seated:
            return
        pod = self._fleet.pod_of(job)
        claim = self._fleet.claims.get(job.id)
        if claim is not None and (claim.pod != pod or job.idle_until_us > view.now_us):
            self._unclaim(job.id)
        if job.idle_until_us > view.now_us:
            self._resting.add(job.id)
            return
        if job.id in self._fleet.claims and (place := self._fleet.take_up(view, job)):
            decisions.append(place)
            return
        if pod not in self._barren:
            place = self._fleet.place(view, job, pod)
            if place is not None:
                self._unclaim(job.id)
                decisions.append(place)
                return
            self._barren.add(pod)
        if job.rank < BASIC or any(view.jobs[n].order > job.order for n in self._fleet.claims):
            self._demand(view, job, pod, decisions)

    def _unclaim(self, number: int) -> None:
        self._freed |= self._fleet.unclaim(number) is not None

    def _demand(self, view: View, job: Job, pod: Pod, decisions: list[Decision]) -> None:
        """Room that others hold or have claimed, if there is a way."""
        self._asked.add((pod, job.rank))
        if job.id in self._fleet.claims and self._fleet.comes(view, job):
            return
        own = self._fleet.unclaim(job.id)
        found = self._yielding.find(view, self._fleet, job, pod)
        if found is None:
            if own is not None and own.overdue:
                self._fleet.claim(job.id, own)
            else:
                self._freed |= own is not None
            return
        for number in found.behind:
            self._unclaim(number)
        for number in found.victims:
            decisions.append(Evict(number, job.id))
            self._fleet.halting.add(number)
        self._fleet.claim(job.id, Claim(found.uri, pod, found.gpus, False))
        place = self._fleet.take_up(view, job)
        if place is not None:
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
            if not able or number in self._fleet.halting or (going and not late):
                continue
            if job.keep_until_us > view.now_us:
                wakes.append(job.keep_until_us)
                continue
            if late or self._fleet.has_room(self._fleet.pod_of(job)):
                decisions.append(Evict(number, number))
                self._fleet.halting.add(number)
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
            pod = self._fleet.pod_of(job)
            placed = number in self._fleet.seated
            if placed or pod in tried or pod not in self._barren:
                continue
            if self._again_us.get(number, 0) > view.now_us:
                continue
            tried.add(pod)
            self._again_us[number] = view.now_us + (view.now_us - waits_since_us(job)) // 4
            claim = self._fleet.unclaim(number)
            found = gather(view, self._fleet, job, params)
            if found is None and claim is not None:
                self._fleet.claim(number, claim)
            self._freed |= found is not None and claim is not None
            if found is not None:
                self._under_way = found
                self.gathered.append(found)
                self._fleet.close(found.devices, True)
                decisions += (Evict(mover, number) for mover in found.movers)
                self._fleet.halting.update(found.movers)
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
