"""What the levels tell each other: frozen values, each with a number that only grows and its time.

Any of them may come late, twice, out of order, or never. Summaries and advice say how things stand,
not what changed, so the newest one is enough. Jobs are handed over through `channel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.traces.packed import Jobs

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

OFFER = np.dtype(
    [
        ("job", np.int64),
        ("token", np.int32),
        ("count", np.int32),
        ("kind", np.uint8),
        ("tier", np.uint8),
        ("home", np.uint8),
        ("bytes", np.int64),  # to be moved with it within its region
        ("data_bytes", np.int64),  # and besides, to another region
        ("at", np.int32),  # the cluster that holds it
        ("number", np.int32),  # which it has there
    ]
)
Offers = NDArray[np.void]  # of dtype OFFER: jobs that wait, and might as well elsewhere


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSummary:
    """How a cluster stands. Slices, unless said otherwise.

    free, waiting, running  now; `waiting`: asked for by jobs that wait
    promisable    what may still be promised to jobs of a guaranteed tier
    taken         asked for by all jobs that were ever handed to it
    ended         asked for by all jobs that ended there
    by_tenant     asked for by each tenant's jobs that are there
    """

    cluster: int
    seq: int
    at_us: int
    capacity: int
    free: int
    waiting: int
    running: int
    promisable: int
    taken: int
    ended: int
    by_tenant: Ints
    offers: Offers


@dataclass(frozen=True, slots=True, eq=False)
class FrontSummary:
    """How a region's front stands: slices asked for by jobs that it holds back, by tenant and
    kind."""

    region: int
    seq: int
    at_us: int
    held_back: Ints


@dataclass(frozen=True, slots=True, eq=False)
class RegionSummary:
    """How a region stands, by kind; `by_tenant`: asked for, by tenant and kind, what its front
    holds back included. `price` of a slice; `wait_s`: how long what waits now has to wait."""

    region: int
    seq: int
    at_us: int
    capacity: Ints
    free: Ints
    waiting: Ints
    price: Floats
    wait_s: Floats
    by_tenant: Ints
    offers: Offers


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """The global level's advice to a region: `entitled` slices, by tenant and kind (None: nobody
    has quotas); jobs that should go to other regions."""

    region: int
    seq: int
    at_us: int
    entitled: Floats | None
    jobs: Offers
    to: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """A region's advice to its front, by cluster.

    room, promisable  slices that jobs would get there at once, that may be promised
    taken             what the summary said, that this is from
    share             of what finds no room
    open              slices that each tenant's jobs may still ask for, by kind; None: all
    """

    region: int
    seq: int
    at_us: int
    room: Ints
    promisable: Ints
    taken: Ints
    share: Floats
    open: Floats | None


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """A region's advice to a cluster: these jobs should go, if they are still there under that
    token and wait. `to`: a holder's name."""

    cluster: int
    seq: int
    at_us: int
    jobs: Offers
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Handover:
    """From holder to holder: `jobs` are yours as soon as you take this, and mine until then.
    `seq` counts the handovers from one holder to another without gaps."""

    source: str
    target: str
    seq: int
    at_us: int
    jobs: Jobs


@dataclass(frozen=True, slots=True)
class Taken:
    """All handovers from `source` to `target` up to `seq` were taken."""

    source: str
    target: str
    seq: int
    at_us: int


Message = ClusterSummary | FrontSummary | RegionSummary | Guide | Routes | Moves | Handover | Taken


class Latest:
    """The newest message of each sender. What comes late or twice is dropped."""

    def __init__(self) -> None:
        self.of: dict[int, Any] = {}

    def keep(self, sender: int, message: Any) -> bool:
        before = self.of.get(sender)
        if before is not None and message.seq <= before.seq:
            return False
        self.of[sender] = message
        return True
