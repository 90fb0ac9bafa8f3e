"""One choice for each of a few, so that what they use fits, at the least cost.

Whom to move where so that a gang fits (`scatter`, `sharing`), and when which device is drained in a
window (`maintenance`) are both this. It is small on purpose: whoever asks brings the few that
matter. `cpsat` finds the best where OR-Tools is installed, `greedy` a good one where it is not, or
where the best was not found within the bound; the answer says whose it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from scheduler.policies import cpsat

MOST_CHOICES = 20_000  # in all: beyond that nobody looks for the best
CP_SAT, GREEDY = "cp-sat", "greedy"


@dataclass(frozen=True, slots=True)
class Choice:
    """uses     of what, how much; each thing once
    charges  what is paid once, by however many choices it is called for"""

    cost: int = 0
    uses: tuple[tuple[Hashable, int], ...] = ()
    charges: tuple[Hashable, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """room     of all that is used
    items    each has one of its choices
    now      the choice that each has, if it has one; those are within the room
    charges  what each costs. All costs are whole numbers, not below 0"""

    room: Mapping[Hashable, int]
    items: tuple[tuple[Choice, ...], ...]
    now: tuple[int | None, ...]
    charges: Mapping[Hashable, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """by  whose it is, CP_SAT or GREEDY; `best`: it is proven to cost the least"""

    choices: tuple[int, ...]
    cost: int
    by: str
    best: bool


def choose(problem: Problem, solver: str = CP_SAT) -> Chosen | None:
    """None if there is no way; if `greedy` finds none and nobody else looks, none is known."""
    known = greedy(problem)
    if known is not None and known.cost == 0:
        return known
    small = sum(map(len, problem.items)) <= MOST_CHOICES
    if solver != CP_SAT or not small or not cpsat.is_there():
        return known
    found = cpsat.solve(
        problem.room, problem.items, problem.charges, known.choices if known else None
    )
    if found is None:
        return known
    choices, best = found
    cost = cost_of(problem, choices)
    if known is not None and known.cost < cost:  # it was stopped before it came so far
        return known
    return Chosen(choices, cost, CP_SAT, best)


def cost_of(problem: Problem, choices: Iterable[int]) -> int:
    picked = [item[index] for item, index in zip(problem.items, choices, strict=True)]
    paid = dict.fromkeys(key for choice in picked for key in choice.charges)
    return sum(choice.cost for choice in picked) + sum(problem.charges[key] for key in paid)


def greedy(problem: Problem) -> Chosen | None:
    """Each in turn takes the cheapest that fits; if none does, the cheapest for which others can
    be had to change one after the other, each to what costs least more and fits."""
    state = _State(problem)
    for item, index in enumerate(problem.now):
        if index is not None:
            state.take(item, index)
    for item, index in enumerate(problem.now):
        if index is None:
            found = state.with_one_more(item)
            if found is None:
                return None
            state = found
    choices = tuple(state.taken[item] for item in range(len(problem.items)))
    cost = cost_of(problem, choices)
    return Chosen(choices, cost, GREEDY, best=cost == 0)


class _State:
    """`taken`: the choice of each item that has one; `left`: of the room; `paid`: charges, how
    often each is called for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.taken: dict[int, int] = {}
        self.left = dict(problem.room)
        self.paid: dict[Hashable, int] = {}

    def copy(self) -> _State:
        other = _State(self.problem)
        other.taken, other.left, other.paid = self.taken.copy(), self.left.copy(), self.paid.copy()
        return other

    def take(self, item: int, index: int) -> None:
        self.taken[item] = index
        self._use(item, index, 1)

    def drop(self, item: int) -> int:
        index = self.taken.pop(item)
        self._use(item, index, -1)
        return index

    def _use(self, item: int, index: int, sign: int) -> None:
        choice = self.problem.items[item][index]
        for what, much in choice.uses:
            self.left[what] -= sign * much
        for key in choice.charges:
            self.paid[key] = self.paid.get(key, 0) + sign

    def costs(self, item: int, index: int) -> int:
        choice = self.problem.items[item][index]
        new = (key for key in choice.charges if not self.paid.get(key))
        return choice.cost + sum(self.problem.charges[key] for key in new)

    def fits(self, item: int, index: int) -> bool:
        uses = self.problem.items[item][index].uses
        return all(much <= self.left[what] for what, much in uses)

    def with_one_more(self, item: int) -> _State | None:
        count = range(len(self.problem.items[item]))
        order = sorted(count, key=lambda index: (self.costs(item, index), index))
        for index in order:
            if self.fits(item, index):
                self.take(item, index)
                return self
        best: _State | None = None
        for index in order:
            trial = self.copy()
            trial.take(item, index)
            if trial.relieve(item) and (best is None or trial.total() < best.total()):
                best = trial
        return best

    def total(self) -> int:
        paid = sum(self.problem.charges[key] for key, count in self.paid.items() if count)
        return paid + sum(self.problem.items[i][n].cost for i, n in self.taken.items())

    def relieve(self, kept: int) -> bool:
        """Have others change until nothing is used beyond its room; each does so once."""
        changed = {kept}
        while over := {what for what, left in self.left.items() if left < 0}:
            moves: list[tuple[int, int, int]] = []
            for item, index in tuple(self.taken.items()):
                uses = self.problem.items[item][index].uses
                if item in changed or over.isdisjoint(what for what, _ in uses):
                    continue
                self.drop(item)
                before = self.costs(item, index)
                moves += (
                    (self.costs(item, other) - before, item, other)
                    for other in range(len(self.problem.items[item]))
                    if other != index and self.fits(item, other)
                )
                self.take(item, index)
            if not moves:
                return False
            _, item, other = min(moves)
            self.drop(item)
            self.take(item, other)
            changed.add(item)
        return True
