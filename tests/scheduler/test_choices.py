"""Choices that fit together at the least cost: greedy, CP-SAT, and HiGHS beside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, milp

from scheduler.policies import cpsat
from scheduler.policies.choices import (
    CP_SAT,
    GREEDY,
    Choice,
    Problem,
    choose,
    cost_of,
    greedy,
)

needs_ortools = pytest.mark.skipif(
    not cpsat.is_there(), reason="OR-Tools is not installed (pip install haltere[cpsat])"
)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Movers on devices, each where it is now, and up to two that want to come."""
    devices = [f"d{n}" for n in range(draw(st.integers(2, 4)))]
    room = {device: draw(st.integers(2, 8)) for device in devices}
    left, charges = dict(room), {"a": 7, "b": 3}
    items: list[tuple[Choice, ...]] = []
    now: list[int | None] = []
    for _ in range(draw(st.integers(0, 6))):
        size, at = draw(st.integers(1, 4)), draw(st.integers(0, len(devices) - 1))
        if size > left[devices[at]]:
            continue
        left[devices[at]] -= size
        cost, key = draw(st.integers(0, 9)), draw(st.sampled_from([(), ("a",), ("a", "b")]))
        items.append(
            tuple(
                Choice(0, ((d, size),)) if n == at else Choice(cost + n, ((d, size),), key)
                for n, d in enumerate(devices)
            )
        )
        now.append(at)
    for _ in range(draw(st.integers(1, 2))):
        size = draw(st.integers(1, 6))
        items.append(tuple(Choice(0, ((d, size),)) for d in devices))
        now.append(None)
    return Problem(room, tuple(items), tuple(now), charges)


def is_good(problem: Problem, choices: tuple[int, ...]) -> bool:
    used = dict.fromkeys(problem.room, 0)
    for item, index in zip(problem.items, choices, strict=True):
        for what, much in item[index].uses:
            used[what] += much
    return all(used[what] <= room for what, room in problem.room.items())


def least(problem: Problem) -> float | None:
    """HiGHS: what the best choices cost; None if there are none."""
    columns = [(i, n) for i, item in enumerate(problem.items) for n in range(len(item))]
    keys = list(problem.charges)
    width = len(columns) + len(keys)
    rows: list[np.ndarray] = []
    low: list[float] = []
    high: list[float] = []

    def row(terms: dict[int, float], from_: float, to: float) -> None:
        found = np.zeros(width)
        for column, factor in terms.items():
            found[column] += factor
        rows.append(found)
        low.append(from_)
        high.append(to)

    for i in range(len(problem.items)):
        row({c: 1 for c, (item, _) in enumerate(columns) if item == i}, 1, 1)
    for what, there in problem.room.items():
        uses = {c: dict(problem.items[i][n].uses).get(what, 0) for c, (i, n) in enumerate(columns)}
        row({c: much for c, much in uses.items() if much}, -np.inf, there)
    for c, (i, n) in enumerate(columns):
        for key in problem.items[i][n].charges:
            row({c: 1, len(columns) + keys.index(key): -1}, -np.inf, 0)
    costs = [problem.items[i][n].cost for i, n in columns] + [problem.charges[k] for k in keys]
    limits = LinearConstraint(np.array(rows), np.array(low), np.array(high))
    found = milp(costs, constraints=limits, integrality=np.ones(width), bounds=(0, 1))
    return float(found.fun) if found.success else None


@settings(max_examples=200, deadline=None)
@given(problems())
def test_greedy_finds_nothing_that_does_not_fit_nor_anything_better_than_the_best(
    problem: Problem,
) -> None:
    best, found = least(problem), greedy(problem)
    if found is not None:
        assert best is not None
        assert is_good(problem, found.choices)
        assert found.cost == cost_of(problem, found.choices) >= round(best)


@needs_ortools
@settings(max_examples=150, deadline=None)
@given(problems())
def test_cp_sat_costs_what_highs_says_that_the_best_costs(problem: Problem) -> None:
    best, found = least(problem), choose(problem)
    assert (found is None) == (best is None)
    if found is not None and best is not None:
        assert is_good(problem, found.choices)
        assert found.cost == round(best)
        assert found.best


@needs_ortools
@settings(max_examples=20, deadline=None)
@given(problems())
def test_the_same_problem_has_the_same_answer(problem: Problem) -> None:
    assert choose(problem) == choose(problem)


FORCED = Problem(  # the first way round is the dear one, and greedy goes it
    {"a": 10, "b": 6, "c": 4},
    (
        (Choice(0, (("a", 6),)), Choice(6, (("b", 6),))),
        (Choice(0, (("a", 4),)), Choice(4, (("b", 4),)), Choice(5, (("c", 4),))),
        (Choice(0, (("a", 10),)),),
    ),
    (0, 0, None),
)


@needs_ortools
def test_the_best_is_found_where_greedy_finds_nothing() -> None:
    assert greedy(FORCED) is None  # it fills b with the small one, and the large has no place
    found = choose(FORCED)
    assert found is not None
    assert (found.choices, found.cost, found.by) == ((1, 2, 0), 11, CP_SAT)


def test_without_or_tools_greedy_decides_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpsat, "is_there", lambda: False)
    assert choose(FORCED) is None
    easy = Problem(FORCED.room, FORCED.items[1:], FORCED.now[1:])
    found = choose(easy)
    assert found is not None
    assert (found.choices, found.cost, found.by) == ((1, 0), 4, GREEDY)


def test_what_is_called_for_twice_is_paid_once() -> None:
    both = Choice(1, (), ("halt",))
    problem = Problem({}, ((both,), (both,)), (None, None), {"halt": 10})
    found = greedy(problem)
    assert found is not None
    assert found.cost == 12
