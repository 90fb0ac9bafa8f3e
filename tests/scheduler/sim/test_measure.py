"""Figures by hand."""

from __future__ import annotations

from scheduler.sim.measure import Done, figures, finish_time_fairness, percentile


def done(submitted: float, ended: float, duration: float, count: int = 1) -> Done:
    return Done(submitted, submitted, ended, duration, count, 0, 0)


def test_a_job_alone_that_ran_at_once_has_rho_one() -> None:
    assert finish_time_fairness([done(0, 100, 100)], 1) == [1.0]


def test_two_jobs_that_share_one_device_may_take_twice_as_long() -> None:
    shared = [done(0, 200, 100), done(0, 200, 100)]
    assert finish_time_fairness(shared, 1) == [1.0, 1.0]
    in_turn = [done(0, 100, 100), done(0, 200, 100)]
    first, second = finish_time_fairness(in_turn, 1)
    assert first == 0.5  # demand was 2 of 1 device while it was there
    assert second == 200 / (100 * 1.5)  # 2 for the first half, 1 for the second


def test_a_job_that_waits_though_devices_idle_is_treated_unfairly() -> None:
    result = figures([done(0, 100, 50)], 4)
    assert result.unfair == 1.0 and result.worst_rho == 2.0
    assert result.makespan_h == result.average_h == 100 / 3600


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([1, 2, 3, 4], 0.5) == 3
    assert percentile([1, 2, 3, 4], 0.99) == 4
    assert percentile([7], 0.99) == 7
