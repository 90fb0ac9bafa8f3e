"""For tests: a fake executor at the loop's seam. It answers when told to, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scheduler.core import events
from scheduler.core.commands import Checkpoint, Command, Release, Resize, Save, Start, WakeAt

FAILURES: dict[type, Callable[..., events.Event]] = {
    Start: events.StartFailed,
    Checkpoint: events.CheckpointFailed,
    Save: events.SaveFailed,
    Resize: events.ResizeFailed,
}


@dataclass
class FakeExecutor:
    """Keeps what was asked and not answered yet; `inbox` is what the next poll returns."""

    now_us: int = 0
    inbox: list[events.Event] = field(default_factory=list)
    asked: dict[tuple[str, int, int], Command] = field(default_factory=dict)
    wake_at_us: int | None = None
    log: list[Command] = field(default_factory=list)
    checkpoints: int = 0

    def execute(self, command: Command) -> None:
        self.log.append(command)
        if isinstance(command, WakeAt):
            self.wake_at_us = command.at_us
        else:
            key = (type(command).__name__, command.job, command.epoch)
            assert key not in self.asked, f"asked twice: {command}"
            self.asked[key] = command

    def poll(self, timeout_us: int) -> Sequence[events.Event]:
        batch, self.inbox = self.inbox, []
        return batch

    def post(self, event: events.Event) -> None:
        self.inbox.append(event)

    def pass_time(self, us: int) -> None:
        self.now_us += us
        if self.wake_at_us is not None and self.wake_at_us <= self.now_us:
            self.wake_at_us = None
            self.post(events.TimePassed(self.now_us))

    def succeed(self, key: tuple[str, int, int]) -> None:
        command = self.asked.pop(key)
        match command:
            case Start():
                self.post(events.JobStarted(self.now_us, command.job, command.epoch))
            case Checkpoint():
                self.checkpoints += 1
                name = f"cp-{self.checkpoints}"
                self.post(events.JobCheckpointed(self.now_us, command.job, command.epoch, name))
            case Save():
                self.checkpoints += 1
                name = f"cp-{self.checkpoints}"
                self.post(events.JobSaved(self.now_us, command.job, command.epoch, name))
            case Resize():
                self.post(events.JobResized(self.now_us, command.job, command.epoch))
            case Release():
                self.post(events.LeaseReleased(self.now_us, command.job, command.epoch))

    def fail(self, key: tuple[str, int, int], disposition: str) -> None:
        command = self.asked.pop(key)
        assert not isinstance(command, Release | WakeAt)
        self.post(
            FAILURES[type(command)](
                self.now_us, command.job, command.epoch, "fake", disposition, "as it was told"
            )
        )
