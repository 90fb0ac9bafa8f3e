"""Random clusters: the loop with a fake executor, and the invariants after every step.

The executor answers in any order, fails as it likes, loses devices and workers at any time, and
lets late answers of ended attempts through. At the end everything is allowed to finish, nothing
may be left waiting that could run, and the journal must replay to the same commands and tables.

Hypothesis draws single actions (small failing examples) and busy stretches from a seed (a
uniform draw alone hardly ever gets as far as a preemption).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from scheduler.core import events
from scheduler.core.commands import Start
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec, Recovery, Tier
from scheduler.journal import Journal, read, replay
from scheduler.loop import Loop
from scheduler.policies.tiered import Tiered
from scheduler.testing.executor import FakeExecutor
from scheduler.testing.invariants import HOLDING, broken
from scheduler.timeline import Timeline

DEVICES = (  # uri, kind, part, slices: two parts of one kind, and a second kind
    ("g:0", "g", "big", 2),
    ("g:1", "g", "big", 1),
    ("g:2", "g", "small", 2),
    ("f:0", "f", "sim", 1),
    ("f:1", "f", "sim", 1),
)
MIN_RUN_US = 1_000_000
PARAMS = Params(backoff_us=1_000_000, max_start_failures=4, max_restarts=2)
SETTLE_STEPS = 600  # more than any amount of work drawn here takes; a livelock would exceed it


class Cluster:
    """A loop, its fake world, and things that may happen to it, drawn by a Random."""

    ACTIONS = (
        *("submit",) * 5,
        *("answer",) * 10,
        *("answer_all",) * 5,
        *("pass_time",) * 6,
        *("exit",) * 2,
        *("fail",) * 2,
        *("cancel", "toggle_device"),
    )

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal"
        self.journal = Journal(self.path, durable=False)
        self.machine = Machine(PARAMS)
        self.executor = FakeExecutor()
        self.timeline = Timeline()
        self.loop = Loop(
            self.machine, Tiered(MIN_RUN_US), self.executor, (self.journal, self.timeline)
        )
        self.epochs: dict[int, int] = {}
        self.submitted = 0
        self.seen: Counter[str] = Counter()
        for device in DEVICES:
            self.executor.post(events.DeviceAdded(0, *device))
        self.step()

    @property
    def now_us(self) -> int:
        return self.executor.now_us

    def step(self) -> None:
        self.loop.step(0)
        assert broken(self.machine, MIN_RUN_US) == []
        for job in self.machine.jobs.values():
            assert job.epoch >= self.epochs.get(job.id, 0)
            self.epochs[job.id] = job.epoch

    def act(self, rng: Random) -> None:
        name = rng.choice(self.ACTIONS)
        getattr(self, name)(rng)
        self.seen[name] += 1
        self.step()

    def submit(self, rng: Random) -> None:
        self.submitted += 1
        kind = rng.choice("ggf")
        spec = JobSpec(
            name=f"job-{self.submitted}",
            tenant="ann",
            tier=rng.choices(tuple(Tier), (2, 3, 5))[0],
            device_kind=kind,
            argv=("work",),
            count=rng.choice((1, 1, 1, 2, 3)),
            devices=rng.choice(((), (), (), ("g:0",), ("g:0", "g:2"))) if kind == "g" else (),
            recovery=rng.choice(tuple(Recovery)),
        )
        self.executor.post(events.JobSubmitted(self.now_us, self.submitted, spec))

    def answer(self, rng: Random) -> None:
        if self.executor.asked:
            self.executor.succeed(rng.choice(sorted(self.executor.asked)))

    def answer_all(self, rng: Random) -> None:
        for key in sorted(self.executor.asked):
            self.executor.succeed(key)

    def fail(self, rng: Random) -> None:
        keys = [key for key in sorted(self.executor.asked) if key[0] != "Release"]
        if keys:
            how = rng.choice(("retry", "migrate", "retry", "migrate", "caller", "fatal"))
            self.executor.fail(rng.choice(keys), how)

    def pass_time(self, rng: Random) -> None:
        self.executor.pass_time(rng.choice((1_000, 500_000, 1_000_000, 2_000_000)))

    def exit(self, rng: Random) -> None:
        workers = [
            job
            for job in self.machine.jobs.values()
            if job.listening and (job.state in HOLDING or job.state is JobState.PREEMPTED)
        ]
        if workers:
            job, code = rng.choice(workers), rng.choice((0, 0, 0, 1, -9))
            self.executor.post(events.JobExited(self.now_us, job.id, job.epoch, code, "bye"))

    def cancel(self, rng: Random) -> None:
        if self.submitted:
            job = rng.randint(1, self.submitted)
            self.executor.post(events.CancelRequested(self.now_us, job))

    def toggle_device(self, rng: Random) -> None:
        device = rng.choice(DEVICES)
        if self.machine.devices[device[0]].up:
            self.executor.post(events.DeviceLost(self.now_us, device[0], "killed"))
        else:
            self.executor.post(events.DeviceAdded(self.now_us, *device))

    def settle(self) -> None:
        """With every device up and everything succeeding, every job comes to its end."""
        for device in DEVICES:
            if not self.machine.devices[device[0]].up:
                self.executor.post(events.DeviceAdded(self.now_us, *device))
        for _ in range(SETTLE_STEPS):
            self.answer_all(Random(0))
            self.step()
            self.executor.pass_time(1_000_000)
            for job in self.machine.jobs.values():
                if job.state is JobState.RUNNING:
                    exited = events.JobExited(self.now_us, job.id, job.epoch, 0)
                    self.executor.post(exited)
                    break
            self.step()
            if not self.executor.asked and not self.executor.inbox and self.at_rest():
                break
        else:
            raise AssertionError("the cluster did not come to rest")
        assert not self.machine.leases

    def at_rest(self) -> bool:
        def impossible(job: Job) -> bool:
            fits = self.machine.view().acceptable(job).values()
            return max(map(len, fits), default=0) < job.spec.count

        return all(job.state.terminal or impossible(job) for job in self.machine.jobs.values())

    def check_history(self) -> None:
        self.journal.close()
        contents = read(self.path)
        assert contents.torn is None
        again = Machine(PARAMS)
        replay(contents.steps, again, Tiered(MIN_RUN_US))
        assert dict(again.jobs) == dict(self.machine.jobs)
        assert dict(again.leases) == dict(self.machine.leases)
        assert again.waiting == self.machine.waiting
        starts = [c for c in self.executor.log if isinstance(c, Start)]
        assert len({(c.job, c.epoch) for c in starts}) == len(starts)
        for span in self.timeline.spans():
            assert span.start_s <= span.end_s

    def count(self) -> Counter[str]:
        jobs = self.machine.jobs.values()
        return self.seen + Counter(
            preemptions=sum(job.preemptions for job in jobs),
            restarts=sum(job.restarts for job in jobs),
            moves=sum(job.state is JobState.SUCCEEDED and job.preemptions > 0 for job in jobs),
            fenced=self.machine.fenced_count,
            pinned=sum(job.pinned for job in jobs),
        )


@pytest.mark.parametrize("seed", range(12))
def test_invariants_hold_through_a_busy_day(seed: int, tmp_path: Path) -> None:
    cluster, rng = Cluster(tmp_path), Random(seed)
    for _ in range(150):
        cluster.act(rng)
    cluster.settle()
    cluster.check_history()


def test_busy_days_are_busy(tmp_path: Path) -> None:
    """The random cluster reaches what it is meant to test."""
    cluster, rng = Cluster(tmp_path), Random(99)
    for _ in range(600):
        cluster.act(rng)
    cluster.settle()
    counts = cluster.count()
    for what in ("preemptions", "restarts", "moves", "fenced", "pinned"):
        assert counts[what], (what, counts)


class SchedulerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.cluster = Cluster(Path(self.folder.name))

    @rule(action=st.sampled_from(sorted(set(Cluster.ACTIONS))), seed=st.integers(0, 99))
    def act_once(self, action: str, seed: int) -> None:
        getattr(self.cluster, action)(Random(seed))
        self.cluster.step()

    @rule(seed=st.integers(0, 1 << 20), actions=st.integers(1, 40))
    def act_a_while(self, seed: int, actions: int) -> None:
        rng = Random(seed)
        for _ in range(actions):
            self.cluster.act(rng)

    def teardown(self) -> None:
        try:
            self.cluster.settle()
            self.cluster.check_history()
        finally:
            self.cluster.journal.close()
            self.folder.cleanup()


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes, a seed says it all
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
