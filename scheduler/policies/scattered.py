"""Room for a gang that waits since free slices are scattered over parts: who moves to which part.

All of a gang's slices are of one part. Where a part has too few that are free, and all parts
together enough, jobs whose checkpoint goes on on other parts can move there. It is done if what
that costs, halts and lost speed until they are expected to end, is no more than what the gang is
expected to wait: as long again as it has waited.
"""

from __future__ import annotations

from collections.abc import Iterator

from scheduler.core.values import RANKS, Tier
from scheduler.policies.books import Entry, S
from scheduler.policies.choices import Choice, Chosen, Problem, choose
from scheduler.policies.parts import Parts
from scheduler.policies.round import Round

TRIES = 3  # gangs, in a look
MOST_MOVES = 4  # for one of them


def gather(this: Round, parts: Parts) -> None:
    """For the first that waits for which it pays."""
    for entry in _stuck(this, parts):
        movers = [
            other
            for _, number in this.books.running.first_to_last()
            if parts.may_move(this, other := this.books.entries[number])
            and other.spec.device_kind == entry.spec.device_kind
        ]
        problem = _problem(this, parts, entry, movers)
        found = choose(problem, this.params.gather)
        waited_us = this.view.now_us - max(entry.job.submitted_us, entry.changed_us)
        if found is not None and found.cost <= waited_us // S * entry.spec.least:
            _carry_out(this, parts, entry, movers, found)
            return


def _stuck(this: Round, parts: Parts) -> Iterator[Entry]:
    """Those for which all parts together have enough, of the first that wait."""
    tried = 0
    for key, number in this.books.waiting.first_to_last():
        entry = this.books.entries[number]
        promised = key.rank < RANKS[Tier.BASIC] and entry.allowance is None
        if entry.spec.devices or promised or number in this.homes or parts.is_moving(number):
            continue
        kind = entry.spec.device_kind
        free = sum(this.free.count(*pool) for pool in this.free.pools() if pool[0] == kind)
        if entry.spec.least <= free and entry.job.idle_until_us <= this.view.now_us:
            yield entry
            tried += 1
        if tried == TRIES:
            return


def _problem(this: Round, parts: Parts, entry: Entry, movers: list[Entry]) -> Problem:
    """Costs are slice-seconds. A mover's first choice is to stay, the last item is the gang."""
    room: dict[object, int] = {pool: this.free.count(*pool) for pool in this.free.pools()}
    room["moves"] = MOST_MOVES
    for mover in movers:
        room[mover.pool] += mover.slices
    items = []
    for mover in movers:
        choices = [Choice(0, ((mover.pool, mover.slices),))]
        left_s = parts.left_s(this, mover)
        for pool in parts.pools(this, mover):
            if pool != mover.pool:
                slower = max(0.0, parts.worth(mover, mover.pool) - parts.worth(mover, pool))
                cost = round(mover.slices * (this.move_s(mover) + slower * left_s))
                choices.append(Choice(cost, ((pool, mover.spec.count), ("moves", 1))))
        items.append(tuple(choices))
    items.append(tuple(Choice(0, ((pool, entry.spec.least),)) for pool in parts.pools(this, entry)))
    return Problem(room, tuple(items), (*(0 for _ in movers), None))


def _carry_out(this: Round, parts: Parts, entry: Entry, movers: list[Entry], found: Chosen) -> None:
    going = [(e, at) for e, at in zip(movers, found.choices[:-1], strict=True) if at]
    pools = [
        [pool for pool in parts.pools(this, mover) if pool != mover.pool][at - 1]
        for mover, at in going
    ]
    for (mover, _), pool in zip(going, pools, strict=True):
        parts.send(this, mover, pool, entry.job.id)
    this.keep(entry, parts.pools(this, entry)[found.choices[-1]], entry.spec.least)
    for (mover, _), pool in zip(going, pools, strict=True):
        this.keep(mover, pool, mover.spec.count)
