"""Room for a job that waits since what is free is scattered: whom to move where, at least cost.

Looked at are the nodes on which least is missing, and for those who may move, the GPUs of these
nodes and the best elsewhere. It is done if what the moves cost (each stands still for a halt and a
restore) is less than what the job is expected to wait: as long again as it has waited. Nobody is
moved often.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import combinations

from scheduler.core.jobs import Job, JobState
from scheduler.core.view import View
from scheduler.policies.books import S
from scheduler.policies.choices import CP_SAT, Choice, Problem, choose
from scheduler.policies.fleet import Fleet
from scheduler.policies.packing import Node, Pod

LEAST_MILLI = 100  # what a job without a GPU counts for, when it is moved
ROUND_MILLI = 1000


@dataclass(frozen=True, slots=True)
class Gather:
    """look_s   between two looks
    tries    kinds of waiting jobs in a look
    nodes    on which room is looked for; `elsewhere`: others to which jobs may move
    moves    at most, for one job
    move_s   what a move costs a job
    rest_s   a job is not moved sooner after it began to run
    gain     by how much more than the cost a job must have waited
    solver   `choices.CP_SAT` or `GREEDY`"""

    look_s: int = 60
    tries: int = 3
    nodes: int = 4
    elsewhere: int = 4
    moves: int = 4
    move_s: int = 50
    rest_s: int = 3600
    gain: float = 1.0
    solver: str = CP_SAT


@dataclass(frozen=True, slots=True)
class Gathered:
    """places  where each is to be, the one that waits last; `movers`: those that are halted;
    `devices`: that are kept for them meanwhile; `by`: who chose"""

    job: int
    movers: tuple[int, ...]
    places: dict[int, tuple[str, tuple[int, ...]]]
    devices: tuple[str, ...]
    cost_s: float
    by: str


Spot = tuple[str, tuple[int, ...]]


def gather(view: View, fleet: Fleet, job: Job, params: Gather) -> Gathered | None:
    if fleet.packer is None:
        return None
    pod = fleet.pod_of(job)
    waited_s = (view.now_us - max(job.submitted_us, job.saved_us)) / S
    movable = _movable(view, fleet, params)
    there = _nearest(fleet, pod, movable, params.nodes)
    if not there:
        return None
    numbers = [number for node in there for number in movable.get(node.name, ())]
    room = _room(there, fleet, numbers)
    room["moves"] = params.moves
    spots: list[list[Spot]] = []
    items: list[tuple[Choice, ...]] = []
    now: list[int | None] = []
    for number in numbers:
        seated = fleet.seated[number]
        cost = max(seated.pod.gpu_milli, LEAST_MILLI) * params.move_s
        stay = (seated.uri, seated.gpus)
        mine = [stay, *_elsewhere(fleet, seated.pod, there, params.elsewhere, room)]
        mine += (spot for spot in _spots(there, seated.pod) if spot != stay)
        spots.append(mine)
        items.append(
            tuple(
                Choice(cost * (n > 0), (*_uses(seated.pod, spot), *((("moves", 1),) * (n > 0))))
                for n, spot in enumerate(mine)
            )
        )
        now.append(0)
    wanted = list(_spots(there, pod))
    items.append(tuple(Choice(0, _uses(pod, spot)) for spot in wanted))
    now.append(None)
    found = choose(Problem(room, tuple(items), tuple(now)), params.solver)
    if found is None or found.cost * params.gain > waited_s * max(pod.gpu_milli, LEAST_MILLI):
        return None
    moves = {n: spots[i][found.choices[i]] for i, n in enumerate(numbers) if found.choices[i]}
    places = {**moves, job.id: wanted[found.choices[-1]]}
    devices = {uri for uri, _ in places.values()} | {fleet.seated[n].uri for n in moves}
    cost_s = found.cost / ROUND_MILLI
    return Gathered(job.id, tuple(moves), places, tuple(sorted(devices)), cost_s, found.by)


def _movable(view: View, fleet: Fleet, params: Gather) -> dict[str, list[int]]:
    """Jobs that may be moved, by device, of whatever tier. Those on several GPUs stay."""
    found: dict[str, list[int]] = {}
    for number, seated in fleet.seated.items():
        job = view.jobs[number]
        if (
            job.state is JobState.RUNNING
            and number not in fleet.halting
            and len(seated.gpus) <= 1
            and not job.pinned
            and job.saving_us is None
            and max(job.started_us + params.rest_s * S, job.keep_until_us) <= view.now_us
        ):
            found.setdefault(seated.uri, []).append(number)
    return found


def _nearest(fleet: Fleet, pod: Pod, movable: dict[str, list[int]], most: int) -> list[Node]:
    """Nodes that would do if all that may move were gone, those first on which least is missing."""
    assert fleet.packer is not None
    found: list[tuple[float, int, Node]] = []
    for index, node in enumerate(fleet.packer.nodes):
        if node.closed or not node.suits(pod):
            continue
        if len(node.free) < pod.gpus or not movable.get(node.name):
            continue
        cleared = list(node.free)
        cpu_milli, memory_mib = node.cpu_milli, node.memory_mib
        for number in movable[node.name]:
            seated = fleet.seated[number]
            cpu_milli += seated.pod.cpu_milli
            memory_mib += seated.pod.memory_mib
            for gpu in seated.gpus:
                cleared[gpu] += seated.pod.share_milli
        fits = sum(free >= pod.share_milli for free in cleared) >= pod.gpus
        if not fits or pod.cpu_milli > cpu_milli or pod.memory_mib > memory_mib:
            continue
        gains = sorted(
            max(0, pod.share_milli - free)
            for free, all_free in zip(node.free, cleared, strict=True)
            if all_free >= pod.share_milli
        )
        missing = sum(gains[: pod.gpus]) / ROUND_MILLI
        missing += max(0, pod.cpu_milli - node.cpu_milli) / max(1, pod.cpu_milli)
        missing += max(0, pod.memory_mib - node.memory_mib) / max(1, pod.memory_mib)
        found.append((missing, index, node))
    return [node for _, _, node in sorted(found, key=lambda each: each[:2])[:most]]


def _room(nodes: list[Node], fleet: Fleet, numbers: list[int]) -> dict[Hashable, int]:
    """What is left there, and what those hold who may move."""
    room: dict[Hashable, int] = {}
    for node in nodes:
        room["cpu", node.name], room["memory", node.name] = node.cpu_milli, node.memory_mib
        room |= {("gpu", node.name, gpu): free for gpu, free in enumerate(node.free)}
    for number in numbers:
        seated = fleet.seated[number]
        for what, much in _uses(seated.pod, (seated.uri, seated.gpus)):
            room[what] += much
    return room


def _uses(pod: Pod, spot: Spot) -> tuple[tuple[Hashable, int], ...]:
    uri, gpus = spot
    return (
        (("cpu", uri), pod.cpu_milli),
        (("memory", uri), pod.memory_mib),
        *((("gpu", uri, gpu), pod.share_milli) for gpu in gpus),
    )


def _spots(nodes: list[Node], pod: Pod) -> Iterator[Spot]:
    """Where it could be on these if nobody else was there."""
    for node in nodes:
        if node.suits(pod):
            for gpus in combinations(range(len(node.free)), pod.gpus):
                yield node.name, gpus


def _elsewhere(
    fleet: Fleet, pod: Pod, there: list[Node], most: int, room: dict[Hashable, int]
) -> list[Spot]:
    """Where it fits now, on other nodes: those that the score likes best. Their room is added."""
    assert fleet.packer is not None
    near = {node.name for node in there}
    spots: list[Spot] = []
    for index, gpus in fleet.packer.best(pod, most + len(near)):
        node = fleet.packer.nodes[index]
        if node.name in near or len(spots) == most:
            continue
        spots.append((node.name, gpus))
        room["cpu", node.name], room["memory", node.name] = node.cpu_milli, node.memory_mib
        room |= {("gpu", node.name, gpu): free for gpu, free in enumerate(node.free)}
    return spots
