"""`haltere drain`: devices of a running service are to be removed, for good or for a while in a
window of maintenance; or stay after all."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli_service import DEFAULT_URL, Url, call
from service.durations import seconds

console = Console()


def drain(
    device: Annotated[
        list[str] | None, typer.Argument(help="Devices of the service; without any, all are shown.")
    ] = None,
    deadline: Annotated[
        str, typer.Option(help="Removed at the latest after so long, with a unit: s, m, h, d.")
    ] = "10m",
    cancel: Annotated[
        bool, typer.Option("--cancel", help="It stays, or comes back if it was removed.")
    ] = False,
    within: Annotated[
        str | None,
        typer.Option(help="A window: each is out once within that time, when it disturbs least."),
    ] = None,
    lasts: Annotated[
        str, typer.Option(help="In a window: so long each is out; --cancel has it back sooner.")
    ] = "10m",
    notice: Annotated[
        str, typer.Option(help="In a window: so long before it is removed it is drained.")
    ] = "2m",
    url: Url = DEFAULT_URL,
) -> None:
    """Move all jobs off devices and stop their servers, so that they can be taken away."""
    if not device:
        if cancel or within is not None:
            raise typer.BadParameter("--cancel and --within need the devices")
        _show(call(url, "GET", "/v1/devices"))
        _show_window(call(url, "GET", "/v1/window"))
        return
    if within is not None:
        if cancel:
            raise typer.BadParameter("--cancel or --within, not both")
        times = {"within_s": within, "lasts_s": lasts, "notice_s": notice}
        asked = {name: seconds(text) for name, text in times.items()}
        _show_window(call(url, "POST", "/v1/window", {"devices": device, **asked}))
        return
    rows = []
    for uri in device:
        path = f"/v1/devices/{quote(uri, safe=':')}/drain"
        if cancel:
            rows.append(call(url, "POST", f"{path}/cancel", {}))
        else:
            rows.append(call(url, "POST", path, {"deadline_s": seconds(deadline)}))
    _show(rows)


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table("device", "part", "state", "slices", "jobs")
    for row in rows:
        jobs = " ".join(map(str, dict.fromkeys(row["jobs"])))
        table.add_row(row["uri"], row["part"], row["state"], str(row["slices"]), jobs)
    console.print(table)


def _show_window(window: dict[str, Any] | None) -> None:
    if window is None:
        return
    state = f"closes {window['left_s']:.0f} s from now" if window["is_open"] else "is over"
    waits = "waiting for their turn" if window["is_open"] else "not taken out"
    named = {"out": window["out"], waits: window["waits"], "back": window["back"]}
    parts = (f"{words}: {' '.join(uris)}" for words, uris in named.items() if uris)
    console.print(escape(f"the window of maintenance {state}; {'; '.join(parts)}"))
