"""The seam of a policy: one class, one method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from scheduler.core.plan import Blocker, Plan
from scheduler.core.view import View


class Policy(Protocol):
    """Decides who gets which slices. Deterministic: the same view gives the same plan, so that a
    journal can be replayed; a policy that needs randomness carries its seeded generator."""

    def plan(self, view: View) -> Plan:
        """Called after every batch of events. The machine refuses what is not possible."""
        ...


@runtime_checkable
class Explaining(Policy, Protocol):
    """A policy that works out why jobs wait when somebody asks, and not in each plan."""

    def explain(self, view: View) -> Mapping[int, tuple[Blocker, ...]]:
        """What each waiting job waits for, after the last plan was carried out."""
        ...
