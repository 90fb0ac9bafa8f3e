"""Who owns, uses and owes what on the live pool: as it stood after the last step.

A Recorder of the loop, on whose thread alone the policy's books may be looked at; whoever asks gets
a copy worked out for him.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from scheduler.core.commands import Command
from scheduler.core.events import Event
from scheduler.core.jobs import Job
from scheduler.core.machine import Machine
from scheduler.policies.accounts import Account, accounts
from scheduler.policies.elastic import Elastic
from scheduler.policies.policy import Policy


class Accounts:
    def __init__(self, machine: Machine, policy: Policy) -> None:
        self._machine = machine
        self._policy = policy
        self.quotas = policy.quotas if isinstance(policy, Elastic) else None
        self._lock = threading.Lock()
        self._jobs: tuple[Job, ...] = ()
        self._debts: Mapping[int, int] = {}

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        self.look()

    def look(self) -> None:
        """On the loop's thread, or before that runs."""
        if self.quotas is not None and isinstance(self._policy, Elastic):
            jobs, debts = tuple(self._machine.view().jobs.values()), self._policy.debts()
            with self._lock:
                self._jobs, self._debts = jobs, debts

    def all(self) -> tuple[Account, ...]:
        """Empty where there are no quotas."""
        if self.quotas is None:
            return ()
        with self._lock:
            jobs, debts = self._jobs, self._debts
        return accounts(self.quotas, jobs, debts)
