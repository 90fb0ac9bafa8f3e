"""Nodes as `packing` knows them, of the machine's devices that stay: who sits where, what is left.

Kept up by what changed; made anew from the view when a device comes or goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from scheduler.core.jobs import Job
from scheduler.core.plan import Place
from scheduler.core.values import JobSpec, Slice
from scheduler.core.view import View
from scheduler.policies.packing import Node, Packer, Pod, Score

ScoreOf = Callable[[Sequence[Node], Sequence[Pod]], Score]


def pod_of(spec: JobSpec, part: str = "") -> Pod:
    """What it asks of a node. `part`: of its checkpoint."""
    needs = spec.needs
    assert needs is not None
    types = (part,) if part else tuple(sorted(set(needs.parts)))
    gpus = spec.count if needs.share_milli else 0
    return Pod(needs.cpu_milli, needs.memory_mib, gpus, needs.share_milli, types)


@dataclass(frozen=True, slots=True)
class Seated:
    """Where a job is: the device, which of its GPUs, and the seats on them."""

    uri: str
    pod: Pod
    gpus: tuple[int, ...]
    slices: tuple[Slice, ...]


class Fleet:
    """seated   jobs, by number
    index    of each device in `packer.nodes`
    packer   None while there are no devices"""

    def __init__(self, score_of: ScoreOf, expected: Sequence[Pod]) -> None:
        self.seated: dict[int, Seated] = {}
        self.index: dict[str, int] = {}
        self.packer: Packer | None = None
        self._score_of = score_of
        self._expected = expected
        self._clearing: list[tuple[int, Seated]] = []  # no longer a job's, and perhaps still held
        self._new: set[Slice] = set()  # seats given out since the last look at the leases
        self._version = 0  # of the view's fleet

    def follow(self, view: View) -> bool:
        """Whether there may be room that was not there before."""
        self._new.clear()
        for number in view.changed:
            seated, job = self.seated.get(number), view.jobs.get(number)
            if seated is not None and (job is None or job.slices != seated.slices):
                self._clearing.append((number, self.seated.pop(number)))
        if view.fleet != self._version:
            self._begin(view)
            return True
        held = [each for each in self._clearing if _is_held(view, *each)]
        cleared = [each for each in self._clearing if each not in held]
        for _, seated in cleared:
            if self.packer is not None and seated.uri in self.index:
                self.packer.remove(seated.pod, self.index[seated.uri], seated.gpus)
        self._clearing = held
        return bool(cleared)

    def _begin(self, view: View) -> None:
        self._version = view.fleet
        nodes = []
        for device in view.devices.values():
            if view.stays(device):
                left = view.shares.left(device, view.leases)
                free = list(left.share_milli)
                nodes.append(Node(device.uri, device.part, left.cpu_milli, left.memory_mib, free))
        self.index = {node.name: number for number, node in enumerate(nodes)}
        self.packer = Packer(nodes, self._score_of(nodes, self._expected)) if nodes else None
        self._clearing = [each for each in self._clearing if _is_held(view, *each)]

    def place(self, view: View, job: Job) -> Place | None:
        """Where the score says, if it fits anywhere."""
        pod = pod_of(job.spec, job.part)
        found = self.packer.place(pod) if self.packer is not None else None
        return None if found is None else self._seat(view, job, pod, *found)

    def has_room(self, pod: Pod) -> bool:
        return self.packer is not None and bool(self.packer.best(pod, 1))

    def put(self, view: View, job: Job, uri: str, gpus: tuple[int, ...]) -> Place | None:
        """There, if it fits still."""
        pod, index = pod_of(job.spec, job.part), self.index.get(uri)
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

    def _seat(self, view: View, job: Job, pod: Pod, index: int, gpus: tuple[int, ...]) -> Place:
        assert self.packer is not None
        uri, slices = self.packer.nodes[index].name, []
        for gpu in gpus or (0,):
            seat = 1
            while (item := Slice(uri, gpu, seat)) in view.leases or item in self._new:
                seat += 1
            slices.append(item)
        self._new.update(slices)
        self.seated[job.id] = Seated(uri, pod, gpus, tuple(slices))
        return Place(job.id, tuple(slices))


def _is_held(view: View, number: int, seated: Seated) -> bool:
    leases = (view.leases.get(item) for item in seated.slices)
    return any(lease is not None and lease.job == number for lease in leases)
