"""What decides on a live pool: a policy by its name, or one that is given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from scheduler.errors import Infeasible
from scheduler.policies.drains import lead_s
from scheduler.policies.elastic import Elastic
from scheduler.policies.named import policy as named_policy
from scheduler.policies.policy import Policy
from scheduler.policies.quotas import Quotas
from scheduler.policies.round import ElasticParams
from scheduler.policies.tiered import Tiered

FIRST_SAVE_S = 1.0  # what a save is taken to cost, until one was measured


def deciding(
    given: Policy | str | None,
    state_dir: Path,
    *,
    min_run_s: float = 0.0,
    saves: bool = False,
    stragglers: bool = False,
    quotas: Quotas | None = None,
) -> Policy:
    """See Pool. Raises Infeasible."""
    if given == "elastic":
        return Elastic(_params(state_dir, saves, stragglers), quotas)
    asked = {"saves no jobs": saves, "notices no stragglers": stragglers, "knows no quotas": quotas}
    lacks = [words for words, wanted in asked.items() if wanted]
    if lacks:
        raise Infeasible(
            f"policy {given or 'tiered'!r} {', '.join(lacks)}, only 'elastic' does: name that one, "
            "or do not ask for it (who brings a policy says it there)"
        )
    if isinstance(given, str):
        return named_policy(given)
    return given or Tiered(int(min_run_s * 1e6))


def _params(state_dir: Path, saves: bool, stragglers: bool) -> ElasticParams:
    """What halting cost the last pool here is what it is taken to cost until it was measured."""
    told = ElasticParams(measured=True, saves=saves, stragglers=stragglers)
    costs = measured_costs_s(state_dir / "costs.json")
    if saves:
        told = replace(told, save_cost_s=costs.get("save_us", FIRST_SAVE_S))
    if "checkpoint_us" in costs:
        told = replace(told, drain_lead_s=lead_s(costs["checkpoint_us"]))
        if "restore_us" in costs:
            told = replace(told, move_s=costs["checkpoint_us"] + costs["restore_us"])
    return told


def measured_costs_s(path: Path) -> dict[str, float]:
    """Seconds that operations took, by a pool's costs.json; empty if it says nothing of that, or is
    not there."""
    try:
        found = json.loads(path.read_bytes())["costs"]
        return {name: float(us) / 1e6 for name, us in found.items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return {}
