"""Text scenarios: events in, the full expected commands and changes out.

A file is a list of blocks, separated by empty lines. A block is lines of input, `----`, and what
came of them. All input lines of a block are one batch (the policy plans once after it).

    policy min_run=5s backoff=1s       (first block only; "policy elastic first_level=480s ..." for
                                        another one, with its own settings)
    quota NAME KIND=SLICES             (first block only, under elastic)
    device URI KIND PART [slices=N]    lost URI [reason]    drain URI 600s    keep URI
    submit NAME tier=T kind=K [tenant=..] [count=N] [least=N] [most=N] [devices=a,b] [recovery=..]
        [recall=5s] [lease]
    cancel JOB    wake    started JOB EPOCH    checkpointed JOB EPOCH ID
    start-failed JOB EPOCH DISPOSITION    checkpoint-failed JOB EPOCH DISPOSITION
    saved JOB EPOCH ID    save-failed JOB EPOCH DISPOSITION    resized JOB EPOCH
    exited JOB EPOCH CODE [words]    released JOB EPOCH
    state                              (prints everything)

`+2s`, `+5ms` before a line lets time pass, `-1s` takes it back; `again ...` is a submission of the
last number once more. Output: commands as they are issued, then each job whose record changed, then
what waiting jobs wait for, if that changed. A refusal of the machine is printed as `! Error: first
line`.

A file that begins with `simulate` is a whole simulated run, under the elastic policy:

    simulate 2x4xV100 [saves] [faults=WORDS]    (scheduler.sim.cluster, faults; halting is charged)
    job 10s 300s [count=N] ...                  (comes at, takes; else as submit)

Its output is all that happened and all that was done about it. To regenerate:

    pytest tests/scheduler/test_scenarios.py --rewrite-scenarios && git diff tests/scheduler
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from scheduler.core import events
from scheduler.core.commands import Checkpoint, Command, Release, Resize, Save, Start, WakeAt
from scheduler.core.jobs import Job
from scheduler.core.machine import Machine
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec
from scheduler.errors import SchedulerError
from scheduler.loop import Loop, decide
from scheduler.policies.elastic import Elastic
from scheduler.policies.explain import audit
from scheduler.policies.policy import Policy
from scheduler.policies.quotas import Quota, Quotas
from scheduler.policies.round import ElasticParams
from scheduler.policies.tiered import Tiered
from scheduler.sim.breaking import Breaking
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.executor import SimExecutor
from scheduler.sim.faults import read_faults
from scheduler.testing.invariants import History, broken_tables

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def micros(text: str) -> int:
    found = re.fullmatch(r"\+?(-?\d+)(s|ms|us)", text)
    assert found, f"{text!r} is no duration"
    return int(found[1]) * _UNITS[found[2]]


class Script:
    """Interprets one scenario."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.policy: Policy = Tiered()
        self.quotas: list[Quota] = []
        self.now_us = 0
        self.submitted = 0
        self.seen: dict[int, Job] = {}
        self.told: dict[int, str] = {}

    def run(self, block: list[str]) -> list[str]:
        batch: list[events.Event] = []
        show_all = False
        for line in block:
            words = line.split()
            if words[0][0] in "+-":
                self.now_us += micros(words.pop(0))
            if words[0] == "policy":
                self._configure(words[1:])
            elif words[0] == "quota":
                kinds = dict(word.split("=") for word in words[2:])
                self.quotas.append(Quota(words[1], {k: int(v) for k, v in kinds.items()}))
                self.policy = Elastic(quotas=Quotas(self.quotas))
            elif words[0] == "state":
                show_all = True
            else:
                batch.append(self._event(words))
        commands: tuple[Command, ...] = ()
        if batch:
            try:
                commands = decide(self.machine, self.policy, batch)
            except SchedulerError as error:
                return [f"! {type(error).__name__}: {str(error).splitlines()[0]}"]
            if isinstance(self.policy, Tiered):
                assert audit(self.machine.view(), self.machine.waiting) == []
            assert broken_tables(self.machine) == []
        output = [_command(command) for command in commands]
        output += self._changes()
        if show_all:
            output += self._state()
        return output

    def _configure(self, words: list[str]) -> None:
        options = dict(word.split("=") for word in words if "=" in word)
        if words[0] == "elastic":
            settings = {f"{k}_s": micros(v) // _UNITS["s"] for k, v in options.items()}
            self.policy = Elastic(ElasticParams(saves="saves" in words, **settings))
            return
        self.policy = Tiered(micros(options.pop("min_run", "0s")))
        self.machine = Machine(Params(**{f"{key}_us": micros(v) for key, v in options.items()}))

    def _event(self, words: list[str]) -> events.Event:
        at, (verb, *rest) = self.now_us, words
        match verb:
            case "device":
                options = dict(word.split("=") for word in rest[3:])
                return events.DeviceAdded(at, *rest[:3], int(options.get("slices", "1")))
            case "lost":
                return events.DeviceLost(at, rest[0], " ".join(rest[1:]) or "server died")
            case "drain":
                return events.DrainRequested(at, rest[0], at + micros(rest[1]))
            case "keep":
                return events.DrainCancelled(at, rest[0])
            case "again":
                return events.JobSubmitted(at, self.submitted, _spec(rest))
            case "submit":
                self.submitted += 1
                return events.JobSubmitted(at, self.submitted, _spec(rest))
            case "cancel":
                return events.CancelRequested(at, int(rest[0]))
            case "wake":
                return events.TimePassed(at)
        job, epoch = int(rest[0]), int(rest[1])
        match verb:
            case "started":
                return events.JobStarted(at, job, epoch)
            case "checkpointed":
                return events.JobCheckpointed(at, job, epoch, rest[2])
            case "start-failed":
                return events.StartFailed(at, job, epoch, "test", rest[2], "as scripted")
            case "checkpoint-failed":
                return events.CheckpointFailed(at, job, epoch, "test", rest[2], "as scripted")
            case "saved":
                return events.JobSaved(at, job, epoch, rest[2])
            case "save-failed":
                return events.SaveFailed(at, job, epoch, "test", rest[2], "as scripted")
            case "resized":
                return events.JobResized(at, job, epoch)
            case "exited":
                return events.JobExited(at, job, epoch, int(rest[2]), " ".join(rest[3:]))
            case "released":
                return events.LeaseReleased(at, job, epoch)
        raise AssertionError(f"unknown input {words}")

    def _changes(self) -> list[str]:
        lines = []
        for job in self.machine.jobs.values():
            before = self.seen.get(job.id)
            if before is None or _summary(before) != _summary(job):
                was = f"{before.state} -> " if before and before.state != job.state else ""
                lines.append(f"job {job.id} {job.spec.name} {was}{_summary(job)}")
            self.seen[job.id] = job
        waiting = self.machine.waiting
        if isinstance(self.policy, Elastic):
            waiting = self.policy.explain(self.machine.view())
        told = {
            job_id: "; ".join(str(blocker) for blocker in blockers)
            for job_id, blockers in waiting.items()
        }
        lines += [f"job {k} waits: {text}" for k, text in told.items() if self.told.get(k) != text]
        self.told = told
        return lines

    def _state(self) -> list[str]:
        machine = self.machine
        lines = [f"at {machine.now_us}us, {machine.fenced_count} late events dropped"]
        for device in machine.devices.values():
            how = "up" if device.up else "down"
            if device.uri in machine.view().draining:
                how = f"to be removed at {machine.view().draining[device.uri]}us"
            lines.append(f"device {device.uri} {device.part} {how}")
        for item, lease in sorted(machine.leases.items()):
            note = " releasing" if lease.releasing else ""
            lines.append(f"slice {item} job {lease.job} epoch {lease.epoch}{note}")
        lines += [f"job {job.id} {job.spec.name} {_summary(job)}" for job in machine.jobs.values()]
        return lines


def _spec(words: list[str]) -> JobSpec:
    name, *rest = words
    flags = {word for word in rest if "=" not in word}
    options = dict(word.split("=") for word in rest if "=" in word)
    return JobSpec(
        name=name,
        tenant=options.get("tenant", "ann"),
        tier=options["tier"],
        device_kind=options["kind"],
        argv=None if "lease" in flags else ("work",),
        count=int(options.get("count", "1")),
        least=int(options.get("least", "0")),
        most=int(options.get("most", "0")),
        devices=tuple(options["devices"].split(",")) if "devices" in options else (),
        recovery=options.get("recovery", ""),
        recall_us=micros(options.get("recall", "0s")),
    )


def _command(command: Command) -> str:
    match command:
        case Start():
            where = ",".join(str(item) for item in command.slices)
            origin = f" from {command.checkpoint}" if command.checkpoint else ""
            return f"Start job {command.job} epoch {command.epoch} on {where}{origin}"
        case Release(final=True):
            return f"Release job {command.job} epoch {command.epoch} for good"
        case Resize():
            where = ",".join(str(item) for item in command.slices)
            return f"Resize job {command.job} epoch {command.epoch} to {where}"
        case Checkpoint() | Save() | Release():
            return f"{type(command).__name__} job {command.job} epoch {command.epoch}"
        case _:
            return f"WakeAt {command.at_us}us"


def _summary(job: Job) -> str:
    text = f"{job.state} epoch={job.epoch}"
    if job.slices:
        text += " on " + ",".join(str(item) for item in job.slices)
    if job.checkpoint:
        text += f" checkpoint={job.checkpoint}"
    if job.evicted_for:
        text += f" for={job.evicted_for}"
    if job.saving_us is not None:
        text += " being saved"
    if job.home:
        text += " home=" + ",".join(str(item) for item in job.home)
    if job.avoid:
        text += f" avoid={','.join(job.avoid)}"
    if job.pinned:
        text += " pinned"
    return text + (f" because {job.reason!r}" if job.reason else "")


def simulated(lines: list[str]) -> list[str]:
    """All that happens in a simulated run, one step a group of lines."""
    words = lines[0].split()
    options = dict(word.split("=", 1) for word in words if "=" in word)
    cluster, rows = read_cluster(words[1]), [line.split() for line in lines[1:]]
    work_us = [micros(row[2]) for row in rows]
    nodes = cluster.each()
    executor = SimExecutor(
        Costs(), {uri: part for uri, _, part in nodes}, lambda number: work_us[number - 1]
    )
    executor.feed(events.DeviceAdded(0, uri, "gpu", part, devices) for uri, devices, part in nodes)
    common = ["tier=basic", "kind=gpu", "recovery=checkpoint"]
    executor.feed(
        events.JobSubmitted(micros(row[1]), number, _spec([f"job-{number}", *common, *row[3:]]))
        for number, row in enumerate(rows, 1)
    )
    if "faults" in options:
        faults = read_faults(options["faults"])
        Breaking(faults, cluster, executor, 1, lambda: executor.over < len(rows))
    machine, log = Machine(), Log()
    history = History(machine)
    policy = Elastic(ElasticParams(saves="saves" in words, mtbf_s=36_000))
    loop = Loop(machine, policy, executor, (log, history))
    while loop.step():
        assert broken_tables(machine) == [] and history.complaints == []
    log.lines += [f"job {job.id} {_summary(job)}" for job in machine.jobs.values()]
    log.lines.append(f"{executor.lost_us / 1e6:.0f} slice-seconds of work were lost")
    return log.lines


class Log:
    """Steps as lines, without what is of no matter: wakes, and the answers to releases."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def record(self, events_: Sequence[events.Event], commands: Sequence[Command]) -> None:
        lines = [_happened(event) for event in events_ if not isinstance(event, QUIET)]
        lines += [f"  {_command(each)}" for each in commands if not isinstance(each, WakeAt)]
        if lines:
            self.lines += [f"{events_[-1].at_us / 1e6:.0f}s", *(f"  {line}" for line in lines)]


QUIET = (events.TimePassed, events.LeaseReleased)


def _happened(event: events.Event) -> str:
    told = (
        getattr(event, name)
        for name in ("device", "job", "checkpoint", "code", "deadline_us")
        if hasattr(event, name)
    )
    return " ".join([type(event).__name__, *(str(each) for each in told if each != "")])


def render(text: str) -> str:
    """The scenario with its output as it is now."""
    if re.search("^simulate ", text, re.MULTILINE):
        given = text.split("----")[0].strip().split("\n")
        inputs = [line for line in given if line and not line.startswith("#")]
        return "\n".join([*given, "----", *simulated(inputs)]) + "\n"
    script = Script()
    blocks = []
    for block in text.strip().split("\n\n"):
        lines = [line.rstrip() for line in block.split("\n")]
        given = lines[: lines.index("----")] if "----" in lines else lines
        inputs = [line for line in given if line and not line.startswith("#")]
        output = script.run(inputs) if inputs else []
        blocks.append("\n".join([*given, "----", *output] if inputs else given))
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scheduler_does_what_the_scenario_says(
    path: Path, request: pytest.FixtureRequest
) -> None:
    text = path.read_text()
    now = render(text)
    if request.config.getoption("--rewrite-scenarios", default=False):
        path.write_text(now)
    assert path.read_text() == now
    assert "----\n" in now


def test_a_wrong_expectation_is_noticed() -> None:
    text = SCENARIOS[0].read_text()
    assert render(text.replace("epoch=1", "epoch=9")) != text.replace("epoch=1", "epoch=9")
