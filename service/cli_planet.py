"""`haltere simulate-planet` and `haltere calibrate-trace`."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from scheduler.sim.network import Outage
    from scheduler.sim.planet import PlanetResult

console = Console()
_HOURS = r"(\d+(?:\.\d+)?)h?"
_OUT = re.compile(rf"([a-z0-9-]+):{_HOURS}-{_HOURS}", re.ASCII)


def simulate_planet(
    planet: Annotated[
        str, typer.Option(help="regions x clusters x nodes x devices x type; or a TOML file.")
    ] = "4x2x160x8xV100",
    workload: Annotated[
        str, typer.Option(help="philly, itp04, or a file of haltere calibrate-trace.")
    ] = "philly",
    trace: Annotated[str, typer.Option(help="A trace instead of a synthetic stream.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Of the synthetic stream.")] = 20_000,
    load: Annotated[
        float, typer.Option(max=1000, help="Work that comes, over what all GPUs do.")
    ] = 0.9,
    engine: Annotated[str, typer.Option(help="Of the clusters: native or python.")] = "native",
    premium: Annotated[float, typer.Option(help="Share of premium jobs.")] = 0.0,
    standard: Annotated[float, typer.Option(help="Share of standard jobs.")] = 0.0,
    elastic: Annotated[float, typer.Option(help="Share of jobs that can be resized.")] = 0.5,
    fpga: Annotated[float, typer.Option(help="Share of jobs for FPGAs (synthesised).")] = 0.0,
    tenants: Annotated[int, typer.Option(help="Of the synthetic stream: tenant-0, ...")] = 64,
    quotas: Annotated[Path | None, typer.Option(help="Quotas of tenants, as TOML.")] = None,
    tick_s: Annotated[int, typer.Option(min=1, max=86_400, help="How often regions decide.")] = 30,
    global_tick_s: Annotated[
        int, typer.Option(min=1, max=86_400, help="How often the global level does.")
    ] = 300,
    out: Annotated[
        list[str] | None,
        typer.Option(help="LEVEL:FROM-TO in hours, e.g. global:2-3 or region-1:5-6; several."),
    ] = None,
    faults: Annotated[
        str,
        typer.Option(
            help='What goes wrong in clusters, e.g. "node:mtbf=30d,mttr=4h;'
            'outage:nodes=gpu-1-*/*,at=10h,lasts=6h" (all of region 1); or a TOML file.'
        ),
    ] = "",
    saves: Annotated[
        bool, typer.Option("--saves", help="Clusters save running jobs now and then.")
    ] = False,
    lost: Annotated[float, typer.Option(help="Share of messages that are lost.")] = 0.0,
    twice: Annotated[float, typer.Option(help="Share of messages that come twice.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Simulate regions of clusters with the levels above them, and messages that take time."""
    from scheduler.hierarchy.cluster import Engine
    from scheduler.hierarchy.params import LevelParams
    from scheduler.policies.round import ElasticParams
    from scheduler.quota_file import read_quotas
    from scheduler.sim.costs import Costs
    from scheduler.sim.faults import read_faults
    from scheduler.sim.native_site import NativeSite
    from scheduler.sim.network import Weather
    from scheduler.sim.planet import PlanetRun
    from scheduler.sim.planet_faults import shared_out
    from scheduler.sim.planets import read_planet
    from scheduler.sim.site import PythonSite
    from scheduler.sim.streams import of_trace, synthetic
    from scheduler.sim.workload import cut_down
    from scheduler.traces.readers import read
    from scheduler.traces.synthetic import Assumed, workload_named

    world = read_planet(planet)
    assumed = Assumed(premium, standard, elastic, fpga=fpga, tenants=tenants)
    smaller = 0
    if trace:
        found = read(trace)
        largest = world.largest("gpu")
        smaller, said = cut_down(found, largest, "that each region has in one cluster")
        if smaller:
            typer.echo(said, err=True)
        stream, names = of_trace(world, found, assumed, seed)
    else:
        stream = synthetic(world, workload_named(workload), assumed, jobs, load, seed)
        names = [f"tenant-{number}" for number in range(tenants)]
    kinds = sorted({site.cluster.kind for site in world.sites})
    limits = read_quotas(quotas, kinds) if quotas is not None else None
    if engine not in ("native", "python"):
        raise typer.BadParameter(f"--engine {engine!r}: native or python")

    broken = shared_out(read_faults(faults), world, seed) if faults else None
    params = ElasticParams(saves=saves)

    def site(index: int) -> Engine:
        cluster, falls = world.sites[index].cluster, broken[index] if broken else None
        if engine == "native":
            return NativeSite(cluster, Costs(), params, 0.8, faults=falls)
        its = limits.part(cluster.devices / world.devices(cluster.kind)) if limits else None
        return PythonSite(cluster, Costs(), params, names, 0.8, its, falls)

    run = PlanetRun(
        world,
        stream,
        names,
        site,
        LevelParams(
            stale_s=max(300, 5 * tick_s),
            region_tick_s=tick_s,
            global_tick_s=max(tick_s, global_tick_s),
        ),
        Weather(lost=lost, twice=twice),
        [_outage(word) for word in out or []],
        limits,
        seed,
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("jobs", total=len(stream))
        result = run.run(lambda ended: progress.update(task, completed=ended))
    told: dict[str, Any] = {
        "planet": planet,
        "devices": world.devices(),
        "jobs": len(stream),
        "jobs_made_smaller": smaller,
        "of": trace or f"{workload}, synthetic",
        "engine": engine,
        "assumed": asdict(assumed),
        "faults": faults,
        "saves": saves,
        "seed": seed,
    }
    figures = _figures(result, [site.name for site in world.sites])
    if as_json:
        print(json.dumps({"told": told, "figures": figures}, indent=1))
        return
    console.print(_table(told, figures))


def _outage(word: str) -> Outage:
    from scheduler.sim.network import Outage

    found = _OUT.fullmatch(word)
    if found is None or not float(found[2]) < float(found[3]):
        raise typer.BadParameter(
            f"--out {word!r}: LEVEL:FROM-TO in hours, FROM before TO, e.g. global:2-3"
        )
    return Outage(found[1], float(found[2]) * 3600, float(found[3]) * 3600)


def _figures(result: PlanetResult, sites: list[str]) -> dict[str, Any]:
    import numpy as np

    hours = result.completion_s / 3600
    return {
        "average_h": float(np.nanmean(hours)),
        "p50_h": float(np.nanquantile(hours, 0.5)),
        "p99_h": float(np.nanquantile(hours, 0.99)),
        "span_h": result.span_s / 3600,
        "end_h": result.end_s / 3600,
        "used": dict(zip(sites, result.use, strict=True)),
        "moved_within_regions": result.within,
        "moved_between_regions": result.between,
        "messages": result.messages,
        "messages_lost": result.lost,
        "quotas_kept": result.let_in,
        "faults": result.fallen._asdict(),
        "digest": result.digest,
        "cpu_s": result.cpu_s,
        "jobs_per_cpu_s": len(result.completion_s) / max(result.cpu_s, 1e-9),
    }


def _table(told: dict[str, Any], figures: dict[str, Any]) -> Table:
    table = Table(
        title=f"{told['jobs']} jobs ({told['of']}) on {told['devices']} devices, {told['planet']}",
        show_header=False,
    )
    for key in ("average_h", "p50_h", "p99_h", "span_h", "end_h"):
        table.add_row(key.replace("_h", ", h"), f"{figures[key]:.2f}")
    for site, used in figures["used"].items():
        table.add_row(f"used of {site}", f"{100 * used:.1f} %")
    for tenant, kept in figures["quotas_kept"].items():
        table.add_row(f"{tenant} had its quota when it asked", f"{100 * kept:.1f} %")
    table.add_row("jobs moved within regions", str(figures["moved_within_regions"]))
    table.add_row("between regions", str(figures["moved_between_regions"]))
    if told["faults"] or told["saves"]:
        for key, words in (
            ("losses", "nodes lost"),
            ("restarts", "attempts of jobs lost with them"),
            ("saves", "times jobs were saved"),
            ("lost_h", "device-hours of work lost"),
        ):
            table.add_row(words, f"{figures['faults'][key]:.0f}")
    sent = ", ".join(f"{count} {name}" for name, count in figures["messages"].items())
    table.add_row("messages", f"{sent}; {figures['messages_lost']} lost")
    table.add_row("jobs a CPU second", f"{figures['jobs_per_cpu_s']:.0f}")
    table.add_row("digest", figures["digest"])
    return table


def calibrate_trace(
    trace: Annotated[str, typer.Argument(help="A trace's file, or FORMAT:FILE.")],
    into: Annotated[Path, typer.Argument(help="File of parameters to write, .json.")],
) -> None:
    """Fit a synthetic workload to a trace, for simulate-planet --workload."""
    import numpy as np

    from proxy.paths import write_atomically
    from scheduler.traces.calibrate import calibrate, distance
    from scheduler.traces.readers import read
    from scheduler.traces.synthetic import Assumed, S, generate

    found = read(trace)
    workload = calibrate(found)
    write_atomically(into, f"{workload.to_json()}\n".encode())
    jobs = generate(workload, Assumed(), len(found.jobs), seed=1)
    table = Table(
        title=f"{found.name}, {len(found.jobs)} jobs: a stream against the trace",
        caption="greatest difference of the two distributions (Kolmogorov-Smirnov)",
        show_header=False,
    )
    at_s = np.array([job.submitted_s for job in found.jobs])
    lasted_s = np.array([job.duration_s for job in found.jobs])
    sizes = np.array([float(job.count) for job in found.jobs])
    made_s = jobs["at_us"] / S
    hours = [np.bincount((each // 3600).astype(int)).astype(float) for each in (at_s, made_s)]
    table.add_row("gaps between jobs", f"{distance(np.diff(at_s), np.diff(made_s)):.3f}")
    table.add_row("jobs in an hour", f"{distance(*hours):.3f}")
    table.add_row("durations", f"{distance(lasted_s, jobs['work_us'] / S):.3f}")
    table.add_row("devices", f"{distance(sizes, jobs['count'].astype(float)):.3f}")
    console.print(table)
