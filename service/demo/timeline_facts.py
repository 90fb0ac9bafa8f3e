"""What a device timeline says, apart from how it is drawn: lanes, bars, halts and moves.

Both pictures (PNG and HTML) are drawn from one `Chart`, so that they cannot disagree. Times in a
chart are seconds since its first span began.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from scheduler.timeline import Span

KINDS = ("run", "checkpoint", "restore", "reconfigure")
MAX_BARS = 1000  # more cannot be told apart on a page; the longest are kept
TOUCHING_S = 1e-6  # spans closer than the journal's clock tick follow one another

# Okabe and Ito's palette, told apart by colour-blind readers too; black is left for marks
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened on a device, told by who draws: "kill -9 of worker 3"."""

    at_s: float
    device: str
    text: str


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    tier: str
    colour: str  # #rrggbb

    @property
    def ink(self) -> str:
        """Black or white, whichever is read better on the colour."""
        red, green, blue = (int(self.colour[index : index + 2], 16) for index in (1, 3, 5))
        return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


@dataclass(frozen=True, slots=True)
class Bar:
    """One span, on one of its device's tracks (tracks share a device without overlap)."""

    device: str
    track: int
    job: int
    label: str
    tenant: Tenant
    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the picture."""

    device: str
    track: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A job halted at one point and going on at another."""

    label: str
    tenant: Tenant
    halted: Point
    resumed: Point

    @property
    def moved(self) -> bool:
        return self.halted.device != self.resumed.device

    @property
    def seconds(self) -> float:
        return self.resumed.at_s - self.halted.at_s


@dataclass(frozen=True, slots=True)
class Chart:
    devices: tuple[str, ...]
    tracks: Mapping[str, int]  # how many each device needs, at least 1
    tenants: tuple[Tenant, ...]
    bars: tuple[Bar, ...]
    halts: tuple[Point, ...]  # where a job was stopped
    pauses: tuple[Pause, ...]  # the halts that a job came back from
    notes: tuple[Note, ...]
    end_s: float
    left_out: int  # bars that there was no room for

    @property
    def summary(self) -> str:
        """One line under the title."""
        moves = sum(pause.moved for pause in self.pauses)
        text = (
            f"{_count(len({bar.job for bar in self.bars}), 'job')} of "
            f"{_count(len(self.tenants), 'tenant')} on {_count(len(self.devices), 'device')}, "
            f"{_count(len(self.halts), 'halt')}, {_count(moves, 'move')}, {self.end_s:.1f} s"
        )
        return f"{text} ({self.left_out} shorter spans not drawn)" if self.left_out else text


def chart(
    spans: Iterable[Span],
    *,
    names: Mapping[int, str] | None = None,
    devices: Sequence[str] = (),
    notes: Sequence[Note] = (),
) -> Chart:
    """The facts in `spans`.

    names    what to call jobs, by id; others are called "job 7"
    devices  lanes to draw in this order, also if nothing ran there; others follow
    """
    given = sorted(spans, key=lambda span: (span.start_s, span.end_s, span.device, span.job))
    if not given:
        raise ValueError("a timeline of no spans: nothing was recorded, or it was not handed over")
    for span in given:
        _check(span)
    kept = _longest(given)
    first_s = given[0].start_s
    tenants = _tenants(given)
    bars, tracks = _bars(kept, names or {}, tenants, first_s)
    lanes = tuple(dict.fromkeys((*devices, *sorted({span.device for span in given}))))
    halts, pauses = _interruptions(bars)
    return Chart(
        devices=lanes,
        tracks={device: tracks.get(device, 1) for device in lanes},
        tenants=tuple(tenants.values()),
        bars=bars,
        halts=halts,
        pauses=pauses,
        notes=tuple(
            Note(note.at_s - first_s, note.device, note.text)
            for note in notes
            if note.device in lanes
        ),
        end_s=max(span.end_s for span in given) - first_s,
        left_out=len(given) - len(kept),
    )


def _check(span: Span) -> None:
    if span.kind not in KINDS:
        raise ValueError(f"{span}: kind must be one of {', '.join(KINDS)}")
    if not (math.isfinite(span.start_s) and math.isfinite(span.end_s)):
        raise ValueError(f"{span}: times must be finite")
    if span.end_s < span.start_s:
        raise ValueError(f"{span}: it ends before it starts")


def _longest(spans: Sequence[Span]) -> list[Span]:
    """At most MAX_BARS of them, still in order."""
    ranked = sorted(range(len(spans)), key=lambda i: spans[i].start_s - spans[i].end_s)
    return [spans[index] for index in sorted(ranked[:MAX_BARS])]


def _tenants(spans: Sequence[Span]) -> dict[str, Tenant]:
    """In order of appearance; a tenant keeps the tier it came with first."""
    found: dict[str, Tenant] = {}
    for span in spans:
        if span.tenant not in found:
            colour = PALETTE[len(found) % len(PALETTE)]
            found[span.tenant] = Tenant(span.tenant, span.tier, colour)
    return found


def _bars(
    spans: Sequence[Span], names: Mapping[int, str], tenants: Mapping[str, Tenant], first_s: float
) -> tuple[tuple[Bar, ...], dict[str, int]]:
    """Bars, and how many tracks each device needs: a job goes where nothing else is under way,
    back to its own last track if that is free."""
    ends: dict[str, list[float]] = {}
    last: dict[tuple[str, int], int] = {}
    bars = []
    for span in spans:
        tracks = ends.setdefault(span.device, [])
        free = [index for index, end_s in enumerate(tracks) if end_s <= span.start_s + TOUCHING_S]
        own = last.get((span.device, span.job), -1)
        track = own if own in free else free[0] if free else len(tracks)
        if track == len(tracks):
            tracks.append(span.end_s)
        tracks[track] = span.end_s
        last[span.device, span.job] = track
        bars.append(
            Bar(
                device=span.device,
                track=track,
                job=span.job,
                label=names.get(span.job, f"job {span.job}"),
                tenant=tenants[span.tenant],
                kind=span.kind,
                start_s=span.start_s - first_s,
                end_s=span.end_s - first_s,
            )
        )
    return tuple(bars), {device: len(tracks) for device, tracks in ends.items()}


def _interruptions(bars: Sequence[Bar]) -> tuple[tuple[Point, ...], tuple[Pause, ...]]:
    """Halts and pauses of every job. A job's phases are its bars of one start (a gang's ranks do
    the same at the same time); a checkpoint is a halt unless the job runs on right after it, where
    it was. Reconfiguring a device is not a phase of the job that it is done for."""
    halts: list[Point] = []
    pauses: list[Pause] = []
    for job in dict.fromkeys(bar.job for bar in bars):
        own = [bar for bar in bars if bar.job == job and bar.kind != "reconfigure"]
        phases = [tuple(phase) for _, phase in groupby(own, key=lambda bar: bar.start_s)]
        for before, after in pairwise(phases):
            if _goes_on(before, after):
                continue
            halts.extend(_stops(before))
            for old, new in zip(before, after, strict=False):
                end_s = old.start_s if old.kind == "checkpoint" else old.end_s
                halted = Point(old.device, old.track, end_s)
                resumed = Point(new.device, new.track, new.start_s)
                pauses.append(Pause(old.label, old.tenant, halted, resumed))
        if phases and phases[-1][0].kind == "checkpoint":
            halts.extend(_stops(phases[-1]))
    return tuple(sorted(halts, key=lambda point: point.at_s)), tuple(pauses)


def _goes_on(before: Sequence[Bar], after: Sequence[Bar]) -> bool:
    """One attempt: the same devices, without a gap or a restore between."""
    return (
        after[0].kind != "restore"
        and [bar.device for bar in before] == [bar.device for bar in after]
        and after[0].start_s - before[0].end_s <= TOUCHING_S
    )


def _stops(phase: Sequence[Bar]) -> list[Point]:
    """Where the bars of a phase stopped: a checkpoint stops its job when it begins."""
    return [
        Point(bar.device, bar.track, bar.start_s if bar.kind == "checkpoint" else bar.end_s)
        for bar in phase
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
