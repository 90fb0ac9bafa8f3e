"""`haltere simulate-overlays`: synthesised FPGA requests, with and without regard to overlays."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

console = Console()


def simulate_overlays(
    overlay: Annotated[
        list[str] | None, typer.Option(help="NAME=WEIGHT of requests; several.")
    ] = None,
    fpgas: Annotated[int, typer.Option()] = 4,
    reconfigure_s: Annotated[float, typer.Option(help="To load another overlay.")] = 2.0,
    load: Annotated[
        float, typer.Option(help="Work that arrives, over what the FPGAs can do.")
    ] = 0.6,
    run_s: Annotated[float, typer.Option(help="Of a request, on average.")] = 1.0,
    requests: Annotated[int, typer.Option()] = 5000,
    patience_s: Annotated[float, typer.Option(help="Waited longer: overdue.")] = 5.0,
    stay_s: Annotated[float, typer.Option(help="An overlay in use stays so long.")] = 20.0,
    seed: Annotated[int, typer.Option()] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Share FPGAs among models: affinity to the loaded overlay against first come, first served.
    The requests are synthesised: there is no public trace of an FPGA fleet."""
    from scheduler.policies.overlays import Affinity, Blind
    from scheduler.sim.overlays import Fabric, run, synthesised

    weights = [_weight(word) for word in overlay or ["a=4", "b=2", "c=1", "d=1"]]
    fabric = Fabric(fpgas, reconfigure_s)
    tasks = synthesised(weights, load * fpgas / run_s, run_s, requests, seed)
    found = {
        "affinity": run(tasks, fabric, Affinity(patience_s, stay_s)),
        "blind": run(tasks, fabric, Blind()),
    }
    assumed: dict[str, Any] = {
        "requests": f"{requests}, synthesised",
        "overlays": dict(weights),
        "fabric": asdict(fabric),
        "load": load,
        "run_s": run_s,
        "patience_s": patience_s,
        "stay_s": stay_s,
        "seed": seed,
    }
    figures = {
        name: {
            "reconfigurations": ran.reconfigurations,
            "reconfiguring_share": ran.reconfiguring_s / (fpgas * ran.end_s),
            "average_s": ran.average_s,
            "p99_s": ran.p99_s,
            "end_s": ran.end_s,
        }
        for name, ran in found.items()
    }
    if as_json:
        print(json.dumps({"assumed": assumed, "figures": figures}, indent=1))
        return
    table = Table(
        "choice", "reconfigurations", "of the time %", "average s", "p99 s", "all s",
        title=f"{requests} synthesised requests for {len(weights)} overlays on {fpgas} FPGAs, "
        f"load {load:g}, {reconfigure_s:g} s to reconfigure",
    )  # fmt: skip
    for name, f in figures.items():
        table.add_row(
            name, str(f["reconfigurations"]), f"{100 * f['reconfiguring_share']:.1f}",
            f"{f['average_s']:.1f}", f"{f['p99_s']:.1f}", f"{f['end_s']:.0f}",
        )  # fmt: skip
    console.print(table)


def _weight(word: str) -> tuple[str, float]:
    name, _, weight = word.partition("=")
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not (name and 0 < value < 1e9):
        raise typer.BadParameter(f"{word!r} is not NAME=WEIGHT")
    return name, value
