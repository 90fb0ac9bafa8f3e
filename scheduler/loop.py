"""THE loop: the same for the live fleet and for the simulator. They differ by their executor.

    executor.poll -> events -> decide(machine, policy) -> journal -> executor.execute

`decide` is the only place where machine and policy meet; replaying a journal calls it too, so
what was decided once is decided again. The loop has no clock: time arrives in events, and a
wish to be woken is a command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from scheduler.core.commands import Command
from scheduler.core.events import Event
from scheduler.core.machine import Machine
from scheduler.core.plan import Blocker, GiveWay
from scheduler.policies.policy import Explaining, Policy

POLL_US = 1_000_000  # longest wait in one poll, so that a stop request is seen in time


class Executor(Protocol):
    """Carries commands out, and reports what happened."""

    def execute(self, command: Command) -> None:
        """Take the command on and return at once; slow work goes on elsewhere."""
        ...

    def poll(self, timeout_us: int) -> Sequence[Event]:
        """What happened since the last call, in order of `at_us`; waits up to `timeout_us` for
        something to happen. Bounded in length."""
        ...


class Recorder(Protocol):
    """Gets every step before it is carried out (a journal, a view for readers)."""

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None: ...


def decide(machine: Machine, policy: Policy, events: Sequence[Event]) -> tuple[Command, ...]:
    """One step: what happened, and what is to be done about it. Who gave way waits from then on,
    and is planned for at once."""
    commands: list[Command] = []
    for event in events:
        commands += machine.handle(event)
    while True:
        plan = policy.plan(machine.view())
        commands += machine.apply(plan)
        if not any(isinstance(each, GiveWay) for each in plan.decisions):
            return tuple(commands)


def reasons(machine: Machine, policy: Policy) -> Mapping[int, tuple[Blocker, ...]]:
    """Why each job waits, after the last step: what the policy explains, or what its plan said."""
    return policy.explain(machine.view()) if isinstance(policy, Explaining) else machine.waiting


class Loop:
    """Drives one machine. Everything it works with is given to it."""

    def __init__(
        self,
        machine: Machine,
        policy: Policy,
        executor: Executor,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        self.machine = machine
        self.policy = policy
        self.executor = executor
        self.recorders = tuple(recorders)

    def step(self, timeout_us: int = POLL_US) -> bool:
        """One batch of events, if there is one within `timeout_us`."""
        events = self.executor.poll(timeout_us)
        if not events:
            return False
        commands = decide(self.machine, self.policy, events)
        for recorder in self.recorders:
            recorder.record(events, commands)
        for command in commands:
            self.executor.execute(command)
        return True

    def run(self, stop: Callable[[], bool]) -> None:
        """Step until `stop()`; it is asked after every step and at least every POLL_US."""
        while not stop():
            self.step()
