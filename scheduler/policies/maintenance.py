"""When which device is drained in a window of maintenance: as little disrupted as can be, what was
promised kept, all of them back in time.

Each device is out for as long as the others, so time is cut into turns of that length. In every
turn what is left must hold what admitted jobs were promised (and of the devices that some name,
what these were), and no more devices are out than the deadline needs. A job pays for a halt in each
turn in which one of its devices goes: a gang on two of them once, if they go together. Who is
likely to have ended by then pays less: one that has run for long is expected to run as long again.

What cannot go without breaking a promise, or in time, stays and is named (`Schedule.left`). Only
the first turn is carried out (`Schedule.first`); then it is asked again, for jobs come, move and
end. The moves are the policy's (`drains`), which looks for room in order of standing.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from scheduler.core.jobs import Job
from scheduler.core.speed import FULL_PPM
from scheduler.core.values import Device, Slice, Tier
from scheduler.core.view import View
from scheduler.policies.books import Pool, set_aside_ppm
from scheduler.policies.choices import CP_SAT, Choice, Problem, choose

MOST_TURNS = 64
LEFT_MS = 1 << 40  # dearer than all halts: a device that is not drained at all
HALT_S = 50  # that a job stands still for when it is moved


@dataclass(frozen=True, slots=True)
class Window:
    """devices   to be drained, that are not done yet
    closes_us  by then all of them are back
    turn_us    from a device's notice until it is back"""

    devices: tuple[str, ...]
    closes_us: int
    turn_us: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """turns  of devices, the first now; `left`: those that stay; `by`: who chose; `cost_ms`:
    expected, in slice-milliseconds that jobs stand still"""

    turns: tuple[tuple[str, ...], ...]
    left: tuple[str, ...]
    by: str
    best: bool
    cost_ms: int

    @property
    def first(self) -> tuple[str, ...]:
        return self.turns[0] if self.turns else ()


def schedule(view: View, window: Window, solver: str = CP_SAT) -> Schedule:
    """From now on, in turns."""
    devices = [view.devices[uri] for uri in window.devices]
    count = max(0, min(MOST_TURNS, (window.closes_us - view.now_us) // window.turn_us))
    charges = _charges(view, window, count)
    named = _named(view)
    items = tuple(
        (
            *(
                Choice(
                    cost=turn,  # of equals the earlier one
                    uses=(
                        (("out", device.kind, turn), _loses(view, device)),
                        (("at once", _pool(device), turn), 1),
                        *(
                            ((which, turn), _loses(view, device))
                            for which in named
                            if device.uri in which
                        ),
                    ),
                    charges=tuple((job.id, turn) for job in _on(view, device)),
                )
                for turn in range(count)
            ),
            Choice(LEFT_MS),
        )
        for device in devices
    )
    room = _room(view, devices, count)
    for which, spare in named.items():
        room |= {(which, turn): max(0, spare) for turn in range(count)}
    found = choose(Problem(room, items, (None,) * len(devices), charges), solver)
    assert found is not None, "all may be left as they are"
    turns = tuple(
        tuple(d.uri for d, at in zip(devices, found.choices, strict=True) if at == turn)
        for turn in range(count + 1)
    )
    paid = dict.fromkeys(
        key for item, at in zip(items, found.choices, strict=True) for key in item[at].charges
    )
    cost_ms = sum(charges[key] for key in paid)
    return Schedule(turns[:count], turns[count], found.by, found.best, cost_ms)


def _room(view: View, devices: list[Device], count: int) -> dict[Hashable, int]:
    room: dict[Hashable, int] = {}
    for pool in dict.fromkeys(map(_pool, devices)):
        own = [device for device in devices if _pool(device) == pool]
        at_once = -(-len(own) // max(1, count))
        room |= {("at once", pool, turn): at_once for turn in range(count)}
    for kind in _kinds(devices):
        spare = max(0, _spare(view, kind))
        room |= {("out", kind, turn): spare for turn in range(count)}
    return room


def _pool(device: Device) -> Pool:
    return device.kind, device.part


def _kinds(devices: list[Device]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(device.kind for device in devices))


def _loses(view: View, device: Device) -> int:
    """Slices that there are less, once it goes."""
    return device.slice_count if view.stays(device) else 0


def _spare(view: View, kind: str) -> int:
    """Slices that nobody was promised."""
    there = sum(view.free.capacity(*pool) for pool in view.free.pools() if pool[0] == kind)
    promised_ppm = sum(
        set_aside_ppm(job.spec)
        for job in view.jobs.values()
        if job.admitted_us is not None and job.spec.device_kind == kind
    )
    return there - -(-promised_ppm // FULL_PPM)


def _named(view: View) -> dict[frozenset[str], int]:
    """Devices that admitted jobs name -> slices of them that nobody was promised who can go nowhere
    else; as those were admitted (`reach`)."""
    promised: dict[frozenset[str], int] = {}
    for job in view.jobs.values():
        if job.admitted_us is not None and job.spec.devices:
            which = frozenset(job.spec.devices)
            promised[which] = promised.get(which, 0) + set_aside_ppm(job.spec)
    return {
        which: sum(_loses(view, view.devices[uri]) for uri in which if uri in view.devices)
        - -(-sum(ppm for other, ppm in promised.items() if other <= which) // FULL_PPM)
        for which in promised
    }


def _held(view: View, device: Device) -> list[Slice]:
    return [item for item in device.slices if item in view.leases]


def _on(view: View, device: Device) -> list[Job]:
    numbers = dict.fromkeys(
        view.leases[item].job for item in _held(view, device) if not view.leases[item].releasing
    )
    return [view.jobs[number] for number in sorted(numbers) if number in view.jobs]


def _charges(view: View, window: Window, count: int) -> dict[Hashable, int]:
    found: dict[Hashable, int] = {}
    for uri in window.devices:
        for job in _on(view, view.devices[uri]):
            ran_us = max(window.turn_us // 8, view.now_us - job.started_us)
            halt_ms = len(job.slices) * HALT_S * 1000
            if job.spec.tier is not Tier.BASIC:
                halt_ms *= 2  # of equal halts, those of jobs that were promised nothing
            for turn in range(count):
                passed_us = turn * window.turn_us
                found[job.id, turn] = halt_ms * ran_us // (ran_us + passed_us)
    return found
