"""What a slice costs in each place, and which share of what is asked for belongs where.

As `policies/prices` has it for parts: the best assignment is a linear program, and at the right
prices everybody takes what is worth most to him beyond its price. Here what is asked for comes in
classes rather than job by job, so a class is spread over places that are nearly as good as the best
(a share falls by e for every SOFT of worth); that keeps places that are alike from taking turns.
Prices rise by the logarithm of what is asked for over what there is (as Sinkhorn balances the rows
of a matrix), fall likewise, and start from the last ones: a round or two do while little changes.
"""

from __future__ import annotations

import numpy as np

from scheduler.hierarchy.messages import Floats

ROUNDS = 200  # at most
CLOSE = 0.02  # of SOFT: a change of prices that ends the rounds
SOFT = 0.02  # of the worth of a slice of speed 1
STEEP = 2.0  # the most by which a price changes in a round, in SOFT


def settle(asked: Floats, worth: Floats, capacity: Floats, prices: Floats) -> Floats:
    """Bring the prices (changed in place) closer to where they balance. `asked`: slices, by class;
    `worth` of a slice, by class and place (-inf: it cannot be there); `capacity`, `prices`: by
    place. Returns shares by class and place; what is missing to 1 had better wait (which is worth
    nothing, and costs nothing)."""
    known = np.where(capacity > 0, worth, -np.inf)
    shares = _shares(known, capacity, prices)
    for _ in range(ROUNDS):
        over = np.log(np.maximum(asked @ shares, 1e-9) / np.maximum(capacity, 1e-9))
        before = prices.copy()
        prices += SOFT * np.clip(over, -STEEP, STEEP)
        np.maximum(prices, 0.0, out=prices)
        if np.abs(prices - before).max(initial=0.0) < CLOSE * SOFT:
            break
        shares = _shares(known, capacity, prices)
    return shares


def _shares(worth: Floats, capacity: Floats, prices: Floats) -> Floats:
    net = worth - prices
    best = np.maximum(net.max(axis=1, keepdims=True), 0.0)
    weights = np.exp((net - best) / SOFT) * capacity
    waits = np.exp(-best / SOFT) * capacity.sum()
    total = weights.sum(axis=1, keepdims=True) + waits
    return np.asarray(weights / np.where(total > 0, total, 1.0), np.float64)
