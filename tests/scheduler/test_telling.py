"""Decisions in words."""

from __future__ import annotations

import pytest

from scheduler.core.jobs import Job
from scheduler.core.plan import Resize
from scheduler.core.values import JobSpec, Slice
from scheduler.telling import decision


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ((("a", 0), ("b", 0)), "move job 1 to a/0 b/0"),
        ((("a", 0),), "shrink job 1 from 2 to 1 slice"),
        ((("a", 0), ("a", 1), ("b", 0)), "grow job 1 from 2 to 3 slices"),
    ],
)
def test_a_gang_that_keeps_its_size_is_said_to_be_moved_and_where(
    to: tuple[tuple[str, int], ...], said: str
) -> None:
    spec = JobSpec("train", "ann", "basic", "gpu", count=2, least=1, most=3)
    job = Job(1, spec, 0, slices=(Slice("a", 0), Slice("a", 1)))
    assert decision(Resize(1, tuple(Slice(*each) for each in to)), job) == said
