"""Policies by name."""

from __future__ import annotations

from collections.abc import Callable

from scheduler.errors import Infeasible
from scheduler.policies.elastic import Elastic
from scheduler.policies.ordered import (
    Backfill,
    Fifo,
    FinishTimeFairness,
    LeastAttained,
    Priority,
)
from scheduler.policies.policy import Policy
from scheduler.policies.sharing import Sharing
from scheduler.policies.tiered import Tiered

POLICIES: dict[str, Callable[[], Policy]] = {
    "elastic": Elastic,
    "tiered": Tiered,
    "priority": Priority,
    "fifo": Fifo,
    "backfill": Backfill,
    "las": LeastAttained,
    "ftf": FinishTimeFairness,
    "sharing": Sharing,
}


def policy(name: str) -> Policy:
    try:
        return POLICIES[name]()
    except KeyError:
        raise Infeasible(f"policy {name!r} is none of {', '.join(POLICIES)}") from None
