"""Whose slices: how the elastic policy makes room for a job, with as little disruption as it can.

First what others hold beyond what they asked for. Then from jobs that stand behind, the last
first: one is shrunk if that will do; else as few are halted as can be, of sizes that fit. At
last, for an admitted job, from its equals that can better bear it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scheduler.policies import reach
from scheduler.policies.books import Entry, Key, Pool, S
from scheduler.policies.round import Round

MOST_OVER = 1.5
UNBOUNDED = float("inf")
WAKE_US = 5 * S  # no sooner again: an allowance that hardly shrinks is not watched every moment


def reclaim(this: Round, key: Key, taker: Entry, pool: Pool, short: int, least: int) -> int:
    """Have others let go of up to `short` slices and perhaps some more, if that brings `least` or
    more. Returns how many."""
    found: list[tuple[Entry, int]] = []  # and how many it keeps
    gained = 0
    for entry in _grown(this, taker, pool):
        take = min(entry.slices - entry.spec.count, short - gained, reach.usable(taker, entry))
        if not take:
            continue
        found.append((entry, entry.slices - take))
        gained += take
        if gained == short:
            break
    if gained < short and may_halt(this, key, taker):
        more, others = _from_others(this, key, taker, pool, short - gained)
        found += more
        gained += others
    if gained < max(least, 1):
        return 0
    for entry, kept in found:
        taker.given += entry.slices - kept
        if kept:
            this.shrink(entry, kept, taker)
        else:
            this.evict(entry, taker.job.id)
    return gained


def _from_others(
    this: Round, key: Key, taker: Entry, pool: Pool, short: int
) -> tuple[list[tuple[Entry, int]], int]:
    """From those that stand behind; when it is hard up from its equals, too: before more is halted
    than is wanted if one of theirs fits, else for what is still missing."""
    behind = _behind(this, key, taker, pool)
    found, gained = _fitting(taker, behind, short, most_of(this, taker, short))
    halted = sum(entry.slices for entry, kept in found if not kept)
    if taker.allowance is None or not is_hard_up(this, taker):
        return found, gained
    if gained >= short and halted <= fits(this, taker, short):
        return found, gained
    able = list(_equals(this, key, taker, pool))
    instead, from_equals = _fitting(taker, able, short, fits(this, taker, short))
    if from_equals >= short:
        return instead, from_equals
    if gained < short:
        more, from_equals = _fitting(taker, able, short - gained, UNBOUNDED)
        return found + more, gained + from_equals
    return found, gained


def _fitting(
    taker: Entry, able: Iterable[Entry], short: int, most: float
) -> tuple[list[tuple[Entry, int]], int]:
    """Whom to take from, and how much each keeps. One that can be shrunk to give all of it; else
    as few as will do: the largest that are not more than what is wanted, and for the rest the
    smallest that is, if it is no larger than `most`. Of equals, the first."""
    entries: list[tuple[Entry, int]] = []  # and what the taker could use of it
    for entry in able:
        use = reach.usable(taker, entry)
        if use and short <= min(use, entry.slices - entry.spec.least):
            return [(entry, entry.slices - short)], short
        if use:
            entries.append((entry, use))
    entries.sort(key=lambda found: -found[1])
    found: list[tuple[Entry, int]] = []
    uses: list[int] = []
    larger: tuple[Entry, int] | None = None
    gained = 0
    for entry, use in entries:
        rest = short - gained
        if rest <= min(use, entry.slices - entry.spec.least):
            return [*found, (entry, entry.slices - rest)], short
        if use > rest:
            if larger is None or use < larger[1] or entry.allowance is None:
                larger = (entry, use) if entry.slices <= most else None
            continue
        found.append((entry, 0))
        uses.append(use)
        gained += use
        if gained == short:
            return found, gained
    if larger is None:
        return found, gained
    while found and gained - uses[-1] + larger[1] >= short:
        found.pop()  # not needed with the larger one
        gained -= uses.pop()
    return [*found, (larger[0], 0)], gained + larger[1]


def most_of(this: Round, taker: Entry, short: int) -> float:
    """The largest that is halted though it gives more than is wanted: for an admitted job, until it
    is hard up, one that fits. Where tiers are promised something, no large job is halted for a
    small basic one."""
    if taker.allowance is not None:
        urgent = taker.spec.recall_us or is_hard_up(this, taker)
        return UNBOUNDED if urgent else fits(this, taker, short)
    recalled = this.books.owing is not None
    promised = this.books.promised_ppm.get(taker.spec.device_kind)
    return short * MOST_OVER if promised and not recalled else UNBOUNDED


def fits(this: Round, taker: Entry, short: int) -> float:
    """What is hardly more than is wanted, by it and by those admitted that wait as it does: they
    share what one large job lets go."""
    return short * MOST_OVER + this.claims.get(taker.spec.device_kind, 0)


def may_halt(this: Round, key: Key, taker: Entry) -> bool:
    """A basic job only before its first level is over: later on it waits for its turn. A standard
    job once it has lost what it can bear: slices often come free before that. Where tiers are
    promised something, either only as much as it asks for each time it waits, until a standard job
    is hard up: if what was let go for it is taken by one who stands before it, it does not have
    others halted again. At once, whoever is to have its slices by a time."""
    if taker.spec.recall_us:
        return True
    again = taker.given >= taker.spec.count
    if taker.allowance is None:
        if again and this.books.promised_ppm.get(taker.spec.device_kind):
            return False
        return key.level == 0 or this.books.owing is not None
    left_us = this.left_us(taker)
    bear_us, hard_us = this.params.bear_s * S, _hard_us(this, taker)
    until_us = bear_us if left_us > bear_us else hard_us
    if left_us > until_us:
        this.wakes.append(this.view.now_us + max(left_us - until_us, WAKE_US))
    return left_us <= (hard_us if again else bear_us)


def is_spared(this: Round, key: Key, taker: Entry, entry: Entry) -> bool:
    """Basic jobs halt each other across levels only, and the further apart the more halts the
    one that stands behind has borne: so those are few, however long it is. One level more where
    tiers are promised something: there they are halted for others already. Who owes more than the
    taker is never spared: what was borrowed is recalled."""
    if taker.allowance is not None or entry.key.debt > key.debt:
        return False
    if key.level > 0:
        return True
    between = 1 + entry.job.preemptions // this.params.halts_a_level
    if this.books.promised_ppm.get(entry.spec.device_kind):
        between += 1
    return entry.key.level - key.level < between


def _may_give(this: Round, taker: Entry, pool: Pool, entry: Entry) -> bool:
    return entry.pool == pool and this.rested(entry, taker) and not this.leaves(entry)


def _grown(this: Round, taker: Entry, pool: Pool) -> Iterator[Entry]:
    for _, number in this.books.grown.last_to_first():
        entry = this.books.entries[number]
        if _may_give(this, taker, pool, entry):
            yield entry


def _behind(this: Round, key: Key, taker: Entry, pool: Pool) -> Iterator[Entry]:
    for _, number in this.books.running.last_to(key):
        entry = this.books.entries[number]
        if entry.slices > entry.spec.count or is_spared(this, key, taker, entry):
            continue
        if _may_give(this, taker, pool, entry) and can_bear(this, entry, taker):
            yield entry


def _equals(this: Round, key: Key, taker: Entry, pool: Pool) -> Iterator[Entry]:
    entries = [this.books.entries[n] for n in this.books.running.by_key.get(key, ())]
    for entry in sorted(entries, key=lambda e: (-this.left_us(e), e.job.id)):
        if entry.slices > entry.spec.count:
            continue
        if _may_give(this, taker, pool, entry) and can_bear(this, entry, taker):
            yield entry


def is_hard_up(this: Round, taker: Entry) -> bool:
    return this.left_us(taker) <= _hard_us(this, taker)


def _hard_us(this: Round, taker: Entry) -> int:
    """Who was halted before has to be restored, too, and does not wait for one that fits."""
    return (this.params.bear_s if taker.job.preemptions else this.params.hard_s) * S


def can_bear(this: Round, entry: Entry, taker: Entry) -> bool:
    """An admitted job may be halted if that breaks no promise to it, and for an equal if it has
    clearly more left. While it is young it may not: if it ends soon, all of its life counts, and
    what it lost while it waited is still a large part of that."""
    if entry.allowance is None:
        return True
    admitted_us = entry.job.admitted_us
    if admitted_us is None or this.view.now_us < admitted_us + this.params.young_s * S:
        return False
    needs_us = this.params.floor_s * S
    if taker.key == entry.key:
        needs_us = max(needs_us, this.left_us(taker) + this.params.turn_s * S)
    return this.left_us(entry) >= needs_us
