"""Quotas: who owes, who stands first, what is recalled, and what waiting jobs are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scheduler.core import events
from scheduler.core.jobs import JobState
from scheduler.core.machine import Machine
from scheduler.core.plan import Blocker, Plan, Why
from scheduler.core.values import JobSpec
from scheduler.core.view import View
from scheduler.errors import Infeasible, TraceDamaged
from scheduler.loop import Loop
from scheduler.policies.elastic import Elastic
from scheduler.policies.elastic_audit import Attained, audit, owed
from scheduler.policies.quotas import Debts, Quota, Quotas
from scheduler.policies.usage import Usage
from scheduler.quota_file import read_quotas
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.executor import SimExecutor
from scheduler.testing.invariants import broken_tables

S = 1_000_000

LAB = Quotas(
    [
        Quota("lab", {"gpu": 12}),
        Quota("lab/vision", {"gpu": 8}),
        Quota("lab/vision/ann", {"gpu": 4}),
        Quota("lab/vision/bob", {"gpu": 2}),
        Quota("lab/speech", {"gpu": 4}),
        Quota("lab/speech/cyd", {"gpu": 4}),
        Quota("shop", {"gpu": 4}),
        Quota("shop/dan", {"gpu": 2}),
    ],
    half_life_s=3600,
)
TENANTS = ("ann", "bob", "cyd", "dan", "eve")

# ---- who owes


def test_a_tenant_borrows_from_its_team_then_from_its_organisation_then_from_all() -> None:
    debts = Debts(LAB)
    for job in range(1, 8):
        debts.enter(job, "ann", "gpu", (2, 0, 0, job), 2)
    assert [debts.of(job) for job in range(1, 8)] == [0, 0, 1, 1, 2, 2, 3]


def test_what_is_lent_is_recalled_when_its_owner_comes() -> None:
    debts = Debts(LAB)
    for job in range(1, 5):
        debts.enter(job, "ann", "gpu", (2, 0, 0, job), 2)
    debts.changed.clear()
    debts.enter(9, "bob", "gpu", (2, 0, 0, 9), 2)
    assert debts.of(9) == 0 and debts.of(3) == 1
    assert debts.of(4) == 2 and set(debts.changed) == {4, 9}
    debts.leave(9)
    assert debts.of(4) == 1


def test_a_tenant_that_no_quota_names_borrows_all_it_has() -> None:
    debts = Debts(LAB)
    debts.enter(1, "eve", "gpu", (2, 0, 0, 1), 1)
    debts.enter(2, "ann", "tpu", (2, 0, 0, 2), 1)
    assert debts.of(1) == debts.of(2) == LAB.depth == 3


steps = st.lists(
    st.tuples(
        st.sampled_from(TENANTS),
        st.sampled_from(["gpu", "gpu", "fpga"]),
        st.integers(0, 2),  # level
        st.integers(1, 5),  # slices
        st.integers(0, 3),  # who leaves then, if anybody is there
    ),
    max_size=25,
)


@given(steps)
def test_debts_kept_job_by_job_are_those_of_all_at_once(
    happened: list[tuple[str, str, int, int, int]],
) -> None:
    debts, there = Debts(LAB), {}
    for job, (tenant, kind, level, slices, leaver) in enumerate(happened, 1):
        there[job] = ((2, level, 0, job), tenant, kind, slices)
        debts.enter(job, tenant, kind, there[job][0], slices)
        if leaver and job % leaver == 0:
            gone = list(there)[leaver % len(there)]
            debts.leave(gone)
            del there[gone]
        known = owed(LAB, list(there.values()))
        assert {job: debts.of(job) for job in there} == known


def test_use_of_late_counts_half_after_each_half_life() -> None:
    usage = Usage(LAB)
    usage.holds("dan", 2)
    usage.until(3600 * S)
    used = usage.octave("dan")
    usage.holds("dan", -2)
    usage.until(2 * 3600 * S)
    assert usage.octave("dan") == used - 1
    usage.until(30 * 3600 * S)
    assert usage.octave("dan") == 0 == usage.octave("nobody")


# ---- what the policy does with it


class Watched:
    """The policy, its reasons checked against the cluster after every step."""

    def __init__(self, machine: Machine, quotas: Quotas | None) -> None:
        self.machine, self.policy = machine, Elastic(quotas=quotas)
        params = self.policy.params
        levels = params.first_level_s, params.level_ratio, params.first_run_s
        self.attained = Attained(*levels, quotas)
        self.told: dict[int, list[Blocker]] = {}

    def plan(self, view: View) -> Plan:
        self.attained.follow(view)
        return self.policy.plan(view)

    def record(self, happened: Sequence, commands: Sequence) -> None:
        view = self.machine.view()
        waiting = self.policy.explain(view)
        assert not audit(view, waiting, self.attained, self.policy.params.reserve_share)
        assert not broken_tables(self.machine)
        for number, blockers in waiting.items():
            self.told.setdefault(number, []).extend(blockers)


Asked = tuple[float, float, str, int, int, str]  # submitted, duration, tenant, count, least, tier


def run(
    jobs: Sequence[Asked], quotas: Quotas | None = LAB, slices: int = 16, costs: Costs = FREE
) -> tuple[Machine, Watched]:
    executor = SimExecutor(costs, {"n0": "v100"}, lambda number: round(jobs[number - 1][1] * S))
    executor.feed([events.DeviceAdded(0, "n0", "gpu", "v100", slices)])
    executor.feed(
        events.JobSubmitted(round(at * S) + 1, number, spec(tenant, count, least, tier))
        for number, (at, _, tenant, count, least, tier) in enumerate(jobs, 1)
    )
    machine = Machine()
    watched = Watched(machine, quotas)
    loop = Loop(machine, watched, executor, [watched])
    while loop.step():
        alive = machine.view().jobs.values()
        if machine.now_us > 3000 * S and all(never(job.spec, quotas) for job in alive):
            break
    return machine, watched


def never(spec: JobSpec, quotas: Quotas | None) -> bool:
    """Its tenant cannot be promised so much."""
    own = quotas.own(spec.tenant, "gpu") if quotas else spec.count
    return spec.tier == "standard" and spec.count > own


def spec(tenant: str, count: int, least: int = 0, tier: str = "basic") -> JobSpec:
    return JobSpec(
        "j", tenant, tier, "gpu", ("train",), count=count, least=least, recovery="checkpoint"
    )


def ended_s(machine: Machine, job: int) -> float:
    found = machine.jobs[job]
    assert found.state is JobState.SUCCEEDED and found.ended_us is not None, found.story
    return found.ended_us / S


def test_idle_slices_are_lent_and_recalled_by_halting_borrowers_only() -> None:
    machine, _ = run(
        [
            (0, 9000, "dan", 2, 2, "basic"),
            (0, 9000, "eve", 14, 14, "basic"),
            (5000, 9000, "ann", 4, 4, "basic"),
        ]
    )
    assert machine.jobs[1].preemptions == 0 and machine.jobs[2].preemptions == 1
    assert ended_s(machine, 3) < 14_001


def test_a_borrower_that_can_shrink_is_shrunk() -> None:
    machine, _ = run([(0, 9000, "eve", 16, 4, "basic"), (5000, 900, "ann", 4, 4, "basic")])
    assert machine.jobs[1].preemptions == 0 and machine.jobs[1].resizes >= 1
    assert ended_s(machine, 2) < 5901


def test_an_owner_that_had_much_still_takes_its_quota_back() -> None:
    """By level alone it would wait: its first level is over."""
    jobs = [
        (0, 20_000, "ann", 4, 4, "basic"),
        (0, 20_000, "ann", 4, 4, "basic"),
        (5000, 30, "cyd", 4, 4, "basic"),
        (5000, 9000, "eve", 8, 8, "basic"),
        (6000, 9000, "bob", 2, 2, "basic"),
    ]
    machine, watched = run(jobs)
    without, _ = run(jobs, None)
    assert ended_s(machine, 5) < 15_001
    assert ended_s(machine, 1) <= ended_s(without, 1)
    assert any(blocker.why is Why.OVER_QUOTA for blocker in watched.told[4])


def test_who_used_less_of_late_is_first_among_equals() -> None:
    """Both borrow all; the one that has held slices for an hour lets the other go first."""
    jobs = [
        (0, 4000, "eve", 16, 16, "basic"),
        (3900, 250, "eve", 16, 16, "basic"),
        (3900, 250, "fay", 16, 16, "basic"),
    ]
    machine, _ = run(jobs)
    assert ended_s(machine, 3) < ended_s(machine, 2)
    without, _ = run(jobs, None)
    assert ended_s(without, 2) < ended_s(without, 3)


def test_no_tenant_is_promised_more_than_its_quota_and_is_told_so() -> None:
    machine, watched = run(
        [
            (0, 1000, "ann", 4, 4, "standard"),
            (1, 1000, "ann", 2, 2, "standard"),
            (2, 1000, "dan", 2, 2, "standard"),
        ]
    )
    assert ended_s(machine, 1) < 1001 and ended_s(machine, 3) < 1003
    assert ended_s(machine, 2) > 1999
    told = watched.told[2]
    assert told[0] == Blocker(Why.OVER_QUOTA, ppm=(4_000_000, 2_000_000, 4_000_000))


asked = st.tuples(
    st.sampled_from([0, 0, 10, 400, 2000]),
    st.sampled_from([5, 400, 3000]),
    st.sampled_from(TENANTS),
    st.integers(1, 8),
    st.just(0),
    st.sampled_from(["basic", "basic", "basic", "standard"]),
)


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(asked, min_size=1, max_size=14), st.booleans())
def test_whatever_comes_reasons_are_true_and_all_that_may_end_does(
    jobs: list[Asked], free: bool
) -> None:
    jobs = [
        (at, lasts, who, count, 1 if count % 2 else count, tier)
        for at, lasts, who, count, _, tier in sorted(jobs)
    ]
    machine, _ = run(jobs, costs=FREE if free else Costs())
    for job in machine.jobs.values():
        ends = JobState.QUEUED if never(job.spec, LAB) else JobState.SUCCEEDED
        assert job.state is ends, job.story


def test_without_quotas_nobody_owes_and_decisions_are_those_of_before() -> None:
    jobs = [(n * 100.0, 900.0, TENANTS[n % 5], 1 + n % 7, 1, "basic") for n in range(40)]
    plain, _ = run(jobs, None)
    one = Quotas([Quota("all", {"gpu": 16})])  # nobody's, so everybody owes the same
    alike, _ = run([(a, d, "eve", c, m, t) for a, d, _, c, m, t in jobs], one)
    assert [ended_s(plain, n) for n in plain.jobs] == [ended_s(alike, n) for n in alike.jobs]


# ---- the tree and its file


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([Quota("a/b", {})], "has no quota of its own"),
        ([Quota("a", {"gpu": 1}), Quota("a/b", {"gpu": 2})], "those below it 2"),
        ([Quota("a", {}), Quota("a", {})], "twice"),
        ([Quota("a", {}), Quota("a/t", {}), Quota("b", {}), Quota("b/t", {})], "tenant 't'"),
        ([Quota("a", {"gpu": -1})], "from 0 on"),
    ],
)
def test_a_tree_that_cannot_be_kept_is_refused(given: list[Quota], words: str) -> None:
    with pytest.raises(Infeasible, match=words):
        Quotas(given)


def test_a_part_of_the_quotas_can_be_kept_too() -> None:
    odd = Quotas([Quota("lab", {"gpu": 7}), Quota("lab/a", {"gpu": 3}), Quota("lab/b", {"gpu": 4})])
    half = odd.part(0.5)
    assert [node.slices["gpu"] for node in half.nodes] == [3, 1, 2]


def test_quotas_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "q.toml"
    path.write_text(
        'half_life_s = 60\n[[quota]]\nname = "lab"\ngpu = 4\n[[quota]]\nname = "lab/ann"\ngpu = 3\n'
    )
    quotas = read_quotas(path, ["gpu"])
    assert quotas.own("ann", "gpu") == 3 and quotas.half_life_s == 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[quota]]",
        '[[quota]]\nname = "a"\ngpu = "x"',
        '[[quota]]\nname = "a"\ngpuu = 1',
        '[[quota]]\nname = "a/b"\ngpu = 1',
        'half_life_s = 0\n[[quota]]\nname = "a"',
        'often = 3\n[[quota]]\nname = "a"',
        "[[",
    ],
)
def test_a_damaged_file_of_quotas_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "q.toml"
    path.write_text(text)
    with pytest.raises(TraceDamaged, match=r"q\.toml"):
        read_quotas(path, ["gpu"])
