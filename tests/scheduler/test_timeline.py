"""What each device did for whom, from steps."""

from __future__ import annotations

from scheduler.core import events
from scheduler.core.commands import Checkpoint, Resize, Start
from scheduler.core.values import JobSpec, Slice
from scheduler.timeline import Timeline

S = 1_000_000


def test_a_job_that_is_resized_is_on_its_new_devices_from_then_on() -> None:
    spec = JobSpec("j", "t", "basic", "gpu", ("train",), count=2, least=1)
    two, one = (Slice("a", 0), Slice("b", 0)), (Slice("b", 0),)
    timeline = Timeline()
    for event, command in (
        (events.JobSubmitted(0, 1, spec), Start(1, 1, two, "", spec)),
        (events.JobStarted(1 * S, 1, 1), Resize(1, 1, one)),
        (events.ResizeFailed(2 * S, 1, 1, "busy", "retry", ""), Resize(1, 1, one)),
        (events.JobResized(4 * S, 1, 1), Checkpoint(1, 1)),
    ):
        timeline.record([event], [command])
    timeline.record([events.JobCheckpointed(5 * S, 1, 1, "c")], [])
    found = [(span.device, span.kind, span.start_s, span.end_s) for span in timeline.spans()]
    assert found == [
        ("a", "run", 1.0, 4.0),
        ("b", "run", 1.0, 4.0),
        ("b", "run", 4.0, 4.0),
        ("b", "checkpoint", 4.0, 5.0),
    ]
