"""Readers of the public traces, one function each, and `read`, which knows them by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scheduler.core.values import FULL_MILLI, MAX_COUNT, Tier
from scheduler.errors import TraceDamaged
from scheduler.policies.packing import Node, Pod
from scheduler.traces.rows import read_rows, unique
from scheduler.traces.trace import Request, Trace, TraceJob, in_order

MAX_GPUS = 1024  # of one node
LONGEST_S = 10 * 365 * 86400.0

OPENB_TIERS = {
    "LS": Tier.PREMIUM,  # latency sensitive
    "Guaranteed": Tier.PREMIUM,
    "Burstable": Tier.STANDARD,
    "BE": Tier.BASIC,
}


def philly(path: Path) -> Trace:
    """Microsoft Philly (Jeon et al., ATC'19) as the authors of Pollux published it:
    timestamp, duration, num_gpus, cluster (a virtual cluster: the tenant)."""
    return in_order(
        path.name,
        (
            TraceJob(
                f"philly-{row.line}",
                row.time_s("timestamp"),
                row.number("duration", 0, LONGEST_S),
                row.whole("num_gpus", 1, MAX_COUNT),
                row.name("cluster"),
            )
            for row in read_rows(path, ("timestamp", "duration", "num_gpus", "cluster"))
        ),
    )


def itp(path: Path) -> Trace:
    """Microsoft ITP (Gu et al., ASPLOS'23): job_id, submission_time, duration, num_gpu. It names
    no tenants: the whole cluster is one."""
    return in_order(
        path.name,
        (
            TraceJob(
                row.name("job_id"),
                row.number("submission_time", 0, LONGEST_S),
                row.number("duration", 0, LONGEST_S),
                row.whole("num_gpu", 1, MAX_COUNT),
                path.stem,
            )
            for row in unique(
                read_rows(path, ("job_id", "submission_time", "duration", "num_gpu")), "job_id"
            )
        ),
    )


def openb(path: Path) -> Trace:
    """Alibaba openb pods (Weng et al., ATC'23) that ask for GPUs. A pod below one GPU asks for a
    share; its class of service seeds the tier. Pods that were never scheduled lasted from their
    creation to their deletion."""
    return in_order(path.name, _openb(path, hosts=False))


def openb_hosts(path: Path) -> Trace:
    """All of them: those without a GPU, too, which need CPU and memory of a node."""
    return in_order(path.name, _openb(path, hosts=True))


def _openb(path: Path, *, hosts: bool) -> list[TraceJob]:
    columns = ("name", "num_gpu", "gpu_milli", "gpu_spec", "qos", "cpu_milli", "memory_mib")
    times = ("creation_time", "deletion_time", "scheduled_time")
    jobs = []
    for row in unique(read_rows(path, (*columns, *times)), "name"):
        count = row.whole("num_gpu", 0, MAX_COUNT)
        if count == 0 and not hosts:
            continue
        if row.text("qos") not in OPENB_TIERS:
            raise row.damaged("qos", f"one of {', '.join(OPENB_TIERS)}")
        created = row.number("creation_time", 0, LONGEST_S)
        began = row.number("scheduled_time", 0) if row.text("scheduled_time") else created
        jobs.append(
            TraceJob(
                row.name("name"),
                created,
                row.number("deletion_time", began, LONGEST_S) - began,
                max(count, 1),
                "openb",
                row.whole("gpu_milli", 1, FULL_MILLI) if count else 0,
                tuple(dict.fromkeys(filter(None, row.text("gpu_spec").split("|")))),
                OPENB_TIERS[row.text("qos")],
                row.whole("cpu_milli", 0, 1 << 40),
                row.whole("memory_mib", 0, 1 << 40),
            )
        )
    return jobs


def azure(path: Path) -> tuple[Request, ...]:
    """One hour of requests to a served language model (Patel et al., ISCA'24): TIMESTAMP,
    ContextTokens, GeneratedTokens; by time, the first at 0."""
    found = sorted(
        (
            Request(
                row.time_s("TIMESTAMP"),
                row.whole("ContextTokens", 0, 1 << 24),
                row.whole("GeneratedTokens", 0, 1 << 24),
            )
            for row in read_rows(path, ("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
        ),
        key=lambda request: request.at_s,
    )
    if not found:
        raise TraceDamaged(f"{path}: no requests")
    begin = found[0].at_s
    return tuple(Request(r.at_s - begin, r.input_tokens, r.output_tokens) for r in found)


def openb_nodes(path: Path) -> list[Node]:
    """Alibaba openb nodes (Weng et al., ATC'23): sn, cpu_milli, memory_mib, gpu, model."""
    return [
        Node(
            row.name("sn"),
            row.name("model") if row.whole("gpu", 0, MAX_GPUS) else row.text("model"),
            row.whole("cpu_milli", 0, 1 << 40),
            row.whole("memory_mib", 0, 1 << 40),
            [FULL_MILLI] * row.whole("gpu", 0, MAX_GPUS),
        )
        for row in unique(read_rows(path, ("sn", "cpu_milli", "memory_mib", "gpu", "model")), "sn")
    ]


def openb_pods(path: Path) -> list[Pod]:
    """All pods of openb, those without a GPU included, in the file's order, as what they ask of
    a node."""
    columns = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec")
    return [
        Pod(
            row.whole("cpu_milli", 0, 1 << 40),
            row.whole("memory_mib", 0, 1 << 40),
            gpus := row.whole("num_gpu", 0, MAX_GPUS),
            row.whole("gpu_milli", FULL_MILLI if gpus > 1 else 1, FULL_MILLI) if gpus else 0,
            tuple(sorted(set(filter(None, row.text("gpu_spec").split("|"))))),
        )
        for row in read_rows(path, columns)
    ]


READERS: dict[str, Callable[[Path], Trace]] = {
    "philly": philly,
    "itp": itp,
    "openb": openb,
    "openb-hosts": openb_hosts,
}


def read(spec: str) -> Trace:
    """A trace by `FORMAT:PATH`, or by the path alone: its columns tell the format."""
    kind, colon, rest = spec.partition(":")
    if colon and kind in READERS:
        return READERS[kind](Path(rest))
    path = Path(spec)
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = {name.strip() for name in file.readline(4096).split(",")}
    except (OSError, UnicodeDecodeError) as error:
        raise TraceDamaged(f"{spec}: {error}") from error
    for name, mark in (("philly", "num_gpus"), ("openb", "gpu_milli"), ("itp", "submission_time")):
        if mark in header:
            return READERS[name](path)
    raise TraceDamaged(
        f"{spec}: its columns are those of no known trace; say which: "
        + ", ".join(f"{name}:PATH" for name in READERS)
    )
