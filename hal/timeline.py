"""What one device did for whom: spans in its clock's cycles and in wall time, the newest kept.

A driver that shares its device among contexts in mid-kernel records here what the device did:

    run          a kernel worked (`detail`: its name); slices of one kernel are spans of their own
    save         a context's state was taken off the device
    restore      a saved state was put back
    reset        the device was brought to reset state for a context that had none
    reconfigure  another overlay was put on (`detail`: its name)

What lies between two spans is idle: the device waited for work. `chrome_trace` is the format that
Perfetto (ui.perfetto.dev) and chrome://tracing open. Pure values: no clock, no files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace

from hal.errors import UsageError

KINDS = ("run", "save", "restore", "reset", "reconfigure")
IDLE = "idle"
MAX_SPANS = 20_000  # kept; older ones are dropped and counted
IDLE_NS = 1_000  # shorter gaps are bookkeeping, not waiting


@dataclass(frozen=True, slots=True)
class DeviceSpan:
    """Cycles count every edge of the device's clock since it was opened, those in which a kernel
    stood frozen included; times are nanoseconds of the monotonic clock."""

    kind: str
    tenant: str  # the context's label; "" for what the device does for nobody in particular
    start_cycle: int
    end_cycle: int
    start_ns: int
    end_ns: int
    detail: str = ""

    @property
    def cycles(self) -> int:
        return self.end_cycle - self.start_cycle


class DeviceTimeline:
    """A bounded record of one device's spans, in order."""

    def __init__(self, limit: int = MAX_SPANS) -> None:
        self._spans: deque[DeviceSpan] = deque(maxlen=limit)
        self._joinable = False  # the newest span is of a kernel that goes on
        self.cycle = 0  # of the device's clock, now
        self.dropped = 0

    def add(
        self, kind: str, tenant: str, cycles: int, start_ns: int, end_ns: int, detail: str = ""
    ) -> None:
        """The device did `kind` for `cycles`, from start_ns to end_ns."""
        begin = self.cycle
        self.cycle += cycles
        span = DeviceSpan(kind, tenant, begin, self.cycle, start_ns, end_ns, detail)
        if kind == "run" and self._joinable:
            last = self._spans[-1]
            if (last.kind, last.tenant, last.detail) == (kind, tenant, detail):
                self._spans[-1] = replace(last, end_cycle=self.cycle, end_ns=end_ns)
                return
        if len(self._spans) == self._spans.maxlen:
            self.dropped += 1
        self._spans.append(span)
        self._joinable = kind == "run"

    def cut(self) -> None:
        """What comes next is a span of its own: a kernel ended, or was halted."""
        self._joinable = False

    def spans(self) -> tuple[DeviceSpan, ...]:
        return tuple(self._spans)


def with_idle(spans: Sequence[DeviceSpan]) -> list[DeviceSpan]:
    """The spans, and between them those in which the device waited for work."""
    out: list[DeviceSpan] = []
    for span in spans:
        if out and span.start_ns - out[-1].end_ns >= IDLE_NS:
            before = out[-1]
            out.append(
                DeviceSpan(
                    IDLE, "", before.end_cycle, span.start_cycle, before.end_ns, span.start_ns
                )
            )
        out.append(span)
    return out


def to_rows(spans: Iterable[DeviceSpan]) -> list[list[object]]:
    """Plain rows, for JSON."""
    return [list(astuple(span)) for span in spans]


def from_rows(rows: Iterable[Sequence[object]]) -> tuple[DeviceSpan, ...]:
    """Raises UsageError for rows that `to_rows` did not make."""
    found = []
    for row in rows:
        try:
            kind, tenant, *numbers, detail = row
            begin, end, start_ns, end_ns = (int(str(number)) for number in numbers)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{row!r} is no span of a device: {error}") from error
        found.append(DeviceSpan(str(kind), str(tenant), begin, end, start_ns, end_ns, str(detail)))
    return tuple(found)


def chrome_trace(device: str, spans: Sequence[DeviceSpan]) -> dict[str, object]:
    """The trace-event format's JSON object: the device is a process, its fabric and each tenant a
    track in it. Times count from the first span, in microseconds; cycles are arguments."""
    tenants = list(dict.fromkeys(span.tenant for span in spans if span.tenant))
    track = {tenant: index for index, tenant in enumerate(tenants, start=1)}
    events: list[dict[str, object]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": device}},
        *(
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": name}}
            for name, tid in (("fabric", 0), *track.items())
        ),
    ]
    origin = spans[0].start_ns if spans else 0
    for span in with_idle(spans):
        name = f"{span.kind} {span.detail}".strip()
        event = {
            "ph": "X",
            "cat": span.kind,
            "name": name,
            "pid": 1,
            "tid": 0,
            "ts": (span.start_ns - origin) / 1000,
            "dur": (span.end_ns - span.start_ns) / 1000,
            "args": {
                "tenant": span.tenant,
                "start_cycle": span.start_cycle,
                "end_cycle": span.end_cycle,
            },
        }
        events.append({**event, "name": f"{name} {span.tenant}".strip()})
        if span.tenant:
            events.append({**event, "tid": track[span.tenant]})
    return {"displayTimeUnit": "ns", "otherData": {"device": device}, "traceEvents": events}
