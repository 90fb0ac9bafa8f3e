"""What a live pool can run at all: said when a job is submitted, not after it has waited."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.core.values import JobSpec, Tier
from scheduler.errors import Infeasible
from scheduler.live.gang import world_size

MAX_RANKS = 64  # worker processes of one job, all of them on this machine


def check_feasible(
    spec: JobSpec, slices: Mapping[str, int], parts: Mapping[str, str], shrinks: bool
) -> None:
    """`slices`, `parts`: of the pool's devices, by URI. `shrinks`: the policy has gangs take turns
    on fewer slices than they ask for, those that are promised nothing. Raises Infeasible."""
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
    if spec.needs is not None:
        raise Infeasible(
            f"{name} needs {spec.needs}: shares of slices and of hosts are in simulations only; on "
            "a live pool give a device several slices, which its server weighs"
        )
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


def kind_of(uri: str) -> str:
    return uri.rpartition(":")[0]
