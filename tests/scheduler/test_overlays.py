"""FPGAs keyed by the overlay that they hold."""

from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import Infeasible
from scheduler.policies.overlays import Affinity, Blind, Task
from scheduler.sim.overlays import Fabric, run, synthesised


def waiting(*tasks: Task) -> dict[str, deque[Task]]:
    found: dict[str, deque[Task]] = {}
    for task in tasks:
        found.setdefault(task.overlay, deque()).append(task)
    return found


OLD_A, B = Task(0, "a", 1), Task(5, "b", 1)


def test_what_is_loaded_goes_first_until_another_is_overdue_and_the_stay_is_over() -> None:
    choice = Affinity(patience_s=10, stay_s=20)
    assert choice.overlay(9, waiting(OLD_A, B), "b", 0, []) == "b"
    assert choice.overlay(11, waiting(OLD_A, B), "b", 0, []) == "b"  # overdue, but it stays
    assert choice.overlay(21, waiting(OLD_A, B), "b", 0, []) == "a"
    assert choice.overlay(11, waiting(OLD_A), "b", 0, []) == "a"  # nobody wants what is loaded


def test_what_another_fpga_holds_waits_for_that_one_unless_overdue() -> None:
    choice = Affinity(patience_s=10, stay_s=20)
    assert choice.overlay(9, waiting(OLD_A, B), "c", 0, ["a"]) == "b"
    assert choice.overlay(9, waiting(OLD_A), "c", 0, ["a"]) is None
    assert choice.overlay(11, waiting(OLD_A), "c", 0, ["a"]) == "a"


def test_reconfiguring_is_charged_once_for_each_change() -> None:
    tasks = [Task(0, "a", 1), Task(0, "b", 1), Task(0, "a", 1)]
    blind = run(tasks, Fabric(1, 2.0), Blind())
    assert (blind.reconfigurations, blind.end_s) == (2, 7.0)  # the two of "a" came first
    tasks = [Task(0, "a", 1), Task(0.1, "b", 1), Task(0.2, "a", 1)]
    blind, kind = (run(tasks, Fabric(1, 2.0), c) for c in (Blind(), Affinity(60, 20)))
    assert (blind.reconfigurations, blind.end_s) == (3, 9.0)
    assert (kind.reconfigurations, kind.end_s) == (2, 7.0)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 50), st.sampled_from("abc"), st.floats(0.01, 5)), max_size=40),
    st.integers(1, 4),
    st.floats(0, 5),
    st.one_of(st.just(Blind()), st.builds(Affinity, st.floats(0, 30), st.floats(0, 30))),
)
def test_every_task_runs_once_and_no_fpga_does_two_things(
    drawn: list[tuple[float, str, float]], count: int, reconfigure_s: float, choice: object
) -> None:
    tasks = [Task(*values) for values in sorted(drawn)]
    ran = run(tasks, Fabric(count, reconfigure_s), choice)  # type: ignore[arg-type]
    assert len(ran.response_s) == len(tasks)
    assert ran.busy_s == pytest.approx(sum(task.run_s for task in tasks))
    assert ran.busy_s + ran.reconfiguring_s <= count * ran.end_s + 1e-6
    assert len({t.overlay for t in tasks}) <= ran.reconfigurations <= len(tasks)


@pytest.mark.parametrize("count, load", [(1, 0.5), (4, 0.6), (4, 0.8)])
def test_affinity_loads_less_and_answers_sooner_even_when_blind_turns_cannot_keep_up(
    count: int, load: float
) -> None:
    tasks = synthesised([("a", 4), ("b", 2), ("c", 1)], load * count, 1.0, 1500, seed=2)
    fabric = Fabric(count, 2.0)
    blind, kind = run(tasks, fabric, Blind()), run(tasks, fabric, Affinity(20, 20))
    assert kind.reconfigurations < 0.8 * blind.reconfigurations
    assert kind.average_s < blind.average_s


def test_tasks_are_drawn_from_their_seed_by_weight() -> None:
    tasks = synthesised([("a", 3), ("b", 1)], 1.0, 1.0, 2000, seed=1)
    assert tasks == synthesised([("a", 3), ("b", 1)], 1.0, 1.0, 2000, seed=1)
    assert Counter(t.overlay for t in tasks)["a"] == pytest.approx(1500, rel=0.1)


def test_impossible_fabrics_and_patience_are_refused() -> None:
    for make in (lambda: Fabric(0, 1), lambda: Fabric(1, -1), lambda: Affinity(-1, 0)):
        with pytest.raises(Infeasible):
            make()
