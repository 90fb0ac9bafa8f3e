"""The levels above a cluster: what they decide, and that no job is lost or run twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from scheduler.errors import Infeasible
from scheduler.hierarchy.channel import Custody
from scheduler.hierarchy.cluster import Standing
from scheduler.hierarchy.front import Front
from scheduler.hierarchy.globe import Globe
from scheduler.hierarchy.messages import (
    OFFER,
    ClusterSummary,
    Guide,
    Handover,
    Moves,
    RegionSummary,
    Routes,
    Taken,
)
from scheduler.hierarchy.params import LevelParams, S
from scheduler.hierarchy.prices import settle
from scheduler.hierarchy.region import Region
from scheduler.policies.quotas import Quota, Quotas, entitle, fill
from scheduler.traces.packed import JOB, KINDS

PARAMS = LevelParams()
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def jobs_of(*counts: int, tenant: int = 0, first: int = 1, tier: int = 2) -> np.ndarray:
    jobs = np.zeros(len(counts), JOB)
    jobs["job"] = np.arange(first, first + len(counts))
    jobs["count"] = jobs["least"] = jobs["most"] = counts
    jobs["work_us"], jobs["tenant"], jobs["tier"] = 100 * S, tenant, tier
    return jobs


# ---- prices, against the linear program that they solve


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(2, 8), st.sampled_from([0.5, 1, 2]))
def test_prices_come_within_three_percent_of_the_best_assignment(
    seed: int, classes: int, places: int, load: float
) -> None:
    drawn = np.random.Generator(np.random.PCG64(seed))
    worth = drawn.uniform(0.2, 1.0, (classes, places))
    worth[drawn.random((classes, places)) < 0.2] = -np.inf
    capacity = drawn.integers(20, 2000, places).astype(float)
    asked = drawn.dirichlet(np.ones(classes)) * capacity.sum() * load
    prices = np.zeros(places)
    for _ in range(3):  # from the last prices on
        shares = settle(asked, worth, capacity, prices)
    placed = shares * asked[:, None]
    fits = np.minimum(1, capacity / np.maximum(placed.sum(axis=0), 1e-9))
    known = np.where(np.isfinite(worth), worth, 0.0)
    best = _best(known, np.isfinite(worth), asked, capacity)
    assert (placed * fits * known).sum() >= 0.97 * best - 1e-6
    assert np.all(placed[~np.isfinite(worth)] == 0) and np.all(shares.sum(axis=1) <= 1 + 1e-9)


def _best(known: np.ndarray, may: np.ndarray, asked: np.ndarray, capacity: np.ndarray) -> float:
    classes, places = known.shape
    by_class = np.kron(np.eye(classes), np.ones(places))
    by_place = np.kron(np.ones(classes), np.eye(places))
    found = linprog(
        -known.ravel(),
        np.vstack([by_class, by_place]),
        np.concatenate([asked, capacity]),
        bounds=[(0, None) if ok else (0, 0) for ok in may.ravel()],
        method="highs",
    )
    return -float(found.fun)


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(1, 9)),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 120),
)
def test_what_is_borrowed_is_shared_as_the_linear_program_for_the_worst_off_says(
    tenants: list[tuple[int, int, int]], slices: int
) -> None:
    """Weighted max-min: the least share of what is lent, of those that want more, is the greatest
    possible."""
    wants, owns, weights = (list(map(float, column)) for column in zip(*tenants, strict=True))
    got = fill(float(slices), wants, owns, weights)
    assert sum(got) <= slices + 1e-6 and all(g <= w + 1e-6 for g, w in zip(got, wants, strict=True))
    assert sum(got) == pytest.approx(min(slices, sum(wants)))
    sure = [min(w, o) for w, o in zip(wants, owns, strict=True)]
    if sum(sure) >= slices:
        return
    thirsty = [i for i, want in enumerate(wants) if want - sure[i] > 1e-9]
    if not thirsty:
        return
    count = len(wants)
    rows = [[1.0] * count + [0.0]]  # all of it
    limits = [float(slices)]
    for i in thirsty:  # level <= (got - sure) / weight, of those that still want
        row = [0.0] * (count + 1)
        row[i], row[-1] = -1 / weights[i], 1.0
        rows.append(row)
        limits.append(-sure[i] / weights[i])
    bounds = [(s, w) for s, w in zip(sure, wants, strict=True)]
    best = linprog([0.0] * count + [-1.0], rows, limits, bounds=[*bounds, (0, None)])
    level = min((got[i] - sure[i]) / weights[i] for i in thirsty)
    assert level == pytest.approx(-best.fun, abs=1e-6)


def test_entitlements_follow_the_tree_and_never_exceed_what_there_is() -> None:
    lab = Quotas(
        [
            Quota("lab", {"gpu": 60}),
            Quota("lab/ann", {"gpu": 40}),
            Quota("lab/bob", {"gpu": 20}),
            Quota("shop", {"gpu": 40}),
            Quota("shop/cyd", {"gpu": 40}),
        ]
    )
    asks = {"ann": 100.0, "bob": 100.0, "cyd": 100.0, "eve": 100.0}
    assert entitle(lab, "gpu", 100, asks) == {"ann": 40, "bob": 20, "cyd": 40, "eve": 0}
    idle = entitle(lab, "gpu", 100, asks | {"bob": 5.0})
    assert idle["ann"] == 55 and idle["bob"] == 5  # what bob leaves is its team's first
    lent = entitle(lab, "gpu", 100, {"ann": 10.0, "eve": 200.0})
    assert lent == {"ann": 10, "eve": 90}
    less = entitle(lab, "gpu", 50, asks)
    assert sum(less.values()) == pytest.approx(50) and less["ann"] == pytest.approx(20)


def test_who_used_more_of_late_borrows_less() -> None:
    lab = Quotas(
        [Quota("lab", {"gpu": 10}), Quota("lab/a", {"gpu": 2}), Quota("lab/b", {"gpu": 2})]
    )
    got = entitle(lab, "gpu", 10, {"a": 10.0, "b": 10.0}, {"a": 3.0, "b": 0.0})
    assert got["b"] > got["a"] > 2 and sum(got.values()) == pytest.approx(10)


# ---- handing over


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(
    st.lists(st.sampled_from(["give", "deliver", "drop", "twice", "swap", "again"]), max_size=60)
)
def test_each_job_is_taken_once_whatever_happens_to_messages(steps: list[str]) -> None:
    one, two = Custody("front-0"), Custody("cluster-0")
    wire: list[Handover | Taken] = []
    taken: list[int] = []
    given, now_us = 0, 0

    def deliver(message: Handover | Taken) -> None:
        if isinstance(message, Taken):
            one.taken(message)
            return
        jobs, answer = two.take(message, now_us)
        taken.extend([] if jobs is None else jobs["job"].tolist())
        wire.append(answer)

    for step in [*steps, *["again", "deliver"] * 8, *["deliver"] * 400]:
        now_us += 6 * S if step == "again" else 1
        if step == "give":
            given += 1
            wire.append(one.give(now_us, "cluster-0", jobs_of(1, first=given)))
        elif step == "again":
            wire += one.again(now_us)
        elif wire and step == "deliver":
            deliver(wire.pop(0))
        elif wire and step == "drop":
            wire.pop(0)
        elif wire and step == "twice":
            wire.append(wire[0])
        elif wire and step == "swap":
            wire.append(wire.pop(0))
        held = one.outbox("cluster-0").held(two.took("front-0"))["job"].tolist()
        assert sorted([*taken, *held]) == list(range(1, given + 1))
    assert taken == list(range(1, given + 1))


def test_a_token_counts_handovers() -> None:
    custody = Custody("a")
    handed = custody.give(0, "b", jobs_of(1, 2))
    assert set(handed.jobs["token"]) == {1}


# ---- the front


def front(sizes: Sequence[int] = (64, 64), tenants: int = 2) -> Front:
    return Front(0, range(len(sizes)), [0] * len(sizes), sizes, tenants, PARAMS, 0)


def routes(
    room: Sequence[int], share: Sequence[float] = (1, 1), opened: np.ndarray | None = None
) -> Routes:
    none = np.zeros(len(room), np.int64)
    return Routes(0, 1, 0, np.array(room), np.array(room), none, np.array(share, float), opened)


def dealt(messages: Sequence[object]) -> dict[str, list[int]]:
    found = [message for message in messages if isinstance(message, Handover)]
    return {message.target: message.jobs["job"].tolist() for message in found}


def all_of(messages: Sequence[object]) -> list[int]:
    return sorted(job for jobs in dealt(messages).values() for job in jobs)


def test_jobs_go_where_there_is_room_and_the_rest_by_share() -> None:
    level = front()
    level.hear(routes([10, 4], share=[0, 1]), 0)
    level.submit(jobs_of(4, 4, 2, 4, 8, 8))
    assert dealt(level.deal(0)) == {"cluster-0": [1, 2, 3], "cluster-1": [4, 5, 6]}
    level.submit(jobs_of(1, first=7))
    assert dealt(level.deal(0)) == {"cluster-1": [7]}  # the room was given away


def test_a_gang_is_dealt_to_a_cluster_that_can_hold_it() -> None:
    level = front(sizes=(8, 64))
    level.hear(routes([8, 0]), 0)
    level.submit(jobs_of(32))
    assert dealt(level.deal(0)) == {"cluster-1": [1]}


def test_jobs_beyond_what_their_tenant_may_ask_for_are_held_back() -> None:
    level = front()
    opened = np.full((2, len(KINDS)), np.inf)
    opened[0, 0] = 6
    level.hear(routes([64, 64], opened=opened), 0)
    level.submit(np.concatenate([jobs_of(4, 4, 1), jobs_of(8, tenant=1, first=4)]))
    assert all_of(level.deal(0)) == [1, 4]
    summary = level.summary(0)
    assert summary is not None and summary.held_back[0, 0] == 5
    level.hear(
        Routes(0, 2, 1, np.array([64, 64]), np.array([0, 0]), np.array([12, 0]), np.ones(2), None),
        1,
    )
    assert all_of(level.deal(1)) == [2, 3]


def test_without_its_region_a_front_deals_by_size_and_without_an_answer_not_at_all() -> None:
    level = front(sizes=(64, 32))
    level.hear(routes([0, 64], share=[0, 1]), 0)
    later_us = 2 * PARAMS.stale_s * S
    level.submit(jobs_of(*[1] * 30))
    found = dealt(level.deal(later_us))
    assert len(found["cluster-0"]) == 20 and len(found["cluster-1"]) == 10
    level.submit(jobs_of(1, first=31))
    assert dealt(level.deal(2 * later_us)) == {} and len(level.jobs()) == 1


# ---- the region


def standing(
    cluster: int,
    free: int,
    waiting: int,
    at_us: int = 0,
    offers: np.ndarray | None = None,
    seq: int = 1,
    ended: int = 0,
) -> ClusterSummary:
    none = np.empty(0, OFFER) if offers is None else offers
    held = Standing(64, free, waiting, 64 - free, free)
    return ClusterSummary(cluster, seq, at_us, *held, 0, ended, np.zeros(2, np.int64), none)


def offers_of(cluster: int, *sizes: int, gigabytes: float = 1.0, home: int = 0) -> np.ndarray:
    offers = np.zeros(len(sizes), OFFER)
    offers["job"] = np.arange(1, len(sizes) + 1)
    offers["count"], offers["at"], offers["home"] = sizes, cluster, home
    offers["bytes"] = offers["data_bytes"] = gigabytes * 1e9
    return offers


def region(clusters: int = 2) -> Region:
    return Region(0, range(clusters), [0] * clusters, [1.0] * clusters, 2, PARAMS)


def test_jobs_that_wait_move_to_where_slices_are_free_the_cheapest_first() -> None:
    level = region()
    offers = offers_of(0, 4, 4, 4)
    offers["bytes"][0] = 50e9
    level.hear(standing(0, free=0, waiting=12, offers=offers), 0)
    level.hear(standing(1, free=16, waiting=0), 0)
    moves = [message for message in level.tick(0) if isinstance(message, Moves)]
    assert [(move.cluster, move.jobs["job"].tolist(), set(move.to)) for move in moves] == [
        (0, [2, 3], {"cluster-1"})
    ]


def test_a_job_whose_state_takes_longer_to_move_than_it_waits_stays() -> None:
    level = region()
    for seq, ended in ((1, 0), (2, 6000)):  # slices come free fast: 200 a second
        at_us = seq * 30 * S
        level.hear(standing(0, 0, 12, at_us, offers_of(0, 4, gigabytes=5000), seq, ended), at_us)
        level.hear(standing(1, 16, 0, at_us, None, seq), at_us)
        messages = level.tick(at_us)
    assert not any(isinstance(message, Moves) for message in messages)


def test_what_is_stale_counts_less_and_from_the_bound_on_for_nothing() -> None:
    level = region()
    bound_us = PARAMS.stale_s * S
    level.hear(standing(0, free=40, waiting=0), 0)
    level.hear(standing(1, free=40, waiting=0, at_us=bound_us // 2), bound_us // 2)
    half = next(m for m in level.tick(bound_us // 2) if isinstance(m, Routes))
    assert half.room.tolist() == [20, 40]
    late = next(m for m in level.tick(bound_us) if isinstance(m, Routes))
    assert late.room.tolist() == [0, 20] and late.share[1] > 10 * late.share[0]


def test_an_old_or_repeated_summary_is_dropped() -> None:
    level = region()
    level.hear(standing(0, free=40, waiting=0, seq=2), 0)
    level.hear(standing(0, free=7, waiting=0, seq=1), 0)
    level.hear(standing(1, free=3, waiting=0, seq=1), 0)
    assert next(m for m in level.tick(0) if isinstance(m, Routes)).room.tolist() == [40, 3]


def test_the_price_of_a_slice_rises_where_more_is_asked_for_than_there_is() -> None:
    level = Region(0, range(2), [0, 0], [1.0, 0.5], 2, PARAMS)
    level.hear(standing(0, free=0, waiting=60), 0)
    level.hear(standing(1, free=64, waiting=0), 0)
    level.tick(0)
    assert 0.4 < level.prices[0] <= 1.0 and level.prices[1] < 0.1


# ---- the global level


def stands(
    region: int, free: int, waiting: int, offers: np.ndarray, asked: int = 0
) -> RegionSummary:
    row = np.array([128, 0]), np.array([free, 0]), np.array([waiting, 0])
    tenants = np.zeros((2, len(KINDS)), np.int64)
    tenants[:, 0] = asked
    wait_s = np.array([3600.0 if waiting else 0.0, 0.0])
    return RegionSummary(region, 1, 0, *row, np.zeros(2), wait_s, tenants, offers)


def guides(level: Globe, now_us: int = 0) -> dict[int, Guide]:
    return {m.region: m for m in level.tick(now_us) if isinstance(m, Guide)}


def test_jobs_go_to_another_region_if_waiting_costs_more_than_getting_there() -> None:
    level = Globe(2, ("a", "b"), None, PARAMS)
    level.hear(stands(0, 0, 50, offers_of(0, 8, 8, gigabytes=100)), 0)
    level.hear(stands(1, 60, 0, np.empty(0, OFFER)), 0)
    found = guides(level)
    assert found[0].jobs["job"].tolist() == [1, 2] and set(found[0].to) == {1}
    far = Globe(2, ("a", "b"), None, PARAMS)
    far.hear(stands(0, 0, 50, offers_of(0, 8, 8, gigabytes=1500)), 0)
    far.hear(stands(1, 60, 0, np.empty(0, OFFER)), 0)
    assert len(guides(far)[0].jobs) == 0


def test_data_need_not_go_to_where_it_is() -> None:
    level = Globe(3, ("a", "b"), None, PARAMS)
    level.hear(stands(0, 0, 50, offers_of(0, 8, gigabytes=200, home=2)), 0)
    level.hear(stands(1, 60, 0, np.empty(0, OFFER)), 0)
    level.hear(stands(2, 40, 0, np.empty(0, OFFER)), 0)
    assert guides(level)[0].to.tolist() == [2]


def test_quotas_bound_those_only_that_ask_for_more_and_sum_to_what_there_is() -> None:
    quotas = Quotas([Quota("a", {"gpu": 200}), Quota("b", {"gpu": 20})])
    level = Globe(2, ("a", "b"), quotas, PARAMS)
    for number in range(2):
        level.hear(stands(number, 0, 50, np.empty(0, OFFER), asked=300 + 60 * number), 0)
    found = guides(level)
    entitled = np.sum([found[number].entitled[:, 0] for number in range(2)], axis=0)
    assert 200 <= entitled[0] < 300 and 20 <= entitled[1] < 40
    assert entitled.sum() <= 256 * (1 + PARAMS.backlog) + 1e-6
    assert np.all(np.isinf(found[0].entitled[:, 1]))


def test_an_entitlement_is_kept_while_the_global_level_is_lost() -> None:
    level = region()
    entitled = np.full((2, len(KINDS)), np.inf)
    entitled[0, 0] = 10.0
    level.hear(Guide(0, 1, 0, entitled, np.empty(0, OFFER), np.empty(0, np.int64)), 0)
    day_us = 86_400 * S
    level.hear(standing(0, 4, 0, day_us), day_us)
    found = next(m for m in level.tick(day_us) if isinstance(m, Routes))
    assert found.open is not None and found.open[0, 0] == 10


def test_stale_advice_about_moves_is_not_passed_on() -> None:
    level = region()
    guide = Guide(0, 1, 0, None, offers_of(0, 4), np.array([1]))
    assert level.hear(guide, 0) != []
    late = Guide(0, 2, 0, None, offers_of(0, 4), np.array([1]))
    assert level.hear(late, PARAMS.stale_s * S) == []


def test_bounds_are_checked() -> None:
    with pytest.raises(Infeasible, match="twice"):
        Quotas([Quota("a", {}), Quota("a", {})])
    with pytest.raises(Infeasible, match="two ticks at least"):
        LevelParams(stale_s=100, region_tick_s=60)
