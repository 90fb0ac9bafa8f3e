"""Why jobs with shares wait, and that an audit which knows no policy objects to what is not so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest

from scheduler.core import events
from scheduler.core.machine import Machine
from scheduler.core.plan import Blocker, Why
from scheduler.core.values import JobSpec, Needs, Tier
from scheduler.loop import Loop
from scheduler.policies.sharing import Sharing
from scheduler.policies.sharing_audit import audit
from scheduler.testing.executor import FakeExecutor
from service.why import words
from tests.scheduler.test_sharing import GREEDY, world

S = 1_000_000
MIN_RUN_US = 20 * S
LACKS = {Why.SHARE, Why.WHOLE, Why.CPU, Why.MEMORY}


class Live:
    """Two nodes of two slices; the second is of another part, and smaller."""

    def __init__(self, patience_s: int = 1800) -> None:
        self.machine = Machine()
        self.executor = FakeExecutor()
        self.policy = Sharing(patience_s=patience_s)
        self.loop = Loop(self.machine, self.policy, self.executor)
        self.jobs = 0
        self.tell(events.DeviceAdded(0, "a", "gpu", "T4", 2, 8000, 100))
        self.tell(events.DeviceAdded(0, "b", "gpu", "P100", 1, 4000, 50))

    def tell(self, event: object) -> None:
        self.executor.post(event)  # type: ignore[arg-type]
        self.loop.step(0)

    def job(
        self, share: int, cpu: int = 0, memory: int = 0, tier: Tier = Tier.BASIC, **more: object
    ) -> int:
        parts = more.pop("parts", ("T4",))
        needs = Needs(share, cpu, memory, parts)  # type: ignore[arg-type]
        self.jobs += 1
        spec = JobSpec(f"j{self.jobs}", "ann", tier, "gpu", ("x",), needs=needs, **more)  # type: ignore[arg-type]
        self.tell(events.JobSubmitted(self.executor.now_us, self.jobs, spec))
        return self.jobs

    def answer(self) -> None:
        for key in sorted(self.executor.asked):
            self.executor.succeed(key)
        self.loop.step(0)

    def pass_s(self, seconds: int) -> None:
        self.executor.pass_time(seconds * S)
        self.loop.step(0)

    def told(self) -> Mapping[int, tuple[Blocker, ...]]:
        view = self.machine.view()
        found = self.policy.explain(view)
        assert audit(view, found, MIN_RUN_US) == []
        return found

    def why(self, job: int) -> dict[str, tuple[Why, tuple[int, ...]]]:
        """By device."""
        return {uri: (b.why, b.jobs) for b in self.told()[job] for uri in b.devices}


def test_each_device_has_its_own_reason() -> None:
    live = Live()
    first = live.job(700, cpu=3000, memory=60)
    second = live.job(600, cpu=3000)
    live.answer()
    assert live.why(live.job(500)) == {
        "a": (Why.SHARE, (first, second)),
        "b": (Why.UNSUITED, ()),
    }
    assert live.why(live.job(1000))["a"] == (Why.WHOLE, (first, second))
    assert live.why(live.job(100, cpu=3000))["a"] == (Why.CPU, (first, second))
    assert live.why(live.job(100, memory=50))["a"] == (Why.MEMORY, (first,))
    assert live.why(live.job(100, cpu=9000))["a"] == (Why.TOO_SMALL, ())
    live.tell(events.DrainRequested(0, "b", 1000 * S))
    assert live.why(live.job(500, cpu=4001, parts=()))["b"] == (Why.DRAINING, ())
    assert live.why(live.job(100, cpu=1, parts=("V100",))) == {
        "a": (Why.UNSUITED, ()),
        "b": (Why.UNSUITED, ()),
    }


def test_why_a_basic_job_is_not_halted_yet_and_that_it_is() -> None:
    live = Live()
    held = [live.job(1000), live.job(1000)]
    wants = live.job(1000, tier=Tier.PREMIUM)
    assert live.why(wants)["a"] == (Why.STARTING, tuple(held))
    live.answer()
    assert live.why(wants)["a"] == (Why.PROTECTED, tuple(held))
    assert next(b for b in live.told()[wants] if b.why is Why.PROTECTED).until_us == MIN_RUN_US
    live.pass_s(20)
    assert live.why(wants)["a"] == (Why.RELEASING, (held[1],))
    live.answer()
    assert wants not in live.told()
    assert live.why(held[1])["a"] == (Why.WHOLE, (held[0], wants))


def test_one_that_cannot_be_halted_is_named_as_that() -> None:
    live = Live()
    held = [live.job(1000), live.job(1000)]
    live.answer()
    live.pass_s(30)
    wants = live.job(1000, tier=Tier.PREMIUM)
    live.executor.fail(("Checkpoint", held[1], 1), "fatal")
    live.loop.step(0)
    assert live.why(wants)["a"] == (Why.RELEASING, (held[0],))
    live.executor.fail(("Checkpoint", held[0], 1), "fatal")
    live.loop.step(0)
    assert live.why(wants)["a"] == (Why.PINNED, tuple(held))


def test_what_a_large_job_has_claimed_is_named_to_those_behind_it() -> None:
    live = Live(patience_s=100)
    held = [live.job(500), live.job(500), live.job(600)]
    live.answer()
    large = live.job(1000)
    live.pass_s(200)
    live.tell(events.JobExited(live.executor.now_us, held[0], 1, 0))
    live.answer()  # its half is let go, and claimed
    small = live.job(500)
    assert live.why(small)["a"] == (Why.AHEAD, (large,))
    text = next(t for t in _words(live, small) if "kept" in t)
    assert text == f"  what it needs of a is kept for job {large}, before it in the queue"
    live.tell(events.JobExited(live.executor.now_us, held[1], 1, 0))
    live.answer()
    assert large not in live.told()


def test_a_start_that_failed_and_a_pool_without_devices_are_reasons_by_themselves() -> None:
    live = Live()
    job = live.job(1000)
    live.executor.fail(("Start", job, 1), "retry")
    live.loop.step(0)
    assert [b.why for b in live.told()[job]] == [Why.BACKING_OFF]
    live.tell(events.DeviceLost(live.executor.now_us, "a", "x"))
    live.tell(events.DeviceLost(live.executor.now_us, "b", "x"))
    assert [b.why for b in live.told()[job]] == [Why.NO_DEVICE]


def _words(live: Live, job: int) -> list[str]:
    found = live.machine.jobs[job]
    blockers = [
        {name: getattr(each, name) for name in Blocker.__slots__} for each in live.told()[job]
    ]
    return list(
        words(
            {
                "id": job,
                "name": found.spec.name,
                "tier": "basic",
                "state": "queued",
                "slices": [],
                "ranks": 1,
                "target": [],
                "halted_for": 0,
                "gave_way": False,
                "reason": "",
                "blockers": blockers,
            }
        )
    )


def test_reasons_in_words_name_devices_and_holders() -> None:
    live = Live()
    live.job(700, cpu=8000)
    live.answer()
    assert _words(live, live.job(500, cpu=1))[1:] == [
        "  a has too little CPU left; held by job 1",
        "  b is of a part or a name that it does not accept",
    ]


def test_several_devices_of_one_reason_are_told_of_in_the_plural() -> None:
    text = "  a, b are to be removed"
    drained = {"why": "draining", "jobs": (), "slices": 0, "devices": ("a", "b"), "ppm": ()}
    job = {"id": 1, "name": "x", "tier": "basic", "state": "queued", "slices": [], "ranks": 1}
    told = {"target": [], "halted_for": 0, "gave_way": False, "reason": ""}
    assert [*words({**job, **told, "blockers": [{**drained, "until_us": None}]})][1:] == [text]


def test_the_audit_objects_to_whatever_is_not_so() -> None:
    """Of many moments, each reason is made false in every way there is."""
    rng, made = Random(11), world(GREEDY)
    tried = 0
    for _ in range(400):
        made.act(rng)
        view, policy = made.machine.view(), made.policy  # type: ignore[attr-defined]
        told = policy.explain(view)
        waiting = [job for job in told if told[job][0].devices]
        if not waiting or rng.random() < 0.7:
            continue
        job = rng.choice(waiting)
        index = rng.randrange(len(told[job]))
        blocker = told[job][index]
        for other in Why:
            if other is blocker.why:
                continue
            lie = (*told[job][:index], replace(blocker, why=other), *told[job][index + 1 :])
            if not audit(view, {**told, job: lie}, MIN_RUN_US):
                # what one lacks first is a matter of order, and so is whom one waits for
                told_apart = {other, blocker.why}
                assert told_apart <= LACKS or told_apart == {Why.AHEAD, Why.GATHERED}
            tried += 1
        assert audit(view, {**told, job: told[job][:index] + told[job][index + 1 :]}, MIN_RUN_US)
        assert audit(view, {k: v for k, v in told.items() if k != job}, MIN_RUN_US)
        if blocker.jobs:
            lie = (*told[job][:index], replace(blocker, jobs=()), *told[job][index + 1 :])
            strangers = (*told[job][:index], replace(blocker, jobs=(job,)), *told[job][index + 1 :])
            named = blocker.why not in LACKS
            assert not named or audit(view, {**told, job: strangers}, MIN_RUN_US)
            assert not named or audit(view, {**told, job: lie}, MIN_RUN_US)
    assert tried > 300


@pytest.mark.parametrize("share", [400, 1000])
def test_a_policy_that_places_nobody_is_found_out(share: int) -> None:
    live = Live()
    live.job(share)
    live.answer()
    live.machine.handle(events.JobSubmitted(0, 2, live.machine.jobs[1].spec))
    there = (Blocker(Why.WHOLE, jobs=(1,), devices=("a",)), Blocker(Why.UNSUITED, devices=("b",)))
    assert audit(live.machine.view(), {2: there}, MIN_RUN_US)
