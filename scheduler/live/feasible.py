"""What a live pool can run at all: said when a job is submitted, not after it has waited."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.core.values import FULL_MILLI, JobSpec, Needs, Tier
from scheduler.errors import Infeasible
from scheduler.live.fleet import Host
from scheduler.live.gang import world_size
from scheduler.policies.quotas import Quotas

MAX_RANKS = 64  # worker processes of one job, all of them on this machine


WEIGHS = ("opencl", "fpga", "fpga-sim")  # kinds whose servers divide a device by weights


def check_feasible(
    spec: JobSpec,
    slices: Mapping[str, int],
    parts: Mapping[str, str],
    shrinks: bool,
    quotas: Quotas | None = None,
    hosts: Mapping[str, Host] | None = None,
) -> None:
    """`slices`, `parts`: of the pool's devices, by URI. `shrinks`: the policy has gangs take turns
    on fewer slices than they ask for, those that are promised nothing. `hosts`: what of this
    machine is for the jobs of each device, where the policy knows shares. Raises Infeasible."""
    name = f"job {spec.name!r}"
    kinds = sorted({kind_of(uri) for uri in slices})
    if spec.device_kind not in kinds:
        raise Infeasible(
            f"{name} asks for a {spec.device_kind!r} device; this pool has {', '.join(kinds)}"
        )
    strangers = [uri for uri in spec.devices if uri not in slices]
    if strangers:
        raise Infeasible(f"{name} names {strangers}, which this pool does not have")
    if spec.argv is None and (spec.least, spec.count, spec.most) != (1, 1, 1):
        raise Infeasible(
            f"{name} is a lease of {spec.count} slices ({spec.least} to {spec.most}); its holder "
            "has one session, on one slice. Take a lease for each, or give argv: a pool starts a "
            "gang's workers by itself"
        )
    if spec.portable:
        raise Infeasible(
            f"{name} is portable; a live checkpoint goes on on devices of its own part only"
        )
    if spec.needs is not None and hosts is None:
        raise Infeasible(
            f"{name} asks for a share of a device, or of its host, and this pool's policy knows "
            "whole slices only: give it the policy 'sharing'; or give devices several slices, "
            "which their servers weigh"
        )
    if hosts is not None:
        _check_needs(spec, slices, hosts)
    if world_size(spec) > MAX_RANKS:
        raise Infeasible(
            f"{name} can make use of {spec.most} slices, so it has {spec.most} ranks, each of them "
            f"a process: this pool starts {MAX_RANKS} for a job at most"
        )
    by_part: dict[str, int] = {}
    for uri, count in slices.items():
        if kind_of(uri) == spec.device_kind and (not spec.devices or uri in spec.devices):
            part = parts.get(uri, "")
            by_part[part] = by_part.get(part, 0) + count
    there = max(by_part.values(), default=0)  # a gang has all its slices of one part
    needed = spec.least if shrinks and spec.tier is Tier.BASIC else spec.count
    if needed > there:
        of_one_part = " of one part" if len(by_part) > 1 else ""
        what = "promises it" if shrinks and spec.tier is not Tier.BASIC else "needs"
        raise Infeasible(
            f"{name} asks for {spec.count} slices, of which this pool's policy {what} {needed} at "
            f"once; the devices that it accepts have {there}{of_one_part}. Ask for fewer: by "
            "`most` it has as many ranks as now, which take turns"
        )
    if quotas is not None and spec.tier is not Tier.BASIC:
        own = quotas.own(spec.tenant, spec.device_kind)
        if spec.count > own:
            raise Infeasible(
                f"{name} is {spec.tier} and asks for {spec.count} slices of {spec.device_kind}; "
                f"tenant {spec.tenant!r} has a quota of {own}, and what is promised cannot be "
                "borrowed. Ask for the tier basic, which can, or for fewer, or give it a quota"
            )


def _check_needs(spec: JobSpec, slices: Mapping[str, int], hosts: Mapping[str, Host]) -> None:
    """Whether one device could have it alone."""
    name, needs = f"job {spec.name!r}", spec.needs or Needs()
    if not needs.share_milli:
        raise Infeasible(
            f"{name} needs no share of a device, only a host: a live job is connected to its "
            "device, so give it a share, if a small one"
        )
    if needs.share_milli < FULL_MILLI and spec.device_kind not in WEIGHS:
        raise Infeasible(
            f"{name} needs {needs.share_milli} thousandths of a {spec.device_kind!r} device, whose "
            f"server cannot weigh its sessions, so nobody would get what it was given; those of "
            f"{', '.join(WEIGHS)} can. Ask for a whole slice"
        )
    fit = [
        uri
        for uri in slices
        if kind_of(uri) == spec.device_kind and (not spec.devices or uri in spec.devices)
    ]
    able = [
        uri
        for uri in fit
        if slices[uri] >= spec.count
        and hosts[uri][0] >= needs.cpu_milli
        and hosts[uri][1] >= needs.memory_mib
    ]
    if not able:
        there = "; ".join(
            f"{uri} has {slices[uri]} slices, {hosts[uri][0]} thousandths of a CPU and "
            f"{hosts[uri][1]} MiB"
            for uri in fit
        )
        raise Infeasible(
            f"{name} needs {spec.count} slices of one device, {needs.cpu_milli} thousandths of a "
            f"CPU and {needs.memory_mib} MiB of its host, which none has: {there}"
        )


def kind_of(uri: str) -> str:
    return uri.rpartition(":")[0]
