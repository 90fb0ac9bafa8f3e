"""What a policy returns: decisions, and for every job that waits, what stands in its way.

A plan is data that can be checked: `scheduler.policies.explain` audits every blocker against the
view, so that "why is my job waiting?" is never answered by a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scheduler.core.values import Slice

LISTED = 32  # devices or jobs of one reason that are named in words


@dataclass(frozen=True, slots=True)
class Place:
    """Give the waiting job these slices: free, of one part, as many as it asked for."""

    job: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Evict:
    """Halt the running job in favour of `for_job`."""

    job: int
    for_job: int


@dataclass(frozen=True, slots=True)
class Resize:
    """Let the running job go on with these slices: of its part, no fewer than its least, no more
    than its most. Those it does not hold must be free. `for_job`: in whose favour it shrinks."""

    job: int
    slices: tuple[Slice, ...]
    for_job: int = 0


@dataclass(frozen=True, slots=True)
class Save:
    """Commit a checkpoint of the running job. Until that is answered it is neither halted nor
    resized."""

    job: int


@dataclass(frozen=True, slots=True)
class Admit:
    """From now on the queued job is promised what its tier promises."""

    job: int


@dataclass(frozen=True, slots=True)
class GiveWay:
    """End the attempt of the job, which could not be halted by the time at which `for_job` was to
    have its slices: without a checkpoint. It does what its `recovery` says."""

    job: int
    for_job: int


Decision = Admit | Place | Evict | Resize | Save | GiveWay


class Why(StrEnum):
    """Why an acceptable slice cannot be had now. `jobs` of the blocker are those it names."""

    NO_DEVICE = "no_device"  # no device that is up is acceptable
    TOO_FEW = "too_few"  # no part has as many slices as the gang needs
    BACKING_OFF = "backing_off"  # its last start failed; it waits until `until_us`
    UNADMITTED = "unadmitted"  # what is promised to others and would be to it is more than there is
    OVER_QUOTA = "over_quota"  # its tenant has its quota; or held by jobs whose tenants owe less
    AHEAD = "ahead"  # kept for a job that stands before it
    RESERVED = "reserved"  # free and kept for this very gang, until it is complete
    RELEASING = "releasing"  # will be free as soon as its holder has let go
    HELD = "held"  # held by a job of the same or a higher tier
    STARTING = "starting"  # held by a lower tier that has yet to start, so cannot be halted
    PROTECTED = "protected"  # held by a lower tier that may not be halted until `until_us`
    PROMISED = "promised"  # held by one that cannot bear to lose it: a promise would be broken
    SAVING = "saving"  # held by a lower tier that is being saved, and is left alone meanwhile
    PINNED = "pinned"  # held by a lower tier that cannot be halted at all
    SHORT = "short"  # free, but of a part that cannot complete this gang now
    AVOIDED = "avoided"  # free, of a device that is slower than its peers, or where starts fail
    SPARED = "spared"  # held by a job behind it, which is not halted for it yet
    UNSUITED = "unsuited"  # devices of a part or a name that it does not accept
    DRAINING = "draining"  # devices that are to be removed
    TOO_SMALL = "too_small"  # devices that would not have enough if nobody else was there
    GATHERED = "gathered"  # devices on which room is being made for that job
    SHARE = "share"  # no slice of these devices has that much left
    WHOLE = "whole"  # these devices have too few whole slices
    CPU = "cpu"  # the hosts of these devices have too little CPU left
    MEMORY = "memory"  # and these too little memory
    EVICTABLE = "evictable"  # could be had by halting: not needed, or not enough for the gang


def listed(names: Sequence[object], between: str = ", ") -> str:
    """The first of them, and how many more there are."""
    more = len(names) - LISTED
    return between.join(map(str, names[:LISTED])) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Blocker:
    """`slices` acceptable slices cannot be had for the same reason.

    devices  of jobs with shares: where they cannot be had; each device of the job's kind that is up
         is in one blocker. `jobs` then are those who hold there what it lacks
    ppm  of UNADMITTED, in millionths of a slice: promised to others, to be set aside for it, and
         all that can be promised; of OVER_QUOTA the same of its tenant, if it is to be promised
         something"""

    why: Why
    slices: int = 0
    jobs: tuple[int, ...] = ()
    until_us: int | None = None
    ppm: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.why}"
        if self.slices:
            text += f" x{self.slices}"
        if self.devices:
            text += f" on {listed(self.devices)}"
        if self.jobs:
            text += f" by {listed(self.jobs, ',')}"
        if self.until_us is not None:
            text += f" until {self.until_us}us"
        if self.ppm:
            promised, asked, limit = (ppm / 1e6 for ppm in self.ppm)
            text += f": {promised:g} of {limit:g} slices are promised, it needs {asked:g}"
        return text


Waiting = tuple[tuple[int, tuple[Blocker, ...]], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Evictions, placements and resizings, in the order to carry them out; `waiting` has one entry
    for each job that is left waiting; `wake_at_us`: when to plan again if nothing else happens."""

    decisions: tuple[Decision, ...] = ()
    waiting: Waiting = ()
    wake_at_us: int | None = None
