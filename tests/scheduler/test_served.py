"""Scaling served models: the queue model, the forecast, the simulator and full knowledge."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import Infeasible
from scheduler.policies.served import (
    Forecast,
    Forecasting,
    Objective,
    Seen,
    Served,
    erlang_c,
    fewest,
    late_share,
)
from scheduler.sim.clairvoyant import Search, fewest_known, least_work
from scheduler.sim.serving import Replica, Serving, serve
from scheduler.traces.trace import Request

REPLICA = Replica(slots=2, input_per_s=1000, output_s=0.01, start_s=10)


def poisson(rate: float, span_s: float, seed: int, output: int = 300) -> list[Request]:
    drawn, at_s, found = random.Random(seed), 0.0, []
    while at_s < span_s:
        found.append(Request(at_s, drawn.randint(50, 500), 1 + int(drawn.expovariate(1 / output))))
        at_s += drawn.expovariate(rate)
    return found


def constant(requests: list[Request], count: int, objective: Objective) -> Serving:
    return serve(requests, REPLICA, objective, 10.0, count, lambda step, seen: count)


def test_erlang_c_is_that_of_tables() -> None:
    assert erlang_c(1.0, 2) == pytest.approx(1 / 3)  # M/M/2 at half load
    assert erlang_c(0.5, 1) == pytest.approx(0.5)


def test_after_a_long_time_the_tail_is_that_of_the_exponential_queue() -> None:
    # M/M/1 at 0.8: P(wait > t) = 0.8 exp(-(1 - 0.8) t / service)
    assert late_share(0.8, 1.0, 1.0, 1, 5.0, 1e6) == pytest.approx(0.8 * 2.71828**-1.0, rel=1e-3)


def test_an_overload_that_has_not_lasted_makes_few_late() -> None:
    shares = [late_share(11.0, 1.0, 1.0, 10, 5.0, horizon) for horizon in (5.0, 30.0, 300.0)]
    assert shares[0] < 0.01 < shares[1] < shares[2] > 0.9


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 50), st.floats(0, 5), st.floats(0.1, 10), st.floats(0.5, 20), st.integers(1, 8))
def test_the_fewest_keep_the_share_and_one_less_does_not(
    rate: float, deviation: float, service_s: float, wait_s: float, slots: int
) -> None:
    count = fewest(rate, deviation, service_s, 1.0, slots, wait_s, 0.01, 30.0)
    more = fewest(rate * 1.5 + 1, deviation, service_s, 1.0, slots, wait_s, 0.01, 30.0)
    assert 1 <= count <= more
    if count > 1 and not deviation:
        assert late_share(rate, service_s, 1.0, count * slots, wait_s, 30.0) <= 0.01
        assert late_share(rate, service_s, 1.0, (count - 1) * slots, wait_s, 30.0) > 0.01


def test_a_load_that_no_number_can_serve_is_an_error() -> None:
    with pytest.raises(Infeasible, match="more than"):
        fewest(1e9, 0, 10, 1.0, 1, 1.0, 0.01, 30.0)


def test_the_forecast_follows_a_trend_and_knows_its_error() -> None:
    steady, rising = Forecast(ahead=3), Forecast(ahead=3)
    for step in range(200):
        steady.add(100)
        rising.add(100 + 2 * step)
    assert steady.mean == pytest.approx(100) and steady.variance < 1
    assert rising.mean > 100 + 2 * 190
    drawn, noisy = random.Random(1), Forecast(ahead=3)
    for _ in range(400):
        noisy.add(round(drawn.gauss(100, 10)))
    assert 50 < noisy.variance < 250


def test_requests_wait_for_slots_in_order_and_late_ones_are_counted() -> None:
    # One replica of two slots; each request holds one for 0.1 + 0.99 s + a token.
    requests = [Request(0.0, 100, 100) for _ in range(5)] + [Request(9.0, 100, 100)]
    found = constant(requests, 1, Objective(1.5))
    assert found.first_s[:5] == pytest.approx((0.11, 0.11, 1.21, 1.21, 2.31))
    assert found.late == 1 and found.first_s[5] == pytest.approx(0.11)
    assert found.devices == pytest.approx(1.0)


def test_a_new_replica_serves_only_after_its_start_and_an_old_one_ends_its_answers() -> None:
    requests = [Request(0.1, 100, 3000) for _ in range(4)] + [Request(60.0, 1, 1)]
    plan = [1, 2, 2, 1, 1, 1, 1, 1]
    late = Objective(5)
    found = serve(requests, REPLICA, late, 10.0, 1, lambda step, seen: plan[min(step, 7)])
    # Ordered at 10, ready at 20; two that wait since 0.1 are served there, and the first leaves.
    assert found.first_s[2] == pytest.approx(20 - 0.1 + 0.11) and found.late == 2
    held = sorted(found.held, key=lambda h: h.begin_s)
    assert (held[1].begin_s, held[1].ready_s) == (10.0, 20.0)
    assert held[0].end_s == pytest.approx(0.1 + 30.1)  # it goes at 30, still busy


def test_the_autoscaler_keeps_the_objective_and_follows_the_load_down() -> None:
    busy = poisson(8.0, 1200, seed=3)
    quiet = [
        Request(r.at_s + 1200, r.input_tokens, r.output_tokens) for r in poisson(2.0, 1200, seed=4)
    ]
    requests, objective = busy + quiet, Objective(10.0)
    scaler = Forecasting(objective, 2, 10.0, 10.0, Served(3.0, 0.3))
    found = serve(requests, REPLICA, objective, 10.0, 20, lambda step, seen: scaler.replicas(seen))
    assert found.attained >= 0.99
    load = [sum(REPLICA.served(r).service_s for r in part) / 1200 / 2 for part in (busy, quiet)]
    wanted = found.wanted[20:119], found.wanted[150:]
    assert load[0] < sum(wanted[0]) / len(wanted[0]) < 1.5 * load[0]
    assert load[1] < sum(wanted[1]) / len(wanted[1]) < 2.5 * load[1]


def test_a_model_that_is_late_by_itself_has_as_many_as_let_hardly_anybody_wait() -> None:
    scaler = Forecasting(Objective(0.01), 1, 1.0, 2.0, Served(0.1, 0.1))
    for at_s in range(60):
        seen = Seen(at_s, 20, [Served(0.1, 0.1)] * 20, 3, 20 * at_s, 20 * at_s, 1)
        wanted = scaler.replicas(seen)
    assert 2 < wanted < 50  # two are at work


def test_fewer_replicas_only_when_several_steps_agree() -> None:
    scaler = Forecasting(Objective(5.0), 1, 10.0, 10.0, Served(1.0, 0.1), patience=3)
    asked = 0
    for step in range(1, 60):
        seen = Seen(step * 10.0, 100 if step < 40 else 1, [], 0, 10_000, 0, asked or 30)
        before, asked = asked, scaler.replicas(seen)
        if step in (40, 41):
            assert asked >= before
    assert asked < 30


def test_full_knowledge_keeps_the_objective_with_less_and_no_less_than_the_work() -> None:
    requests, objective = poisson(5.0, 300, seed=5), Objective(5.0)
    fixed = constant(requests, 12, objective)
    known = fewest_known(requests, REPLICA, objective, 10.0, [12] * len(fixed.wanted))
    assert known.attained >= 0.99
    assert least_work(requests, REPLICA, objective) <= known.devices < 0.85 * fixed.devices


def test_what_the_search_counts_is_what_the_simulator_counts() -> None:
    requests, objective = poisson(5.0, 300, seed=6), Objective(3.0)
    steps = len(constant(requests, 12, objective).wanted)
    search = Search(requests, REPLICA, objective, 10.0, [12] * steps)
    search.free()
    search.paid()
    again = serve(
        requests, REPLICA, objective, 10.0, search.plan[0], lambda step, seen: search.at(step)
    )
    assert again.late == search.late <= search.allowed
