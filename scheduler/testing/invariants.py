"""What must hold after every step, whatever happened: a list of complaints, empty when all is well.

Written against the machine's tables alone; of a policy it knows only what that promises. Tables are
checked for jobs that have not ended; `History` looks at every job when something happens to it, and
at what must hold from one step to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scheduler.core.commands import Command
from scheduler.core.events import Event
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.values import FULL_MILLI, Recovery, Slice, Tier
from scheduler.core.view import View
from scheduler.policies.explain import audit
from scheduler.policies.ledger import protected_until_us

HOLDING = (
    JobState.STARTING,
    JobState.RUNNING,
    JobState.RESIZING,
    JobState.CHECKPOINTING,
    JobState.MIGRATING,
)


def broken_tables(machine: Machine) -> list[str]:
    """What must hold whatever the policy."""
    return [*_leases(machine), *_free(machine), *_shares(machine), *_gangs(machine)]


def broken(machine: Machine, min_run_us: int) -> list[str]:
    """And under `Tiered`."""
    view = machine.view()
    return [
        *broken_tables(machine),
        *_tiers(machine),
        *_queue(view, min_run_us),
        *audit(view, machine.waiting),
    ]


class History:
    """A Recorder of the loop: what must hold from one step to the next, of jobs that it concerns.
    `complaints` gathers."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.complaints: list[str] = []
        self._before: dict[int, Job] = {}

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        for number in {getattr(each, "job", 0) for each in (*events, *commands)} - {0}:
            before, after = self._before.get(number), self.machine.jobs[number]
            self.complaints += _steps(self.machine, before or after, after)
            self._before[number] = after


def _steps(machine: Machine, before: Job, after: Job) -> Iterator[str]:
    name = f"job {after.id}, {before.state} before and {after.state} now,"
    if after.epoch < before.epoch:
        yield f"{name} went back from attempt {before.epoch} to {after.epoch}"
    if before.state.terminal and after.state is not before.state:
        yield f"{name} came back after its end"
    if after.state.terminal and (after.slices or after.listening or after.home):
        yield f"{name} holds {after.slices} after its end"
    resumable = after.spec.recovery is Recovery.CHECKPOINT
    if resumable and before.checkpoint and not after.checkpoint:
        yield f"{name} had checkpoint {before.checkpoint} and has none"
    if resumable and before.checkpoint and after.state in (JobState.QUEUED, JobState.STARTING):
        yield f"{name} begins anew after it had checkpoint {before.checkpoint}"
    if after.epoch > before.epoch and after.idle_until_us > machine.now_us:
        yield f"{name} was placed before {after.idle_until_us}us, though a start had just failed"
    draining = machine.view().draining
    new = [item for item in after.slices if item not in before.slices]
    if after.epoch > before.epoch and any(item.device in draining for item in new):
        yield f"{name} was placed on {new}, of which some are to be removed"


def _leases(machine: Machine) -> Iterator[str]:
    """No slice twice, every lease its job's, nobody running where nothing runs."""
    alive = machine.view().jobs.values()
    held = [item for job in alive for item in job.slices]
    held += [item for lease in machine.releasing.values() for item in lease.slices]
    if len(held) != len(set(held)):
        yield f"a slice is held twice: {sorted(held)}"
    if sorted(held) != sorted(machine.leases):
        yield f"jobs hold {sorted(held)}, the leases are {sorted(machine.leases)}"
    for item, lease in machine.leases.items():
        if item not in lease.slices:
            yield f"{item} is not in its own lease {lease}"
        job = machine.jobs[lease.job]
        if not lease.releasing and not (job.epoch == lease.epoch and job.listening):
            yield f"{lease} is not of job {job.id}'s attempt {job.epoch}"
    for job in alive:
        down = {item.device for item in job.slices if not machine.devices[item.device].up}
        if down - set(job.lost):
            yield f"job {job.id} holds slices of {down}, lost, and knows of {job.lost}"
        if job.state is JobState.RUNNING and job.lost and job.saving_us is None:
            yield f"job {job.id} runs on {job.lost}, which was lost"


def _free(machine: Machine) -> Iterator[str]:
    """The index of free slices says what the leases say."""
    view = machine.view()
    free = view.free
    counts: dict[tuple[str, str], int] = {}
    for device in machine.devices.values():
        key = (device.kind, device.part)
        counts.setdefault(key, 0)
        if view.stays(device):
            counts[key] += sum(
                item not in machine.leases and not view.shares.is_shared(item)
                for item in device.slices
            )
    for (kind, part), count in counts.items():
        picked = free.pick(kind, part, count + 1)
        if free.count(kind, part) != count or len(set(picked)) != count:
            yield f"{count} slices of {part} are free, the index has {free.count(kind, part)}"
        if any(item in machine.leases for item in picked):
            yield f"the index offers {picked}, of which some are held"
        if any(item.device in view.draining for item in picked):
            yield f"the index offers {picked}, of which some are to be removed"


def _shares(machine: Machine) -> Iterator[str]:
    """Of no slice and no host more is given out than there is: counted from the leases alone."""
    taken: dict[tuple[str, object], int] = {}
    for item, lease in machine.leases.items():
        needs = machine.jobs[lease.job].spec.needs
        if (needs is None) != (item.seat == 0):
            yield f"{item} is held by {lease.job}, which needs {needs}"
        shares: list[tuple[object, int]] = [
            (item.index, needs.share_milli if needs else FULL_MILLI)
        ]
        if needs is not None and item == lease.slices[0]:
            shares += [("cpu", needs.cpu_milli), ("memory", needs.memory_mib)]
        for what, much in shares:
            key = item.device, what
            taken[key] = taken.get(key, 0) + much
    for (uri, what), much in taken.items():
        device = machine.devices[uri]
        hosts = {"cpu": device.cpu_milli, "memory": device.memory_mib}
        if much > hosts.get(str(what), FULL_MILLI):
            yield f"{much} of {what} is given out of {device}"


def _gangs(machine: Machine) -> Iterator[str]:
    for job in machine.view().jobs.values():
        least, most = (job.spec.least, job.spec.most) if job.state in HOLDING else (0, 0)
        runs_on = job.target or job.slices
        if not least <= len(runs_on) <= most:
            yield f"job {job.id} is {job.state}, asked for {least} to {most}, has {runs_on}"
        if bool(job.target) != (job.state is JobState.RESIZING):
            yield f"job {job.id} is {job.state} and is to have {job.target}"
        if job.target and set(job.slices) != {*job.kept, *job.target}:
            yield f"job {job.id} goes from {job.kept} to {job.target}, but holds {job.slices}"
        parts = {machine.devices[item.device].part for item in job.slices}
        if parts - {job.part}:
            yield f"job {job.id} of part {job.part!r} holds slices of {sorted(parts)}"
        if job.state is JobState.PREEMPTED and not job.part:
            yield f"job {job.id} has a checkpoint of no part"
        if job.saving_us is not None and job.state is not JobState.RUNNING:
            yield f"job {job.id} is {job.state} and being saved"
        if job.home and not job.state.waiting:
            yield f"job {job.id} is {job.state} and on its way back to {job.home}"


def _tiers(machine: Machine) -> Iterator[str]:
    for job in machine.jobs.values():
        if job.evicted_for and machine.jobs[job.evicted_for].rank >= job.rank:
            yield f"job {job.id} was halted for {job.evicted_for}, which is not of a higher tier"
        if job.spec.tier is Tier.PREMIUM and job.preemptions:
            yield f"job {job.id} is premium and was halted"


def _queue(view: View, min_run_us: int) -> Iterator[str]:
    """The first in the queue never waits for what it could take: neither for free slices, nor
    while a lower tier may be halted and is not. (Behind the first, slices may be spoken for.)"""
    queue = [
        job
        for job in view.jobs.values()
        if job.state is JobState.CHECKPOINTING
        or (job.state.waiting and job.idle_until_us <= view.now_us)
    ]
    head = min(queue, key=lambda job: job.order, default=None)
    if head is None or head.state is JobState.CHECKPOINTING:
        return
    reach = [_within_reach(view, head, slices, min_run_us) for slices in _parts(view, head)]
    need = head.spec.count
    if any(free >= need for free, _, _ in reach):
        yield f"job {head.id} waits, though enough slices are free"
    if any(free + coming >= need for free, coming, _ in reach):
        return
    if any(free + coming + takeable >= need for free, coming, takeable in reach):
        yield f"job {head.id} waits, though lower tiers run that may be halted"


def _parts(view: View, job: Job) -> list[tuple[Slice, ...]]:
    return list(view.acceptable(job).values())


def _within_reach(
    view: View, head: Job, slices: tuple[Slice, ...], min_run_us: int
) -> tuple[int, int, int]:
    """How many are free, about to be free, held by what may be halted for `head`."""
    free = coming = takeable = 0
    for item in slices:
        lease = view.leases.get(item)
        holder = view.jobs.get(lease.job) if lease else None
        if lease is None:
            free += 1
        elif lease.releasing or holder is None or holder.state is JobState.CHECKPOINTING:
            coming += 1
        elif holder.state is JobState.RUNNING and holder.rank > head.rank and not holder.pinned:
            takeable += protected_until_us(holder, min_run_us) <= view.now_us
    return free, coming, takeable
