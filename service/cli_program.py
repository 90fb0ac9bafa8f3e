"""Commands about programs: run one on devices behind servers, halt, move and resume it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.cli_store import DEFAULT_STORE, Store, size

console = Console()

Name = Annotated[str, typer.Argument(help="The program's name: haltere jobs lists them.")]


def run(
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, behind --.")],
    devices: Annotated[
        int | None, typer.Option(help="OpenCL devices it sees; default: one for each server.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="Server or device, e.g. opencl:0; default: all OpenCL devices."),
    ] = None,
    name: Annotated[str, typer.Option(help="What to call it: for halt, move, resume.")] = "",
    keep: Annotated[bool, typer.Option(help="Leave servers running that it started.")] = False,
    restarts: Annotated[
        int, typer.Option(min=0, help="Go on when a server is killed, so often; copies cost more.")
    ] = 0,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(metavar="S", help="So often too, not only when there is much to redo."),
    ] = None,
    store: Annotated[
        str, typer.Option(help="Where these checkpoints go; default: a folder that goes after it.")
    ] = "",
) -> None:
    """Run an unmodified OpenCL program so that it can be halted, moved and resumed."""
    from proxy.paths import default_root
    from proxy.run import Kept, Program
    from proxy.run import run as run_program

    notes = Console(stderr=True)
    program = Program(tuple(command), name or None, devices)
    kept = Kept(restarts, checkpoint_every, store)

    def told(line: str) -> None:
        notes.print(f"haltere: {line}")

    status = run_program(default_root(), program, device or (), keep, kept, told)
    if status < 0:  # end as the program ended
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
        raise typer.Exit(128 - status)
    raise typer.Exit(status)


def halt(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Halt a running program, save it and release its devices; it waits for resume."""
    from proxy import programs
    from proxy.paths import default_root

    with console.status(f"halting and saving {name}"):
        notes = programs.halt(default_root(), name, store)
    for note in notes:
        console.print(f"{note.session} is halted, in checkpoint {note.checkpoint[:12]}")


def resume(
    name: Name,
    target: Annotated[
        str | None, typer.Option("--to", help="Device of the same part; default: where it was.")
    ] = None,
    store: Annotated[
        str, typer.Option(help="Where its checkpoint is, if its halt or move was interrupted.")
    ] = DEFAULT_STORE,
) -> None:
    """Let a halted program go on."""
    from proxy import programs
    from proxy.paths import default_root

    with console.status(f"resuming {name}"):
        done = programs.resume(default_root(), name, target, store)
    for session, server in done:
        console.print(f"{session} goes on on {server}")


def move(
    name: Name,
    target: Annotated[str, typer.Option("--to", help="Device of the same part.")],
    source: Annotated[str | None, typer.Option("--from", help="Move only what runs there.")] = None,
    store: Store = DEFAULT_STORE,
    rounds: Annotated[
        int, typer.Option(min=0, help="How often at most to copy ahead while it runs.")
    ] = 4,
) -> None:
    """Move a running program to another device; it stops for the last of its data only."""
    from proxy import programs
    from proxy.paths import default_root

    with console.status(f"moving {name} to {target}"):
        moved = programs.move(default_root(), name, target, store, source, rounds)
    for session, done in moved:
        *ahead, last = done.rounds
        copied = (
            f", {size(sum(each.uploaded_bytes for each in ahead))} of it ahead" if ahead else ""
        )
        console.print(
            f"{session} goes on on {target} after {done.pause_s:.3f} s: "
            f"{size(last.uploaded_bytes)} copied in them{copied}"
        )
    if not moved:
        console.print(f"nothing to move: {name} is on {target}")


def snapshot(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Checkpoint a running program without stopping it; prints each checkpoint's name."""
    from proxy import programs
    from proxy.paths import default_root

    with console.status(f"saving {name}"):
        taken = programs.snapshot(default_root(), name, store)
    for session, checkpoint in taken:
        console.print(f"{session} {checkpoint}")


def show_programs() -> None:
    """Programs on this machine's servers."""
    from proxy import programs
    from proxy.paths import default_root

    table = Table("program", "process", "device", "state", "buffers", "MiB", "swapped MiB")
    for each in programs.sessions(default_root()):
        row: tuple[Any, ...] = (
            each.session,
            each.pid,
            each.server,
            each.state,
            each.buffers,
            f"{each.buffer_bytes / 2**20:.1f}",
            f"{each.out_bytes / 2**20:.1f}",
        )
        table.add_row(*map(str, row))
    console.print(table)


def add_to(app: typer.Typer) -> None:
    app.command(context_settings={"ignore_unknown_options": False})(run)
    for command in (halt, resume, move, snapshot):
        app.command()(command)
