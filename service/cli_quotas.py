"""`haltere quotas`: who owns, uses and owes which slices of a running service."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli_service import DEFAULT_URL, Url, call

console = Console()


def quotas(url: Url = DEFAULT_URL) -> None:
    """Show the quotas of a running service: what each has, uses, borrows and waits for."""
    rows = call(url, "GET", "/v1/quotas")
    if not rows:
        console.print("no quotas: give the service some by haltere serve --policy elastic --quotas")
        return
    table = Table("quota or tenant", "kind", "owns", "uses", "owes", "waits for")
    for row in rows:
        cells = (row[key] for key in ("name", "kind", "owns", "uses", "owes", "waits"))
        table.add_row(*(escape(str(cell)) for cell in cells))
    console.print(table)
