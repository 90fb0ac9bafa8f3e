"""The seam of a policy: one class, one method."""

from __future__ import annotations

from typing import Protocol

from scheduler.core.plan import Plan
from scheduler.core.view import View


class Policy(Protocol):
    """Decides who gets which slices. Deterministic: the same view gives the same plan, so that a
    journal can be replayed; a policy that needs randomness carries its seeded generator."""

    def plan(self, view: View) -> Plan:
        """Called after every batch of events. The machine refuses what is not possible."""
        ...
