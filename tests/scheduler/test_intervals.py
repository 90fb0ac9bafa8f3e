"""How often to save: the formulas against the model that they approximate."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.intervals import daly_s, mtbf_s, stretch, young_s

DAY_S = 86_400


def cheapest(save_s: float, mtbf: float) -> float:
    """The least stretch that any interval gives, by a search of its own."""
    low, high = 1e-3, 20 * mtbf
    for _ in range(200):
        a, b = low + (high - low) * 0.382, low + (high - low) * 0.618
        if stretch(a, save_s, 0, mtbf) < stretch(b, save_s, 0, mtbf):
            high = b
        else:
            low = a
    return stretch(low, save_s, 0, mtbf)


@given(st.floats(0.5, 2000), st.floats(3600, 100 * DAY_S))
def test_dalys_interval_costs_hardly_more_than_the_best_there_is(
    save_s: float, mtbf: float
) -> None:
    assert stretch(daly_s(save_s, mtbf), save_s, 0, mtbf) <= 1.002 * cheapest(save_s, mtbf)


def test_youngs_is_as_good_while_saving_is_short_and_worse_when_it_is_not() -> None:
    short, long = (20, 30 * DAY_S), (3600, 7200)
    assert math.isclose(young_s(*short), daly_s(*short), rel_tol=0.01)
    young, daly = (stretch(found(*long), long[0], 0, long[1]) for found in (young_s, daly_s))
    assert young > 1.005 * daly


def test_known_values() -> None:
    assert young_s(20, 36_000) == 1200
    assert daly_s(300, 100) == 100  # saving takes longer than a device lives


def test_what_is_given_is_outweighed_by_what_is_measured() -> None:
    assert mtbf_s(30 * DAY_S, 0, 0) == 30 * DAY_S
    measured = mtbf_s(30 * DAY_S, 100, 100 * DAY_S)
    assert 0.98 * DAY_S < measured < 1.3 * DAY_S
    assert mtbf_s(DAY_S, 0, 99 * DAY_S) == 100 * DAY_S  # nothing failed in all that time
