"""Jobs that name devices: what of a pool is theirs to have, under `Elastic`.

Few jobs do, so nothing of this is kept in books: it is looked up when such a job waits. Others that
hold what it needs and could as well be elsewhere are asked to move over, before anybody is halted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.jobs import JobState
from scheduler.core.speed import FULL_PPM
from scheduler.core.values import JobSpec, Slice
from scheduler.core.view import View, suits
from scheduler.policies.books import Entry, Pool, set_aside_ppm

if TYPE_CHECKING:
    from scheduler.policies.round import Round


def accepts(spec: JobSpec, item: Slice) -> bool:
    return not spec.devices or item.device in spec.devices


def capacity(view: View, spec: JobSpec, pool: Pool) -> int:
    """Slices of the devices of the pool that it names and that are up."""
    named = (view.devices[uri] for uri in dict.fromkeys(spec.devices) if uri in view.devices)
    return sum(
        device.slice_count
        for device in named
        if device.up and suits(spec, device) and device.part == pool[1]
    )


def pick(this: Round, entry: Entry, pool: Pool, need: int) -> tuple[Slice, ...]:
    """Free slices that it accepts, on the emptiest devices first. Shorter if there are fewer."""
    there = []
    for uri in dict.fromkeys(entry.spec.devices):
        device = this.view.devices.get(uri)
        if device is not None and device.up and (device.kind, device.part) == pool:
            there.append(this.free.on(uri))
    there.sort(key=lambda slices: -len(slices))
    return tuple(item for slices in there for item in slices)[:need]


def room(this: Round, entry: Entry, pool: Pool) -> int:
    return len(pick(this, entry, pool, capacity(this.view, entry.spec, pool)))


def coming(this: Round, entry: Entry) -> int:
    """Slices that it accepts and that others are about to let go."""
    leaving = [*this.let_go, *this.clearing]
    for number in this.books.leaving:
        job = this.books.entries[number].job
        leaving += (item for item in job.slices if item not in job.target)
    return sum(accepts(entry.spec, item) for item in leaving)


def usable(taker: Entry, entry: Entry) -> int:
    """Of the slices that the other one holds."""
    if not taker.spec.devices:
        return entry.slices
    return sum(accepts(taker.spec, item) for item in entry.job.slices)


def others_first(spec: JobSpec, slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """Those that it cannot use before those that it can."""
    return tuple(sorted(slices, key=lambda item: accepts(spec, item)))


def can_promise(this: Round, taker: Entry) -> bool:
    """Whether the devices that it names hold what is set aside for those who can go nowhere else,
    and for it. Of a whole pool that is known from the books."""
    promised, asked, limit = promised_on(this, taker)
    return promised + asked <= limit


def promised_on(this: Round, taker: Entry) -> tuple[int, int, int]:
    """On the devices that it names, in millionths of a slice: promised, asked by it, there."""
    named = set(taker.spec.devices)
    promised = sum(
        set_aside_ppm(entry.spec)
        for entry in this.books.entries.values()
        if entry.allowance is not None and entry.spec.devices and named >= set(entry.spec.devices)
    )
    parts = this.view.free.parts(taker.spec.device_kind)
    there = sum(capacity(this.view, taker.spec, (taker.spec.device_kind, p)) for p in parts)
    return promised, set_aside_ppm(taker.spec), there * FULL_PPM


def have_others_move_over(this: Round, taker: Entry, pool: Pool) -> None:
    """Running jobs, of any tier, on what it needs, to free slices that it cannot use, if that is
    enough for it. They stand still for a moment only, and lose nothing; so it does not matter who
    stands before whom."""
    at_hand = this.room(taker, pool) + this.soon(taker, pool)
    short = taker.spec.count - at_hand
    elsewhere = [item for item in this.free.of(*pool) if not accepts(taker.spec, item)]
    moves: list[tuple[Entry, dict[Slice, Slice]]] = []
    for entry in this.books.entries.values():
        running = entry.job.state is JobState.RUNNING and entry.pool == pool
        if short <= 0 or not running or not this.rested(entry):
            continue
        on = [item for item in entry.job.slices if accepts(taker.spec, item)][:short]
        to = [item for item in elsewhere if accepts(entry.spec, item)][: len(on)]
        if to:
            moves.append((entry, dict(zip(on, to, strict=False))))
            elsewhere = [item for item in elsewhere if item not in to]
            short -= len(to)
    if taker.spec.count - short < taker.spec.least:
        return
    for entry, to_of in moves:
        slices = tuple(to_of.get(item, item) for item in entry.job.slices)
        this.resize(entry, slices, taker.job.id)
