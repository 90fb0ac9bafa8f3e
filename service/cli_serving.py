"""`haltere simulate-serving`: requests through the replicas of a served model."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.policies.served import Autoscaler, Objective, Seen
    from scheduler.sim.serving import Replica, Serving

console = Console()


def simulate_serving(
    trace: Annotated[
        Path, typer.Option(help="Requests: TIMESTAMP, ContextTokens, GeneratedTokens.")
    ],
    first_s: Annotated[float, typer.Option(help="Objective: the first token within this.")] = 10.0,
    share: Annotated[float, typer.Option(help="Objective: of so many requests.")] = 0.99,
    slots: Annotated[
        int, typer.Option(max=65_536, help="Requests that a replica works on at once.")
    ] = 4,
    input_per_s: Annotated[float, typer.Option(help="Tokens a slot reads in a second.")] = 8000.0,
    output_s: Annotated[float, typer.Option(help="Seconds a slot needs for a token.")] = 0.03,
    start_s: Annotated[
        float, typer.Option(max=86_400, help="From a decision until a replica serves.")
    ] = 10.0,
    step_s: Annotated[
        float, typer.Option(min=0.1, max=86_400, help="Between two decisions.")
    ] = 10.0,
    replicas: Annotated[int, typer.Option(min=0, max=65_536, help="At the beginning.")] = 12,
    patience: Annotated[int, typer.Option(min=1, help="Steps that must agree to scale down.")] = 1,
    pool: Annotated[
        int,
        typer.Option(
            min=0, max=4096, help="Devices that the model shares with batch jobs. 0: none."
        ),
    ] = 0,
    deadline_s: Annotated[
        float,
        typer.Option(help="Of start-s: a replica has its device by then, whoever borrowed it."),
    ] = 5.0,
    halt_s: Annotated[
        float, typer.Option(min=0, max=86_400, help="A batch job's checkpoint takes so long.")
    ] = 3.0,
    policy: Annotated[str, typer.Option(help="Of the pool.")] = "elastic",
    seed: Annotated[int, typer.Option(min=0, help="Of the batch jobs.")] = 1,
    clairvoyant: Annotated[
        bool, typer.Option(help="Search for the fewest with all requests known; minutes.")
    ] = True,
    halves: Annotated[bool, typer.Option(help="Each half of the trace by itself, too.")] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for report.json and .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Scale a served model by forecast and queue model, and compare with full knowledge."""
    from proxy.paths import write_atomically
    from scheduler.errors import Infeasible, TraceDamaged
    from scheduler.policies.served import Forecasting, Objective
    from scheduler.sim.clairvoyant import fewest_known, least_work
    from scheduler.sim.serving import Replica, serve
    from scheduler.traces.readers import azure

    requests = azure(trace)
    if requests[-1].at_s <= 0:
        raise TraceDamaged(f"{trace}: all {len(requests)} requests come at one moment")
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)  # who cannot write there learns it at once
    replica = Replica(slots, input_per_s, output_s, start_s)
    objective = Objective(first_s, share)
    at_once = sum(replica.served(r).first_s <= first_s for r in requests) / len(requests)
    if at_once < share:
        raise Infeasible(
            f"a replica that is idle gives {at_once:.1%} of the requests their first token within "
            f"{first_s:g} s: no number of replicas keeps that for {share:.1%}"
        )

    def scaler(chosen: Any) -> Autoscaler:
        typical = replica.served(sorted(chosen, key=lambda r: r.output_tokens)[len(chosen) // 2])
        return Forecasting(objective, slots, step_s, start_s, typical, patience)

    parts = {"all": requests}
    if halves:
        parts |= _halves(requests)
    found: dict[str, dict[str, Serving]] = {}
    bounds = {}
    for part, chosen in parts.items():
        ours = serve(
            chosen,
            replica,
            objective,
            step_s,
            replicas,
            _asking(scaler(chosen)),
        )
        found[part] = {"forecast": ours, **_constant(chosen, replica, objective, step_s)}
        if clairvoyant:
            start = [max(ours.wanted) + 2] * len(ours.wanted)
            with console.status("searching for the fewest with full knowledge"):
                known = fewest_known(chosen, replica, objective, step_s, start)
            found[part]["clairvoyant"] = known
        bounds[part] = least_work(chosen, replica, objective)
    assumed = {
        "trace": trace.name,
        "requests": len(requests),
        "replica": asdict(replica),
        "objective": asdict(objective),
        "step_s": step_s,
        "patience": patience,
    }
    figures = {
        part: {
            **{name: _figures(s, by.get("clairvoyant")) for name, s in by.items()},
            "bound_devices": bounds[part],
        }
        for part, by in found.items()
    }
    shared: dict[str, Any] = {}
    if pool:
        halting = deadline_s, halt_s
        shared["pool"] = _pooled(
            requests, replica, objective, step_s, halting, pool, replicas, policy,
            scaler(requests), seed,
        )  # fmt: skip
    figures_of = {"assumed": assumed, "figures": figures, **shared}
    if report is not None:
        table = json.dumps(figures_of, indent=1)
        drawn = _picture(requests, found["all"], step_s, first_s)
        write_atomically(report / "report.json", table.encode())
        write_atomically(report / "report.png", drawn)
    if as_json:
        print(json.dumps(figures_of, indent=1))
    else:
        console.print(_table(assumed, figures))
        for key, value in shared.get("pool", {}).items():
            console.print(f"pool: {key} {value:.4g}" if key != "policy" else f"pool: {value}")


def _pooled(
    requests: Any,
    replica: Replica,
    objective: Objective,
    step_s: float,
    halting: tuple[float, float],
    pool: int,
    first: int,
    by: str,
    scaler: Autoscaler,
    seed: int,
) -> dict[str, Any]:
    """The same model on a pool that batch jobs fill. `halting`: the deadline, and what it takes."""
    from scheduler.core.values import JobSpec
    from scheduler.policies.named import policy
    from scheduler.services import Service
    from scheduler.sim.cluster import read_cluster
    from scheduler.sim.costs import Costs
    from scheduler.sim.pooled import made_up, pooled
    from scheduler.sim.workload import Elasticity, Tiers, jobs_of

    deadline_s, halt_s = halting
    if not 0 <= deadline_s <= replica.start_s:
        raise typer.BadParameter(
            f"a device that is back within {deadline_s:g} s is no part of a start of "
            f"{replica.start_s:g} s",
            param_hint="--deadline-s",
        )
    loading = replace(replica, start_s=replica.start_s - deadline_s)
    halt_us = round(halt_s * 1_000_000)
    costs = Costs(checkpoint_us=halt_us, restore_us=halt_us, shrink_us=halt_us, grow_us=halt_us)
    batch = made_up(pool, requests[-1].at_s, seed)
    specs = jobs_of(batch, "gpu", pool, Elasticity(0.5), Tiers(), seed)
    by_us = round(deadline_s * 1_000_000)
    spec = JobSpec("model", "service", "premium", "gpu", ("serve",), recall_us=by_us)
    found = pooled(
        requests, loading, objective, Service(spec, scaler), step_s, first, (batch, specs),
        read_cluster(f"{pool}x1xdevice"), policy(by), costs,
    )  # fmt: skip
    recalls = found.recalls or (0.0,)
    return {
        "policy": by,
        "attained": found.serving.attained,
        "devices": found.serving.devices,
        "lent": found.lent,
        "useful": found.useful,
        "recalls": len(found.recalls),
        "recall_p50_s": recalls[len(recalls) // 2],
        "recall_p99_s": recalls[int(len(recalls) * 0.99)],
        "recalls_late": sum(r > deadline_s for r in found.recalls),
        "evictions": found.evictions,
        "gave_way": found.gave_way,
    }


def _asking(scaler: Autoscaler) -> Callable[[int, Seen], int]:
    return lambda step, seen: scaler.replicas(seen)


def _always(count: int) -> Callable[[int, Seen], int]:
    return lambda step, seen: count


def _halves(requests: Any) -> dict[str, Any]:
    from scheduler.traces.trace import Request

    cut = requests[-1].at_s / 2
    early = tuple(r for r in requests if r.at_s < cut)
    late = [r for r in requests if r.at_s >= cut]
    begin = late[0].at_s
    if not early[-1].at_s > 0 < late[-1].at_s - begin:
        raise typer.BadParameter("--halves: all requests of a half come at one moment")
    return {
        "first half": early,
        "second half": tuple(
            Request(r.at_s - begin, r.input_tokens, r.output_tokens) for r in late
        ),
    }


def _constant(requests: Any, replica: Any, objective: Any, step_s: float) -> dict[str, Serving]:
    """The fewest that never change: what one would have to know beforehand to do without
    scaling."""
    from scheduler.sim.serving import serve

    count = max(1, int(sum(replica.served(r).service_s for r in requests) / requests[-1].at_s))
    count = max(1, count // replica.slots)
    while True:
        fixed = serve(requests, replica, objective, step_s, count, _always(count))
        if fixed.attained >= objective.share:
            return {"constant": fixed}
        count += 1


def _figures(found: Serving, known: Serving | None) -> dict[str, Any]:
    rising = sorted(found.first_s)
    return {
        "attained": found.attained,
        "devices": found.devices,
        "over_clairvoyant": found.devices / known.devices if known else None,
        "p50_first_s": rising[len(rising) // 2],
        "p99_first_s": rising[int(len(rising) * 0.99)],
        "starts": sum(h.ready_s > 0 for h in found.held),
        "most": max(found.wanted),
    }


def _table(assumed: dict[str, Any], figures: dict[str, Any]) -> Table:
    objective, replica = assumed["objective"], assumed["replica"]
    table = Table(
        title=f"{assumed['requests']} requests of {assumed['trace']}; first token within "
        f"{objective['first_s']:g} s for {objective['share']:.0%}",
        caption=f"a replica: {replica['slots']} slots, {replica['input_per_s']:g} tokens/s in, "
        f"{replica['output_s']:g} s a token out, {replica['start_s']:g} s to start; "
        f"a decision every {assumed['step_s']:g} s; devices: held, average over time",
    )
    columns = ("part", "scaled by", "within %", "devices", "of clairvoyant", "p99 s", "starts")
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    for part, by in figures.items():
        for name, f in by.items():
            if name == "bound_devices":
                table.add_row(part, "no plan can pass", "", f"{f:.2f}")
                continue
            over = f["over_clairvoyant"]
            table.add_row(
                part,
                name,
                f"{100 * f['attained']:.2f}",
                f"{f['devices']:.2f}",
                f"{over:.3f}" if over else "",
                f"{f['p99_first_s']:.1f}",
                str(f["starts"]),
            )
    return table


def _picture(requests: Any, found: dict[str, Serving], step_s: float, objective_s: float) -> bytes:
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1)
    for name, served in found.items():
        minutes = [index * step_s / 60 for index in range(len(served.wanted))]
        above.step(minutes, served.wanted, where="post", label=f"{name} ({served.devices:.2f})")
        below.plot(
            [r.at_s / 60 for r in requests],
            served.first_s,
            ".",
            markersize=1,
            label=name,
            alpha=0.5,
        )
    above.set_ylabel("replicas")
    above.legend()
    below.axhline(objective_s, color="#555555")
    below.set_ylabel("seconds to the first token")
    below.set_xlabel("minutes")
    below.legend(markerscale=8)
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
