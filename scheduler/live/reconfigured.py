"""When FPGAs were reconfigured, and for whose job: their servers' records, on the pool's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hal.timeline import DeviceSpan
from scheduler.live.gang import Run
from scheduler.timeline import Span


def reconfigured(
    device: str, record: Sequence[DeviceSpan], began_ns: int, run_of: Callable[[str], Run | None]
) -> Iterator[Span]:
    """`record`: what the device did, in order; `began_ns`: when the pool's clock was 0; `run_of`:
    whose session that is. It was for the session that the device worked for next."""
    for_whom: Run | None = None
    for span in reversed(record):
        if span.tenant:
            for_whom = run_of(span.tenant)
        elif span.kind == "reconfigure" and for_whom is not None:
            spec = for_whom.spec
            start_s, end_s = ((ns - began_ns) / 1e9 for ns in (span.start_ns, span.end_ns))
            yield Span(device, for_whom.job, spec.tenant, str(spec.tier), span.kind, start_s, end_s)
