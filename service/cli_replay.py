"""`haltere replay`: a journal is decided again, step by step, and told in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from service.durations import seconds
from service.why import words

if TYPE_CHECKING:
    from scheduler.core.jobs import Job
    from scheduler.core.machine import Machine
    from scheduler.core.plan import Plan
    from scheduler.core.view import View
    from scheduler.journal import Contents, Step
    from scheduler.policies.policy import Policy

console = Console()
STYLES = {"event": "green", "plan": "magenta", "command": "cyan"}


def replay(
    journal: Annotated[Path, typer.Argument(help="Of a pool (state_dir/journal) or a simulation.")],
    job: Annotated[
        int | None, typer.Option(min=1, help="Only steps that concern this job, and it.")
    ] = None,
    at: Annotated[
        str, typer.Option(help="Up to this time, with a unit (s, m, h, d): who has what, then.")
    ] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Steps, too, in which nothing was decided or ended.")
    ] = False,
    policy: Annotated[
        str, typer.Option(help="Who decided, where the journal does not say; with own settings.")
    ] = "",
) -> None:
    """Decide a journal again: the same commands must come of it. Tell each step, and why jobs wait
    in the end."""
    from scheduler.core.machine import Machine
    from scheduler.decider import remake
    from scheduler.errors import JournalDamaged
    from scheduler.journal import read, replayed
    from scheduler.policies.named import policy as named

    until_us = round(seconds(at) * 1e6) if at else None
    contents = read(journal)
    if not contents.header:
        why = contents.torn.reason if contents.torn else "it is empty"
        raise JournalDamaged(f"{journal} does not begin with the header of a journal: {why}")
    decides, params = (named(policy), None) if policy else remake(contents.header.get("about", ""))
    if contents.torn is not None:
        typer.echo(_torn(journal, contents), err=True)
    machine, watched = Machine(params), _Watched(decides)
    steps = [
        step
        for step in contents.steps
        if until_us is None or all(event.at_us <= until_us for event in step.events)
    ]
    if job is not None and not _comes(steps, job):
        raise typer.BadParameter(f"job {job} was not submitted by then", param_hint="--job")
    hidden = 0
    for step in replayed(steps, machine, watched):
        lines = list(_told(step, watched, every))
        if not lines or (job is not None and not _concerns(step, watched, job)):
            hidden += 1
            continue
        _show(machine.now_us, lines)
    left_out = f"; {hidden} of them not shown" if hidden else ""
    console.print(
        f"{len(steps)} steps, decided again with the same commands{left_out}", style="bold"
    )
    for line in _standing(machine, decides, job):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Watched:
    """The policy, with its last plan and the jobs as they were when it was made."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.plan_made: Plan
        self.before: dict[int, Job] = {}

    def plan(self, view: View) -> Plan:
        self.plan_made = self._policy.plan(view)
        self.before = {
            each.job: view.jobs[each.job]
            for each in self.plan_made.decisions
            if each.job in view.jobs
        }
        return self.plan_made


def _told(step: Step, watched: _Watched, every: bool) -> Iterator[tuple[str, str]]:
    """Lines of a step, with what they are; none if it is of no matter."""
    from scheduler import telling
    from scheduler.core.commands import WakeAt
    from scheduler.core.events import LeaseReleased, PaceMeasured, TimePassed

    quiet = TimePassed, LeaseReleased, PaceMeasured
    decisions = watched.plan_made.decisions
    commands = [c for c in step.commands if every or not isinstance(c, WakeAt)]
    happened = [e for e in step.events if every or decisions or not isinstance(e, quiet)]
    if not (decisions or commands or happened):
        return
    yield from (("event", telling.event(each)) for each in happened)
    yield from (
        ("plan", telling.decision(each, watched.before.get(each.job))) for each in decisions
    )
    yield from (("command", telling.command(each)) for each in commands)


def _show(now_us: int, lines: list[tuple[str, str]]) -> None:
    from scheduler.telling import at

    time = at(now_us)
    for what, text in lines:
        console.print(
            f"{time:>12}  [{STYLES[what]}]{what:8}[/]", end="", highlight=False, soft_wrap=True
        )
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        time = ""


def _concerns(step: Step, watched: _Watched, job: int) -> bool:
    named = {getattr(each, "job", 0) for each in (*step.events, *step.commands)}
    for decided in watched.plan_made.decisions:
        named |= {decided.job, getattr(decided, "for_job", 0)}
    return job in named


def _comes(steps: list[Step], job: int) -> bool:
    from scheduler.core.events import JobSubmitted

    return any(isinstance(e, JobSubmitted) and e.job == job for s in steps for e in s.events)


def _standing(machine: Machine, policy: Policy, job: int | None) -> Iterator[str]:
    """Jobs that have not ended, or the one asked for, as `haltere why` tells; and what is free."""
    import msgspec

    from scheduler.live.board import Board
    from scheduler.loop import reasons
    from scheduler.telling import at, slices

    board = Board(machine, lambda _: "", lambda _: "", partial(reasons, machine, policy))
    board.publish()
    yield f"at {at(machine.now_us)}:"
    shown = (
        [each for each in board.jobs() if not each.terminal] if job is None else [board.job(job)]
    )
    for each in shown:
        yield from words(msgspec.to_builtins(each))
    if not shown:
        yield "no job is left"
    if job is not None:
        return
    view = machine.view()
    for uri, device in view.devices.items():
        if not device.up:
            yield f"{uri} is down"
        elif free := slices(view.free.on(uri)):
            yield f"free: {free}"


def _torn(journal: Path, contents: Contents) -> str:
    torn = contents.torn
    assert torn is not None
    return (
        f"{journal}: its last {torn.nbytes} bytes, from byte {torn.offset} on, are no whole record "
        f"({torn.reason}), as after a crash: they are left out"
    )
