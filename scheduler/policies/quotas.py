"""Quotas of organisations, teams and tenants, as a tree: whose slices these are, and who borrows.

A node's quota is a number of slices of each kind. What a tenant has beyond its own quota it borrows
from its team's, then from its organisation's, then from all. A job's *debt* says how far up it had
to go: 0 within the tenant's own quota, 1 within the team's, and so on. Who owes less stands before
who owes more, so what is idle is lent, and recalled as soon as an owner asks.

Which of a tenant's jobs owe: they stand in line by tier, level, and number; the first that fit its
quota do not, and all behind the first that does not fit stand in its team's line, with those of
its other tenants, and so on. Both jobs that run and jobs that wait stand in line, so a job knows
what it will owe before it runs.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.errors import Infeasible

Order = tuple[int, ...]  # in line: (tier's rank, level, use of late, number)
Chain = tuple[int, ...]  # nodes, from a tenant's own up to its organisation's
MAX_NODES = 100_000
MAX_SLICES = 1 << 40


@dataclass(frozen=True, slots=True)
class Quota:
    """`name`: organisation/team/tenant, as deep as you like; the last word of a leaf is a tenant.
    `slices`: by kind."""

    name: str
    slices: Mapping[str, int]


class Quotas:
    """The tree. Tenants that it does not name have no quota: all that they hold is borrowed.

    half_life_s  use of late counts half as much after so long"""

    def __init__(self, nodes: Iterable[Quota], half_life_s: int = 86_400) -> None:
        self.nodes = tuple(nodes)
        self.half_life_s = half_life_s
        if half_life_s < 1 or len(self.nodes) > MAX_NODES:
            raise Infeasible(f"quotas: half_life_s {half_life_s} of 1 or more, {MAX_NODES} nodes")
        index = {node.name: number for number, node in enumerate(self.nodes)}
        if len(index) != len(self.nodes):
            raise Infeasible("quotas: a name stands there twice")
        self.parents = tuple(self._parent(index, node) for node in self.nodes)
        inner = set(self.parents)
        self.chains: dict[str, Chain] = {}
        for number, node in enumerate(self.nodes):
            if number not in inner:
                tenant = node.name.rpartition("/")[2]
                if tenant in self.chains:
                    raise Infeasible(f"quotas: {node.name!r}: tenant {tenant!r} stands there twice")
                self.chains[tenant] = self._chain(number)
        self.depth = max(map(len, self.chains.values()), default=0)
        self._check_sums()

    def _parent(self, index: Mapping[str, int], node: Quota) -> int:
        above, slash, own = node.name.rpartition("/")
        if not own or (slash and above not in index):
            raise Infeasible(f"quotas: {node.name!r}: {above!r} above it has no quota of its own")
        if not all(0 <= slices <= MAX_SLICES for slices in node.slices.values()):
            raise Infeasible(f"quotas: {node.name!r}: slices are whole numbers from 0 on")
        return index[above] if slash else -1

    def _chain(self, number: int) -> Chain:
        chain = [number]
        while self.parents[chain[-1]] >= 0:
            chain.append(self.parents[chain[-1]])
        return tuple(chain)

    def _check_sums(self) -> None:
        """Who lends must be able to take back: a node has at least what its children have."""
        below: dict[tuple[int, str], int] = {}
        for node, parent in zip(self.nodes, self.parents, strict=True):
            for kind, slices in node.slices.items():
                below[parent, kind] = below.get((parent, kind), 0) + slices
        for (parent, kind), slices in below.items():
            if parent >= 0 and slices > self.slices(parent, kind):
                raise Infeasible(
                    f"quotas: {self.nodes[parent].name!r} has {self.slices(parent, kind)} slices "
                    f"of {kind}, those below it {slices}"
                )

    def __repr__(self) -> str:
        """All that decides: a journal's header names it."""
        rows = (
            " ".join([node.name, *(f"{kind}={n}" for kind, n in node.slices.items())])
            for node in self.nodes
        )
        return f"Quotas(half_life_s={self.half_life_s}: {'; '.join(rows)})"

    def part(self, share: float) -> Quotas:
        """Of a cluster that has this share of all slices."""
        nodes = [
            Quota(node.name, {kind: int(share * slices) for kind, slices in node.slices.items()})
            for node in self.nodes
        ]
        return Quotas(nodes, self.half_life_s)

    def chain(self, tenant: str) -> Chain:
        return self.chains.get(tenant, ())

    def slices(self, node: int, kind: str) -> int:
        return self.nodes[node].slices.get(kind, 0)

    def own(self, tenant: str, kind: str) -> int:
        """Of the tenant's own quota."""
        chain = self.chain(tenant)
        return self.slices(chain[0], kind) if chain else 0


@dataclass(slots=True)
class _Line:
    """At one node, for one kind. The first `inside` fit what is left of `limit` after what the
    lines below took (`below`)."""

    limit: int
    below: int = 0
    jobs: list[tuple[Order, int]] = field(default_factory=list)  # and how many slices each
    inside: int = 0
    taken: int = 0  # by those inside
    told: int = 0  # of below + taken, to the node above


class Debts:
    """What each job owes, kept up to date job by job."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self.changed: dict[int, None] = {}  # jobs whose debt did; whoever looks clears it
        self._lines: dict[tuple[int, str], _Line] = {}
        self._jobs: dict[int, tuple[str, Chain, tuple[Order, int]]] = {}
        self._debts: dict[int, int] = {}

    def of(self, job: int) -> int:
        return self._debts[job]

    def all(self) -> dict[int, int]:
        return dict(self._debts)

    def enter(self, job: int, tenant: str, kind: str, order: Order, slices: int) -> None:
        """`order` ends with the job's number."""
        self._jobs[job] = kind, self.quotas.chain(tenant), (order, slices)
        self._insert(job, 0)
        self._settle(job)

    def leave(self, job: int) -> None:
        self._remove(job, 0)
        self._settle(job)
        del self._jobs[job], self._debts[job]
        self.changed.pop(job, None)

    def _line(self, node: int, kind: str) -> _Line:
        found = self._lines.get((node, kind))
        if found is None:
            found = self._lines[node, kind] = _Line(self.quotas.slices(node, kind))
        return found

    def _owes(self, job: int, debt: int) -> None:
        if self._debts.get(job) != debt:
            self._debts[job] = debt
            self.changed[job] = None

    def _insert(self, job: int, height: int) -> None:
        """Into the line at that height, and those above it up to the first where it is inside."""
        kind, chain, item = self._jobs[job]
        for above in range(height, len(chain)):
            line = self._line(chain[above], kind)
            place = bisect_left(line.jobs, item)
            insort(line.jobs, item)
            if place < line.inside:
                line.inside += 1
                line.taken += item[1]
                self._owes(job, above)
                return
        self._owes(job, self.quotas.depth)

    def _remove(self, job: int, height: int) -> None:
        kind, chain, item = self._jobs[job]
        for above in range(height, len(chain)):
            line = self._line(chain[above], kind)
            place = bisect_left(line.jobs, item)
            del line.jobs[place]
            if place < line.inside:
                line.inside -= 1
                line.taken -= item[1]
                return

    def _settle(self, job: int) -> None:
        """Up its chain: whoever no longer fits goes up a line, whoever fits again comes down."""
        kind, chain, _ = self._jobs[job]
        for height, node in enumerate(chain):
            line = self._line(node, kind)
            while line.inside and line.taken > line.limit - line.below:
                order, slices = line.jobs[line.inside - 1]
                line.inside -= 1
                line.taken -= slices
                self._insert(order[-1], height + 1)
            while line.inside < len(line.jobs):
                order, slices = line.jobs[line.inside]
                if line.taken + slices > line.limit - line.below:
                    break
                self._remove(order[-1], height + 1)
                line.inside += 1
                line.taken += slices
                self._owes(order[-1], height)
            if height + 1 < len(chain):
                above = self._line(chain[height + 1], kind)
                above.below += line.below + line.taken - line.told
                line.told = line.below + line.taken


def entitle(
    quotas: Quotas,
    kind: str,
    capacity: float,
    asked: Mapping[str, float],
    of_late: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Slices that each tenant may have of `capacity`, if it asks for so many: first its quota, then
    what others leave of theirs, shared within its team first, then within its organisation, then
    among all. Who borrows at the same place gets in proportion to quota, and less the more it used
    `of_late` (1: all of its quota all the time). Never more in all than there is."""
    used: dict[int | str, float] = {tenant: use for tenant, use in (of_late or {}).items()}
    tenants = sorted(asked)
    below: dict[int, list[int | str]] = {}
    leaves: dict[int | str, int | str] = {
        chain[0]: tenant for tenant, chain in quotas.chains.items()
    }
    for tenant in tenants:
        chain = quotas.chain(tenant)
        below.setdefault(chain[0] if chain else -1, []).append(tenant)
    for number, parent in enumerate(quotas.parents):
        below.setdefault(parent, []).append(number)

    wants: dict[int | str, float] = {tenant: asked[tenant] for tenant in tenants}

    def want(node: int) -> float:
        wants[node] = sum(
            want(child) if isinstance(child, int) else wants[child] for child in below.get(node, ())
        )
        return wants[node]

    want(-1)
    found: dict[str, float] = {}

    def give(node: int, slices: float) -> None:
        children = below.get(node, [])
        owns = [
            float(quotas.slices(child, kind))
            if isinstance(child, int)
            else (slices if node >= 0 else 0.0)
            for child in children
        ]
        spent = [used.get(leaves.get(child, child), 0.0) for child in children]
        weights = [(own or 1.0) / (1.0 + use) for own, use in zip(owns, spent, strict=True)]
        got = fill(slices, [wants[child] for child in children], owns, weights)
        for child, share in zip(children, got, strict=True):
            if isinstance(child, int):
                give(child, share)
            else:
                found[child] = share

    give(-1, capacity)
    return found


def fill(
    slices: float, wants: Sequence[float], owns: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Everybody what it owns (less in proportion if that is too much), as far as it wants it; the
    rest by weight, like water into vessels that differ in width, until nobody wants more."""
    sure = [min(want, own) for want, own in zip(wants, owns, strict=True)]
    total = sum(sure)
    scale = min(1.0, slices / total) if total > 0 else 1.0
    got = [scale * each for each in sure]
    left = slices - sum(got)
    thirsty = [index for index, want in enumerate(wants) if want > got[index]]
    while thirsty and left > 1e-9:
        width = sum(weights[index] for index in thirsty)
        level = min(left / width, min((wants[i] - got[i]) / weights[i] for i in thirsty))
        for index in thirsty:
            got[index] += level * weights[index]
        left -= level * width
        thirsty = [i for i in thirsty if wants[i] - got[i] > 1e-9 * max(1.0, wants[i])]
    return got
