"""Whole simulated runs, from the command line down, on a made-up trace."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scheduler.errors import Infeasible, TraceDamaged
from scheduler.policies.named import POLICIES, policy
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.run import simulate
from scheduler.sim.workload import RIGID, Elasticity, Tiers, jobs_of
from scheduler.timeline import Span
from scheduler.traces.trace import Trace, TraceJob, in_order
from service.cli import app
from service.sim_report import _places


def made_up(count: int = 120, seed: int = 5) -> Trace:
    drawn = random.Random(seed)
    at_s = 0.0
    jobs = []
    for index in range(count):
        at_s += drawn.expovariate(1 / 120)
        seconds = min(drawn.paretovariate(0.9) * 300, 40_000)
        gang = drawn.choice((1, 1, 1, 2, 4, 8))
        jobs.append(TraceJob(f"j{index}", at_s, seconds, gang, f"t{index % 3}"))
    return in_order("made up", jobs)


TRACE = made_up()
CLUSTER = read_cluster("3x4xV100")


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - {"sharing"}))  # its jobs have needs
def test_every_policy_ends_every_job_and_none_before_its_work_is_done(name: str) -> None:
    specs = jobs_of(TRACE, "gpu", 12, RIGID, Tiers(0.2, 0.3), 1)
    result = simulate(TRACE, specs, CLUSTER, policy(name), Costs())
    assert result.failed == 0 and result.figures.jobs == len(TRACE.jobs)
    for job in result.done:
        assert job.completion_s >= job.duration_s - 1e-5
    if name in ("fifo", "backfill"):
        assert result.figures.preemptions_per_job == 0


def test_halting_pays_against_waiting_also_when_it_is_charged() -> None:
    specs = jobs_of(TRACE, "gpu", 12, RIGID, Tiers(), 1)
    fifo = simulate(TRACE, specs, CLUSTER, policy("fifo"), FREE).figures
    ours = simulate(TRACE, specs, CLUSTER, policy("elastic"), Costs()).figures
    assert ours.average_h < 0.6 * fifo.average_h and ours.unfair < fifo.unfair


def test_jobs_that_can_grow_are_done_sooner() -> None:
    rigid, elastic = (
        simulate(
            TRACE, jobs_of(TRACE, "gpu", 12, kind, Tiers(), 1), CLUSTER, policy("elastic"), Costs()
        ).figures
        for kind in (RIGID, Elasticity())
    )
    assert elastic.average_h < rigid.average_h and elastic.resizes_per_job > 0


def test_a_seed_says_all_that_the_trace_does_not() -> None:
    kind, tiers = Elasticity(share=0.5), Tiers(0.3, 0.3)
    first = jobs_of(TRACE, "gpu", 12, kind, tiers, 1)
    assert first == jobs_of(TRACE, "gpu", 12, kind, tiers, 1)
    assert first != jobs_of(TRACE, "gpu", 12, kind, tiers, 2)
    assert {spec.most // spec.count for spec in first if spec.count < 8} == {1, 2}
    assert {str(spec.tier) for spec in first} == {"premium", "standard", "basic"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0x4xV100", "0 nodes of 4 'V100' are not 1 to"),
        ("3x4", "neither nodes x devices x type"),
        ("kind = 3\n[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype='x'\n", "kind 3"),
        ("[[nodes]]\nname='a'\ncount='1'\ndevices=1\ntype='x'\n", "nodes 1: count is '1'"),
        ("[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype='x'\nsize=3\n", "unknown size"),
        ("[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype='x'\n" * 2, "a name twice"),
        ("[[nodes]]\nname=''\ncount=1\ndevices=1\ntype='x'\n", "'' is no name"),
        ("[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype=\"x\\u0000\"\n", "is no name"),
        ("kind = \"\\u0007\"\n[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype='x'\n", "is no name"),
        ("2097152x65536xV100", "137438953472 devices; 16777216 at most"),
        ("size = 3\n[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype='x'\n", "unknown size"),
        ("nodes = 3\n", r"no \[\[nodes\]\]"),
        ("= 3", "no TOML"),
    ],
)
def test_what_is_wrong_with_a_cluster_is_told(tmp_path: Path, text: str, said: str) -> None:
    spec = text
    if "\n" in text or "=" in text:
        path = tmp_path / "cluster.toml"
        path.write_text(text)
        spec = str(path)
    with pytest.raises(TraceDamaged, match=said):
        read_cluster(spec)


def test_the_command_writes_a_table_figures_and_a_picture(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "".join(
        f"{job.name},{job.submitted_s:.0f},{job.duration_s:.0f},{job.count}\n" for job in TRACE.jobs
    )
    trace.write_text("job_id,submission_time,duration,num_gpu\n" + rows)
    asked = ["simulate", "--trace", str(trace), "--cluster", "3x4xV100", "--policy", "elastic"]
    shown = CliRunner().invoke(app, [*asked, "--policy", "las", "--report", str(tmp_path / "out")])
    assert shown.exit_code == 0 and "elastic" in shown.output and "las" in shown.output
    report = json.loads((tmp_path / "out" / "elastic" / "report.json").read_text())
    assert report["figures"]["jobs"] == 120 and max(report["devices_held"]) <= 12
    assert (tmp_path / "out" / "las" / "report.png").read_bytes().startswith(b"\x89PNG")
    told = CliRunner().invoke(app, [*asked, "--jobs", "10", "--json"])
    found = json.loads(told.stdout)
    assert found["assumed"]["jobs"] == 10 and found["figures"]["elastic"]["failed"] == 0


def test_quotas_hold_with_saves_as_they_do_without(tmp_path: Path) -> None:
    trace, quotas = tmp_path / "trace.csv", tmp_path / "quotas.toml"
    rows = [("0:00", 5000, "guest"), ("0:01", 5000, "guest"), ("0:10", 5000, "owner")]
    trace.write_text(
        "timestamp,duration,num_gpus,gpu_time,cluster\n"
        + "".join(f"2017-10-09 0{at}:00,{lasts},4,0,{who}\n" for at, lasts, who in rows)
    )
    quotas.write_text('[[quota]]\nname = "owner"\ngpu = 4\n')
    asked = ["simulate", "--trace", str(trace), "--cluster", "1x4xV100", "--elastic", "0", "--json"]
    average_h = {}
    for saves in ([], ["--saves"]):
        for limits in ([], ["--quotas", str(quotas)]):
            told = CliRunner().invoke(app, [*asked, *saves, *limits])
            figures = json.loads(told.stdout)["figures"]["elastic"]
            average_h[bool(saves), bool(limits)] = figures["average_h"]
    assert average_h[False, True] != average_h[False, False]  # lent slices were recalled
    assert average_h[True, True] != average_h[True, False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--growth", "0"], "growth 0 is not from 1"),
        (["--elastic", "nan"], "share nan of jobs is not from 0 to 1"),
        (["--premium", "0.8", "--standard", "0.8"], "no more than 1 together"),
        (["--premium", "-1"], "shares of jobs from 0 to 1"),
        (["--exponent", "nan"], "exponent nan is not from 0 to 1"),
        (["--exponent", "-1"], "exponent -1.0 is not from 0 to 1"),
    ],
)
def test_what_no_job_can_be_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("job_id,submission_time,duration,num_gpu\na,0,60,1\n")
    told = CliRunner().invoke(app, ["simulate", "--trace", str(trace), *words])
    assert isinstance(told.exception, TraceDamaged) and said in str(told.exception)


def test_a_report_tells_what_tiers_attained_and_is_drawn(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "".join(f"j{n},{n * 60},{600 * (n % 5 + 1)},{n % 4 + 1}\n" for n in range(60))
    trace.write_text("job_id,submission_time,duration,num_gpu\n" + rows)
    asked = ["simulate", "--trace", str(trace), "--cluster", "2x4xV100", "--premium", "0.3"]
    asked += ["--standard", "0.3", "--policy", "elastic", "--policy", "fifo"]
    told = CliRunner().invoke(app, [*asked, "--report", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    for name in ("elastic", "fifo"):
        report = json.loads((tmp_path / "out" / name / "report.json").read_text())
        attained = report["attained"]
        assert sum(tier["jobs"] for tier in attained.values()) == 60
        assert attained["premium"]["promised"] == 0.95 and attained["basic"]["promised"] is None
        keeps = attained["premium"]["worst_hour"] >= 0.95
        assert keeps == (name == "elastic") == (attained["premium"]["below"] == 0)
        assert (tmp_path / "out" / name / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "0 of them below the 0.95 promised" in told.output.replace("\n", " ")
    assert not list(tmp_path.rglob("*.tmp"))


def test_lines_of_the_gantt_chart_do_not_overlap() -> None:
    def span(device: str, start_s: float, end_s: float) -> Span:
        return Span(device, 1, "ann", "basic", "run", start_s, end_s)

    spans = [span("a", 0, 5), span("b", 1, 2), span("a", 2, 3), span("a", 3, 9), span("a", 5, 6)]
    assert _places(spans) == ([0, 0, 1, 1, 0], {"a": 2, "b": 1})


def test_jobs_that_fit_nowhere_are_told(tmp_path: Path) -> None:
    trace, nodes = tmp_path / "pods.csv", tmp_path / "nodes.csv"
    nodes.write_text("sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\n")
    header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,"
    header += "creation_time,deletion_time,scheduled_time\n"
    nowhere = "p0,1,1,1,460,V100,LS,0,100,10\n"
    asked = ["simulate", "--trace", str(trace), "--cluster", str(nodes), "--policy", "sharing"]
    trace.write_text(header + nowhere)
    told = CliRunner().invoke(app, asked)
    assert isinstance(told.exception, Infeasible)
    assert "none of 1 jobs ended on this cluster; the first ('p0', 1 slices)" in str(told.exception)
    trace.write_text(header + nowhere + "p1,1,1,1,460,P100,LS,0,100,10\n")
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 0 and "sharing: 1 jobs did not end" in told.output
    told = CliRunner().invoke(app, [*asked, "--premium", "0.5"])
    assert told.exit_code == 2 and "it promises nobody anything" in told.output


def test_a_whole_device_for_a_share_is_told(tmp_path: Path) -> None:
    trace = tmp_path / "pods.csv"
    header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,"
    header += "creation_time,deletion_time,scheduled_time\n"
    trace.write_text(header + "p0,1,1,1,460,,LS,0,100,10\np1,1,1,1,1000,,LS,0,100,10\n")
    told = CliRunner().invoke(app, ["simulate", "--trace", str(trace), "--cluster", "1x4xV100"])
    assert told.exit_code == 0 and "1 jobs ask for a share of a device" in told.output


def test_figures_are_json_though_all_jobs_come_at_once(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("job_id,submission_time,duration,num_gpu\na,0,60,1\n")
    told = CliRunner().invoke(app, ["simulate", "--trace", str(trace), "--json"])

    def refused(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(told.stdout, parse_constant=refused)["assumed"]["offered_load"] is None


def test_a_report_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("job_id,submission_time,duration,num_gpu\na,0,60,1\n")
    told = CliRunner().invoke(app, ["simulate", "--trace", str(trace), "--report", str(trace)])
    assert isinstance(told.exception, FileExistsError)


def test_the_native_engine_says_that_it_has_no_figures_of_faults(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("job_id,submission_time,duration,num_gpu\na,0,60,1\n")
    asked = ["simulate", "--trace", str(trace), "--faults", "node:mtbf=1d,mttr=1h"]
    told = CliRunner().invoke(app, [*asked, "--engine", "native"])
    assert told.exit_code == 0 and "--engine python" in told.output


def test_jobs_larger_than_the_cluster_are_told(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("job_id,submission_time,duration,num_gpu\na,0,60,9\nb,0,60,1\n")
    asked = ["simulate", "--trace", str(trace), "--cluster", "1x4xV100,1x2xK80"]
    told = CliRunner().invoke(app, asked)
    assert "1 jobs ask for more than the 4 devices" in told.output
    assert told.exit_code == 0 and "(up to 9; the first is" in told.output
