"""The elastic policy on small clusters in simulated time, with every invariant after every step."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scheduler.core import events
from scheduler.core.commands import Checkpoint
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.plan import Blocker, Evict, Place, Plan, Why
from scheduler.core.values import JobSpec, Slice
from scheduler.core.view import View
from scheduler.journal import Step, replay
from scheduler.loop import Loop
from scheduler.policies.books import Books
from scheduler.policies.elastic import Elastic
from scheduler.policies.elastic_audit import Attained, audit
from scheduler.policies.round import ElasticParams
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.executor import SimExecutor
from scheduler.testing.invariants import broken_tables

S = 1_000_000


def spec(
    count: int,
    least: int = 0,
    most: int = 0,
    tier: str = "basic",
    devices: Sequence[str] = (),
) -> JobSpec:
    curve = ((most, 1.8),) if most > count else ()
    return JobSpec(
        "j",
        "t",
        tier,
        "gpu",
        ("train",),
        count=count,
        least=least,
        most=most,
        curve=curve,
        devices=devices,
        recovery="checkpoint",
    )


class Steps:
    def __init__(self) -> None:
        self.steps: list[Step] = []

    def record(self, events: Sequence, commands: Sequence) -> None:
        self.steps.append(Step(tuple(events), tuple(commands)))


def run(
    jobs: Sequence[tuple[float, float, JobSpec]],
    nodes: Sequence[int] = (4,),
    costs: Costs = FREE,
    params: ElasticParams | None = None,
    lost: Sequence[tuple[float, float, int]] = (),
    audited: bool = False,
) -> tuple[Machine, Steps]:
    """jobs: (submitted, duration, spec); lost: (from, to, node). Seconds."""
    parts = {f"n{i}": "v100" for i in range(len(nodes))}
    executor = SimExecutor(costs, parts, lambda number: round(jobs[number - 1][1] * S))
    executor.feed(
        events.DeviceAdded(0, uri, "gpu", "v100", slices)
        for uri, slices in zip(parts, nodes, strict=True)
    )
    executor.feed(
        events.JobSubmitted(round(at * S) + 1, number, asked)
        for number, (at, _, asked) in enumerate(jobs, 1)
    )
    for since, until, node in lost:
        executor.feed([events.DeviceLost(round(since * S) + 2, f"n{node}", "told so")])
        executor.feed(
            [events.DeviceAdded(round(until * S) + 2, f"n{node}", "gpu", "v100", nodes[node])]
        )
    machine, steps = Machine(), Steps()
    policy = Elastic(params)
    auditor = Auditor(machine, policy)
    loop = Loop(machine, policy, executor, [steps])
    if audited:
        loop = Loop(machine, auditor, executor, [steps, auditor])
    while loop.step():
        assert not broken_tables(machine)
    return machine, steps


def ended_s(job: Job) -> float:
    assert job.state is JobState.SUCCEEDED and job.ended_us is not None
    return job.ended_us / S


def test_a_newcomer_takes_slices_from_whoever_has_had_most() -> None:
    machine, _ = run([(0, 5000, spec(4)), (1000, 100, spec(4))])
    old, new = machine.jobs.values()
    assert ended_s(new) < 1101 and old.preemptions == 1
    assert 5099 < ended_s(old) < 5101


def test_a_gang_that_can_shrink_is_shrunk_and_given_back_what_it_lost() -> None:
    machine, _ = run([(0, 5000, spec(4, least=1)), (1000, 100, spec(2))])
    old, new = machine.jobs.values()
    assert old.preemptions == 0 and old.resizes == 2
    assert ended_s(new) < 1101
    assert 5000 < ended_s(old) < 5300  # half its speed for 100 s, and until it is looked at


def test_who_asked_for_more_than_there_is_left_starts_on_less() -> None:
    machine, _ = run([(0, 1000, spec(3)), (10, 1000, spec(2, least=1))])
    second = machine.jobs[2]
    assert second.resizes == 1 and second.preemptions == 0
    assert ended_s(second) < 2000


def test_idle_slices_go_to_who_can_use_them_and_come_back_to_who_asks() -> None:
    machine, _steps = run(
        [(0, 10_000, spec(2, most=4)), (5000, 100, spec(2))], params=ElasticParams(spare_share=0)
    )
    grown, new = machine.jobs.values()
    assert ended_s(grown) < 7000 and grown.resizes >= 2
    assert ended_s(new) < 5101


def test_slices_are_spared_for_newcomers() -> None:
    machine, _ = run(
        [(0, 10_000, spec(2, most=8))], nodes=(8,), params=ElasticParams(spare_share=0.5)
    )
    assert machine.jobs[1].resizes == 1
    assert 10_000 > ended_s(machine.jobs[1]) > 5_600


def test_a_guaranteed_tier_is_served_before_basic_jobs_and_not_halted_for_its_own() -> None:
    machine, _ = run(
        [
            (0, 5000, spec(4, tier="standard")),
            (1, 5000, spec(4, tier="standard")),
            (2, 10, spec(4)),
        ]
    )
    first, second, basic = machine.jobs.values()
    assert first.preemptions == second.preemptions == 0
    assert ended_s(second) > 9999 and ended_s(basic) > ended_s(second)


def test_a_basic_job_does_not_have_another_halted_when_what_was_let_go_is_taken() -> None:
    machine, _ = run(
        [
            (0, 9000, spec(1, tier="premium")),
            (0, 9000, spec(1)),
            (0, 9000, spec(1)),
            (5000, 100, spec(1)),  # has the third halted
            (5010, 100, spec(1, tier="premium")),  # takes what that lets go
        ],
        nodes=(3,),
        costs=Costs(),
    )
    _, second, third, basic, premium = machine.jobs.values()
    assert second.preemptions == 0 and third.preemptions == 1
    assert ended_s(premium) < 5125 and ended_s(basic) < 5230


def fpga(overlay: str) -> JobSpec:
    return JobSpec("j", "t", "basic", "gpu", ("run",), overlay=overlay, recovery="checkpoint")


def test_jobs_keep_to_devices_that_hold_their_overlay_unless_somebody_has_waited_for_long() -> None:
    turns = [(0, 100, fpga("a")), (1, 100, fpga("b")), (2, 100, fpga("a")), (3, 100, fpga("b"))]
    machine, _ = run(turns, nodes=(1,), costs=FREE)
    assert [round(ended_s(job)) for job in machine.jobs.values()] == [100, 300, 200, 400]
    impatient = ElasticParams(patience_s=10)
    machine, _ = run(turns, nodes=(1,), costs=FREE, params=impatient)
    assert [round(ended_s(job)) for job in machine.jobs.values()] == [100, 200, 300, 400]
    machine, _ = run(turns, nodes=(1, 1), costs=FREE)
    assert machine.devices["n0"].overlay == "a" and machine.devices["n1"].overlay == "b"


def test_reconfiguring_is_charged_once_for_jobs_that_follow_each_other() -> None:
    costs = Costs(checkpoint_us=0, restore_us=0, reconfigure_us=7 * S)
    jobs = [(0, 100, fpga("a")), (1, 100, fpga("a")), (2, 100, fpga("b")), (3, 100, fpga(""))]
    machine, _ = run(jobs, nodes=(1,), costs=costs)
    assert [round(ended_s(job)) for job in machine.jobs.values()] == [107, 207, 414, 307]


def test_a_lost_node_costs_the_work_since_the_checkpoint_at_most() -> None:
    machine, _ = run(
        [(0, 5000, spec(4)), (1000, 100, spec(4))], lost=[(2000, 2500, 0)], costs=Costs()
    )
    old, _ = machine.jobs.values()
    assert old.restarts == 1 and ended_s(old) < 2500 + 4300


def test_the_same_workload_gives_the_same_commands_and_a_replay_too() -> None:
    jobs = [(i * 37.0, 100.0 + 61 * (i % 17), spec(1 << i % 3, least=1)) for i in range(40)]
    _, first = run(jobs, nodes=(4, 4), costs=Costs())
    _, second = run(jobs, nodes=(4, 4), costs=Costs())
    assert first.steps == second.steps
    replay(first.steps, Machine(), Elastic())


def test_who_names_a_node_has_others_move_over_and_nobody_is_halted() -> None:
    """The machine checks that the job gets no other one."""
    machine, _ = run(
        [(0, 5000, spec(4)), (1000, 100, spec(3, tier="premium", devices=["n0"]))], nodes=(4, 4)
    )
    old, new = machine.jobs.values()
    assert ended_s(new) < 1101 and (old.preemptions, old.resizes) == (0, 1)


def test_who_names_a_node_takes_from_those_on_it_only() -> None:
    machine, _ = run(
        [
            (0, 5000, spec(4)),
            (1, 5000, spec(4)),
            (1000, 100, spec(3, devices=["n1"])),
        ],
        nodes=(4, 4),
    )
    first, second, new = machine.jobs.values()
    assert ended_s(new) < 1101
    assert (first.preemptions, second.preemptions) == (0, 1)


def test_a_gang_gives_up_the_slices_that_are_named() -> None:
    machine, _ = run(
        [(0, 5000, spec(8, least=2)), (1000, 100, spec(3, devices=["n1"]))], nodes=(4, 4)
    )
    old, new = machine.jobs.values()
    assert ended_s(new) < 1101 and (old.preemptions, old.resizes) == (0, 2)


def test_no_more_is_promised_of_a_named_node_than_it_has() -> None:
    machine, _ = run(
        [
            (0, 1000, spec(3, tier="premium", devices=["n1"])),
            (1, 1000, spec(3, tier="premium", devices=["n1"])),
            (2, 1000, spec(3, tier="premium")),
        ],
        nodes=(4, 4),
    )
    first, second, third = machine.jobs.values()
    assert first.ended_us == second.admitted_us
    assert third.admitted_us is not None and third.admitted_us < 3 * S  # it goes elsewhere


def test_a_level_rises_though_the_job_changes_at_that_very_moment() -> None:
    machine, books = Machine(), Books(first_level_s=10, level_ratio=4)
    machine.handle(events.DeviceAdded(0, "n0", "gpu", "v100", 1))
    machine.handle(events.JobSubmitted(0, 1, spec(1)))
    machine.apply(Plan((Place(1, (Slice("n0", 0),)),)))
    machine.handle(events.JobStarted(0, 1, 1))
    books.follow(machine.view())
    machine.handle(events.TimePassed(5 * S))
    machine.apply(Plan((Evict(1, 0),)))
    machine.handle(events.CheckpointFailed(10 * S, 1, 1, "busy", "retry", "not now"))
    books.follow(machine.view())
    assert books.entries[1].key.level == 1


def test_a_pool_of_one_slice_can_promise_it() -> None:
    machine, _ = run([(0, 100, spec(1, tier="premium")), (1, 10, spec(1))], nodes=(1,))
    assert machine.jobs[1].admitted_us is not None and ended_s(machine.jobs[1]) < 101
    machine, _ = run([(0, 99, spec(1, tier="premium"))] * 2, nodes=(2,))
    assert ended_s(machine.jobs[2]) < 101  # both at once: none of two is kept back


specs = st.builds(
    lambda count, least, most, tier, node: spec(
        count,
        max(1, count - least),
        count * most,
        "basic" if most > 1 else tier,
        () if count > 4 else node,
    ),
    st.sampled_from((1, 1, 2, 3, 4, 8)),
    st.integers(0, 7),
    st.sampled_from((1, 2)),
    st.sampled_from(("basic", "standard", "premium")),
    st.sampled_from(((), (), (), ("n0",), ("n1",), ("n1", "n0"))),
)
workloads = st.lists(
    st.tuples(st.floats(0, 3000), st.floats(0, 4000), specs), min_size=1, max_size=25
)
losses = st.lists(st.tuples(st.floats(0, 4000), st.floats(1, 3000)), max_size=3)


@settings(max_examples=60, deadline=None)
@given(workloads, losses, st.booleans())
def test_whatever_comes_all_jobs_end_and_nothing_is_held_twice(
    workload: list[tuple[float, float, JobSpec]], lost: list[tuple[float, float]], free: bool
) -> None:
    times, down = [], 0.0
    for since, length in lost:  # one node, lost and back again in turn
        times.append((down + since, down + since + length, 1))
        down += since + length + 1
    machine, _ = run(
        sorted(workload, key=lambda job: job[0]), (8, 4), FREE if free else Costs(), lost=times
    )
    for job in machine.jobs.values():
        assert job.state is JobState.SUCCEEDED or job.restarts > 2, job.story


class Auditor:
    """Asks for reasons after every step, and has them checked against the cluster."""

    def __init__(self, machine: Machine, policy: Elastic) -> None:
        params = policy.params
        self.machine, self.policy = machine, policy
        self.attained = Attained(params.first_level_s, params.level_ratio, params.first_run_s)
        self.reasons: dict[int, list[Blocker]] = {}
        self.halted_for: set[tuple[int, int]] = set()

    def plan(self, view: View) -> Plan:
        self.attained.follow(view)
        return self.policy.plan(view)

    def record(self, events: Sequence, commands: Sequence) -> None:
        view = self.machine.view()
        waiting = self.policy.explain(view)
        for number, blockers in waiting.items():
            self.reasons.setdefault(number, []).extend(blockers)
        assert not audit(view, waiting, self.attained, self.policy.params.reserve_share)
        for command in commands:
            if isinstance(command, Checkpoint):
                self.halted_for.add((command.job, self.machine.jobs[command.job].evicted_for))
        for job in view.jobs.values():
            fewer = job.state is JobState.RUNNING and len(job.slices) < job.spec.count
            if job.state is JobState.PREEMPTED and not job.restarts and not fewer:
                assert (job.id, job.evicted_for) in self.halted_for


@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(workloads, losses, st.booleans())
def test_whatever_comes_who_waits_is_told_what_is_true(
    workload: list[tuple[float, float, JobSpec]], lost: list[tuple[float, float]], free: bool
) -> None:
    times, down = [], 0.0
    for since, length in lost:
        times.append((down + since, down + since + length, 1))
        down += since + length + 1
    run(
        sorted(workload, key=lambda job: job[0]),
        (8, 4),
        FREE if free else Costs(),
        lost=times,
        audited=True,
    )


def test_the_audit_contradicts_what_is_not_so() -> None:
    """One job of four slices runs, a second waits; at first it must not be touched."""
    lies = {
        "was given no reason": (),
        "3 slices have a reason, of 4": (Blocker(Why.PROTECTED, 3, (1,), 20 * S),),
        "'held x4 by 1' is not so": (Blocker(Why.HELD, 4, (1,)),),
        "'pinned x4 by 1' is not so": (Blocker(Why.PINNED, 4, (1,)),),
        "'ahead x4 by 1' is not so": (Blocker(Why.AHEAD, 4, (1,)),),
        "'backing_off' is not so": (Blocker(Why.BACKING_OFF),),
        "'unadmitted: 0 of": (Blocker(Why.UNADMITTED, ppm=(0, 1, 0)),),
        "0 slices are free, and others": (Blocker(Why.SHORT, 4),),
        "could be served by halting": (Blocker(Why.EVICTABLE, 4, (1,)),),
    }
    machine, policy = Machine(), Elastic(ElasticParams(first_level_s=1, first_run_s=0))
    attained = Attained(1, policy.params.level_ratio, 0)
    happened: list[events.Event] = [
        events.DeviceAdded(0, "n0", "gpu", "v100", 4),
        events.JobSubmitted(0, 1, spec(4)),
        events.JobStarted(0, 1, 1),
        events.JobSubmitted(10 * S, 2, spec(4)),
    ]
    for event in happened:
        machine.handle(event)
        attained.follow(machine.view())
        machine.apply(policy.plan(machine.view()))
    told = policy.explain(machine.view())
    assert told == {2: (Blocker(Why.PROTECTED, 4, (1,), 20 * S),)}
    assert not audit(machine.view(), told, attained, policy.params.reserve_share)
    for complaint, lie in lies.items():
        found = audit(machine.view(), {2: lie}, attained, policy.params.reserve_share)
        assert any(complaint in text for text in found), (complaint, found)
