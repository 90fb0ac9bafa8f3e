"""Policies by name: ours, and those that others announce in the entry point group
`haltere.policies` (docs/how-to-add-a-policy.md)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

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

GROUP = "haltere.policies"
POLICIES: dict[str, Callable[..., Policy]] = {
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
    """With its own settings. Raises Infeasible."""
    return named(name)()


def names() -> list[str]:
    """Ours first."""
    return [*POLICIES, *sorted({entry.name for entry in entry_points(group=GROUP)})]


def named(name: str) -> Callable[..., Policy]:
    """What makes the policy. An announced one is imported; an error of its module is shown as it
    is. Raises Infeasible: nobody has that name, or two have."""
    found = list(entry_points(group=GROUP, name=name))
    if len(found) + (name in POLICIES) > 1:
        by = ", ".join(entry.value for entry in found)
        ours = " and is one of haltere's own" if name in POLICIES else " twice"
        raise Infeasible(f"policy {name!r} is announced by {by}{ours}: rename or uninstall one")
    if name in POLICIES:
        return POLICIES[name]
    if not found:
        raise Infeasible(f"policy {name!r} is none of {', '.join(names())}")
    return _loaded(found[0])


def name_of(given: Policy) -> str:
    """The name that `named` knows it by; MODULE:CLASS if it has none."""
    kind = type(given)
    for name, own in POLICIES.items():
        if own is kind:
            return name
    value = f"{kind.__module__}:{kind.__qualname__}"
    announced = (entry.name for entry in entry_points(group=GROUP) if entry.value == value)
    return next(announced, value)


def _loaded(entry: EntryPoint) -> Callable[..., Policy]:
    made = entry.load()
    if not callable(made) or not callable(getattr(made, "plan", None)):
        raise Infeasible(f"policy {entry.name!r}: {entry.value} is no class with a method plan")
    kind: Callable[..., Policy] = made
    return kind
