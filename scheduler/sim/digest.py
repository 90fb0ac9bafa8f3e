"""A digest over every step of a run: what happened and what was commanded, as whole numbers.

Two runs with the same digest took the same decisions at the same moments, whichever engine made
them. The form: signed words of 64 bits, little-endian, under XXH64 with seed 0.

    step      number of events, number of commands, then these
    event     kind (`EVENTS`), at_us; then
                DeviceAdded  node, part, slices      DeviceLost, DrainCancelled node
                DrainRequested  node, deadline_us
                JobSubmitted, CancelRequested  job   TimePassed                 nothing more
                JobExited    job, epoch, exit code   all others                 job, epoch
    command   kind (`COMMANDS`); then
                Start        job, epoch, whether from a checkpoint, slices      WakeAt      at_us
                Resize       job, epoch, slices      Checkpoint, Save           job, epoch
                Release      job, epoch, whether final
    slices    how many; then each, rising, as seat * 2^48 + node * 2^16 + index

Nodes and parts are numbered in the order in which they were first added. What is said in words only
(names, reasons, a checkpoint's name) is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import xxhash

from scheduler.core import commands as c
from scheduler.core import events as e
from scheduler.core.values import Slice

EVENTS: dict[type, int] = {
    e.DeviceAdded: 1,
    e.DeviceLost: 2,
    e.JobSubmitted: 3,
    e.CancelRequested: 4,
    e.TimePassed: 5,
    e.JobStarted: 6,
    e.StartFailed: 7,
    e.JobResized: 8,
    e.ResizeFailed: 9,
    e.JobCheckpointed: 10,
    e.CheckpointFailed: 11,
    e.JobExited: 12,
    e.LeaseReleased: 13,
    e.JobSaved: 14,
    e.SaveFailed: 15,
    e.DrainRequested: 16,
    e.DrainCancelled: 17,
    e.PaceMeasured: 18,
    e.WindowOpened: 19,
    e.WindowClosed: 20,
}
COMMANDS: dict[type, int] = {
    c.Start: 33,
    c.Resize: 34,
    c.Checkpoint: 35,
    c.Release: 36,
    c.WakeAt: 37,
    c.Save: 38,
}


class Digest:
    """A Recorder of the loop. `keeps`: also the words themselves, to look for where two part."""

    def __init__(self, keeps: bool = False) -> None:
        self.words: list[int] = []
        self._keeps = keeps
        self._hash = xxhash.xxh64()
        self._nodes: dict[str, int] = {}
        self._parts: dict[str, int] = {}

    def record(self, events: Sequence[e.Event], commands: Sequence[c.Command]) -> None:
        words = [len(events), len(commands)]
        for event in events:
            words += (EVENTS[type(event)], event.at_us, *self._event(event))
        for command in commands:
            words += (COMMANDS[type(command)], *self._command(command))
        self._hash.update(struct.pack(f"<{len(words)}q", *words))
        if self._keeps:
            self.words += words

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _event(self, event: e.Event) -> tuple[int, ...]:
        match event:
            case e.DeviceAdded():
                node = self._nodes.setdefault(event.device, len(self._nodes))
                part = self._parts.setdefault(event.part, len(self._parts))
                return node, part, event.slice_count
            case e.DrainRequested():
                return self._nodes[event.device], event.deadline_us
            case e.DeviceLost() | e.DrainCancelled():
                return (self._nodes[event.device],)
            case e.JobSubmitted() | e.CancelRequested():
                return (event.job,)
            case e.TimePassed() | e.WindowClosed():
                return ()
            case e.WindowOpened():
                nodes = (self._nodes[uri] for uri in event.devices)
                return event.closes_us, event.notice_us, event.lasts_us, *nodes
            case e.JobExited():
                return event.job, event.epoch, event.exit_code
            case e.PaceMeasured():
                paces = (word for uri, pace in event.paces for word in (self._nodes[uri], pace))
                return event.job, event.epoch, *paces
            case _:
                return event.job, event.epoch

    def _command(self, command: c.Command) -> tuple[int, ...]:
        match command:
            case c.Start():
                carries = bool(command.checkpoint)
                return command.job, command.epoch, carries, *self._slices(command.slices)
            case c.Resize():
                return command.job, command.epoch, *self._slices(command.slices)
            case c.Release():
                return command.job, command.epoch, command.final
            case c.Checkpoint() | c.Save():
                return command.job, command.epoch
            case c.WakeAt():
                return (command.at_us,)

    def _slices(self, slices: Iterable[Slice]) -> tuple[int, ...]:
        found = sorted(
            item.seat << 48 | self._nodes[item.device] << 16 | item.index for item in slices
        )
        return len(found), *found
