"""`haltere simulate-packing`: shares of GPUs on nodes of several, until no more fit."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from scheduler.sim.packing import Packed

console = Console()


def simulate_packing(
    nodes: Annotated[Path, typer.Option(help="openb's list of nodes.")],
    pods: Annotated[Path, typer.Option(help="openb's list of pods.")],
    ratio: Annotated[
        float, typer.Option(help="GPUs asked for in the end, over those there are.")
    ] = 1.3,
    seed: Annotated[int, typer.Option(help="The first; each run has the next.")] = 42,
    runs: Annotated[int, typer.Option()] = 3,
    report: Annotated[Path | None, typer.Option(help="Folder for report.json and .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Place pods in a drawn order until a cluster is full, by ours, by FGD and by best fit."""
    from proxy.paths import write_atomically
    from scheduler.core.values import FULL_MILLI
    from scheduler.sim.packing import SCORES, inflated, pack
    from scheduler.traces.readers import openb_nodes, openb_pods

    if report is not None:
        report.mkdir(parents=True, exist_ok=True)  # who cannot write there learns it at once
    fleet, known = openb_nodes(nodes), openb_pods(pods)
    capacity = sum(len(node.free) for node in fleet) * FULL_MILLI
    found: dict[str, list[Packed]] = {name: [] for name in SCORES}
    quiet = Console(stderr=True)
    for run in track(range(runs), "packing", console=quiet, transient=True):
        order = inflated(known, capacity, ratio, seed + run)
        for name, score in SCORES.items():
            found[name].append(pack(fleet, order, score, known))
    assumed = {"nodes": nodes.name, "pods": pods.name, "gpus": capacity // FULL_MILLI}
    assumed |= {"ratio": ratio, "seeds": list(range(seed, seed + runs))}
    figures: dict[str, Any] = {
        name: {
            "allocated": fmean(run.allocated[-1] for run in by),
            "allocated_by_seed": [run.allocated[-1] for run in by],
            "placed": fmean(run.placed for run in by),
            "refused": fmean(run.refused for run in by),
        }
        for name, by in found.items()
    }
    text = json.dumps({"assumed": assumed, "figures": figures}, indent=1)
    if report is not None:
        write_atomically(report / "report.json", text.encode())
        write_atomically(report / "report.png", _picture(found))
    if as_json:
        print(text)
        return
    table = Table(
        "packing", "GPUs allocated %", "worst seed %", "pods placed", "refused",
        title=f"{assumed['pods']} on {assumed['gpus']} GPUs, {ratio:.0%} asked for, {runs} seeds",
    )  # fmt: skip
    for name, f in figures.items():
        worst = min(f["allocated_by_seed"])
        table.add_row(
            name, f"{100 * f['allocated']:.2f}", f"{100 * worst:.2f}",
            f"{f['placed']:.0f}", f"{f['refused']:.0f}",
        )  # fmt: skip
    console.print(table)


def _picture(found: dict[str, list[Packed]]) -> bytes:
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, runs in found.items():
        first = runs[0]
        axes.plot(first.arrived, first.allocated, label=name)
    axes.set_xlabel("GPUs asked for, over the cluster's")
    axes.set_ylabel("GPUs allocated, over the cluster's")
    axes.set_ylim(0.7, 1)
    axes.set_xlim(0.7, None)
    axes.legend()
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
