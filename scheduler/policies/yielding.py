"""Who is halted for a job with shares that fits nowhere: the cheapest way to have room on one node.

Those who may be halted are of a lower tier and have had their minimum run time. On each node that
would do if all of them were gone, what those are about to let go who are on their way already
counts, and claims of jobs behind the one that waits are taken back at no cost. Then the cheapest
are chosen: no standard job where basic ones do, as little of the GPUs as can be, least lost work.
If even all of them would not do, nobody is halted.

What a node was found to lack holds until something changes there, or somebody there has had its
minimum run time: so each look costs little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scheduler.core.jobs import Job, JobState
from scheduler.core.values import RANKS, Tier
from scheduler.core.view import View
from scheduler.policies.fleet import Fleet, Seated
from scheduler.policies.packing import Node, Pod

LEAST_MILLI = 100  # what a job without a GPU counts for
STANDARD = 10**6  # what halting a standard job counts for beside that
STRANDED = 4  # what halting a job counts for that finds no room elsewhere, beside one that does
KINDS = 1024  # that are remembered
UNITS = 1000  # in which what is lacking is counted
RISK_S = 10**6  # lost work decides among what costs the same
S = 1_000_000

Kind = tuple[Pod, int]  # what is asked for, and by which tier


@dataclass(frozen=True, slots=True)
class Found:
    """`victims` are to be halted, claims of `behind` to be taken back, for these GPUs."""

    uri: str
    gpus: tuple[int, ...]
    victims: tuple[int, ...]
    behind: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    number: int
    pod: Pod
    gpus: tuple[int, ...]
    cost: int
    is_claim: bool


class Yielding:
    def __init__(self, min_run_us: int) -> None:
        self._min_run_us = min_run_us
        self._seen: dict[Kind, int] = {}  # how many changes of the fleet were looked at
        self._would: dict[Kind, set[str]] = {}  # nodes that would do
        self._later: dict[Kind, dict[str, int]] = {}  # nodes that will, and from when on

    def find(self, view: View, fleet: Fleet, job: Job, pod: Pod) -> Found | None:
        kind = pod, job.rank
        since = self._seen.get(kind)
        would = self._would.setdefault(kind, set())
        later = self._later.setdefault(kind, {})
        if since is None:
            uris: Iterable[str] = fleet.index
        else:
            due = [uri for uri, at_us in later.items() if at_us <= view.now_us]
            uris = dict.fromkeys((*fleet.changes.since(since), *due, *sorted(would)))
        self._seen[kind] = fleet.changes.count
        best: tuple[int, int, Found] | None = None
        for uri in uris:
            later.pop(uri, None)
            would.discard(uri)
            index = fleet.index.get(uri)
            if index is None:
                continue
            found = self._on(view, fleet, job, pod, fleet.nodes()[index], later)
            if found is not None:
                would.add(uri)
                if best is None or (found[0], index) < best[:2]:
                    best = found[0], index, found[1]
        return None if best is None else best[2]

    def wakes(self, asked: set[Kind], now_us: int) -> list[int]:
        """When somebody who is in the way of these has had its minimum run time."""
        if len(self._seen) > KINDS:
            for kind in [kind for kind in self._seen if kind not in asked]:
                del self._seen[kind], self._would[kind], self._later[kind]
        kinds = (self._later.get(kind, {}) for kind in asked)
        return [at_us for later in kinds for at_us in later.values() if at_us > now_us]

    def _on(
        self, view: View, fleet: Fleet, job: Job, pod: Pod, node: Node, later: dict[str, int]
    ) -> tuple[int, Found] | None:
        if node.closed or not node.suits(pod) or len(node.free) < pod.gpus:
            return None
        candidates, soon = self._candidates(view, fleet, job, node)
        if not candidates and not soon and node.name not in fleet.left_soon():
            return None
        room = _Room(node, fleet.leaving(node.name))
        found = room.cheapest(pod, candidates)
        if found is None:
            all_of_them = [*candidates, *(each for _, each in soon)]
            if soon and room.cheapest(pod, all_of_them) is not None:
                later[node.name] = min(at_us for at_us, _ in soon)
            return None
        gpus, chosen = found
        victims = tuple(each.number for each in chosen if not each.is_claim)
        behind = tuple(each.number for each in chosen if each.is_claim)
        return sum(each.cost for each in chosen), Found(node.name, gpus, victims, behind)

    def _candidates(
        self, view: View, fleet: Fleet, job: Job, node: Node
    ) -> tuple[list[_Candidate], list[tuple[int, _Candidate]]]:
        """Who may be halted now, whose claims may be taken back; who may be halted when."""
        able: list[_Candidate] = []
        soon: list[tuple[int, _Candidate]] = []
        for number in fleet.on(node.name):
            holder, seated = view.jobs.get(number), fleet.seated[number]
            if number in fleet.halting or holder is None or not can_yield(holder, job):
                continue
            cost = _cost(view, holder, seated.pod, fleet.has_room(seated.pod))
            each = _Candidate(number, seated.pod, seated.gpus, cost, False)
            rests_us = rests_until_us(holder, self._min_run_us)
            if rests_us <= view.now_us:
                able.append(each)
            else:
                soon.append((rests_us, each))
        for number, claim in fleet.claims.items():
            if claim.uri == node.name and view.jobs[number].order > job.order:
                able.append(_Candidate(number, claim.pod, claim.gpus, 0, True))
        return able, soon


def can_yield(holder: Job, job: Job) -> bool:
    """Whether it may be halted for the other, once it has had its minimum run time."""
    return (
        holder.state is JobState.RUNNING
        and holder.rank > job.rank
        and not holder.pinned
        and holder.saving_us is None
    )


def rests_until_us(holder: Job, min_run_us: int) -> int:
    return max(holder.started_us + min_run_us, holder.keep_until_us)


def _cost(view: View, holder: Job, pod: Pod, has_room: bool) -> int:
    milli = max(pod.gpu_milli, LEAST_MILLI) * (1 if has_room else STRANDED)
    if holder.rank < RANKS[Tier.BASIC]:
        milli += STANDARD
    return milli * RISK_S + min((view.now_us - holder.started_us) // S, RISK_S - 1)


class _Room:
    """Of one node, with what is about to be let go there."""

    def __init__(self, node: Node, leaving: Iterable[Seated]) -> None:
        self.free = list(node.free)
        self.cpu_milli, self.memory_mib = node.cpu_milli, node.memory_mib
        for each in leaving:
            self.cpu_milli += each.pod.cpu_milli
            self.memory_mib += each.pod.memory_mib
            for gpu in each.gpus:
                self.free[gpu] += each.pod.share_milli

    def cheapest(
        self, pod: Pod, candidates: Sequence[_Candidate]
    ) -> tuple[tuple[int, ...], tuple[_Candidate, ...]] | None:
        """GPUs, and who has to go for them."""
        if pod.gpus > 1:
            options = [self._several(pod, candidates)]
        elif pod.gpus == 1:
            options = [self._one(gpu, pod, candidates) for gpu in range(len(self.free))]
        else:
            options = [((), ())]
        best: tuple[int, tuple[int, ...], tuple[_Candidate, ...]] | None = None
        for option in options:
            if option is None:
                continue
            gpus, chosen = option
            whole = self._host(pod, gpus, chosen, candidates)
            if whole is None:
                continue
            cost = sum(each.cost for each in whole)
            if best is None or cost < best[0]:
                best = cost, gpus, whole
        return None if best is None else best[1:]

    def _one(
        self, gpu: int, pod: Pod, candidates: Sequence[_Candidate]
    ) -> tuple[tuple[int, ...], tuple[_Candidate, ...]] | None:
        there = [each for each in candidates if gpu in each.gpus]
        chosen = cover([(e.pod.share_milli, e) for e in there], pod.share_milli - self.free[gpu])
        return None if chosen is None else ((gpu,), chosen)

    def _several(
        self, pod: Pod, candidates: Sequence[_Candidate]
    ) -> tuple[tuple[int, ...], tuple[_Candidate, ...]] | None:
        """One after the other, each the cheapest beside those that are chosen already."""
        gpus: tuple[int, ...] = ()
        chosen: tuple[_Candidate, ...] = ()
        while len(gpus) < pod.gpus:
            best: tuple[int, int, tuple[_Candidate, ...]] | None = None
            for gpu in range(len(self.free)):
                if gpu in gpus:
                    continue
                gained = sum(e.pod.share_milli for e in chosen if gpu in e.gpus)
                there = [e for e in candidates if gpu in e.gpus and e not in chosen]
                lacks = pod.share_milli - self.free[gpu] - gained
                more = cover([(e.pod.share_milli, e) for e in there], lacks)
                if more is not None:
                    cost = sum(each.cost for each in more)
                    if best is None or (cost, gpu) < best[:2]:
                        best = cost, gpu, more
            if best is None:
                return None
            gpus, chosen = (*gpus, best[1]), (*chosen, *best[2])
        return tuple(sorted(gpus)), chosen

    def _host(
        self,
        pod: Pod,
        gpus: tuple[int, ...],
        chosen: tuple[_Candidate, ...],
        candidates: Sequence[_Candidate],
    ) -> tuple[_Candidate, ...] | None:
        """And for its CPU and memory; nobody who turns out to be needless."""
        for what, left in (("cpu_milli", self.cpu_milli), ("memory_mib", self.memory_mib)):
            lacks = getattr(pod, what) - left - sum(getattr(e.pod, what) for e in chosen)
            others = [(getattr(e.pod, what), e) for e in candidates if e not in chosen]
            more = cover(others, lacks)
            if more is None:
                return None
            chosen = (*chosen, *more)
        for each in sorted(chosen, key=lambda e: -e.cost):
            rest = tuple(e for e in chosen if e is not each)
            if self._does(pod, gpus, rest):
                chosen = rest
        return chosen

    def _does(self, pod: Pod, gpus: tuple[int, ...], gone: Sequence[_Candidate]) -> bool:
        return (
            self.cpu_milli + sum(e.pod.cpu_milli for e in gone) >= pod.cpu_milli
            and self.memory_mib + sum(e.pod.memory_mib for e in gone) >= pod.memory_mib
            and all(
                self.free[g] + sum(e.pod.share_milli for e in gone if g in e.gpus)
                >= pod.share_milli
                for g in gpus
            )
        )


def cover(items: Sequence[tuple[int, _Candidate]], lacks: int) -> tuple[_Candidate, ...] | None:
    """The cheapest that give as much in all, to a thousandth of that; None if all do not."""
    if lacks <= 0:
        return ()
    if sum(gain for gain, _ in items) < lacks:
        return None
    unit = -(-lacks // UNITS)
    need = -(-lacks // unit)
    best: dict[int, tuple[int, tuple[_Candidate, ...]]] = {0: (0, ())}
    for gain, each in items:
        for had, (cost, chosen) in sorted(best.items(), reverse=True) if gain >= unit else ():
            has = min(had + gain // unit, need)
            if has not in best or cost + each.cost < best[has][0]:
                best[has] = cost + each.cost, (*chosen, each)
    return best[need][1] if need in best else tuple(each for gain, each in items if gain > 0)
