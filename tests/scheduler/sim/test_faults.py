"""Faults in simulated clusters: what is drawn, what it does to jobs, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from scheduler.core import events
from scheduler.core.commands import Checkpoint, Command, Resize, Save, Start
from scheduler.core.events import Event
from scheduler.core.jobs import JobState
from scheduler.core.machine import Machine
from scheduler.core.values import JobSpec
from scheduler.errors import Infeasible, TraceDamaged
from scheduler.journal import Step, replay
from scheduler.loop import decide
from scheduler.policies.elastic import Elastic
from scheduler.policies.named import POLICIES, policy
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.faults import Failing, Faults, Maintained, Planned, read_faults
from scheduler.sim.run import UNLUCKY, Result, simulate
from scheduler.sim.workload import RIGID, Tiers, jobs_of
from scheduler.testing.invariants import History, broken_tables
from scheduler.traces.trace import Trace, TraceJob, in_order
from service.cli import app

S = 1_000_000
HOUR_US = 3600 * S
SAVING = ElasticParams(saves=True, mtbf_s=36_000)


class Watch:
    """A Recorder: keeps all steps, and holds the invariants after each."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.history = machine, History(machine)
        self.steps: list[Step] = []

    def record(self, happened: Sequence[Event], commands: Sequence[Command]) -> None:
        self.steps.append(Step(tuple(happened), tuple(commands)))
        self.history.record(happened, commands)
        found = [*self.history.complaints, *broken_tables(self.machine)]
        assert not found, "\n".join(found)

    def given(self, kind: type) -> list[tuple[int, Command]]:
        return [
            (step.events[-1].at_us, command)
            for step in self.steps
            for command in step.commands
            if isinstance(command, kind)
        ]


def job(count: int = 1, least: int = 0, tier: str = "basic") -> JobSpec:
    return JobSpec(
        "j", "t", tier, "gpu", ("train",), count=count, least=least, recovery="checkpoint"
    )


def run(
    jobs: Sequence[tuple[float, float, JobSpec]],
    cluster: str,
    faults: str | Faults,
    params: ElasticParams | None = None,
    costs: Costs = FREE,
    seed: int = 1,
) -> tuple[Result, Watch]:
    """jobs: (submitted, takes, spec). Seconds."""
    trace = in_order("t", [TraceJob("j", at, s, spec.count, "t") for at, s, spec in jobs])
    watches: list[Watch] = []

    def recorders(machine: Machine) -> list[Watch]:
        watches.append(Watch(machine))
        return watches

    result = simulate(
        trace,
        [spec for _, _, spec in jobs],
        read_cluster(cluster),
        Elastic(params),
        costs,
        recorders,
        faults=read_faults(faults) if isinstance(faults, str) else faults,
        seed=seed,
    )
    return result, watches[0]


def ended_s(result: Result, number: int) -> float:
    found = result.machine.jobs[number]
    assert found.state is JobState.SUCCEEDED and found.ended_us is not None
    return found.ended_us / S


def test_a_lost_node_takes_a_job_back_to_its_last_save_and_no_further() -> None:
    costs = Costs(save_us=20 * S, restore_us=30 * S)
    result, watch = run(
        [(0, 10_000, job())], "1x1xV100", "outage:nodes=node0-0,at=5000s,lasts=100s", SAVING, costs
    )
    saved = [step.events[-1].at_us / S for step in watch.steps for e in step.events
             if isinstance(e, events.JobSaved)]  # fmt: skip
    before = [at for at in saved if at < 5000]
    lost_s = 5000 - before[-1]
    stood_s = 20 * len(saved) + 100 + 30
    assert len(before) > 3 and 0 < lost_s < 1300
    assert ended_s(result, 1) == pytest.approx(10_000 + lost_s + stood_s, abs=0.01)
    assert result.faults.lost_h == pytest.approx(lost_s / 3600)
    assert result.faults.anew == result.faults.anew_after_checkpoint == 0


def test_without_saves_it_begins_anew() -> None:
    result, _ = run([(0, 4000, job(2))], "1x2xV100", "outage:nodes=*,at=3000s,lasts=60s")
    assert ended_s(result, 1) == 3000 + 60 + 4000
    assert result.faults.anew == 1 and result.faults.lost_h == 2 * 3000 / 3600


def test_a_straggler_holds_its_whole_gang_up() -> None:
    faults = Faults(straggler=Failing(1e-3, 1e9), speed_ppm=250_000)
    result, _ = run([(0, 1000, job(2)), (0, 1000, job(1))], "3x1xV100", faults)
    assert [ended_s(result, n) for n in (1, 2)] == pytest.approx([4000, 4000], abs=2)


def test_a_straggler_is_as_fast_again_once_it_is_mended() -> None:
    begun = Faults(straggler=Failing(1e12, 1e12), speed_ppm=500_000)
    result, _ = run([(0, 1000, job())], "1x1xV100", begun)
    assert ended_s(result, 1) == 1000
    half = [run([(0, 1000, job())], "1x1xV100", Faults(straggler=Failing(300, 300)), seed=seed)[0]
            for seed in range(6)]  # fmt: skip
    assert all(1000 <= ended_s(each, 1) <= 2000 for each in half)
    assert len({ended_s(each, 1) for each in half}) > 3


def test_a_slow_store_makes_saving_and_restoring_slower() -> None:
    outage = "outage:nodes=*,at=3000s,lasts=1s"
    usual, _ = run([(0, 4000, job())], "1x1xV100", outage, SAVING, Costs())
    slow, _ = run(
        [(0, 4000, job())], "1x1xV100", outage + ";store:mtbf=1s,mttr=9y,slow=3", SAVING, Costs()
    )
    assert ended_s(slow, 1) > ended_s(usual, 1) + 2 * 30
    assert slow.faults.saves < usual.faults.saves  # what is measured to be dear is done less often


def test_a_region_is_lost_as_a_whole_and_comes_back_so() -> None:
    _, watch = run(
        [(i, 5000, job(2)) for i in range(6)], "6x2xV100", "region:count=2,mtbf=1h,mttr=10m"
    )
    moments: dict[int, set[str]] = {}
    for step in watch.steps:
        for event in step.events:
            if isinstance(event, events.DeviceLost):
                moments.setdefault(event.at_us, set()).add(event.device)
    halves = [{f"node0-{i}" for i in range(3)}, {f"node0-{i}" for i in range(3, 6)}]
    assert moments and all(lost in halves for lost in moments.values())


def test_a_drained_node_is_left_in_time_without_loss_when_there_is_room() -> None:
    jobs = [(0, 9000, job(2)), (0, 9000, job(1)), (0, 9000, job(3, least=1))]
    result, watch = run(
        jobs, "3x4xV100", "drain:nodes=node0-0,at=1000s,notice=10m,lasts=1h", None, Costs()
    )
    assert result.faults.restarts == 0 and result.faults.lost_h == 0
    machine, again = Machine(UNLUCKY), Elastic()
    for step in watch.steps:
        decide(machine, again, step.events)
        if 1000 * S < machine.now_us < 1600 * S:
            on = [lease for item, lease in machine.leases.items() if item.device == "node0-0"]
            assert machine.now_us < 1030 * S or not on  # 20 s until its state is elsewhere
    assert watch.given(Resize) and not watch.given(Checkpoint)  # rigid jobs move, too


def test_two_nodes_to_be_removed_leave_no_room_and_jobs_wait_with_their_checkpoints() -> None:
    jobs = [(0, 3000, job(4)), (0, 3000, job(4)), (0, 3000, job(4))]
    result, watch = run(
        jobs, "3x4xV100", "drain:nodes=node0-[01],at=1000s,notice=10m,lasts=1h", None, Costs()
    )
    assert result.faults.restarts == 0 and result.faults.lost_h == 0 and result.failed == 0
    halted = [at / S for at, _ in watch.given(Checkpoint)]
    assert min(halted) >= 1480  # two minutes before


def test_what_a_gang_has_left_is_kept_for_it() -> None:
    """A job behind it would fit on the slices that are left: it waits until they are kept no
    longer, for nothing else comes free."""
    jobs = [
        (0, 9000, job(4, tier="standard")),
        (0, 99_000, job(1, tier="premium")),
        (2001, 3000, job(2)),
    ]
    for lasts, waits_s in (("2h", 600), ("200s", 5000)):
        lost = f"outage:nodes=node0-1,at=2000s,lasts={lasts}"
        _, watch = run(jobs, "3x2xV100", lost, SAVING, Costs())
        starts = {(c.job, c.epoch): (at / S, set(c.slices)) for at, c in watch.given(Start)}
        left = {item for item in starts[1, 1][1] if item.device != "node0-1"}
        assert len(left) == 2 and starts[3, 1][0] >= 2000 + waits_s
        if lasts == "200s":
            assert starts[1, 2][0] == 2200 and left < starts[1, 2][1]
        else:
            assert starts[3, 1][0] < 2000 + waits_s + 61 and starts[3, 1][1] == left


def test_halts_of_a_job_are_bounded_by_the_hour_outside_guarantees() -> None:
    jobs = [(0, 40_000, job(4, least=1)), *((500 + 200 * i, 100, job(2)) for i in range(60))]
    bounded = ElasticParams(halts_an_hour=2)
    premium = [(at, s, job(2, tier="premium")) for at, s, _ in jobs[1:]]

    def worst(workload: list[tuple[float, float, JobSpec]], params: ElasticParams) -> int:
        _, watch = run(workload, "1x4xV100", Faults(), params)
        halts = [at for kind in (Checkpoint, Resize) for at, c in watch.given(kind) if c.job == 1]
        return max(sum(at <= other < at + HOUR_US for other in halts) for at in halts)

    assert worst(jobs, bounded) == 2 < 4 < worst(jobs, ElasticParams())
    assert worst([jobs[0], *premium], bounded) > 2


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_brings_every_job_to_its_end_through_faults(name: str) -> None:
    jobs = [TraceJob("j", 120 * i, 300 + 700 * (i % 5), 1 + i % 4, "t") for i in range(40)]
    words = "node:mtbf=2h,mttr=10m;region:count=2,mtbf=5h,mttr=5m;straggler:mtbf=1h,mttr=30m;"
    words += "drain:nodes=node0-1,at=20m,notice=10m,lasts=20m"
    result = simulate(
        in_order("t", jobs),
        [job(each.count) for each in jobs],
        read_cluster("3x4xV100"),
        policy(name),
        Costs(),
        lambda machine: [Watch(machine)],
        faults=read_faults(words),
    )
    assert result.failed == 0 and result.faults.anew_after_checkpoint == 0
    assert result.faults.losses > 3


def test_saves_are_off_unless_asked_for() -> None:
    _, watch = run([(0, 900_000, job())], "1x1xV100", Faults(), ElasticParams(mtbf_s=3600))
    assert not watch.given(Save)


faults = st.builds(
    Faults,
    node=st.none() | st.builds(Failing, st.floats(2000, 20_000), st.floats(10, 3000)),
    region=st.none() | st.builds(Failing, st.floats(9000, 30_000), st.floats(10, 900)),
    regions=st.integers(1, 2),
    straggler=st.none() | st.builds(Failing, st.floats(500, 5000), st.floats(10, 3000)),
    store=st.none() | st.builds(Failing, st.floats(500, 5000), st.floats(10, 3000)),
    planned=st.lists(
        st.builds(
            Planned,
            st.sampled_from(("node0-0", "node0-1", "*")),
            st.floats(0, 8000),
            st.floats(1, 2000),
            st.none() | st.floats(0, 2000),
        ),
        max_size=3,
    ).map(tuple),
)
specs = st.builds(
    lambda count, least, most, tier: JobSpec(
        "j", "t", tier, "gpu", ("train",), count=count, least=max(1, count - least),
        most=count * most, curve=((2 * count, 1.7),) if most > 1 else (), recovery="checkpoint",
    ),
    st.sampled_from((1, 1, 2, 3, 4, 6)), st.integers(0, 5), st.sampled_from((1, 2)),
    st.sampled_from(("basic", "basic", "standard", "premium")),
)  # fmt: skip
workloads = st.lists(
    st.tuples(st.floats(0, 3000), st.floats(1, 9000), specs), min_size=1, max_size=15
).map(lambda jobs: sorted(jobs, key=lambda each: each[0]))


@settings(max_examples=40, deadline=None)
@given(workloads, faults, st.integers(0, 99), st.booleans(), st.booleans())
def test_whatever_fails_every_job_ends_and_none_begins_anew_after_a_checkpoint(
    jobs: list[tuple[float, float, JobSpec]],
    faults: Faults,
    seed: int,
    saves: bool,
    notices: bool,
) -> None:
    params = ElasticParams(
        saves=saves, mtbf_s=10_000, halts_an_hour=seed % 3, stragglers=notices, avoid_s=900
    )
    result, watch = run(jobs, "3x4xV100", faults, params, Costs(), seed)
    assert result.failed == 0 and result.faults.anew_after_checkpoint == 0
    for done in result.done:
        assert done.completion_s >= done.duration_s / 1.7 - 1e-5
    again, other = run(jobs, "3x4xV100", faults, params, Costs(), seed)
    assert other.steps == watch.steps and again.figures == result.figures
    replay(watch.steps, Machine(UNLUCKY), Elastic(params))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("node:mtbf=30d", "missing are .'mttr'"),
        ("node:mtbf=30,mttr=4h", "mtbf = '30' is no time"),
        ("node:mtbf=0d,mttr=4h", "mtbf = '0d' is no time"),
        ("nodes:mtbf=30d,mttr=4h", "'nodes' is none of node, device"),
        ("node:mtbf=1d,mttr=1h;node:mtbf=1d,mttr=1h", "node comes twice"),
        ("node:mtbf=1d,mttr=1h,mtbf=2d", "node has a setting twice"),
        ("node:mtbf=1d,mttr=1001y", "mttr = '1001y' is no time up to 1000y"),
        ("region:mtbf=1d,mttr=1h,count=1.5", "count = 1.5 is no whole number"),
        ("region:mtbf=1d,mttr=1h,count=2", "2 regions are more than the 1 nodes"),
        ("straggler:mtbf=1d,mttr=1h,speed=3", "speed = '3' is no number"),
        ("store:mtbf=1d,mttr=1h,slow=x", "slow = 'x' is no number"),
        ("outage:nodes=rack,at=1h,lasts=1h", "no node is called 'rack'"),
        ("what", "neither words"),
        ("node = 3\n", "is no table"),
        ("= 3\n", "no TOML"),
        ("[node]\nmtbf='30d'\nmttr='4h'\nsize=2\n", "unknown are .'size'"),
    ],
)
def test_what_is_wrong_with_faults_is_told(tmp_path: Path, text: str, said: str) -> None:
    spec = text
    if "\n" in text:
        (tmp_path / "faults.toml").write_text(text)
        spec = str(tmp_path / "faults.toml")
    with pytest.raises(TraceDamaged, match=said):
        run([(0, 1, job())], "1x1xV100", spec)


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("faults", ["node:mtbf=1h,mttr=1h", "outage:nodes=*,at=1h,lasts=900y"])
def test_a_run_whose_faults_let_no_job_end_is_ended(
    faults: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.sim.breaking.STUCK_STEPS", 2000)
    trace = in_order("t", [TraceJob("j", 0, 400 * 3600, 2, "t"), TraceJob("k", 0, 60, 1, "t")])
    specs = jobs_of(trace, "gpu", 2, RIGID, Tiers(), 1)
    with pytest.raises(Infeasible, match="1 of 2 jobs ended, then none in 2000 steps"):
        simulate(
            trace, specs, read_cluster("2x1xV100"), Elastic(), FREE,
            faults=read_faults(faults), engine=engine,
        )  # fmt: skip


def test_words_and_a_file_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(
        "[node]\nmtbf = '30d'\nmttr = '4h'\n[region]\ncount = 3\nmtbf = '1y'\nmttr = '6h'\n"
        "[[outage]]\nnodes = 'a*'\nat = '1h'\nlasts = '2h'\n"
        "[[drain]]\nnodes = 'b'\nat = '1h'\nnotice = '30m'\nlasts = '2h'\n"
        "[[window]]\nnodes = 'b*'\nat = '1h'\nwithin = '1d'\nnotice = '30m'\nlasts = '2h'\n"
    )
    words = (
        "node:mtbf=30d,mttr=4h;region:count=3,mtbf=1y,mttr=6h;outage:nodes=a*,at=1h,lasts=2h;"
        "drain:nodes=b,at=1h,notice=30m,lasts=2h;"
        "window:nodes=b*,at=1h,within=1d,notice=30m,lasts=2h"
    )
    assert read_faults(str(path)) == read_faults(words)
    assert read_faults(words).planned[1] == Planned("b", 3600, 7200, 1800)
    assert read_faults(words).windows == (Maintained("b*", 3600, 86_400, 1800, 7200),)


def test_the_command_tells_what_faults_cost(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "".join(f"j{i},{60 * i},{3000 + 900 * (i % 7)},{1 + i % 4}\n" for i in range(40))
    trace.write_text("job_id,submission_time,duration,num_gpu\n" + rows)
    asked = ["simulate", "--trace", str(trace), "--cluster", "3x4xV100", "--faults"]
    asked += ["node:mtbf=4h,mttr=20m"]
    found = {}
    for more in ((), ("--saves",)):
        told = CliRunner().invoke(app, [*asked, *more, "--json"])
        assert told.exit_code == 0, told.output
        found[more] = json.loads(told.stdout)["figures"]["elastic"]["faults"]
    without, saved = found.values()
    assert without["losses"] > 5 and without["saves"] == 0 < saved["saves"]
    assert saved["lost_h"] < without["lost_h"] and saved["anew_after_checkpoint"] == 0
    shown = CliRunner().invoke(app, asked)
    assert "goodput" in shown.output and "nodes" in shown.output


def test_a_trace_without_faults_is_simulated_as_before() -> None:
    trace = Trace("t", (TraceJob("j", 0, 100, 1, "t"),))
    result = simulate(trace, [job()], read_cluster("1x1xV100"), Elastic(), FREE)
    assert result.faults is None and result.figures.average_h == 100 / 3600
