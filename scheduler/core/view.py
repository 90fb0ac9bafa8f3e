"""What a policy sees: the cluster at one moment, read-only, every table in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.core.failures import Failures
from scheduler.core.free import Free
from scheduler.core.halting import Halting
from scheduler.core.jobs import Job, Lease
from scheduler.core.shares import Shares
from scheduler.core.values import Device, JobSpec, Slice


@dataclass(frozen=True, slots=True)
class View:
    """devices  by URI, in the order they were first seen
    jobs      those that have not ended, by id
    leases    by slice; a slice without an entry is free, unless it is shared (`shares`)
    releasing  leases that are over and being cleared, by job and attempt
    draining  devices that are to be removed -> when; nothing may be placed on them
    free      free slices, by kind and part, of devices that are not draining
    failures  how often devices were lost, and who fails to start where
    halting   what halting has cost
    changed   jobs that changed since the plan before; those that ended are no longer in `jobs`
    waiting_count  how many jobs wait for slices
    fleet     grows when a device comes, goes, or is to go or stay after all"""

    now_us: int
    devices: Mapping[str, Device]
    jobs: Mapping[int, Job]
    leases: Mapping[Slice, Lease]
    releasing: Mapping[tuple[int, int], Lease]
    draining: Mapping[str, int]
    free: Free
    failures: Failures
    halting: Halting
    changed: tuple[int, ...]
    waiting_count: int
    shares: Shares
    fleet: int

    @property
    def waiting(self) -> tuple[Job, ...]:
        """Jobs that wait for slices, first in the queue first."""
        return tuple(
            sorted((job for job in self.jobs.values() if job.state.waiting), key=lambda j: j.order)
        )

    def stays(self, device: Device) -> bool:
        """Whether jobs may be placed on it."""
        return device.up and device.uri not in self.draining

    def acceptable(self, job: Job) -> dict[str, tuple[Slice, ...]]:
        """Slices that could run the job if they were free, by part: of devices that are up and
        stay, of its kind, named by it if it names any, and of the part of its checkpoint.

        Devices that it was told to avoid count only when there are no others."""
        fit = [
            device
            for device in self.devices.values()
            if self.stays(device)
            and suits(job.spec, device)
            and job.spec.goes_on(job.part, device.part)
        ]
        liked = [device for device in fit if device.uri not in job.avoid]
        slices: dict[str, list[Slice]] = {}
        for device in liked or fit:
            slices.setdefault(device.part, []).extend(device.slices)
        return {part: tuple(found) for part, found in slices.items()}


def suits(spec: JobSpec, device: Device) -> bool:
    if spec.needs is not None and spec.needs.parts and device.part not in spec.needs.parts:
        return False
    return spec.device_kind == device.kind and (not spec.devices or device.uri in spec.devices)
