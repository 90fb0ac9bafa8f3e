"""Jobs that share slices and need hosts: the machine's books, the policy, and room that is made."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from scheduler.core import events
from scheduler.core.machine import Machine
from scheduler.core.plan import Place, Plan
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec, Needs, Slice
from scheduler.errors import Infeasible, InvalidPlan
from scheduler.journal import Journal, read, replay
from scheduler.live.feasible import check_feasible
from scheduler.policies import cpsat
from scheduler.policies.choices import CP_SAT, GREEDY
from scheduler.policies.gather import Gather
from scheduler.policies.sharing import Sharing
from scheduler.sim.cluster import Cluster, Nodes
from scheduler.sim.costs import Costs
from scheduler.sim.digest import Digest
from scheduler.sim.faults import read_faults
from scheduler.sim.native import check
from scheduler.sim.run import simulate
from scheduler.sim.workload import sharing_jobs_of
from scheduler.testing.invariants import broken_tables
from scheduler.testing.world import FAULTS, World
from scheduler.traces.trace import TraceJob, in_order
from service.cli import app

S = 1_000_000
SOLVERS = [
    GREEDY,
    pytest.param(
        CP_SAT, marks=pytest.mark.skipif(not cpsat.is_there(), reason="needs haltere[cpsat]")
    ),
]


def spec(
    share: int = 1000, cpu: int = 0, memory: int = 0, count: int = 1, **more: object
) -> JobSpec:
    needs = Needs(share, cpu, memory, **more)  # type: ignore[arg-type]
    return JobSpec("j", "ann", "basic", "gpu", ("x",), count=count, needs=needs)


def machine(*specs: JobSpec | None) -> Machine:
    """One node of two slices, 4 CPUs, 100 MiB."""
    made = Machine()
    made.handle(events.DeviceAdded(0, "n", "gpu", "T4", 2, 4000, 100))
    whole = JobSpec("w", "ann", "basic", "gpu", ("x",))
    for number, each in enumerate(specs, 1):
        made.handle(events.JobSubmitted(0, number, each or whole))
    return made


def place(made: Machine, job: int, *slices: Slice) -> None:
    made.apply(Plan((Place(job, slices),)))


# ---- the machine


def test_a_slice_is_shared_up_to_the_whole_of_it_and_free_when_the_last_has_gone() -> None:
    made = machine(spec(600), spec(400), spec(100), None)
    free = made.view().free
    place(made, 1, Slice("n", 0, 1))
    assert free.count("gpu", "T4") == 1
    place(made, 2, Slice("n", 0, 2))
    with pytest.raises(InvalidPlan, match="is left"):
        place(made, 3, Slice("n", 0, 3))
    with pytest.raises(InvalidPlan, match="shared"):
        place(made, 4, Slice("n", 0))
    for job in (1, 2):
        made.handle(events.CancelRequested(0, job))
        assert free.count("gpu", "T4") == 1  # still being cleared
        made.handle(events.LeaseReleased(0, job, 1))
    assert free.count("gpu", "T4") == 2
    place(made, 4, Slice("n", 0))
    with pytest.raises(InvalidPlan, match="is left"):
        place(made, 3, Slice("n", 0, 1))


@pytest.mark.parametrize("over", [spec(500, cpu=3000), spec(500, memory=90), spec(0, cpu=3000)])
def test_of_a_host_no_more_is_given_out_than_it_has(over: JobSpec) -> None:
    made = machine(spec(500, cpu=2000, memory=20), over)
    place(made, 1, Slice("n", 0, 1))
    with pytest.raises(InvalidPlan, match="is left"):
        place(made, 2, Slice("n", 1, 1))


def test_a_gang_takes_of_its_host_once() -> None:
    made = machine(spec(1000, cpu=4000, count=2))
    place(made, 1, Slice("n", 0, 1), Slice("n", 1, 1))
    left = made.view().shares.left(made.devices["n"], made.leases)
    assert (left.share_milli, left.cpu_milli) == ((0, 0), 0)


def test_who_needs_nothing_but_a_host_takes_no_slice() -> None:
    made = machine(spec(0, cpu=1000), None, None)
    place(made, 1, Slice("n", 0, 1))
    assert made.view().free.count("gpu", "T4") == 2
    place(made, 2, Slice("n", 0))
    place(made, 3, Slice("n", 1))
    assert not broken_tables(made)


@pytest.mark.parametrize(
    "slices", [(Slice("n", 0),), (Slice("n", 0, 1), Slice("n", 0, 2)), (Slice("n", 2, 1),)]
)
def test_seats_that_cannot_be_are_refused(slices: tuple[Slice, ...]) -> None:
    made = machine(spec(1000, count=len(slices)))
    with pytest.raises(InvalidPlan):
        place(made, 1, *slices)


def test_another_part_than_it_accepts_is_refused() -> None:
    made = machine(spec(500, parts=("A100",)))
    with pytest.raises(InvalidPlan, match="part"):
        place(made, 1, Slice("n", 0, 1))


@pytest.mark.parametrize("more", [{"share_milli": 1001}, {"share_milli": -1}, {"cpu_milli": -1}])
def test_needs_that_nothing_can_meet_are_refused(more: dict[str, int]) -> None:
    with pytest.raises(Infeasible):
        Needs(**more)


def test_several_slices_in_part_are_refused() -> None:
    with pytest.raises(Infeasible, match="several whole"):
        spec(500, count=2)


def test_engines_that_know_no_shares_refuse_such_jobs_by_name() -> None:
    from scheduler.policies.elastic import Elastic

    with pytest.raises(Infeasible, match="shares of slices"):
        check([spec(500)], Cluster("c", (Nodes("n", 1, 2, "T4"),)), Elastic())
    with pytest.raises(Infeasible, match="in simulations only"):
        check_feasible(spec(500), {"gpu:0": 1}, {}, False)


# ---- the policy

DEVICES = (
    ("n0", "gpu", "T4", 2, 8000, 100),
    ("n1", "gpu", "T4", 2, 4000, 100),
    ("n2", "gpu", "P100", 4, 8000, 100),
    ("n3", "gpu", "P100", 2, 8000, 100),
)
EAGER = Gather(look_s=5, rest_s=0, gain=0.01, move_s=1)


def job(rng: Random, number: int) -> JobSpec:
    share = rng.choice((0, 100, 300, 500, 600, 1000, 1000))
    needs = Needs(share, rng.choice((0, 500, 2000)), rng.choice((0, 10)), rng.choice(((), ("T4",))))
    tier = rng.choice(("premium", "standard", "basic"))
    count = rng.choice((1, 2)) if share == 1000 else 1
    recovery = rng.choice(("checkpoint", "restart"))
    return JobSpec(
        f"job-{number}", "ann", tier, "gpu", ("x",), count=count, recovery=recovery, needs=needs
    )


def world(solver: str, journal: Journal | None = None) -> World:
    made = Machine(Params(max_restarts=3))
    policy = Sharing(params=Gather(**{**_fields(EAGER), "solver": solver}))
    found = World(
        made,
        policy,
        job,
        lambda: broken_tables(made),
        [journal] if journal else [],
        DEVICES,  # type: ignore[arg-type]
        FAULTS,
        (1_000, 5 * S, 30 * S),
        40,
        ("retry", "retry", "caller"),
    )
    found.policy = policy  # type: ignore[attr-defined]
    return found


def _fields(params: Gather) -> dict[str, object]:
    return {name: getattr(params, name) for name in Gather.__slots__}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 30))
def test_whatever_happens_nothing_is_given_twice_and_all_come_to_their_end(seed: int) -> None:
    rng, made = Random(seed), world(GREEDY)
    for _ in range(150):
        made.act(rng)
    made.settle()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_journal_of_what_was_gathered_is_decided_again_alike(solver: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", durable=False)
    rng, made = Random(3), world(solver, journal)
    for _ in range(600):
        made.act(rng)
    made.settle()
    journal.close()
    gathered = made.policy.gathered  # type: ignore[attr-defined]
    assert gathered
    assert {each.by for each in gathered} == {solver}
    again = Sharing(params=Gather(**{**_fields(EAGER), "solver": solver}))
    replay(read(tmp_path / "journal").steps, Machine(Params(max_restarts=3)), again)
    assert again.gathered == gathered


# ---- room that is made


def scattered(solver: str | None) -> tuple[float, int, Digest]:
    """Two nodes of two GPUs, of each GPU half is used, and a job comes that wants a whole one.
    Its wait, and moves."""
    jobs = [
        TraceJob(f"half-{n}", 0.0, 5e3 if n % 2 else 4e4, 1, "ann", 500, cpu_milli=100)
        for n in range(8)
    ]
    jobs.append(TraceJob("whole", 6_000.0, 1_000.0, 1, "ann", 1000, cpu_milli=100))
    trace = in_order("made", jobs)
    cluster = Cluster("c", (Nodes("n", 2, 2, "T4", 4000, 100),))
    params = Gather(solver=solver) if solver else None
    digest = Digest()
    found = simulate(
        trace,
        sharing_jobs_of(trace, "gpu"),
        cluster,
        Sharing(params=params),
        Costs(),
        lambda _: [digest],
    )
    whole = found.done[-1]
    return whole.completion_s - whole.duration_s, sum(d.preemptions for d in found.done), digest


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_move_makes_room_for_who_waits_since_what_is_free_is_scattered(solver: str) -> None:
    waited_s, moves, digest = scattered(solver)
    assert moves == 1
    assert waited_s < 300
    assert scattered(None)[:2] == (34_000.0, 0)
    assert scattered(solver)[2].hexdigest() == digest.hexdigest()


def test_a_drained_node_is_left_in_time_without_loss_when_there_is_room() -> None:
    jobs = [TraceJob(f"j{n}", 10.0 * n, 20_000.0, 1, "ann", 400, cpu_milli=500) for n in range(8)]
    trace = in_order("made", jobs)
    cluster = Cluster("c", (Nodes("n", 3, 2, "T4", 8000, 100),))
    faults = read_faults("drain:nodes=n-0,at=1h,notice=10m,lasts=1h")
    found = simulate(
        trace, sharing_jobs_of(trace, "gpu"), cluster, Sharing(), Costs(), faults=faults
    )
    assert found.faults is not None
    assert (found.faults.losses, found.faults.lost_h, found.faults.restarts) == (1, 0, 0)
    assert sum(done.preemptions for done in found.done) > 0
    assert found.failed == 0


def test_the_command_runs_openb_with_shares_on_its_own_nodes(tmp_path: Path) -> None:
    pods, nodes = tmp_path / "pods.csv", tmp_path / "nodes.csv"
    nodes.write_text("sn,cpu_milli,memory_mib,gpu,model\na,4000,100,1,T4\nb,4000,100,0,\n")
    columns = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos"
    times = "creation_time,deletion_time,scheduled_time"
    rows = (
        "p,1000,10,1,500,T4,BE,0,3600,0\nq,1000,10,1,500,,LS,0,3600,0\nr,1000,10,0,0,,BE,0,3600,0"
    )
    pods.write_text(f"{columns},{times}\n{rows}\n")
    asked = ["simulate", "--cluster", str(nodes), "--json", "--free-halting", "--trace"]
    shared = CliRunner().invoke(app, [*asked, f"openb-hosts:{pods}", "--policy", "sharing"])
    assert shared.exit_code == 0, shared.output
    figures = json.loads(shared.stdout)["figures"]["sharing"]
    assert (figures["jobs"], figures["makespan_h"]) == (3, 1)  # all three at once on one GPU
    alone = CliRunner().invoke(app, [*asked, f"openb:{pods}", "--elastic", "0"])
    figures = json.loads(alone.stdout)["figures"]["elastic"]
    assert (figures["jobs"], figures["makespan_h"]) == (2, 2)  # each has the whole GPU
    for more in (["--policy", "elastic"], ["--report", str(tmp_path)], ["--gather", "x"]):
        told = CliRunner().invoke(app, [*asked, str(pods), "--policy", "sharing", *more])
        assert told.exit_code == 2
