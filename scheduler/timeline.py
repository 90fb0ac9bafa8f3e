"""Spans of what each device did for whom: a pure fold over the loop's steps.

It works on live steps and on those of a replayed journal alike. A job's spans on a device:
`restore` from a Start with a checkpoint to JobStarted, `run` from JobStarted to the end or to
Checkpoint, `checkpoint` from there to its answer (or to whatever ended the attempt). A job that is
resized runs on its old devices until that is answered, and on its new ones from then on.
`reconfigure` spans, which only the device's server can see, are added by whoever asks it
(live.reconfigured).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scheduler.core.commands import Checkpoint, Command, Release, Resize, Start
from scheduler.core.events import (
    CheckpointFailed,
    Event,
    JobCheckpointed,
    JobResized,
    JobStarted,
    StartFailed,
)
from scheduler.core.values import JobSpec, Slice

MAX_SPANS = 100_000  # kept in memory; the journal has all of them


@dataclass(frozen=True, slots=True)
class Span:
    device: str
    job: int
    tenant: str
    tier: str
    kind: str  # run | checkpoint | restore | reconfigure
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class _Open:
    epoch: int  # an event of another attempt is a late one, which the machine dropped too
    spec: JobSpec
    devices: tuple[str, ...]
    kind: str
    start_us: int
    target: tuple[str, ...] = ()  # its devices once it is resized


class Timeline:
    """Feed it every step (it is a Recorder of the loop); `spans()` at any time."""

    def __init__(self) -> None:
        self._closed: list[Span] = []
        self._open: dict[int, _Open] = {}
        self._now_us = 0

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        for event in events:
            self._now_us = event.at_us
            self._on_event(event)
        for command in commands:
            self._on_command(command)

    def add(self, span: Span) -> None:
        if len(self._closed) < MAX_SPANS:
            self._closed.append(span)

    def spans(self, now_us: int = 0) -> tuple[Span, ...]:
        """Finished spans, and those still open up to `now_us` or the last event, by start."""
        unfinished = (
            span for job in self._open for span in self._cut(job, max(self._now_us, now_us))
        )
        return tuple(sorted((*self._closed, *unfinished), key=lambda s: (s.start_s, s.device)))

    def _on_event(self, event: Event) -> None:
        if not isinstance(
            event, JobStarted | JobCheckpointed | JobResized | StartFailed | CheckpointFailed
        ):
            return
        current = self._open.get(event.job)
        if current is None or current.epoch != event.epoch:
            return
        if isinstance(event, JobStarted | CheckpointFailed):
            self._turn(event.job, "run")
        elif isinstance(event, JobResized):
            if current.target != current.devices:
                self._turn(event.job, "run")
                self._open[event.job] = replace(self._open[event.job], devices=current.target)
        else:
            self._close(event.job)

    def _on_command(self, command: Command) -> None:
        match command:
            case Start():
                kind = "restore" if command.checkpoint else ""  # a first start is not worth a span
                self._open[command.job] = _Open(
                    command.epoch, command.spec, _devices(command.slices), kind, self._now_us
                )
            case Resize():
                current = self._open[command.job]
                self._open[command.job] = replace(current, target=_devices(command.slices))
            case Checkpoint():
                self._turn(command.job, "checkpoint")
            case Release():
                self._close(command.job)
            case _:
                pass

    def _turn(self, job: int, kind: str) -> None:
        """End the open span of the job and begin one of another kind."""
        current = self._open[job]
        self._close(job)
        self._open[job] = replace(current, kind=kind, start_us=self._now_us)

    def _close(self, job: int) -> None:
        for span in self._cut(job, self._now_us):
            self.add(span)
        self._open.pop(job, None)

    def _cut(self, job: int, end_us: int) -> tuple[Span, ...]:
        current = self._open.get(job)
        if current is None or not current.kind:
            return ()
        spec = current.spec
        return tuple(
            Span(
                device,
                job,
                spec.tenant,
                str(spec.tier),
                current.kind,
                current.start_us / 1e6,
                end_us / 1e6,
            )
            for device in current.devices
        )


def _devices(slices: Sequence[Slice]) -> tuple[str, ...]:
    return tuple(sorted({item.device for item in slices}))
