"""`haltere services`: what a running service serves, by how many replicas, and how well."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli_service import DEFAULT_URL, Url, call
from service.durations import seconds

if TYPE_CHECKING:
    from service.scaling import Scaling

console = Console()


def services(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Show the models of a running service: replicas, requests, devices lent and recalled."""
    served = call(url, "GET", "/v1/services")
    rows = [row for row in served if model in (None, row["model"])]
    if model is not None and not rows:
        there = ", ".join(row["model"] for row in served) or "none"
        raise typer.BadParameter(f"no model {model!r}; served are {there}", param_hint="model")
    heads = "model", "replicas", "jobs", "requests", "in time", "lent", "recalls"
    table = Table(*heads, "recall s: p50; p99")
    for row in rows:
        table.add_row(*(escape(cell) for cell in _cells(row)))
    console.print(table)
    for row in rows:
        if row.get("trouble"):
            console.print(escape(row["trouble"]), soft_wrap=True)


def _cells(row: dict[str, Any]) -> list[str]:
    requests = f"{row['arrived']}, {row['pending']} wait or run"
    if "wanted" not in row:
        return [row["model"], f"{row['serving']}, fixed", "", requests, "", "", "", ""]
    ways = {"starting": "starting", "waiting": "waiting for a device"}
    also = "".join(f", {row[key]} {words}" for key, words in ways.items() if row[key])
    kept = f"wanted {100 * row['share_wanted']:g} % in {row['objective_s']:g} s"
    if row["share"] is not None:
        kept = f"{100 * row['share']:.2f} %, {kept}"
    times = ""
    if row["recalls"]:
        times = f"{row['recall_median_s']:.2f}; {row['recall_p99_s']:.2f}"
    return [
        row["model"],
        f"{row['serving']} serve{also}, of {row['least']} to {row['most']}",
        " ".join(map(str, row["jobs"])),
        requests,
        kept,
        str(row["lent"]),
        f"{row['recalls']}, {row['recalls_missed']} took over {row['recall_s']:g} s",
        times,
    ]


def scaling(
    replicas: str | None, objective: str, share: float, recall_deadline: str
) -> Scaling | None:
    """None: each model has one device, always."""
    from scheduler.policies.served import Objective
    from service.scaling import Scaling

    if replicas is None:
        return None
    found = re.fullmatch(r"(\d{1,6}):(\d{1,6})", replicas)
    if found is None:
        raise typer.BadParameter(f"replicas {replicas!r} are not LEAST:MOST, as 1:4")
    least, most = int(found[1]), int(found[2])
    kept = Objective(seconds(objective), share)
    return Scaling(least, most, kept, seconds(recall_deadline))
