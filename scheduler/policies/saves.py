"""Which running jobs are to be saved, and when (`intervals`).

Only jobs whose program can be started again on a checkpoint: others have no use for one. What a
save costs is what the job's last one took; before its first, what those of others took, or what is
given. How often its devices fail is measured too (`core.failures`).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from scheduler.core.jobs import Job, JobState
from scheduler.core.plan import Save
from scheduler.core.values import Recovery
from scheduler.core.view import View
from scheduler.policies.books import S
from scheduler.policies.intervals import daly_s, mtbf_s
from scheduler.policies.round import ElasticParams, Round


@dataclass(slots=True)
class Saves:
    params: ElasticParams
    _due_us: dict[int, int] = field(default_factory=dict)
    _heap: list[tuple[int, int]] = field(default_factory=list)  # when, job
    _took_us: int = 0  # all saves so far, together
    _count: int = 0

    def follow(self, view: View) -> None:
        if not self.params.saves:
            return
        for number in view.changed:
            self._due_us.pop(number, None)
            job = view.jobs.get(number)
            if job is None:
                continue
            if job.saved_us == view.now_us and job.save_took_us:
                self._took_us += job.save_took_us
                self._count += 1
            if can_be_saved(job):
                since_us = max(job.started_us, job.saved_us)
                due_us = max(since_us + self._interval_us(view, job), job.save_after_us)
                self._due_us[number] = due_us
                heapq.heappush(self._heap, (due_us, number))

    def _interval_us(self, view: View, job: Job) -> int:
        lost, up_us = view.failures.of(job.spec.device_kind, view.now_us)
        devices = len({item.device for item in job.slices})
        each_s = mtbf_s(self.params.mtbf_s, lost, up_us // S)
        return round(daly_s(self._cost_s(job), each_s / devices) * S)

    def _cost_s(self, job: Job) -> float:
        if job.save_took_us:
            return job.save_took_us / S
        return self._took_us / S / self._count if self._count else self.params.save_cost_s

    def decide(self, this: Round) -> None:
        """Those that are due and that this plan leaves alone."""
        while self._heap and self._heap[0][0] <= this.view.now_us:
            due_us, number = heapq.heappop(self._heap)
            if self._due_us.get(number) == due_us and number not in this.touched:
                this.touched.add(number)
                this.decisions.append(Save(number))
        while self._heap and self._due_us.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # void meanwhile
        if self._heap:
            this.wakes.append(self._heap[0][0])


def can_be_saved(job: Job) -> bool:
    return (
        job.state is JobState.RUNNING
        and job.saving_us is None
        and not job.pinned
        and job.spec.recovery is Recovery.CHECKPOINT
    )
