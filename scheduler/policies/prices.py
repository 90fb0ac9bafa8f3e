"""Which part for whom, when parts differ in speed: prices that balance what is asked of each.

The best assignment of jobs to parts is a linear program; its dual has one number a part: the
price of a slice. At the right prices everybody simply takes the part that is worth most to it
beyond its price, and no part is asked for more than it has. Prices rise where more is asked for
than there is, and fall where less; they start from the last ones, so a few rounds do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.policies.books import Pool

ROUNDS = 24
STEP = 0.25  # of the first round, as a share of a full slice's worth; then ever less


@dataclass(frozen=True, slots=True)
class Want:
    """`worth`: what each slice would do for the job, by pool that it could run on."""

    slices: int
    worth: dict[Pool, float]


def settle(wants: Sequence[Want], room: dict[Pool, int], prices: dict[Pool, float]) -> None:
    """Bring the prices closer to where they balance."""
    for turn in range(ROUNDS):
        asked = dict.fromkeys(room, 0)
        for want in wants:
            best = max(want.worth, key=lambda pool: want.worth[pool] - prices.get(pool, 0.0))
            asked[best] += want.slices
        for pool, there in room.items():
            change = STEP / (1 + turn) * (asked[pool] - there) / max(1, there)
            prices[pool] = max(0.0, prices.get(pool, 0.0) + max(-STEP, min(STEP, change)))


def assign(
    wants: Sequence[Want], room: dict[Pool, int], prices: dict[Pool, float]
) -> list[Pool | None]:
    """A pool for each, none where nothing is left. Those that would lose most by having their
    second best choose first."""
    left = dict(room)
    chosen: list[Pool | None] = [None] * len(wants)
    for index in sorted(range(len(wants)), key=lambda i: (-_regret(wants[i], prices), i)):
        want = wants[index]
        found = [pool for pool in want.worth if left[pool] >= want.slices]
        if found:
            best = max(found, key=lambda pool: want.worth[pool] - prices.get(pool, 0.0))
            chosen[index] = best
            left[best] -= want.slices
    return chosen


def _regret(want: Want, prices: dict[Pool, float]) -> float:
    net = sorted((worth - prices.get(pool, 0.0) for pool, worth in want.worth.items()))
    return net[-1] - net[-2] if len(net) > 1 else float("inf")
