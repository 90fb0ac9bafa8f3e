"""When the elastic policy saves jobs: by what saving has cost and how often devices fail."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scheduler.core import events
from scheduler.core.commands import Save, WakeAt
from scheduler.core.machine import Machine
from scheduler.core.values import JobSpec
from scheduler.loop import decide
from scheduler.policies.elastic import Elastic
from scheduler.policies.intervals import daly_s, mtbf_s
from scheduler.policies.round import ElasticParams

S = 1_000_000
GIVEN_S = 36_000
PARAMS = ElasticParams(saves=True, mtbf_s=GIVEN_S, save_cost_s=20)


class Driven:
    """Jobs that run for ever, each on so many nodes of one slice; saves take as long as told."""

    def __init__(self, *takes_s: int, nodes: int = 1, recovery: str = "checkpoint") -> None:
        self.machine, self.policy = Machine(), Elastic(PARAMS)
        self.takes_s = dict(enumerate(takes_s, 1))
        self.saves: dict[int, list[float]] = {number: [] for number in self.takes_s}
        self.coming: list[events.Event] = []
        self.wake_us = 0
        for index in range(nodes * len(takes_s)):
            self.step(events.DeviceAdded(0, f"n{index}", "gpu", "v100"))
        for number in self.takes_s:
            spec = JobSpec("j", "t", "basic", "gpu", ("w",), count=nodes, recovery=recovery)
            self.step(events.JobSubmitted(0, number, spec))
            self.step(events.JobStarted(0, number, 1))

    def step(self, event: events.Event) -> None:
        for command in decide(self.machine, self.policy, [event]):
            if isinstance(command, WakeAt):
                self.wake_us = command.at_us
            elif isinstance(command, Save):
                self.saves[command.job].append(event.at_us / S)
                answered_us = event.at_us + self.takes_s[command.job] * S
                self.coming.append(events.JobSaved(answered_us, command.job, 1, "cp"))

    def until(self, end_s: int) -> None:
        while self.machine.now_us < end_s * S:
            self.coming.sort(key=lambda event: event.at_us)
            if self.coming and self.coming[0].at_us <= self.wake_us:
                self.step(self.coming.pop(0))
            else:
                self.step(events.TimePassed(self.wake_us))


def gaps_s(driven: Driven, job: int) -> list[float]:
    """From the end of a save to the next."""
    times = driven.saves[job]
    return [b - a - driven.takes_s[job] for a, b in pairwise(times)]


def test_the_first_save_comes_after_what_the_given_cost_and_rate_say() -> None:
    driven = Driven(20)
    driven.until(1500)
    assert driven.saves[1] == [pytest.approx(daly_s(20, GIVEN_S), abs=1)]


def test_who_is_dear_to_save_is_saved_less_often() -> None:
    driven = Driven(5, 80)
    driven.until(8000)
    assert max(gaps_s(driven, 1)) < 0.5 * min(gaps_s(driven, 2))
    up_s = driven.saves[2][-2] * 2  # two devices; measured until that save was over, or so
    expected = daly_s(80, mtbf_s(GIVEN_S, 0, up_s))
    assert gaps_s(driven, 2)[-1] == pytest.approx(expected, rel=0.03)


def test_a_gang_on_more_devices_is_saved_more_often() -> None:
    one, four = Driven(20), Driven(20, nodes=4)
    one.until(5000)
    four.until(5000)
    assert four.saves[1][0] == pytest.approx(one.saves[1][0] / 2, rel=0.05)


def test_losses_make_saves_come_more_often_and_removals_do_not() -> None:
    first = []
    for how in ("never", "removed", "lost"):
        driven = Driven(20)
        for turn in range(1, 31):
            at_us = turn * S
            driven.step(events.DeviceAdded(at_us, "other", "gpu", "v100"))
            if how == "removed":
                driven.step(events.DrainRequested(at_us, "other", at_us))
            if how != "never":
                driven.step(events.DeviceLost(at_us, "other", "x"))
            else:
                break
        driven.until(3000)
        first.append(gaps_s(driven, 1)[0])
    never, removed, lost = first
    assert removed == pytest.approx(never, rel=0.05) and lost < 0.3 * never


@pytest.mark.parametrize("recovery", ["restart", "fail"])
def test_a_job_that_has_no_use_for_a_checkpoint_is_not_saved(recovery: str) -> None:
    driven = Driven(20, recovery=recovery)
    driven.until(9000)
    assert driven.saves[1] == []
