"""Placing pods with shares of GPUs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.values import FULL_MILLI
from scheduler.errors import Infeasible, InvalidPlan, TraceDamaged
from scheduler.policies.packing import (
    Balanced,
    BestFit,
    Fragmentation,
    Node,
    Packer,
    Pod,
    Workload,
)
from scheduler.sim.packing import SCORES, inflated, pack
from scheduler.traces.readers import openb_nodes, openb_pods


def node(*free: int, cpu: int = 8000, memory: int = 1000, model: str = "T4") -> Node:
    return Node("n", model, cpu, memory, list(free))


def pods() -> st.SearchStrategy[Pod]:
    share = st.tuples(st.just(1), st.integers(1, FULL_MILLI))
    whole = st.tuples(st.integers(2, 4), st.just(FULL_MILLI))
    none = st.just((0, 0))
    types = st.sampled_from([(), ("T4",), ("P100", "T4")])
    return st.builds(
        lambda gpu, cpu, memory, types: Pod(cpu, memory, *gpu, types),
        st.one_of(share, whole, none),
        st.integers(0, 5000),
        st.integers(0, 500),
        types,
    )


def nodes() -> st.SearchStrategy[list[Node]]:
    one = st.builds(
        lambda gpus, cpu, memory, model: Node("n", model, cpu, memory, [FULL_MILLI] * gpus),
        st.integers(0, 4),
        st.integers(0, 20000),
        st.integers(0, 2000),
        st.sampled_from(["T4", "P100"]),
    )
    return st.lists(one, min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(nodes(), st.lists(pods(), min_size=1, max_size=25), st.sampled_from(sorted(SCORES)))
def test_nothing_is_given_twice_and_a_pod_is_refused_only_where_nothing_has_enough(
    fleet: list[Node], order: list[Pod], name: str
) -> None:
    if not any(n.free for n in fleet):
        fleet[0].free.append(FULL_MILLI)
    before = deepcopy(fleet)
    packer = Packer(fleet, SCORES[name](fleet, order))
    given_to: list[tuple[int, Pod, tuple[int, ...]]] = []
    for pod in order:
        could = any(n.fits(pod) for n in fleet)
        found = packer.place(pod)
        assert (found is not None) == could
        if found is not None:
            given_to.append((found[0], pod, found[1]))
    for index, (start, end) in enumerate(zip(before, fleet, strict=True)):
        mine = [(pod, gpus) for where, pod, gpus in given_to if where == index]
        assert end.cpu_milli == start.cpu_milli - sum(p.cpu_milli for p, _ in mine) >= 0
        assert end.memory_mib == start.memory_mib - sum(p.memory_mib for p, _ in mine) >= 0
        for gpu in range(len(start.free)):
            shares = [p.share_milli for p, gpus in mine if gpu in gpus]
            assert end.free[gpu] == FULL_MILLI - sum(shares) >= 0
            assert FULL_MILLI not in shares or len(shares) == 1  # a whole GPU is shared with nobody
        assert all(len(set(gpus)) == p.gpus for p, gpus in mine)
        assert all(not p.types or start.model in p.types for p, _ in mine)


def test_a_share_goes_where_it_leaves_a_whole_gpu_to_others() -> None:
    expected = Workload([Pod(0, 0, 1, 1000), Pod(0, 0, 1, 500)])
    _, gpus = Fragmentation(expected).of(node(1000, 500), Pod(0, 0, 1, 500))
    assert gpus == (1,)


def test_fragments_are_what_an_expected_pod_cannot_use() -> None:
    expected = Workload([Pod(4000, 0, 1, 600), Pod(1000, 0, 2, 1000)])
    # The first can use 700 of the 1100 and has CPU enough; the second finds no two whole GPUs.
    assert expected.fragments(4000, [700, 400]) == pytest.approx((400 + 1100) / 2)
    assert expected.fragments(3999, [700, 400]) == pytest.approx(1100)


def test_cpu_that_gpus_need_is_kept_for_them() -> None:
    """Two nodes on which the pod hurts nobody at once; on one its CPU is missed later."""
    expected = Workload([Pod(2000, 0, 1, 1000)])
    scarce, ample = node(1000, 1000, cpu=6000), node(1000, 1000, cpu=60000)
    greedy = Pod(4000, 0)
    plain, ours = Fragmentation(expected), Balanced(expected)
    assert plain.of(scarce, greedy)[0] == plain.of(ample, greedy)[0]
    assert ours.of(ample, greedy)[0] < ours.of(scarce, greedy)[0]


def test_best_fit_leaves_least() -> None:
    fleet = [node(1000, 1000), node(1000, 400)]
    assert Packer(fleet, BestFit(fleet)).place(Pod(0, 0, 1, 300)) == (1, (1,))


def test_placing_what_is_not_there_is_an_error() -> None:
    with pytest.raises(InvalidPlan, match="not enough"):
        node(500).place(Pod(0, 0, 1, 600), (0,))
    with pytest.raises(InvalidPlan):
        node(1000, 1000).place(Pod(0, 0, 2, 1000), (0, 0))


@pytest.mark.parametrize("gpus, share", [(2, 500), (1, 0), (1, 1001), (-1, 1000), (0, 500)])
def test_impossible_shares_are_refused(gpus: int, share: int) -> None:
    with pytest.raises(Infeasible):
        Pod(0, 0, gpus, share)


def test_a_run_is_drawn_from_its_seed() -> None:
    known = [Pod(100, 10, 1, 300), Pod(2000, 50, 1, 1000), Pod(500, 10)]
    fleet = [replace(node(*[1000] * 4), name=f"n{i}") for i in range(5)]
    order = inflated(known, 20_000, 1.3, 7)
    assert order == inflated(known, 20_000, 1.3, 7) != inflated(known, 20_000, 1.3, 8)
    assert 1.3 * 20_000 <= sum(p.gpu_milli for p in order) < 1.3 * 20_000 + 1000
    runs = [pack(fleet, order, SCORES["balanced"], known) for _ in range(2)]
    assert runs[0] == runs[1] and 0 < runs[0].allocated[-1] <= 1
    assert fleet[0].free == [1000] * 4  # the caller's are left alone


@settings(max_examples=25, deadline=None)
@given(nodes(), st.lists(pods(), min_size=1, max_size=25), st.sampled_from(sorted(SCORES)))
def test_through_the_machine_the_same_pods_are_placed_as_by_the_packer_alone(
    fleet: list[Node], order: list[Pod], name: str
) -> None:
    fleet = [replace(n, name=f"n{i}") for i, n in enumerate(fleet) if n.free] or [node(1000)]
    packed = pack(fleet, order, SCORES[name], order)
    packer = Packer(fleet, SCORES[name](fleet, order))
    given_to = [pod.gpu_milli for pod in order if packer.place(pod) is not None]
    assert packed.placed == len(given_to)
    total = sum(len(n.free) for n in fleet) * FULL_MILLI
    assert packed.allocated[-1] == pytest.approx(sum(given_to) / total)


def test_openb_is_read_and_its_damage_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    fleet, listed = tmp_path / "nodes.csv", tmp_path / "pods.csv"
    fleet.write_text("sn,cpu_milli,memory_mib,gpu,model\na,64000,1000,2,P100\n")
    listed.write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
        "p,12000,16,1,460,T4|P100\nq,1000,1,0,0,\n"
    )
    assert openb_nodes(fleet) == [Node("a", "P100", 64000, 1000, [1000, 1000])]
    assert openb_pods(listed) == [Pod(12000, 16, 1, 460, ("P100", "T4")), Pod(1000, 1)]
    listed.write_text(listed.read_text() + "r,1,1,2,500,\n")
    with pytest.raises(TraceDamaged, match="line 4, column gpu_milli"):
        openb_pods(listed)
