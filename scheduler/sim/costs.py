"""What halting costs, in simulated time, until measured figures replace these."""

from __future__ import annotations

from dataclasses import dataclass

S = 1_000_000


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds. The slices concerned are held meanwhile and the job makes no progress.

    The defaults are what Singularity (Shukla et al., 2022) published for jobs of 8 to 16 V100: a
    migration 28 to 64 s in all, about half of it each way; scaling down 31 to 69 s, up 30 to 75 s.
    What a job loses by shrinking is free once its state is out of it, as when it is halted; the
    job itself runs again after `shrink_us`.
    A first start costs nothing: the traces' durations hold it already.
    """

    start_us: int = 0
    checkpoint_us: int = 20 * S
    restore_us: int = 30 * S
    shrink_us: int = 45 * S
    grow_us: int = 40 * S
    release_us: int = 0
    turns_ppm: int = 980_000  # of the speed is left where ranks take turns on fewer slices


FREE = Costs(0, 0, 0, 0, 0, 0, 1_000_000)
"""Halting costs nothing: what published simulators assume."""
