"""`haltere simulate`: a trace on a simulated cluster under one or several policies."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

if TYPE_CHECKING:
    from scheduler.core.machine import Machine
    from scheduler.core.values import JobSpec
    from scheduler.loop import Recorder
    from scheduler.policies.policy import Policy
    from scheduler.policies.sharing import Sharing
    from scheduler.sim.cluster import Cluster
    from scheduler.sim.faults import Faults
    from scheduler.sim.waits import Waits

console = Console()
LEFT = 8  # jobs that wait still at the end, of which it is said why


def simulate(
    trace: Annotated[
        str, typer.Option(help="A trace's file, or FORMAT:FILE (philly, itp, openb, openb-hosts).")
    ],
    cluster: Annotated[
        str, typer.Option(help="nodes x devices x type, e.g. 16x4xV100,10x2xK80; or a TOML file.")
    ] = "16x4xV100",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="elastic, las, ftf, backfill, fifo, tiered; several. Or sharing: shares of GPUs, "
            "on nodes with CPU and memory (openb's list of nodes as --cluster)."
        ),
    ] = None,
    gather: Annotated[
        str,
        typer.Option(
            help="sharing, elastic: jobs are moved so that one fits for which what is free is "
            "scattered, chosen by cp-sat or greedy; or none."
        ),
    ] = "none",
    window: Annotated[
        str, typer.Option(help="w1: the part of the Philly trace that others measured.")
    ] = "",
    jobs: Annotated[int, typer.Option(min=0, help="Only the first so many jobs; 0: all.")] = 0,
    elastic: Annotated[float, typer.Option(help="Share of jobs that can be resized.")] = 1.0,
    growth: Annotated[int, typer.Option(help="Such a job can use so many times its devices.")] = 2,
    exponent: Annotated[
        float, typer.Option(help="Its speed beyond: (devices / asked) ^ this.")
    ] = 0.8,
    premium: Annotated[float, typer.Option(help="Share of premium jobs.")] = 0.0,
    standard: Annotated[float, typer.Option(help="Share of standard jobs.")] = 0.0,
    free_halting: Annotated[
        bool, typer.Option("--free-halting", help="Charge nothing for halting and resizing.")
    ] = False,
    costs_file: Annotated[
        Path | None,
        typer.Option("--costs", help="What halting costs: a live pool's state_dir/costs.json."),
    ] = None,
    faults: Annotated[
        str,
        typer.Option(
            help="What goes wrong: node:mtbf=30d,mttr=4h;... or a TOML file (scheduler.sim.faults)."
        ),
    ] = "",
    saves: Annotated[
        bool, typer.Option("--saves", help="The elastic policy saves running jobs now and then.")
    ] = False,
    stragglers: Annotated[
        bool,
        typer.Option(
            "--stragglers", help="The elastic policy notices slow nodes, and avoids them."
        ),
    ] = False,
    quotas: Annotated[
        Path | None,
        typer.Option(help="Quotas of tenants for elastic, as TOML (docs/scheduler.md)."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what the trace does not say.")] = 1,
    engine: Annotated[
        str,
        typer.Option(help="python, or native: the same steps in C++, for elastic and no --report."),
    ] = "python",
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.json and report.png of each policy.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="File for every step, for haltere replay; of one policy.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Simulate a cluster's scheduler on a trace, with the code that decides on the live pool."""
    from scheduler.core.values import FULL_MILLI, Tier
    from scheduler.policies.elastic import Elastic
    from scheduler.policies.gather import Gather
    from scheduler.policies.named import policy as policy_by_name
    from scheduler.policies.round import ElasticParams
    from scheduler.policies.sharing import Sharing
    from scheduler.quota_file import read_quotas
    from scheduler.sim.cluster import read_cluster
    from scheduler.sim.costs import FREE, Costs
    from scheduler.sim.faults import read_faults
    from scheduler.sim.run import simulate as run
    from scheduler.sim.workload import Elasticity, Tiers, cut_down, jobs_of, sharing_jobs_of
    from scheduler.traces.readers import read
    from scheduler.traces.select import Selection, window_named
    from service import sim_report

    wanted = policy or ["elastic"]
    shares = "sharing" in wanted
    if shares and len(wanted) > 1:
        raise typer.BadParameter("--policy sharing: its jobs need shares, which no other knows")
    if shares and report is not None:
        raise typer.BadParameter("--policy sharing writes no --report: its pictures count slices")
    if shares and (premium or standard):
        raise typer.BadParameter("--policy sharing: it promises nobody anything, so has no tiers")
    if gather not in ("none", "cp-sat", "greedy"):
        raise typer.BadParameter(f"--gather {gather} is none of cp-sat, greedy, none")
    if gather != "none" and not {"sharing", "elastic"}.intersection(wanted):
        raise typer.BadParameter("--gather: only sharing and elastic gather")
    policies: dict[str, Policy] = {} if shares else {name: policy_by_name(name) for name in wanted}
    if quotas is not None and "elastic" not in policies:
        raise typer.BadParameter("--quotas: only elastic knows quotas")
    if saves and "elastic" not in policies:
        raise typer.BadParameter("--saves: only the elastic policy saves jobs")
    if stragglers and "elastic" not in policies:
        raise typer.BadParameter("--stragglers: only the elastic policy notices any")
    if journal is not None and (shares or len(wanted) > 1 or engine == "native"):
        raise typer.BadParameter(
            "--journal: of one policy in Python, not of sharing, which is told its jobs beforehand"
        )
    elasticity = Elasticity(elastic, growth, exponent)
    tiers = Tiers(premium, standard)
    fleet = read_cluster(cluster)
    chosen = read(trace)
    if window:
        chosen = window_named(window).of(chosen)
    if jobs:
        chosen = Selection(count=min(jobs, len(chosen.jobs))).of(chosen)
    if free_halting and costs_file is not None:
        raise typer.BadParameter("--free-halting and --costs: one of them")
    if engine not in ("python", "native"):
        raise typer.BadParameter(f"--engine {engine} is neither python nor native")
    if engine == "native" and report is not None:
        raise typer.BadParameter("--engine native writes no --report: it has no recorders")
    charged = Costs() if costs_file is None else Costs.read(costs_file)
    costs = FREE if free_halting else charged
    broken = read_faults(faults) if faults else None
    if not shares and (saves or stragglers or quotas is not None or gather != "none"):
        save_s = -(-costs.save_us // 1_000_000)
        chosen_by = "" if gather == "none" else gather
        saving = ElasticParams(
            saves=saves, save_cost_s=save_s, gather=chosen_by, stragglers=stragglers
        )
        limits = read_quotas(quotas, [fleet.kind]) if quotas is not None else None
        policies["elastic"] = Elastic(saving, limits)
    largest = max(
        sum(group.count * group.devices for group in fleet.nodes if group.type == kind)
        for kind in {group.type for group in fleet.nodes}
    )
    smaller, said = cut_down(chosen, largest, "of a type that there are")
    if smaller:
        typer.echo(said, err=True)
    shared = sum(job.share_milli < FULL_MILLI for job in chosen.jobs)
    if shared and not shares:
        typer.echo(
            f"{shared} jobs ask for a share of a device: they have a whole one here, on any type; "
            "--policy sharing shares them",
            err=True,
        )
    specs = jobs_of(chosen, fleet.kind, largest, elasticity, tiers, seed)
    if shares:
        specs = sharing_jobs_of(chosen, fleet.kind)
        params = None if gather == "none" else Gather(solver=gather)
        policies = {"sharing": Sharing(specs, params=params)}
    assumed: dict[str, Any] = {
        "trace": chosen.name,
        "jobs": len(specs),
        "jobs_made_smaller": smaller,
        "jobs_without_their_share": 0 if shares else shared,
        "devices": fleet.devices,
        "offered_load": _load(chosen.offered_load(fleet.devices)),
        "elasticity": asdict(elasticity),
        "tiers": asdict(tiers),
        "costs": asdict(costs),
        "faults": asdict(broken) if broken else None,
        "saves": saves,
        "gather": gather,
        "stragglers_noticed": stragglers,
        "quotas": str(quotas) if quotas is not None else None,
        "seed": seed,
    }
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)  # who cannot write there learns it at once
    found: dict[str, Any] = {}
    looked_at = report is not None or any(spec.tier is not Tier.BASIC for spec in specs)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        for name, by in policies.items():
            task = progress.add_task(name, total=len(specs))
            keep = stack.enter_context(_journalled(journal, by))
            watched = sim_report.Watched({uri: part for uri, _, part in fleet.each()})
            waiting = _Waiting(by, len(specs)) if isinstance(by, Sharing) else None
            result = run(
                chosen,
                specs,
                fleet,
                by,
                costs,
                _recorders(
                    watched.recorders if looked_at else None,
                    waiting.recorders if waiting else None,
                    keep,
                ),
                partial(_progress, progress, task),
                broken,
                seed,
                _able(engine, specs, fleet, by, broken),
            )
            found[name] = {**asdict(result.figures), "cpu_s": result.cpu_s, "failed": result.failed}
            found[name]["engine"] = "python" if result.machine is not None else "native"
            found[name]["digest"] = result.digest
            if looked_at and result.machine is not None:
                found[name]["attained"] = sim_report.attained(watched.fractions())
            if isinstance(by, Sharing):
                found[name]["gathered"] = _gathered(by)
            if waiting is not None:
                found[name]["waited"] = _waited(waiting.waits, specs)
            if result.schedules:
                found[name]["windows"] = [asdict(schedule) for schedule in result.schedules]
            if result.faults is not None:
                found[name]["faults"] = asdict(result.faults)
            if report is not None:
                title = f"{chosen.name} on {cluster}, {name}"
                sim_report.write(report / name, title, assumed, result, watched, fleet.devices)
    if as_json:
        print(json.dumps({"assumed": assumed, "figures": found}, indent=1))
        return
    console.print(_table(assumed, found))
    told = {name: row for name, row in found.items() if "faults" in row}
    if told:
        console.print(_faults_table(faults, told))
    elif broken:
        console.print("what the faults cost is told by --engine python only")
    for name, row in found.items():
        for what in _chosen(row):
            console.print(f"{name}: {what}")
    if report is not None:
        console.print(f"pictures and JSON: {report}/POLICY/report.png, report.json")


def _able(
    engine: str, specs: Sequence[JobSpec], fleet: Cluster, by: Policy, faults: Faults | None
) -> str:
    """The engine that runs it: Python's for what the native one does not have, which is said."""
    from scheduler.errors import Infeasible
    from scheduler.native.cluster import library
    from scheduler.sim.native import check

    if engine == "native":
        try:
            library()
            check(specs, fleet, by, faults)
        except (OSError, Infeasible) as error:
            typer.echo(f"{error}; the Python engine runs it", err=True)
            return "python"
    return engine


def _hours(hours: float) -> str:
    return f"{hours:.2f}" if hours < 100 else f"{hours:.1f}"


def _load(load: float) -> float | None:
    """None: all jobs come at one moment, and JSON has no infinity."""
    return round(load, 3) if math.isfinite(load) else None


def _gathered(by: Sharing) -> dict[str, Any]:
    moves = sum(len(each.movers) for each in by.gathered)
    return {"by": dict(Counter(each.by for each in by.gathered)), "moves": moves}


def _waited(waits: Waits, specs: Sequence[JobSpec]) -> dict[str, Any]:
    """Job-hours by reason; jobs that wait still, and why."""
    left = {specs[job - 1].name: "; ".join(map(str, why)) for job, why in waits.left().items()}
    return {"job_h": dict(sorted(waits.job_h.items(), key=lambda each: -each[1])), "left": left}


def _chosen(row: dict[str, Any]) -> Iterator[str]:
    """What else is to be told of a run: what tiers had; who did not end; what was waited for; by
    whom was chosen, since CP-SAT may not be there."""
    for tier, had in row.get("attained", {}).items():
        if had["promised"] is not None:
            yield (
                f"worst hour of {had['jobs']} {tier} jobs {had['worst_hour']:.2f}, "
                f"{had['below']} of them below the {had['promised']:.2f} promised"
            )
    if row["failed"]:
        yield f"{row['failed']} jobs did not end; the figures are of the others"
    waited = row.get("waited", {"job_h": {}, "left": {}})
    if waited["job_h"]:
        parts = ", ".join(f"{why} {hours:.1f}" for why, hours in waited["job_h"].items())
        yield f"job-hours waited, by what was in the way: {parts}"
    for job in list(waited["left"])[:LEFT]:
        yield f"{job} waits still: {waited['left'][job]}"
    if (more := len(waited["left"]) - LEFT) > 0:
        yield f"and {more} more (--json has all)"
    gathered, windows = row.get("gathered", {}), row.get("windows", [])
    for by, count in gathered.get("by", {}).items():
        yield f"room was made {count} times by {by}; {gathered['moves']} moves in all"
    for by, turns in Counter(turn["by"] for turn in windows).items():
        yield f"who is drained was chosen by {by} in {turns} turns"
    if windows and (left := set(windows[-1]["left"])):
        yield f"not drained, promises stood against it: {', '.join(sorted(left))}"


Recorders = Callable[["Machine"], Sequence["Recorder"]]


def _recorders(*several: Recorders | None) -> Recorders:
    """Those that are there, all together."""

    def all_of(machine: Machine) -> Sequence[Recorder]:
        return [recorder for one in several if one is not None for recorder in one(machine)]

    return all_of


class _Waiting:
    """What was waited for under a policy that says why."""

    def __init__(self, policy: Sharing, jobs: int) -> None:
        self._policy, self._jobs = policy, jobs
        self.waits: Waits

    def recorders(self, machine: Machine) -> Sequence[Recorder]:
        from scheduler.sim.waits import Waits

        self.waits = Waits(machine, self._policy, self._jobs)
        return (self.waits,)


@contextmanager
def _journalled(path: Path | None, policy: Policy) -> Iterator[Recorders]:
    """A journal of the run, if one is wanted. The file is there once it is whole."""
    from scheduler.decider import describe
    from scheduler.journal import Journal

    if path is None:
        yield lambda machine: ()
        return
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(b"")  # whatever was there; and who cannot write learns it at once
    opened: list[Journal] = []

    def begin(machine: Machine) -> Sequence[Recorder]:
        opened.append(Journal(part, durable=False, about=describe(policy, machine.params)))
        return opened

    try:
        yield begin
        opened[0].close()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _progress(progress: Progress, task: TaskID, ended: int) -> None:
    progress.update(task, completed=ended)


def _faults_table(faults: str, found: dict[str, Any]) -> Table:
    table = Table(
        caption="lost: work, in device-hours; anew: begun from zero again, and of those that had a "
        "checkpoint; goodput: of the device-hours held",
        title=faults,
        box=box.SIMPLE_HEAD,
    )
    for column in ("policy", "nodes lost", "restarts", "anew", "had one", "lost h", "saves"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    table.add_column("goodput %", justify="right")
    for name, figures in found.items():
        f = figures["faults"]
        counts = (f[k] for k in ("losses", "restarts", "anew", "anew_after_checkpoint"))
        table.add_row(
            name,
            *(str(count) for count in counts),
            f"{f['lost_h']:.1f}",
            str(f["saves"]),
            f"{100 * f['goodput']:.2f}",
        )
    return table


def _table(assumed: dict[str, Any], found: dict[str, Any]) -> Table:
    halting = "charged" if assumed["costs"]["restore_us"] else "free"
    table = Table(
        caption="completion times; unfair: rho > 1, and the worst; halts and resizes a job",
        title=f"{assumed['jobs']} jobs of {assumed['trace']} on {assumed['devices']} devices, "
        f"offered load {assumed['offered_load'] or 'unknown'}, halting {halting}",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),  # ten columns in a terminal of eighty
    )
    columns = ("policy", "avg h", "p50 h", "p99 h", "all h", "unfair %", "worst")
    for column in (*columns, "halts", "resizes", "CPU s"):
        table.add_column(
            column, justify="left" if column == "policy" else "right", no_wrap=column == "policy"
        )
    for name, f in found.items():
        table.add_row(
            name,
            *(_hours(f[key]) for key in ("average_h", "p50_h", "p99_h", "makespan_h")),
            f"{100 * f['unfair']:.1f}",
            f"{f['worst_rho']:.2f}",
            f"{f['preemptions_per_job']:.2f}",
            f"{f['resizes_per_job']:.2f}",
            f"{f['cpu_s']:.1f}",
        )
    return table
