"""A served model and batch jobs on one pool: one machine and one policy decide on both."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from scheduler.core.values import JobSpec
from scheduler.errors import Infeasible
from scheduler.policies.elastic import Elastic
from scheduler.policies.policy import Policy
from scheduler.policies.served import Forecasting, Objective, Seen, Served
from scheduler.policies.tiered import Tiered
from scheduler.services import Service
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.pooled import Pooled, made_up, pooled
from scheduler.sim.serving import Replica
from scheduler.sim.workload import RIGID, Tiers, jobs_of
from scheduler.traces.trace import Request

S = 1_000_000
REPLICA = Replica(slots=2, input_per_s=1000, output_s=0.01, start_s=5)
SPEC = JobSpec("model", "service", "premium", "gpu", ("serve",))


class Waves:
    """Four replicas and eight in turn."""

    def replicas(self, seen: Seen) -> int:
        return 4 + 4 * (int(seen.at_s) // 60 % 2)


class Always:
    def __init__(self, count: int) -> None:
        self.count = count

    def replicas(self, seen: Seen) -> int:
        return self.count


def requests(span_s: float) -> list[Request]:
    drawn, at_s, found = random.Random(3), 0.0, []
    while at_s < span_s:
        found.append(Request(at_s, 300, 1 + int(drawn.expovariate(1 / 200))))
        at_s += drawn.expovariate(2.0)
    return found


def run(
    scaler: Waves | Always | Forecasting,
    halt_s: int = 3,
    by: Policy | None = None,
    spec: JobSpec = SPEC,
) -> Pooled:
    batch = made_up(12, 600, seed=2)
    halt_us = halt_s * S
    return pooled(
        requests(600),
        REPLICA,
        Objective(10.0),
        Service(spec, scaler),
        10.0,
        4,
        (batch, jobs_of(batch, "gpu", 12, RIGID, Tiers(), 1)),
        read_cluster("12x1xgpu"),
        by or Elastic(),
        Costs(checkpoint_us=halt_us, restore_us=halt_us),
    )


def test_what_replicas_do_not_hold_works_for_others_and_comes_back_when_they_ask() -> None:
    easy, hard = run(Waves()), run(Waves(), halt_s=12)
    for found, halt_s in ((easy, 3), (hard, 12)):
        assert found.serving.attained > 0.99
        assert len(found.recalls) == 5 * 4  # every second minute four more
        assert found.recalls[0] >= 0 and found.recalls[-1] == pytest.approx(halt_s)
        assert found.evictions > 10
        assert found.lent == pytest.approx(12 - found.serving.devices)
    assert 0.7 < hard.useful < easy.useful <= 1.0


@pytest.mark.parametrize("by", [Elastic, Tiered])
def test_who_cannot_be_halted_in_time_gives_way_and_a_recall_is_never_late(
    by: type[Policy],
) -> None:
    spec = replace(SPEC, recall_us=5 * S)
    quick, slow = run(Waves(), 3, by(), spec), run(Waves(), 12, by(), spec)
    assert quick.gave_way == 0 < quick.evictions
    for found in (quick, slow):
        assert found.recalls[-1] <= 5 and found.serving.attained > 0.99
    assert slow.gave_way > 10
    assert slow.useful < quick.useful  # what they had not saved they do again


def test_a_model_that_never_changes_halts_nobody() -> None:
    found = run(Always(4))
    assert (found.recalls, found.evictions) == ((), 0)
    assert found.serving.devices == pytest.approx(4, abs=0.2)
    assert found.useful > 0.8


def test_the_forecast_keeps_the_objective_on_a_pool_that_others_fill() -> None:
    scaler = Forecasting(Objective(10.0), 2, 10.0, 8.0, Served(2.3, 0.3))
    found = run(scaler)
    assert found.serving.attained >= 0.99
    assert 2 < found.serving.devices < 6


def test_the_same_seed_gives_the_same_run() -> None:
    assert run(Waves()) == run(Waves())


def test_more_replicas_than_the_pool_can_promise_wait_and_are_not_forgotten() -> None:
    found = run(Always(40))
    assert max(found.serving.wanted) == 40
    assert found.serving.devices <= 12
    assert found.serving.attained > 0.99


def test_replicas_that_could_be_halted_for_others_are_refused() -> None:
    with pytest.raises(Infeasible, match="basic"):
        Service(JobSpec("m", "t", "basic", "gpu", ("serve",)), Waves())


def test_those_that_do_not_serve_yet_go_first() -> None:
    service = Service(SPEC, Always(2), dict.fromkeys((3, 5, 8, 9)))
    assert service.change(Seen(0, 0, [], 0, 0, 0, 4), serving=[5, 3]) == (0, [9, 8])
    assert list(service.replicas) == [3, 5]
    service.scaler = Always(1)
    assert service.change(Seen(0, 0, [], 0, 0, 0, 2), serving=[5, 3]) == (0, [5])
    service.scaler = Always(3)
    assert service.change(Seen(0, 0, [], 0, 0, 0, 1), serving=[3]) == (2, [])


def test_there_are_never_fewer_nor_more_than_is_said() -> None:
    service = Service(SPEC, Always(9), dict.fromkeys((1, 2)), least=2, most=4)
    assert service.change(Seen(0, 0, [], 0, 0, 0, 2), serving=[1, 2]) == (2, [])
    service.scaler = Always(0)
    assert service.change(Seen(0, 0, [], 0, 0, 0, 2), serving=[1, 2]) == (0, [])
    for least, most in ((0, 4), (3, 2)):
        with pytest.raises(Infeasible, match=f"{least} to {most} replicas"):
            Service(SPEC, Always(1), least=least, most=most)


def test_what_is_taken_away_before_enough_is_known_is_a_setting() -> None:
    quiet = Seen(1, 0, [], 0, 0, 0, 5)
    careful, quick = (
        Forecasting(Objective(10.0), 2, 10.0, 8.0, Served(2.3, 0.3), learned=learned)
        for learned in (1000, 0)
    )
    assert careful.replicas(quiet) == 5 > quick.replicas(quiet)
