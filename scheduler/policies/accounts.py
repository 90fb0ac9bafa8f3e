"""Who owns, uses and owes what, by the tree of quotas: for whoever looks after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.core.jobs import Job
from scheduler.policies.quotas import Quotas


@dataclass(frozen=True, slots=True)
class Account:
    """Of a quota, or of a tenant that has none; slices of one kind of device.

    owns   its quota
    uses   held by jobs below it
    owes   of those, held by jobs that its quota does not hold: borrowed from above it
    waits  asked for by jobs below it that wait"""

    name: str
    kind: str
    owns: int
    uses: int
    owes: int
    waits: int


def accounts(quotas: Quotas, jobs: Iterable[Job], debts: Mapping[int, int]) -> tuple[Account, ...]:
    """Quotas in the order given, then tenants without one by name. `debts`: Debts.of each job."""
    found: dict[tuple[str, str], list[int]] = {
        (node.name, kind): [slices, 0, 0, 0]
        for node in quotas.nodes
        for kind, slices in node.slices.items()
    }
    strangers: dict[tuple[str, str], list[int]] = {}
    for job in jobs:
        tenant, kind = job.spec.tenant, job.spec.device_kind
        names = [quotas.nodes[node].name for node in quotas.chain(tenant)]
        table = found if names else strangers
        for height, name in enumerate(names or [tenant]):
            row = table.setdefault((name, kind), [0, 0, 0, 0])
            row[1] += len(job.slices)
            if debts.get(job.id, 0) > height:
                row[2] += len(job.slices)
            if job.state.waiting:
                row[3] += job.spec.count
    return tuple(Account(*key, *row) for key, row in (*found.items(), *sorted(strangers.items())))
