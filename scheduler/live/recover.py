"""What a pool that was killed leaves behind, and what the next one on its state_dir makes of it.

Servers and workers outlive the pool. A running pool keeps `running.json` in its state_dir: where
its servers are and which journal is its own; a pool that is closed removes it. So whoever gets the
lock on the state_dir and finds that file takes over from a pool that was killed:

1. the journal is replayed, which gives machine and policy as they were;
2. servers that live are taken up; for the others DeviceLost, then DeviceAdded;
3. workers that live are taken up; ends that nobody has heard of are told (`worker.Record`);
4. commands that were not answered are given again: all are repeatable. What a Start, a Checkpoint
   or a Resize had done already is found out, not done twice (`sessions`, `worker.Record`). Where a
   gang's ranks are follows from the slices that it was given and how they changed (`gang.spread`).

A step that was recorded but not carried out is one whose commands were not answered. A step that
was not recorded was not carried out; its events are found out again by 2 to 4, or their sender was
not answered.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxy.info import running_servers
from proxy.paths import write_atomically
from scheduler.core.commands import Checkpoint, Release, Resize, Save, Start
from scheduler.core.events import (
    DeviceAdded,
    DeviceLost,
    JobCheckpointed,
    JobResized,
    JobSaved,
)
from scheduler.core.jobs import JobState
from scheduler.core.machine import Machine
from scheduler.core.values import Slice
from scheduler.decider import About, differences
from scheduler.errors import StateDamaged, StateDiffers, StateInUse
from scheduler.journal import Step
from scheduler.live.gang import Run, session_name, spread

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Running:
    """A running pool, for whoever comes after it. File: state_dir/running.json.

    began_ns  when its clock was 0, by the system's monotonic clock since boot `boot_id`"""

    root: str
    tag: str
    journal: str
    began_ns: int
    boot_id: str

    @classmethod
    def of(cls, root: Path, tag: str, journal: Path, began_ns: int) -> Running:
        boot_id = BOOT_ID.read_text().strip()
        return cls(str(root.absolute()), tag, journal.name, began_ns, boot_id)

    @classmethod
    def read(cls, state_dir: Path) -> Running | None:
        """None if the last pool was closed, or there was none. Raises StateDamaged."""
        path = state_dir / "running.json"
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise StateDamaged(
                f"{path} cannot be read ({error}): it tells where the servers of a pool are that "
                "was killed. Remove it to begin anew; running jobs are then nobody's"
            ) from error

    def write(self, state_dir: Path) -> None:
        write_atomically(state_dir / "running.json", json.dumps(asdict(self)).encode())

    @staticmethod
    def forget(state_dir: Path) -> None:
        (state_dir / "running.json").unlink(missing_ok=True)

    @staticmethod
    def is_there(state_dir: Path) -> bool:
        """Whether a pool runs, or was killed."""
        return (state_dir / "running.json").exists()

    @property
    def same_boot(self) -> bool:
        return self.boot_id == BOOT_ID.read_text().strip()


def check_root(before: Running, root: Path, state_dir: Path) -> None:
    """Raises StateDiffers if the servers of the pool that was killed run under another root."""
    if before.root != str(root.absolute()) and running_servers(Path(before.root)):
        raise StateDiffers(
            f"the pool on {state_dir} that was killed has its servers under {before.root}, which "
            f"still run: give this pool that root, not {root}"
        )


def check_same(
    header: Mapping[str, Any],
    steps: Sequence[Step],
    about: About,
    slices: Mapping[str, int],
    state_dir: Path,
) -> None:
    """Raises StateDiffers if what decides, or how devices are sliced, is not as it was."""
    if unlike := tuple(differences(header.get("about", about), about)):
        raise StateDiffers(
            f"the pool on {state_dir} that was killed was set up otherwise: {'; '.join(unlike)}. "
            "Start it with the same, let its jobs end and close it; or remove "
            f"{state_dir / 'running.json'} to begin anew, without its jobs"
        )
    for step in steps:
        for event in step.events:
            if not isinstance(event, DeviceAdded) or event.device not in slices:
                continue
            if slices[event.device] != event.slice_count:
                raise StateDiffers(
                    f"the pool on {state_dir} that was killed had {event.device} in "
                    f"{event.slice_count} slices; this one has {slices[event.device]}: give the "
                    "same"
                )


class StateLock:
    """One pool at a time on a state_dir. It vanishes with its holder."""

    def __init__(self, state_dir: Path) -> None:
        """Raises StateInUse."""
        path = state_dir / "lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode(errors="replace").strip()
            os.close(self._fd)
            raise StateInUse(
                f"{state_dir} is in use by a running pool (process {holder or 'unknown'}): close "
                "it first, or give this one another state_dir"
            ) from None
        os.truncate(self._fd, 0)
        os.write(self._fd, str(os.getpid()).encode())

    def release(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def runs_of(steps: Sequence[Step], tag: str) -> dict[int, Run]:
    """What the executor knew of each job that has not ended, or whose end was not answered."""
    runs: dict[int, Run] = {}
    going_to: dict[int, tuple[Slice, ...]] = {}
    for step in steps:
        for event in step.events:
            run = runs.get(getattr(event, "job", 0))
            if run is None or getattr(event, "epoch", 0) != run.epoch:
                continue
            if isinstance(event, JobResized):
                run.place(spread(len(run.ranks), going_to[run.job], run.slices))
            elif isinstance(event, JobCheckpointed | JobSaved):
                run.checkpoint = event.checkpoint
        for command in step.commands:
            match command:
                case Start():
                    run = runs.setdefault(command.job, Run(command.job, command.spec, 0))
                    run.epoch = command.epoch
                    run.place(spread(len(run.ranks), command.slices))
                    if not command.checkpoint:
                        run.session = session_name(tag, run.job, run.epoch)
                case Resize():
                    going_to[command.job] = command.slices
                case Release():
                    runs[command.job].released_epoch = command.epoch
    return runs


def alive_of(machine: Machine, runs: Mapping[int, Run]) -> dict[int, Run]:
    """Runs that somebody still has to look after."""
    releasing = {job for job, _ in machine.releasing}
    return {
        job: run
        for job, run in runs.items()
        if job in releasing or not machine.jobs[job].state.terminal
    }


def unanswered(machine: Machine) -> list[Start | Checkpoint | Resize | Save | Release]:
    """Commands that were given and not answered, in an order in which they were given."""
    found: list[Start | Checkpoint | Resize | Save | Release] = [
        Release(job, epoch, final=machine.jobs[job].state.terminal)
        for job, epoch in machine.releasing
    ]
    for job in machine.jobs.values():
        match job.state:
            case JobState.STARTING | JobState.MIGRATING:
                found.append(Start(job.id, job.epoch, job.slices, job.checkpoint, job.spec))
            case JobState.CHECKPOINTING:
                found.append(Checkpoint(job.id, job.epoch))
            case JobState.RUNNING if job.saving_us is not None:
                found.append(Save(job.id, job.epoch))
            case JobState.RESIZING:
                found.append(Resize(job.id, job.epoch, job.target))
    return found


def up_since(steps: Sequence[Step]) -> dict[str, int]:
    """Devices that were up at the end -> when they were added."""
    found: dict[str, int] = {}
    for event in (event for step in steps for event in step.events):
        if isinstance(event, DeviceAdded):
            found[event.device] = event.at_us
        elif isinstance(event, DeviceLost):
            found.pop(event.device, None)
    return found
