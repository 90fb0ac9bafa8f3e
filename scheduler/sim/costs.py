"""What halting costs, in simulated time, until measured figures replace these."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from scheduler.core.halting import FORMAT, VERSION
from scheduler.errors import TraceDamaged

S = 1_000_000


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds. The slices concerned are held meanwhile and the job makes no progress.

    The defaults are what Singularity (Shukla et al., 2022) published for jobs of 8 to 16 V100: a
    migration 28 to 64 s in all, about half of it each way; scaling down 31 to 69 s, up 30 to 75 s.
    What a job loses by shrinking is free once its state is out of it, as when it is halted; the
    job itself runs again after `shrink_us`.
    A job stands still while it is saved.
    A first start costs nothing: the traces' durations hold it already.
    """

    start_us: int = 0
    checkpoint_us: int = 20 * S
    restore_us: int = 30 * S
    shrink_us: int = 45 * S
    grow_us: int = 40 * S
    release_us: int = 0
    turns_ppm: int = 980_000  # of the speed is left where ranks take turns on fewer slices
    save_us: int = 20 * S
    reconfigure_us: int = 2 * S  # an FPGA, for another overlay than it holds

    @classmethod
    def read(cls, path: Path) -> Costs:
        """From what a live pool measured (core.halting); the rest is as by default. Raises
        TraceDamaged."""
        try:
            raw = json.loads(path.read_bytes())
            if raw["format"] != FORMAT or raw["version"] != VERSION:
                raise ValueError(f"it is {raw['format']!r}, version {raw['version']!r}")
            found = dict(raw["costs"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise TraceDamaged(
                f"{path}: no costs of a {FORMAT} of version {VERSION}: {error!r}"
            ) from error
        known = {field.name for field in fields(cls)}
        for name, value in found.items():
            if name not in known or type(value) is not int or value < 0:
                raise TraceDamaged(
                    f"{path}: {name} = {value!r}: costs are whole microseconds, known are "
                    f"{', '.join(sorted(known))}"
                )
        return cls(**found)


FREE = Costs(0, 0, 0, 0, 0, 0, 1_000_000, 0, 0)
"""Halting costs nothing: what published simulators assume."""
