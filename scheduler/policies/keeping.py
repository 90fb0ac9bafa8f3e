"""Room that is kept for jobs with shares that have waited for long, so that they are not passed for
ever.

Small jobs find room where a large one does not, and with it goes what the large one waits for. So
the first few in the queue that have waited for `patience` claim room on one node each: that on
which least is missing, though it would do if nobody else was there. Who runs there runs on; what it
lets go is kept. Without any end meanwhile nothing is claimed, for that would only leave room empty
that nobody has to give up.
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.core.jobs import Job
from scheduler.core.values import FULL_MILLI, Device
from scheduler.core.view import View
from scheduler.policies.fleet import Claim, Fleet
from scheduler.policies.packing import Node, Pod

SHARE = 16  # one node in so many, and one at least, is kept so
LOOK_US = 60_000_000  # between two choices of nodes


def waits_since_us(job: Job) -> int:
    return max(job.submitted_us, job.saved_us)


class Keeping:
    def __init__(self, patience_us: int) -> None:
        self._patience_us = patience_us
        self._chosen_us = 0  # when nodes were last chosen anew

    def keep(self, view: View, fleet: Fleet, queue: Sequence[int], wakes: list[int]) -> bool:
        """Claim for the first that are overdue, and take claims back from those that are not
        among them any more; whether it did that. `queue`: those that wait and are not seated."""
        nodes = fleet.nodes()
        if fleet.cleared_us is None or not nodes:
            return False
        most = max(1, len(nodes) // SHARE)
        first: list[Job] = []
        for number in queue:
            job = view.jobs[number]
            since_us = waits_since_us(job)
            if since_us + self._patience_us > view.now_us:
                wakes.append(since_us + self._patience_us)
            elif fleet.cleared_us > since_us and job.idle_until_us <= view.now_us:
                first.append(job)
                if len(first) == most:
                    break
        kept = {job.id for job in first}
        over = [n for n, claim in fleet.claims.items() if claim.overdue and n not in kept]
        for number in over:
            fleet.unclaim(number)
        anew = view.now_us >= self._chosen_us + LOOK_US
        if anew and first:
            self._chosen_us = view.now_us
        for job in first:
            claim = fleet.claims.get(job.id)
            if claim is None or (claim.overdue and anew):
                self._claim(view, fleet, job)
        return bool(over)

    def _claim(self, view: View, fleet: Fleet, job: Job) -> None:
        """What is missing where it has a claim only shrinks, so it moves where less is."""
        pod = fleet.pod_of(job)
        fleet.unclaim(job.id)
        found = nearest(view, fleet, pod)
        if found is not None:
            uri, gpus = found
            fleet.claim(job.id, Claim(uri, pod, gpus, True))


def nearest(view: View, fleet: Fleet, pod: Pod) -> tuple[str, tuple[int, ...]] | None:
    """The node on which least is missing, of those that have enough in all; and its GPUs."""
    best: tuple[float, str, tuple[int, ...]] | None = None
    for node in fleet.nodes():
        if node.closed or not node.suits(pod) or not _is_large(view.devices[node.name], pod):
            continue
        missing, gpus = _missing(node, pod)
        if best is None or missing < best[0]:
            best = missing, node.name, gpus
    return None if best is None else best[1:]


def _is_large(device: Device, pod: Pod) -> bool:
    """Enough for it when empty."""
    return (
        device.slice_count >= pod.gpus
        and device.cpu_milli >= pod.cpu_milli
        and device.memory_mib >= pod.memory_mib
    )


def _missing(node: Node, pod: Pod) -> tuple[float, tuple[int, ...]]:
    """In GPUs, and as shares of the CPU and the memory that it needs."""
    lacks = sorted((max(0, pod.share_milli - free), gpu) for gpu, free in enumerate(node.free))
    chosen = lacks[: pod.gpus]
    missing = sum(lack for lack, _ in chosen) / FULL_MILLI
    missing += max(0, pod.cpu_milli - node.cpu_milli) / max(1, pod.cpu_milli)
    missing += max(0, pod.memory_mib - node.memory_mib) / max(1, pod.memory_mib)
    return missing, tuple(sorted(gpu for _, gpu in chosen))
