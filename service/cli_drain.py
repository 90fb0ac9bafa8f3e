"""`haltere drain`: a device of a running service is to be removed, or stays after all."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from service.cli_service import DEFAULT_URL, Url, call

console = Console()
UNITS_S = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def drain(
    device: Annotated[
        str | None, typer.Argument(help="A device of the service; without one, all are shown.")
    ] = None,
    deadline: Annotated[
        str, typer.Option(help="When it is removed at the latest, as 90s, 10m, 2h.")
    ] = "10m",
    cancel: Annotated[
        bool, typer.Option("--cancel", help="It stays, or comes back if it was removed.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Move all jobs off a device and stop its server, so that it can be taken away."""
    if device is None:
        if cancel:
            raise typer.BadParameter("--cancel needs the device")
        _show(call(url, "GET", "/v1/devices"))
        return
    path = f"/v1/devices/{quote(device, safe=':')}/drain"
    if cancel:
        _show([call(url, "POST", f"{path}/cancel", {})])
    else:
        _show([call(url, "POST", path, {"deadline_s": seconds(deadline)})])


def seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9.]+)([a-z]+)", text)
    try:
        assert found is not None
        return float(found[1]) * UNITS_S[found[2]]
    except (AssertionError, KeyError, ValueError):
        raise typer.BadParameter(
            f"{text!r} is no time with a unit of {', '.join(UNITS_S)}, as 90s or 10m"
        ) from None


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table("device", "part", "state", "slices", "jobs")
    for row in rows:
        jobs = " ".join(map(str, dict.fromkeys(row["jobs"])))
        table.add_row(row["uri"], row["part"], row["state"], str(row["slices"]), jobs)
    console.print(table)
