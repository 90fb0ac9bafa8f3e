"""Nodes as `packing` knows them, of the machine's devices that stay: who sits where, what is left,
and what is claimed.

Kept up by what changed; made anew from the view when a device comes or goes. A claim is room that
is kept for a job before all of it is there: nobody else has it, and the job takes it once those
who hold it still have let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Place
from scheduler.core.values import JobSpec, Needs, Slice
from scheduler.core.view import View
from scheduler.policies.packing import Node, Packer, Pod, Score

ScoreOf = Callable[[Sequence[Node], Sequence[Pod]], Score]
WHOLE = Needs()


def pod_of(spec: JobSpec, part: str = "") -> Pod:
    """What it asks of a node. `part`: of its checkpoint."""
    needs = spec.needs or WHOLE
    types = (part,) if part else tuple(sorted(set(needs.parts)))
    gpus = spec.count if needs.share_milli else 0
    names = tuple(sorted(set(spec.devices)))
    return Pod(
        needs.cpu_milli, needs.memory_mib, gpus, needs.share_milli, types, spec.device_kind, names
    )


@dataclass(frozen=True, slots=True)
class Seated:
    """Where a job is: the device, which of its GPUs, and the seats on them."""

    uri: str
    pod: Pod
    gpus: tuple[int, ...]
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """`overdue`: made since the job has waited for long; else others were halted for it, or are
    about to let go anyway."""

    uri: str
    pod: Pod
    gpus: tuple[int, ...]
    overdue: bool


class Changes:
    """Devices on which something changed, each when it last did. `count`: of all changes."""

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[str, int] = {}  # rising

    def add(self, uri: str) -> None:
        self.count += 1
        self._last.pop(uri, None)
        self._last[uri] = self.count

    def since(self, count: int) -> Iterator[str]:
        """After so many; the newest first."""
        for uri, number in reversed(self._last.items()):
            if number <= count:
                return
            yield uri


class Fleet:
    """seated   jobs, by number
    claims   room that is kept for jobs, by number
    halting  of those that are seated: they are about to let go
    index    of each device in `packer.nodes`
    packer   None while there are no devices
    changes  devices on which something changed, and in which order
    cleared_us  when somebody last let go of something; None: nobody has"""

    def __init__(self, score_of: ScoreOf, expected: Sequence[Pod]) -> None:
        self.seated: dict[int, Seated] = {}
        self.claims: dict[int, Claim] = {}
        self.index: dict[str, int] = {}
        self.packer: Packer | None = None
        self.changes = Changes()
        self.cleared_us: int | None = None
        self._score_of = score_of
        self._expected = expected
        self._on: dict[str, set[int]] = {}  # device -> jobs
        self.halting: set[int] = set()
        self._clearing: list[tuple[int, Seated]] = []  # no longer a job's, and perhaps still held
        self._new: set[Slice] = set()  # seats given out since the last look at the leases
        self._pods: dict[int, Pod] = {}  # of jobs that did not change since
        self._version = 0  # of the view's fleet

    def follow(self, view: View) -> bool:
        """Whether there may be room that was not there before."""
        self._new.clear()
        for number in view.changed:
            self._pods.pop(number, None)
            seated, job = self.seated.get(number), view.jobs.get(number)
            if seated is None:
                continue
            self.changes.add(seated.uri)
            self.halting.discard(number)
            if job is None or job.slices != seated.slices:
                self._clearing.append((number, self.seated.pop(number)))
                self._on[seated.uri].discard(number)
            elif job.state is JobState.CHECKPOINTING:
                self.halting.add(number)
        if view.fleet != self._version:
            self._begin(view)
            return True
        held = [each for each in self._clearing if _is_held(view, *each)]
        cleared = [each for each in self._clearing if each not in held]
        for _, seated in cleared:
            if self.packer is not None and seated.uri in self.index:
                self.packer.remove(seated.pod, self.index[seated.uri], seated.gpus)
                self.changes.add(seated.uri)
        self._clearing = held
        if cleared:
            self.cleared_us = view.now_us
        return bool(cleared)

    def _begin(self, view: View) -> None:
        self._version = view.fleet
        self._pods.clear()
        nodes = []
        for device in view.devices.values():
            if view.stays(device):
                left = view.shares.left(device, view.leases)
                free = list(left.share_milli)
                cpu_milli, memory_mib = left.cpu_milli, left.memory_mib
                node = Node(device.uri, device.part, cpu_milli, memory_mib, free, kind=device.kind)
                nodes.append(node)
        self.index = {node.name: number for number, node in enumerate(nodes)}
        self.packer = Packer(nodes, self._score_of(nodes, self._expected)) if nodes else None
        self._clearing = [each for each in self._clearing if _is_held(view, *each)]
        for uri in self.index:
            self.changes.add(uri)
        claims, self.claims = self.claims, {}
        for number, claim in claims.items():
            if claim.uri in self.index:
                self.claim(number, claim)

    def pod_of(self, job: Job) -> Pod:
        """What it asks of a node now: one that it was told to avoid if there are no others."""
        found = self._pods.get(job.id)
        if found is None:
            found = self._pods[job.id] = self._pod_of(job)
        return found

    def _pod_of(self, job: Job) -> Pod:
        pod = pod_of(job.spec, job.part)
        if not job.avoid:
            return pod
        fit = [node.name for node in self.nodes() if node.suits(pod)]
        liked = tuple(sorted(set(fit).difference(job.avoid)))
        return replace(pod, names=liked) if 0 < len(liked) < len(fit) else pod

    def nodes(self) -> Sequence[Node]:
        return self.packer.nodes if self.packer is not None else ()

    # ---- giving out

    def place(self, view: View, job: Job, pod: Pod) -> Place | None:
        """Where the score says, if it fits anywhere."""
        found = self.packer.place(pod) if self.packer is not None else None
        return None if found is None else self._seat(view, job, pod, *found)

    def has_room(self, pod: Pod) -> bool:
        return self.packer is not None and self.packer.first(pod) is not None

    def put(self, view: View, job: Job, uri: str, gpus: tuple[int, ...]) -> Place | None:
        """There, if it fits still."""
        pod, index = self.pod_of(job), self.index.get(uri)
        if self.packer is None or index is None:
            return None
        node = self.packer.nodes[index]
        if not node.fits(pod) or any(node.free[gpu] < pod.share_milli for gpu in gpus):
            return None
        self.packer.put(pod, index, gpus)
        return self._seat(view, job, pod, index, gpus)

    def close(self, uris: Iterable[str], closed: bool) -> None:
        """Nobody is placed there until they are opened again."""
        for uri in uris:
            if self.packer is not None and uri in self.index:
                self.packer.close(self.index[uri], closed)
                self.changes.add(uri)

    # ---- claims

    def claim(self, number: int, claim: Claim) -> None:
        assert self.packer is not None
        self.packer.claim(claim.pod, self.index[claim.uri], claim.gpus)
        self.claims[number] = claim
        self.changes.add(claim.uri)

    def unclaim(self, number: int) -> Claim | None:
        """There may be room for others by that."""
        claim = self.claims.pop(number, None)
        if claim is not None and self.packer is not None and claim.uri in self.index:
            self.packer.remove(claim.pod, self.index[claim.uri], claim.gpus)
            self.changes.add(claim.uri)
        return claim

    def take_up(self, view: View, job: Job) -> Place | None:
        """What it has claimed, if all of it is there."""
        claim = self.claims[job.id]
        if claim.pod != self.pod_of(job) or not self._is_covered(view, job, claim, ()):
            return None
        assert self.packer is not None
        del self.claims[job.id]
        return self._seat(view, job, claim.pod, self.index[claim.uri], claim.gpus)

    def comes(self, view: View, job: Job) -> bool:
        """Whether all that it has claimed will be there when those have let go who are about to."""
        claim = self.claims[job.id]
        return self._is_covered(view, job, claim, tuple(self.leaving(claim.uri)))

    def _is_covered(self, view: View, job: Job, claim: Claim, leaving: tuple[Seated, ...]) -> bool:
        node = self.nodes()[self.index[claim.uri]]
        given: list[Seated | Claim] = [*leaving, *self.claimed(view, claim.uri, job)]
        return (
            not node.closed
            and node.cpu_milli + sum(each.pod.cpu_milli for each in given) >= 0
            and node.memory_mib + sum(each.pod.memory_mib for each in given) >= 0
            and all(
                node.free[gpu] + sum(e.pod.share_milli for e in given if gpu in e.gpus) >= 0
                for gpu in claim.gpus
            )
        )

    def claimed(self, view: View, uri: str, before: Job) -> Iterator[Claim]:
        """There, by jobs that stand behind that one."""
        for number, claim in self.claims.items():
            if claim.uri == uri and view.jobs[number].order > before.order:
                yield claim

    def leaving(self, uri: str) -> Iterator[Seated]:
        """Those who are about to let go of what they have there."""
        yield from (self.seated[n] for n in self._on.get(uri, ()) if n in self.halting)
        yield from (seated for _, seated in self._clearing if seated.uri == uri)

    def left_soon(self) -> set[str]:
        """Devices on which somebody is about to let go."""
        found = {self.seated[number].uri for number in self.halting}
        return found.union(seated.uri for _, seated in self._clearing)

    def on(self, uri: str) -> Iterable[int]:
        """Jobs that sit there."""
        return sorted(self._on.get(uri, ()))

    def _seat(self, view: View, job: Job, pod: Pod, index: int, gpus: tuple[int, ...]) -> Place:
        assert self.packer is not None
        uri, slices = self.packer.nodes[index].name, []
        for gpu in gpus or (0,):
            seat = 0 if job.spec.needs is None else 1
            while (item := Slice(uri, gpu, seat)) in view.leases or item in self._new:
                seat += 1
            slices.append(item)
        self._new.update(slices)
        self.seated[job.id] = Seated(uri, pod, gpus, tuple(slices))
        self._on.setdefault(uri, set()).add(job.id)
        self.changes.add(uri)
        return Place(job.id, tuple(slices))


def _is_held(view: View, number: int, seated: Seated) -> bool:
    leases = (view.leases.get(item) for item in seated.slices)
    return any(lease is not None and lease.job == number for lease in leases)
