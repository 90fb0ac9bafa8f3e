"""What jobs are told that wait under `Sharing`: every device of their kind that is up, by what is
in the way there.

Worked out after a plan was carried out, from the view, the claims and the room that is being made;
only where somebody asks. `sharing_audit` checks it against the cluster. Jobs that ask for the same
and stand alike share one answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Blocker, Why
from scheduler.core.values import FULL_MILLI, Device
from scheduler.core.view import View, suits
from scheduler.policies.fleet import WHOLE, Claim
from scheduler.policies.gather import Gathered
from scheduler.policies.yielding import can_yield, rests_until_us

Found = tuple[Why, tuple[int, ...], int | None]  # whose doing, until when


@dataclass(frozen=True, slots=True)
class Share:
    """Of a device, and its host: what somebody has there, or wants. `gpus`: which; of a want, how
    many count."""

    job: int
    gpus: tuple[int, ...]
    share_milli: int
    cpu_milli: int
    memory_mib: int
    goes: bool = False  # it is about to let go


class SharingReasons:
    """`claims` by job; `under_way`: room that is being made."""

    def __init__(
        self,
        view: View,
        claims: Mapping[int, Claim],
        under_way: Gathered | None,
        min_run_us: int,
    ) -> None:
        self._view = view
        self._claims = claims
        self._under_way = under_way
        self._min_run_us = min_run_us
        self._held: dict[str, list[Share]] = {}
        self._claimed: dict[str, list[Share]] = {}
        for (uri, number, releasing), gpus in _holders(view).items():
            self._held.setdefault(uri, []).append(self._share(number, gpus, releasing))
        for number, claim in claims.items():
            pod = claim.pod
            share = Share(number, claim.gpus, pod.share_milli, pod.cpu_milli, pod.memory_mib)
            self._claimed.setdefault(claim.uri, []).append(share)
        self._known: dict[object, tuple[Blocker, ...]] = {}

    def all(self) -> dict[int, tuple[Blocker, ...]]:
        """By job, of all that wait."""
        return {job.id: self._of(job) for job in self._view.jobs.values() if job.state.waiting}

    def _of(self, job: Job) -> tuple[Blocker, ...]:
        up = [d for d in self._view.devices.values() if d.up and d.kind == job.spec.device_kind]
        if not up:
            return (Blocker(Why.NO_DEVICE),)
        if job.idle_until_us > self._view.now_us:
            return (Blocker(Why.BACKING_OFF, until_us=job.idle_until_us),)
        if self._under_way is not None and job.id in self._under_way.places:
            return (Blocker(Why.GATHERED, jobs=(self._under_way.job,)),)
        ahead = tuple(n for n in self._claims if self._view.jobs[n].order < job.order)
        want = job.spec.needs, job.spec.count, job.spec.devices, job.spec.device_kind
        key = want, job.part, job.rank, job.avoid, ahead
        if key not in self._known:
            self._known[key] = self._answer(job, up)
        return self._known[key]

    def _answer(self, job: Job, up: Iterable[Device]) -> tuple[Blocker, ...]:
        liked = {item.device for slices in self._view.acceptable(job).values() for item in slices}
        groups: dict[tuple[Why, int | None], list[tuple[str, tuple[int, ...]]]] = {}
        for device in up:
            why, named, until_us = self._why(job, device, liked)
            groups.setdefault((why, until_us), []).append((device.uri, named))
        return tuple(
            Blocker(
                why,
                0,
                tuple(sorted({number for _, named in found for number in named})),
                until_us,
                devices=tuple(uri for uri, _ in found),
            )
            for (why, until_us), found in groups.items()
        )

    def _why(self, job: Job, device: Device, liked: set[str]) -> Found:
        view, uri = self._view, device.uri
        if uri in view.draining and suits(job.spec, device):
            return Why.DRAINING, (), None
        if uri not in liked:
            return Why.UNSUITED, (), None
        want = want_of(job)
        if lacking(device, (), want) is not None:
            return Why.TOO_SMALL, (), None
        if self._under_way is not None and uri in self._under_way.devices:
            return Why.GATHERED, (self._under_way.job,), None
        held = self._held.get(uri, [])
        stay = [share for share in held if not share.goes]
        claimed = self._claimed.get(uri, ())
        ahead = [share for share in claimed if view.jobs[share.job].order < job.order]
        if lacking(device, [*stay, *ahead], want) is None:
            return Why.RELEASING, _jobs(share for share in held if share.goes), None
        lower = [s for s in stay if view.jobs[s.job].rank > job.rank]
        rest = [s for s in stay if s not in lower]
        lacks = lacking(device, rest, want)
        if lacks is not None:
            return lacks, _jobs(share for share in rest if _takes(share, lacks)), None
        if lacking(device, [*rest, *ahead], want) is not None:
            return Why.AHEAD, _jobs(ahead), None
        return self._kept_by(job, lower)

    def _kept_by(self, job: Job, lower: list[Share]) -> Found:
        """All of a lower tier together have what it wants; why it is not taken from them."""
        view = self._view
        reasons: dict[tuple[Why, int | None], list[int]] = {}
        for number in _jobs(lower):
            holder = view.jobs[number]
            until_us = rests_until_us(holder, self._min_run_us)
            if holder.state is not JobState.RUNNING:
                why: Why = Why.STARTING
            elif holder.pinned:
                why = Why.PINNED
            elif not can_yield(holder, job):
                why = Why.SAVING
            else:
                why = Why.PROTECTED if until_us > view.now_us else Why.EVICTABLE
            until = until_us if why is Why.PROTECTED else None
            reasons.setdefault((why, until), []).append(number)
        for wanted in (Why.PINNED, Why.STARTING, Why.SAVING, Why.PROTECTED, Why.EVICTABLE):
            found = [
                (until or 0, named) for (why, until), named in reasons.items() if why == wanted
            ]
            if found:
                until_us, numbers = min(found)
                return wanted, tuple(numbers), until_us or None
        raise AssertionError("somebody holds what is lacking")

    def _share(self, number: int, gpus: tuple[int, ...], releasing: bool) -> Share:
        job = self._view.jobs.get(number)
        if releasing or job is None:  # what it needed does not matter any more
            return Share(number, gpus, FULL_MILLI, 0, 0, True)
        needs = job.spec.needs or WHOLE
        goes = job.state is JobState.CHECKPOINTING
        return Share(number, gpus, needs.share_milli, needs.cpu_milli, needs.memory_mib, goes)


def _holders(view: View) -> dict[tuple[str, int, bool], tuple[int, ...]]:
    """By device, job, and whether its lease is over: which of its slices."""
    found: dict[tuple[str, int, bool], tuple[int, ...]] = {}
    for item, lease in view.leases.items():
        key = item.device, lease.job, lease.releasing
        found[key] = (*found.get(key, ()), item.index)
    return found


def want_of(job: Job) -> Share:
    needs = job.spec.needs or WHOLE
    gpus = tuple(range(job.spec.count)) if needs.share_milli else ()
    return Share(job.id, gpus, needs.share_milli, needs.cpu_milli, needs.memory_mib)


def lacking(device: Device, held: Iterable[Share], want: Share) -> Why | None:
    """What there is too little of beside what these hold; None: there is enough."""
    free = [FULL_MILLI] * device.slice_count
    cpu_milli, memory_mib = device.cpu_milli, device.memory_mib
    for share in held:
        cpu_milli -= share.cpu_milli
        memory_mib -= share.memory_mib
        for gpu in share.gpus:
            free[gpu] -= share.share_milli
    if sum(left >= want.share_milli for left in free) < len(want.gpus):
        return Why.WHOLE if want.share_milli == FULL_MILLI else Why.SHARE
    if want.cpu_milli > cpu_milli:
        return Why.CPU
    return Why.MEMORY if want.memory_mib > memory_mib else None


def _takes(share: Share, lacks: Why) -> bool:
    """Some of what is lacking."""
    match lacks:
        case Why.CPU:
            return share.cpu_milli > 0
        case Why.MEMORY:
            return share.memory_mib > 0
    return share.share_milli > 0


def _jobs(shares: Iterable[Share]) -> tuple[int, ...]:
    return tuple(sorted({share.job for share in shares}))
