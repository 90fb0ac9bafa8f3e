"""`haltere store`: look at a checkpoint store, and keep it small and whole."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from proxy.store.garbage import Usage

app = typer.Typer(no_args_is_help=True, help="Stores of checkpoints: list, remove, collect, check.")
console = Console()

# HALTERE_STATE_DIR as in service.settings, whose import would cost each command 0.3 s
DEFAULT_STORE = str(
    Path(os.environ.get("HALTERE_STATE_DIR") or Path.home() / ".local/state/haltere") / "store"
)
Store = Annotated[
    str, typer.Option(help="Checkpoint store: a folder or a URL, e.g. s3://bucket/dir.")
]
SHOWN = 12  # letters of a checkpoint's id, enough to name it


@app.command("ls")
def list_checkpoints(store: Store = DEFAULT_STORE) -> None:
    """List checkpoints, oldest first, and what they take together."""
    from proxy.checkpoint import blobs_of, summary
    from proxy.errors import CheckpointRefused
    from proxy.store import Store as Opened
    from proxy.store.garbage import usage

    found = Opened(store)
    table = Table("checkpoint", "session", "when", "part", "epoch", "buffers", "size")
    damaged = False
    for record, when in found.dated().items():
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
        try:
            about = summary(found.load(record))
        except CheckpointRefused as error:
            damaged = True
            table.add_row(record[:SHOWN], f"[red]{error}[/red]", stamp)
            continue
        table.add_row(
            record[:SHOWN], about.session, stamp, about.part, str(about.epoch),
            str(about.buffers), size(about.buffer_bytes),
        )  # fmt: skip
    console.print(table)
    if not damaged:
        _print_usage(usage(found, blobs_of))


@app.command("rm")
def remove(
    checkpoints: Annotated[list[str], typer.Argument(help="Ids, or how they begin.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """Remove checkpoints; `gc` then gives back what no other one needs."""
    from proxy.store import Store as Opened

    found = Opened(store)
    for record in [found.find(beginning) for beginning in checkpoints]:
        found.forget(record)
        console.print(f"removed {record[:SHOWN]}")


@app.command("gc")
def collect_garbage(store: Store = DEFAULT_STORE) -> None:
    """Give back what no checkpoint needs. Refused while one is being stored or restored."""
    from proxy.checkpoint import blobs_of
    from proxy.store import Store as Opened
    from proxy.store.garbage import collect, usage

    found = Opened(store)
    done = collect(found, blobs_of)
    console.print(f"{done.blobs} blobs removed, {size(done.freed_bytes)} given back")
    _print_usage(usage(found, blobs_of))


@app.command()
def verify(
    store: Store = DEFAULT_STORE,
    repair: Annotated[
        bool, typer.Option(help="Remove damaged blobs, so that they are stored anew.")
    ] = False,
) -> None:
    """Read everything and compute every digest anew; exit status 1 if something is damaged."""
    from proxy.checkpoint import blobs_of
    from proxy.store import Store as Opened
    from proxy.store.garbage import verify as check

    with console.status("reading"):
        done = check(Opened(store), blobs_of, repair)
    for line in done.damaged:
        console.print(f"[red]{line}[/red]")
    what = f"{done.records} checkpoints, {done.blobs} blobs"
    console.print(f"{what}: {len(done.damaged) or 'nothing'} damaged")
    if done.damaged and not repair:
        raise typer.Exit(1)


def _print_usage(found: Usage) -> None:
    console.print(
        f"{found.records} checkpoints of {size(found.named_bytes)}; {size(found.distinct_bytes)} "
        f"of it distinct, stored in {size(found.needed_bytes)}: {found.ratio:.2f} to 1. "
        f"The store takes {size(found.stored_bytes)}"
    )


def size(nbytes: int) -> str:
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"
