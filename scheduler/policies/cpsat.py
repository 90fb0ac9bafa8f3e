"""The best choices, by OR-Tools' CP-SAT. Nothing else imports that; it may be absent.

A plan must be the same again when its journal is replayed. So: one thread, a fixed seed, no
floating-point relaxation, and a bound on the solver's own count of its work, never on the clock.
That holds for one version of OR-Tools; another one may choose another of several that are equally
good (`JournalDiverged` then, as after any change of a policy's code).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scheduler.policies.choices import Choice

MOST_WORK = 0.5  # of CP-SAT's deterministic time; up to about so many seconds of a processor


@cache
def is_there() -> bool:
    try:
        import ortools.sat.python.cp_model  # noqa: F401
    except ImportError:
        return False
    return True


def solve(
    room: Mapping[Hashable, int],
    items: Sequence[Sequence[Choice]],
    charges: Mapping[Hashable, int],
    known: Sequence[int] | None,
) -> tuple[tuple[int, ...], bool] | None:
    """The choice of each, and whether it is proven to cost the least; `known` is a way that is
    known already. None if there is no way, or none better than `known` was found in time."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    picked = [[model.new_bool_var("") for _ in item] for item in items]
    paid = {key: model.new_bool_var("") for key in charges}
    used: dict[Hashable, list[Any]] = {}
    cost: list[Any] = [charges[key] * variable for key, variable in paid.items()]
    for item, variables in zip(items, picked, strict=True):
        model.add_exactly_one(variables)
        for choice, variable in zip(item, variables, strict=True):
            cost.append(choice.cost * variable)
            for what, much in choice.uses:
                used.setdefault(what, []).append(much * variable)
            for key in choice.charges:
                model.add_implication(variable, paid[key])
    for what, terms in used.items():
        model.add(cp_model.LinearExpr.sum(terms) <= room[what])
    if known is not None:
        for variables, index in zip(picked, known, strict=True):
            for n, variable in enumerate(variables):
                model.add_hint(variable, n == index)
    model.minimize(cp_model.LinearExpr.sum(cost))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.linearization_level = 0
    solver.parameters.max_deterministic_time = MOST_WORK
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    choices = tuple(
        next(n for n, variable in enumerate(variables) if solver.boolean_value(variable))
        for variables in picked
    )
    return choices, status == cp_model.OPTIMAL
