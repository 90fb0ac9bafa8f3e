"""Events, decisions and commands in words, one line each: for whoever reads a journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from scheduler.core import commands, events, plan
from scheduler.core.commands import Command
from scheduler.core.events import Event
from scheduler.core.jobs import Job
from scheduler.core.plan import Decision
from scheduler.core.values import JobSpec, Slice

S = 1_000_000


def at(us: int) -> str:
    return f"{us / S:.1f} s"


def slices(items: Iterable[Slice]) -> str:
    """`node0/0-3 node1/2`: runs of slices of a device as one word."""
    return " ".join(_runs(sorted(items)))


def _runs(items: list[Slice]) -> Iterator[str]:
    for _, run in groupby(
        enumerate(items), lambda pair: (pair[1].device, pair[1].seat, pair[1].index - pair[0])
    ):
        first, *rest = (item for _, item in run)
        yield f"{first}-{rest[-1].index}" if rest else str(first)


def event(happened: Event) -> str:
    match happened:
        case events.DeviceAdded():
            of = f"{happened.kind} {happened.part}, {_count(happened.slice_count, 'slice')}"
            return f"{happened.device} is up: {of}"
        case events.DeviceLost():
            return f"{happened.device} is lost: {happened.reason}"
        case events.DrainRequested():
            return f"{happened.device} is to be removed at {at(happened.deadline_us)}"
        case events.DrainCancelled():
            return f"{happened.device} is to stay"
        case events.WindowOpened():
            names = " ".join(happened.devices)
            out = f"out once for {at(happened.lasts_us)} until {at(happened.closes_us)}"
            return f"{names}: each is to be {out}"
        case events.WindowClosed():
            return "the window of maintenance is over"
        case events.JobSubmitted():
            return f"job {happened.job} comes: {_wanted(happened.spec)}"
        case events.TimePassed():
            return "time has passed"
        case events.JobExited(exit_code=0):
            return f"job {happened.job} is done"
        case events.JobExited():
            return f"job {happened.job} ends with {happened.exit_code}: {happened.message}"
        case events.JobCheckpointed():
            return f"job {happened.job} is halted, its checkpoint is {happened.checkpoint}"
        case events.JobSaved():
            return f"job {happened.job} is saved, its checkpoint is {happened.checkpoint}"
        case (
            events.StartFailed()
            | events.CheckpointFailed()
            | events.SaveFailed()
            | events.ResizeFailed()
        ):
            what = _FAILED[type(happened)]
            why = f"{happened.code} ({happened.disposition}): {happened.message}"
            return f"job {happened.job} could not be {what}: {why}"
        case _:
            return f"job {happened.job} {_SIMPLE[type(happened)]}"


_FAILED: dict[type, str] = {
    events.StartFailed: "started",
    events.CheckpointFailed: "halted",
    events.SaveFailed: "saved",
    events.ResizeFailed: "resized",
}
_SIMPLE: dict[type, str] = {
    events.CancelRequested: "is to be cancelled",
    events.JobStarted: "runs",
    events.JobResized: "runs on its new slices",
    events.PaceMeasured: "tells its pace",
    events.LeaseReleased: "has left its slices",
}


def decision(decided: Decision, before: Job | None) -> str:
    """`before`: the job as it was when that was decided."""
    name = f"job {decided.job}"
    match decided:
        case plan.Admit():
            tier = before.spec.tier if before else "its tier"
            return f"admit {name}: from now on it is promised what {tier} jobs are"
        case plan.Place():
            return f"place {name} on {slices(decided.slices)}"
        case plan.Evict(for_job=other):
            return f"halt {name}, " + (f"for job {other}" if other != decided.job else "to move it")
        case plan.Resize():
            have, gets = len(before.slices) if before else 0, len(decided.slices)
            for_job = f", for job {decided.for_job}" if decided.for_job else ""
            if gets == have:
                return f"move {name} to {slices(decided.slices)}{for_job}"
            how = "shrink" if gets < have else "grow"
            return f"{how} {name} from {have} to {_count(gets, 'slice')}{for_job}"
        case plan.Save():
            return f"save {name}"
        case plan.GiveWay():
            return f"end {name} where it is, for job {decided.for_job}: it goes on from what it has"


def command(given: Command) -> str:
    match given:
        case commands.WakeAt():
            return f"wake at {at(given.at_us)}"
        case commands.Start():
            origin = f", from checkpoint {given.checkpoint}" if given.checkpoint else ""
            return (
                f"start job {given.job} (attempt {given.epoch}) on {slices(given.slices)}{origin}"
            )
        case commands.Resize():
            return f"let job {given.job} go on with {slices(given.slices)}"
        case commands.Checkpoint():
            return f"checkpoint job {given.job} and take its slices"
        case commands.Save():
            return f"checkpoint job {given.job}, which goes on"
        case commands.Release():
            return f"clear away job {given.job}" + (" for good" if given.final else "")


def _wanted(spec: JobSpec) -> str:
    text = f"{spec.name} of {spec.tenant}, {spec.tier}, {_count(spec.count, 'slice')}"
    text += f" of {spec.device_kind}"
    if spec.least != spec.most:
        text += f", can do with {spec.least} and use {spec.most}"
    return text + (f", on {' '.join(spec.devices)} only" if spec.devices else "")


def _count(number: int, of: str) -> str:
    return f"{number} {of}" + ("s" if number != 1 else "")
