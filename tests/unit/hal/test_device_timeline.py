"""What a device's timeline keeps, and what Perfetto is shown of it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import UsageError
from hal.timeline import (
    IDLE_NS,
    KINDS,
    DeviceSpan,
    DeviceTimeline,
    chrome_trace,
    from_rows,
    to_rows,
    with_idle,
)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from(("", "a", "b")),
        st.integers(0, 1000),  # cycles
        st.integers(0, 3 * IDLE_NS),  # nothing, then
        st.integers(1, 10_000),  # nanoseconds of the span
        st.sampled_from(("", "kernel")),
        st.booleans(),  # whether the kernel is halted then
    ),
    max_size=30,
)
Steps = list[tuple[str, str, int, int, int, str, bool]]


def recorded(steps: Steps, limit: int = 1000) -> DeviceTimeline:
    timeline = DeviceTimeline(limit)
    now = 5_000_000
    for kind, tenant, cycles, pause_ns, took_ns, detail, cut in steps:
        now += pause_ns
        timeline.add(kind, tenant, cycles, now, now + took_ns, detail)
        now += took_ns
        if cut:
            timeline.cut()
    return timeline


def complete(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


def test_batches_of_one_kernel_are_one_span_until_it_is_cut() -> None:
    timeline = DeviceTimeline()
    timeline.add("run", "a", 10, 0, 5, "k")
    timeline.add("run", "a", 20, 6, 9, "k")
    assert timeline.spans() == (DeviceSpan("run", "a", 0, 30, 0, 9, "k"),)
    timeline.add("run", "b", 1, 9, 10, "k")
    timeline.cut()
    timeline.add("run", "b", 1, 10, 11, "k")
    timeline.add("save", "b", 4, 11, 12)
    timeline.add("run", "b", 1, 12, 13, "k")
    assert [(s.kind, s.tenant, s.cycles) for s in timeline.spans()] == [
        ("run", "a", 30), ("run", "b", 1), ("run", "b", 1), ("save", "b", 4), ("run", "b", 1),
    ]  # fmt: skip


@given(STEPS, st.integers(1, 8))
def test_the_newest_spans_are_kept_and_the_others_counted(steps: Steps, limit: int) -> None:
    whole, bounded = recorded(steps), recorded(steps, limit)
    assert bounded.spans() == whole.spans()[-limit:]
    assert bounded.dropped == max(len(whole.spans()) - limit, 0)
    assert bounded.cycle == sum(step[2] for step in steps)


@given(STEPS)
def test_rows_of_json_are_the_same_spans(steps: Steps) -> None:
    spans = recorded(steps).spans()
    assert from_rows(json.loads(json.dumps(to_rows(spans)))) == spans


@pytest.mark.parametrize("row", [[], ["run"], ["run", "a", 1, 2, 3, "x", ""], [1, 2, 3, 4, 5]])
def test_rows_of_something_else_are_refused(row: list[object]) -> None:
    with pytest.raises(UsageError, match="no span"):
        from_rows([row])


@given(STEPS)
def test_with_idle_the_spans_follow_each_other(steps: Steps) -> None:
    spans = recorded(steps).spans()
    filled = with_idle(spans)
    assert tuple(span for span in filled if span.kind != "idle") == spans
    for before, after in pairwise(filled):
        assert 0 <= after.start_ns - before.end_ns < IDLE_NS
        assert after.start_cycle == before.end_cycle
        assert (before.kind, after.kind) != ("idle", "idle")


@given(STEPS)
def test_a_trace_has_every_span_on_the_fabrics_track_and_on_its_tenants(steps: Steps) -> None:
    spans = recorded(steps).spans()
    trace: dict[str, Any] = json.loads(json.dumps(chrome_trace("fpga-sim:0", spans)))
    names = {
        event["tid"]: event["args"]["name"]
        for event in trace["traceEvents"]
        if event["name"] == "thread_name"
    }
    assert set(names.values()) == {"fabric"} | {span.tenant for span in spans if span.tenant}
    origin = spans[0].start_ns if spans else 0
    for track, name in names.items():
        shown = [
            (e["cat"], e["args"]["tenant"], e["args"]["start_cycle"], e["args"]["end_cycle"],
             round(e["ts"] * 1000) + origin, round((e["ts"] + e["dur"]) * 1000) + origin)
            for e in complete(trace) if e["tid"] == track
        ]  # fmt: skip
        mine = with_idle(spans) if name == "fabric" else [s for s in spans if s.tenant == name]
        assert shown == [
            (s.kind, s.tenant, s.start_cycle, s.end_cycle, s.start_ns, s.end_ns) for s in mine
        ]
    assert {event["pid"] for event in trace["traceEvents"]} == {1}
    assert trace["otherData"] == {"device": "fpga-sim:0"}
