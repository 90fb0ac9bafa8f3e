"""How long jobs are likely to take, from those that ended: no policy is told the truth.

Durations are counted in octaves (powers of two of seconds of service per slice asked for), by
tenant and size, by size, and over all. A job that has run for `t` is one of those that lasted
longer than `t`: what is expected of it is their mean, less `t`. The narrowest of the three tables
that has seen enough of such jobs is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OCTAVES = 32
ENOUGH = 8  # jobs that lasted longer; below that the wider table is asked
UNKNOWN_S = 3600.0  # expected of the very first jobs


@dataclass(slots=True)
class _Table:
    counts: list[int] = field(default_factory=lambda: [0] * OCTAVES)
    sums: list[float] = field(default_factory=lambda: [0.0] * OCTAVES)

    def add(self, seconds: float) -> None:
        octave = _octave(seconds)
        self.counts[octave] += 1
        self.sums[octave] += seconds

    def beyond(self, seconds: float) -> tuple[int, float]:
        """How many lasted about as long or longer, and their mean."""
        octave = _octave(seconds)
        count = sum(self.counts[octave:])
        return count, sum(self.sums[octave:]) / count if count else 0.0


class History:
    def __init__(self) -> None:
        self._tables: dict[object, _Table] = {}

    def ended(self, tenant: str, slices: int, seconds: float) -> None:
        for key in self._keys(tenant, slices):
            self._tables.setdefault(key, _Table()).add(seconds)

    def expect_s(self, tenant: str, slices: int, ran_s: float) -> float:
        """Expected seconds that are left of a job that ran for `ran_s`; never less than half of
        what it ran, since long jobs tend to go on."""
        for key in self._keys(tenant, slices):
            table = self._tables.get(key)
            count, mean = table.beyond(ran_s) if table else (0, 0.0)
            if count >= ENOUGH or (key is None and count):
                return max(mean - ran_s, ran_s / 2)
        return max(UNKNOWN_S, ran_s)

    def _keys(self, tenant: str, slices: int) -> tuple[object, ...]:
        size = slices.bit_length()
        return ((tenant, size), size, None)


def _octave(seconds: float) -> int:
    return min(max(int(seconds), 1).bit_length() - 1, OCTAVES - 1)
